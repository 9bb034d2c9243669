"""What is going on: one record, of a guard that runs and of totals alone."""

import json
from types import SimpleNamespace
from typing import Any, cast

import trio
import trio.testing
from guard_bench import Bench, client
from test_app import Run, Running, run  # noqa: F401  its fixture
from test_control import receive

from gatekeeper.ban import Scope
from gatekeeper.events import (
    AuthAttempt,
    AuthOutcome,
    AuthResult,
    ConnectionOpened,
    RcptAttempt,
    RcptOutcome,
    RcptResult,
    Violation,
    ViolationKind,
)
from gatekeeper.health import Health
from gatekeeper.metrics.readings import KERNEL_DEADLINE_S, Parts
from gatekeeper.overview import LOOK_S, NAMES, WORST_S, Overview, totals_of
from gatekeeper.prefix import Prefix
from gatekeeper.tally import Tally
from gatekeeper.verdict import PASS, Action, Reason, Verdict

ATTEMPT = AuthAttempt("PLAIN", "ann")


def test_totals_are_of_what_became_of_things() -> None:
    tally = Tally()
    who = client()
    put_off = Verdict(Action.DEFER, Reason.SUSPECT_SOURCE)
    for event, verdict in (
        (ConnectionOpened(), PASS),
        (AuthOutcome(ATTEMPT, AuthResult.SUCCESS), PASS),
        (AuthOutcome(ATTEMPT, AuthResult.FAILURE), PASS),
        (AuthOutcome(ATTEMPT, AuthResult.FAILURE), PASS),
        (AuthOutcome(ATTEMPT, AuthResult.UNAVAILABLE), PASS),
        (ATTEMPT, put_off),
        (RcptOutcome(RcptAttempt("a@b"), RcptResult.ACCEPTED), PASS),
        (RcptOutcome(RcptAttempt("a@b"), RcptResult.UNKNOWN), PASS),
        (RcptAttempt("a@b"), put_off),
        (Violation(ViolationKind.NUL, b""), PASS),
    ):
        tally.judged(who, event, verdict)
    totals = totals_of(tally)
    assert totals == {
        "sessions": 1,
        "logins_good": 1,
        "logins_failed": 2,
        "logins_refused": 1,
        "recipients_accepted": 1,
        "recipients_refused": 2,
        "violations": 1,
        "bans": 0,
    }
    assert {*totals, "dropped"} == set(NAMES)


async def asked(guard: Running, **request: object) -> dict[str, Any]:
    async with await trio.open_unix_socket(str(guard.directory / "control.sock")) as stream:
        await stream.send_all(json.dumps(request).encode() + b"\n")
        return await receive(stream)


async def test_a_kernel_process_that_does_not_answer_is_told_of(
    autojump_clock: trio.testing.MockClock,
) -> None:
    kernel = Kernel()
    overview = Overview(parts_with(kernel), lambda: 0.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(overview.run)
        await trio.sleep(1)
        assert overview._kernel_state() == "ok"
        kernel.hangs = True
        await trio.sleep(LOOK_S + KERNEL_DEADLINE_S + 1)
        assert overview._kernel_state() == "the kernel process does not answer"
        kernel.hangs = False
        await trio.sleep(LOOK_S + KERNEL_DEADLINE_S + 1)
        assert overview._kernel_state() == "ok"
        nursery.cancel_scope.cancel()


async def test_the_worst_are_worked_out_once_a_second_however_many_look() -> None:
    at = 100.0
    bench = Bench()
    overview = Overview(parts_with(Kernel(), bench), lambda: at)
    for number in range(3):
        await bench.outcome(client(f"198.51.100.{number}"), f"word {number}", "ann")
        assert overview._lately().refusals == 1
    at += WORST_S
    assert overview._lately().refusals == 3


class Kernel:
    """An Enforcer as far as the overview looks at it."""

    def __init__(self) -> None:
        self.hangs = False
        self.enforcer = self

    async def dropped(self) -> dict[str, int]:
        """What was dropped, if it answers."""
        await trio.lowlevel.checkpoint()
        if self.hangs:
            await trio.sleep_forever()
        return {"dropped4_auth": 3}


def parts_with(kernel: Kernel, bench: Bench | None = None) -> Parts:
    """The few parts that are looked at when the totals are read, and a bench's guard."""
    console = SimpleNamespace(enforcement=kernel, guard=bench and bench.guard)
    seen = {"console": console, "tally": Tally(), "without_kernel": ""}
    return cast("Parts", SimpleNamespace(**seen, health=Health(lambda *_: None)))


async def test_a_running_guard_tells_what_is_going_on(run: Run) -> None:  # noqa: F811
    async with run() as guard:
        peer, backend = await guard.imap()
        await peer.send(b"a1 LOGIN ann wrong\r\n")
        await backend.hear_line()
        await backend.send(b"a1 NO [AUTHENTICATIONFAILED] no\r\n")
        assert (await peer.hear_line()).startswith(b"a1")
        guard.app._ledger.ban(Prefix.parse("198.51.100.9"), Scope.AUTH, Reason.AUTH_FAILURES)
        await trio.sleep(3)
        reply = await asked(guard, verb="overview")
        assert reply["per_minute"] == dict.fromkeys(NAMES, 0) | {
            "sessions": 1,
            "logins_failed": 1,
            "bans": 1,
        }
        assert reply["accounts"] == [{"account": "ann", "refusals": 1, "networks": 1}]
        assert {one["listener"]: one["dialogue"] for one in reply["listeners"]} == {
            "mx": 0,
            "imaps": 1,
        }
        assert reply["health"]["store"] == "ok"
        chart = await asked(guard, verb="series", span="hour")
        assert sum(chart["rows"]["logins_failed"]) == 1
        assert (chart["step_s"], (await asked(guard, verb="series", span="day"))["step_s"]) == (
            10,
            300,
        )
        refused = await asked(guard, verb="series", span="year")
        assert (refused["ok"], refused["code"]) == (False, "bad-request")
