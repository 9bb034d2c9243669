"""Whatever a hook does, its call ends in an answer or a fault, in time, and nobody else suffers."""

import threading
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest
import trio
import trio.testing
from guard_bench import client
from hooks_rig import HooksRig, hooks_rig

from gatekeeper.events import ConnectionOpened, HelloAttempt, MailAttempt, MailProtocol
from gatekeeper.hooks import containing, driving
from gatekeeper.hooks.health import LATE_IN_A_ROW, REST_S, WELL_AFTER_S, State
from gatekeeper.settings import OnError
from gatekeeper.verdict import PASS, Action, Reason, Verdict

PEER = client(protocol=MailProtocol.SMTP)
OPENED = ConnectionOpened()
HELLO = HelloAttempt("client.example", True)
LABEL = "hooks.py:helo"
PUT_OFF = Verdict(Action.DEFER, Reason.HOOK_FAILED, source=LABEL)

SYNC, QUICK, ASYNC = "def", "@quick\ndef", "async def"
FAULTS = {
    "raise ValueError('no \\r\\nway')": "ValueError: no",
    "raise SystemExit(3)": "SystemExit: 3",
    "raise KeyboardInterrupt": "KeyboardInterrupt",
    "raise BaseExceptionGroup('all', [GeneratorExit()])": "BaseExceptionGroup: all",
    "return helo(event, facts)": "",  # recursion, or a coroutine
    "return 'no'": "returned str, not None or a Verdict",
    "return (Action.REJECT, 'no')": "returned tuple, not None or a Verdict",
    "return Verdict('reject', None)": "a Verdict's action is an Action, not str",
    "return refuse(b'no')": "a Verdict's text is a string, not bytes",
    "return delay(float('nan'))": "a Verdict's delay_s is 0 or more",
    "return delay('1')": "a Verdict's delay_s is a number of seconds, not str",
    "return delay(-1)": "a Verdict's delay_s is 0 or more",
    "return refuse(ban=True, ban_s=0)": "a Verdict's ban_first_s is more than 0",
    "1/0": "ZeroDivisionError: division by zero (line 4)",
    "next(iter(()))": "StopIteration",
    "raise Odd": "",  # an exception that cannot be printed
}
ODD = """
class Odd(Exception):
    def __str__(self):
        raise RuntimeError('never')
"""


def hook(kind: str, body: str, name: str = "helo") -> str:
    """A file of one hook."""
    head, _, keyword = kind.rpartition("\n")
    decorator = f"{head}\n" if head else "\n"
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    imports = "from gatekeeper.hooks import *\nimport trio\n"
    return f"{imports}{decorator}{keyword} {name}(event, facts):\n{lines}{ODD}"


@pytest.mark.parametrize("body", FAULTS)
@pytest.mark.parametrize("kind", [SYNC, QUICK, ASYNC])
async def test_a_fault_is_contained_and_counted(tmp_path: Path, kind: str, body: str) -> None:
    async with hooks_rig(tmp_path) as rig:
        rig.install(hook(kind, body), on_error=OnError.DEFER)
        for _ in range(2):
            assert (await rig.ask(HELLO, PEER)).reason is Reason.HOOK_FAILED
        assert await rig.ask(MailAttempt("a@b.example"), PEER) == PASS, "no hook is about it"
        assert "2 failed" in rig.report(LABEL)
        assert FAULTS[body].replace("line 4", "line 5") in rig.report(LABEL)
        assert "\n" not in rig.report(LABEL)
        assert [each[:2] for each in rig.said] == [(LABEL, State.FAILING)], "it is said once"


async def test_a_fault_is_no_opinion_unless_the_operator_puts_off(tmp_path: Path) -> None:
    async with hooks_rig(tmp_path) as rig:
        rig.install(hook(SYNC, "1/0"))
        assert await rig.ask(HELLO, PEER) == PASS
        assert "1 failed (1 raised)" in rig.report(LABEL)


async def test_an_async_hook_that_hangs_is_cancelled(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with hooks_rig(tmp_path) as rig:
        rig.install(hook(ASYNC, "await trio.sleep_forever()"), deadline_s=1.5)
        began = trio.current_time()
        for _ in range(LATE_IN_A_ROW):
            assert await rig.ask(HELLO, PEER) == PASS
        assert trio.current_time() - began == pytest.approx(1.5 * LATE_IN_A_ROW)
        assert "(10 late): no answer within 1.5 s" in rig.report(LABEL)


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What a hook hangs on; it is opened when the test ends."""
    event = threading.Event()
    threading.gate = event  # type: ignore[attr-defined]  # where a hooks file finds it
    yield event
    event.set()
    del threading.gate  # type: ignore[attr-defined]


async def test_a_hook_that_answers_nobody_is_waited_for_by_one_call_at_a_time(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with hooks_rig(tmp_path) as rig:
        rig.install(hook(ASYNC, "if event.domain == 'slow': await trio.sleep_forever()"))
        slow = HelloAttempt("slow", True)
        for _ in range(LATE_IN_A_ROW):
            await rig.ask(slow, PEER)
        began = trio.current_time()
        for _ in range(5):
            assert await rig.ask(slow, PEER) == PASS
        assert trio.current_time() == began, "nobody waits"
        assert rig.said[-1] == (LABEL, State.OFF, "it answered nobody within 2 s")
        await trio.sleep(REST_S)
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(rig.ask, slow, PEER)
        assert "11 late, 9 off" in rig.report(LABEL), "one call has tried it"
        assert await rig.ask(HELLO, PEER) == PASS
        assert "11 late, 10 off" in rig.report(LABEL)
        await trio.sleep(REST_S)
        for _ in range(3):
            assert await rig.ask(HELLO, PEER) == PASS
        assert "11 late, 10 off" in rig.report(LABEL), "it is asked by all again"
        await trio.sleep(WELL_AFTER_S)
        await rig.ask(HELLO, PEER)
        assert [state for _, state, _ in rig.said] == [State.FAILING, State.OFF, State.OK]


SWALLOWS = {
    "busily": """
        while not threading.gate.is_set():
            threading.steps += 1
            try:
                await trio.sleep(1)
            except BaseException:
                pass
    """,
    "in a nursery": """
        while not threading.gate.is_set():
            threading.steps += 1
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(trio.sleep_forever)
            except BaseException:
                pass
    """,
    "by a shield": """
        with trio.CancelScope(shield=True):
            while not threading.gate.is_set():
                await trio.sleep(1)
    """,
}


@pytest.mark.parametrize("how", SWALLOWS)
async def test_an_async_hook_that_will_not_end_holds_nothing_up(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, gate: threading.Event, how: str
) -> None:
    threading.steps = 0  # type: ignore[attr-defined]
    async with hooks_rig(tmp_path) as rig:
        body = "import threading\n" + dedent(SWALLOWS[how])
        rig.install(hook(ASYNC, body), deadline_s=1.0, on_error=OnError.DEFER)
        began = trio.current_time()
        for _ in range(3):
            assert await rig.ask(HELLO, PEER) == PUT_OFF
        assert trio.current_time() - began == pytest.approx(3.0)
        await trio.sleep(1000)
        steps = threading.steps  # type: ignore[attr-defined]
        assert steps < 3 * (driving.STEPS_AFTER_END + 1100), "it does not spin"
        rig.install(hook(ASYNC, "return refuse('no')"))
        assert (await rig.ask(HELLO, PEER)).text == "no", "others are asked still"
        gate.set()


async def test_an_async_hook_that_leaves_a_nursery_open_harms_no_other(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    body = "n = await trio.open_nursery().__aenter__()\nn.start_soon(trio.sleep_forever)\n"
    async with hooks_rig(tmp_path) as rig:
        for end in ("return refuse()", "1/0", "await trio.sleep_forever()"):
            rig.install(hook(ASYNC, body + end), deadline_s=1.0)
            for _ in range(3):
                await rig.ask(HELLO, PEER)
        rig.install(hook(ASYNC, "return refuse('no')"))
        assert (await rig.ask(HELLO, PEER)).text == "no"


async def test_an_async_hook_that_awaits_what_is_not_trios_fails(tmp_path: Path) -> None:
    body = "import asyncio\nreturn await asyncio.get_running_loop().create_future()"
    async with hooks_rig(tmp_path) as rig:
        rig.install(hook(ASYNC, body))
        assert await rig.ask(HELLO, PEER) == PASS
        assert "RuntimeError: no running event loop" in rig.report(LABEL)
        rig.install(
            hook(ASYNC, "import types\n@types.coroutine\ndef odd():\n    yield 1\nawait odd()")
        )
        assert await rig.ask(HELLO, PEER) == PASS
        assert "TypeError" in rig.report(LABEL)


async def test_an_async_hook_that_keeps_a_cancellation_for_later_fails_alone(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    body = (
        "try:\n    await trio.sleep_forever()\nexcept trio.Cancelled as kept:\n"
        "    facts.tags  # it goes on\n    globals()['kept'] = kept\n    raise\n"
    )
    async with hooks_rig(tmp_path) as rig:
        rig.install(
            hook(ASYNC, f"if 'kept' in globals(): raise globals()['kept']\n{body}"), deadline_s=1.0
        )
        assert await rig.ask(HELLO, PEER) == PASS
        assert await rig.ask(HELLO, PEER) == PASS
        assert "(1 raised, 1 late): trio.Cancelled" in rig.report(LABEL)


HANGS = "import threading\nthreading.gate.wait()"


async def test_threads_that_hang_are_left_and_the_hook_is_off_until_one_ends(
    tmp_path: Path, gate: threading.Event
) -> None:
    async with hooks_rig(tmp_path) as rig:
        rig.install(hook(SYNC, HANGS), deadline_s=0.02, on_error=OnError.DEFER)
        with trio.fail_after(30):
            while " off)" not in rig.report(LABEL):  # a call that gets no thread in time hangs not
                assert await rig.ask(HELLO, PEER) == PUT_OFF
        late = rig.judge.rows()[0]["late"]
        assert isinstance(late, int)
        assert late >= containing.MAX_STUCK
        assert [state for _, state, _ in rig.said] == [State.FAILING, State.OFF]
        gate.set()
        with trio.fail_after(5):
            while (await rig.ask(HELLO, PEER)).action is not Action.PASS:  # noqa: ASYNC110  threads
                await trio.lowlevel.checkpoint()


async def test_threads_that_hang_are_bounded_over_reloads(
    tmp_path: Path, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(containing, "MAX_STUCK_ALL", 5)
    async with hooks_rig(tmp_path) as rig:
        with trio.fail_after(30):
            while rig.judge._tasks.stuck < 5:
                rig.install(hook(SYNC, HANGS), deadline_s=0.02)
                assert await rig.ask(HELLO, PEER) == PASS
                assert "1 late" in rig.report(LABEL)
        rig.install(hook(SYNC, "return refuse()"))
        assert await rig.ask(HELLO, PEER) == PASS
        assert "5 calls of all hooks have not ended" in rig.report(LABEL)
        gate.set()
        with trio.fail_after(5):
            while (await rig.ask(HELLO, PEER)).action is not Action.REJECT:  # noqa: ASYNC110  threads
                await trio.lowlevel.checkpoint()


async def test_a_session_that_is_ended_leaves_its_hook(
    tmp_path: Path, gate: threading.Event
) -> None:
    async with hooks_rig(tmp_path) as rig:
        for kind, body in ((SYNC, HANGS), (ASYNC, "await trio.sleep_forever()")):
            rig.install(hook(kind, body), deadline_s=60.0)
            with trio.move_on_after(0.02) as session:
                await rig.ask(HELLO, PEER)
            assert session.cancelled_caught


async def test_more_calls_than_threads_wait_for_one(tmp_path: Path) -> None:
    async with hooks_rig(tmp_path) as rig:
        rig.install(hook(SYNC, "import time\ntime.sleep(0.001)\nreturn refuse()"))
        verdicts = []

        async def one() -> None:
            verdicts.append(await rig.ask(HELLO, PEER))

        async with trio.open_nursery() as nursery:
            for _ in range(3 * containing.MAX_THREADS):
                nursery.start_soon(one)
        assert {verdict.action for verdict in verdicts} == {Action.REJECT}
        assert rig.report(LABEL) == f"thread, ok, {3 * containing.MAX_THREADS} calls"


async def test_a_quick_hook_that_is_slow_is_given_a_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = iter(range(1000))  # each look at the clock is a second later
    monkeypatch.setattr(containing, "perf_counter", lambda: float(next(ticks)))
    async with hooks_rig(tmp_path) as rig:
        rig.install(hook(QUICK, "import threading\nreturn refuse(threading.current_thread().name)"))
        main = threading.current_thread().name
        texts = [(await rig.ask(HELLO, PEER)).text for _ in range(containing.SLOW_ONES + 1)]
        assert texts[:-1] == [main] * containing.SLOW_ONES
        assert texts[-1] != main
        assert [why for _, _, why in rig.said] == [
            "is called quick and takes more than 5 ms: it is called in a thread from now on"
        ]


async def test_an_async_hook_that_blocks_is_said_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = iter(range(1000))
    monkeypatch.setattr(driving, "perf_counter", lambda: float(next(ticks)))
    async with hooks_rig(tmp_path) as rig:
        rig.install(hook(ASYNC, "return None"))
        for _ in range(10):
            assert await rig.ask(HELLO, PEER) == PASS
        assert [why.partition(":")[0] for _, _, why in rig.said] == [
            "holds up all sessions, more than 50 ms between two awaits"
        ]


async def test_a_hook_is_well_again_when_it_has_not_failed_for_a_minute(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    body = "if facts.score_before == 0 and event.domain == 'bad': 1/0"
    async with hooks_rig(tmp_path) as rig:
        rig.install(hook(QUICK, body))
        bad = HelloAttempt("bad", True)
        for event in (bad, HELLO, bad, HELLO):
            await rig.ask(event, PEER)
        assert [state for _, state, _ in rig.said] == [State.FAILING]
        await trio.sleep(61)
        await rig.ask(HELLO, PEER)
        assert [state for _, state, _ in rig.said] == [State.FAILING, State.OK]
        assert rig.report(LABEL).startswith("quick, ok, 5 calls, 2 failed (2 raised): ZeroDivision")


async def test_threads_of_a_hook_are_its_own_affair(tmp_path: Path, gate: threading.Event) -> None:
    body = "import threading\nthreading.Thread(target=threading.gate.wait).start()\nreturn refuse()"
    async with hooks_rig(tmp_path) as rig:
        rig.install(hook(SYNC, body))
        assert (await rig.ask(HELLO, PEER)).action is Action.REJECT


async def test_text_is_one_short_printable_line(tmp_path: Path) -> None:
    text = "'no\\r\\n250 ok\\x00\\x1b[2J\\u202e \\t there' + 'x' * 10**7"
    async with hooks_rig(tmp_path) as rig:
        for kind in (SYNC, QUICK, ASYNC):
            rig.install(hook(kind, f"return close({text})"))
            verdict = await rig.ask(HELLO, PEER)
            assert verdict.text.startswith("no 250 ok??[2J? there")
            assert len(verdict.text) == 200


def test_without_its_tasks_an_async_hook_fails(tmp_path: Path) -> None:
    rig = HooksRig(tmp_path)

    async def main() -> None:
        rig.install(hook(ASYNC, "return refuse()"))
        assert await rig.ask(HELLO, PEER) == PASS
        assert "the guard is about to end" in rig.report(LABEL)

    trio.run(main)
