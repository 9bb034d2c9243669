"""The herald: whom it tells, in which order, and what a messenger that fails or hangs costs."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import trio
import trio.testing

from gatekeeper import notices
from gatekeeper.errors import DeliveryError
from gatekeeper.log import Log
from gatekeeper.notices import NoticeKind
from gatekeeper.notify import MAX_EARLY, Herald
from gatekeeper.policy.notice_rate import AT_ONCE, WINDOW_S

MOMENT_S = 0.01  # virtual


@dataclass
class Fake:
    """A messenger that remembers what it took, slow or unwilling where a test says so."""

    name: str = "exec"
    takes_s: float = 0.0
    failure: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    under_way: int = 0
    patience: list[bool] = field(default_factory=list)

    async def send(self, body: bytes, *, patient: bool = True) -> None:
        """See `gatekeeper.abc.Messenger`."""
        self.under_way += 1
        assert self.under_way == 1, "never more than one at a time"
        self.patience.append(patient)
        try:
            await trio.sleep(self.takes_s)
        finally:
            self.under_way -= 1
        if self.failure:
            raise DeliveryError(self.failure)
        self.bodies.append(json.loads(body))

    @property
    def texts(self) -> list[str]:
        return [body["text"] for body in self.bodies]


@dataclass
class Rig:
    herald: Herald
    log: Log
    logged: list[bytes]

    async def lines(self) -> str:
        await self.log.aclose()
        return b"".join(self.logged).decode()


@asynccontextmanager
async def running(*messengers: Fake) -> AsyncIterator[Rig]:
    logged: list[bytes] = []
    log = Log(logged.append)
    herald = Herald(messengers, "mail.example.org", log, lambda: 1_700_000_000.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(herald.run)
        await trio.testing.wait_all_tasks_blocked()
        yield Rig(herald, log, logged)
        nursery.cancel_scope.cancel()


def zones(herald: Herald, number: int) -> None:
    for each in range(number):
        herald.tell(notices.zone(f"z{each}.example", "refused"))


async def test_each_messenger_is_told_in_order(autojump_clock: trio.testing.MockClock) -> None:
    program, webhook = Fake(), Fake("webhook", takes_s=3.0)
    async with running(program, webhook) as rig:
        zones(rig.herald, 2)
        await trio.sleep(10)
    assert program.texts == webhook.texts
    assert [body["subject"] for body in program.bodies] == ["z0.example", "z1.example"]
    assert program.bodies[0]["host"] == "mail.example.org"
    assert rig.herald.report() == {"sent": 4, "failed": 0, "waiting": 0}


async def test_a_flood_is_summed_up(autojump_clock: trio.testing.MockClock) -> None:
    fake = Fake()
    async with running(fake) as rig:
        zones(rig.herald, AT_ONCE + 38)
        await trio.sleep(WINDOW_S - 1)
        assert len(fake.bodies) == AT_ONCE
        await trio.sleep(2)
    assert len(fake.bodies) == AT_ONCE + 1
    assert fake.bodies[-1]["more"] == 37
    assert fake.texts[-1].endswith(" (and 37 more)")


async def test_a_messenger_that_fails_is_logged_and_keeps_nobody_else_from_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    autojump_clock.autojump_threshold = 0.1  # the log writes in a thread
    bad, good = Fake(failure="it ended with status 3"), Fake("webhook")
    async with running(bad, good) as rig:
        zones(rig.herald, 2)
        await trio.sleep(1)
        assert len(good.bodies) == 2
        assert rig.herald.report()["failed"] == 2
        lines = await rig.lines()
    assert lines.count("notify-failed by=exec kind=zone subject=z0.example") == 1
    assert 'error="it ended with status 3"' in lines


async def test_a_messenger_that_hangs_holds_up_notices_and_no_teller(
    autojump_clock: trio.testing.MockClock,
) -> None:
    slow = Fake(takes_s=2 * WINDOW_S)
    async with running(slow) as rig:
        for _ in range(20):
            before = trio.current_time()
            for each in range(5 * AT_ONCE):
                rig.herald.tell(notices.zone(f"z{each}.example", "refused"))
                rig.herald.tell(notices.backend(f"b{each}", "refused"))
            assert trio.current_time() == before
            await trio.sleep(WINDOW_S)
            waiting = rig.herald.report()["waiting"]
            assert waiting <= len(NoticeKind) * (AT_ONCE + 1)
        assert waiting > 0
        assert rig.herald.report()["sent"] == len(slow.bodies) > 0


async def test_a_fault_of_our_own_costs_a_notice_and_no_more(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class Broken(Fake):
        async def send(self, body: bytes, *, patient: bool = True) -> None:
            raise UnicodeError("label empty or too long: https://secret")

    good = Fake("webhook")
    async with running(Broken(), good) as rig:
        zones(rig.herald, 2)
        await trio.sleep(1)
        assert await rig.herald.hand_over_now(notices.test()) == [
            ("exec", "a fault of gatekeeper: UnicodeError"),
            ("webhook", ""),
        ]
    assert len(good.bodies) == 3


def test_what_is_told_before_the_run_is_not_lost() -> None:
    fake = Fake()
    herald = Herald((fake,), "mail.example.org", Log(lambda _octets: None))
    for number in range(MAX_EARLY + 5):
        herald.tell(notices.part(f"part {number}", "no such directory"))

    async def run() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(herald.run)
            await trio.sleep(1)
            nursery.cancel_scope.cancel()

    trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))
    assert fake.bodies[0]["subject"] == "part 5"
    assert len(fake.bodies) == AT_ONCE


async def test_nobody_named_nobody_told(autojump_clock: trio.testing.MockClock) -> None:
    async with running() as rig:
        assert not rig.herald.named
        zones(rig.herald, 500)
        late = Fake()
        rig.herald.reconfigure((late,), "other.example.org")
        await trio.sleep(2 * WINDOW_S)
        assert late.bodies == []
        zones(rig.herald, 1)
        await trio.sleep(1)
    assert [body["host"] for body in late.bodies] == ["other.example.org"]


async def test_a_trial_goes_past_the_rate_and_is_tried_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    good, bad = Fake(), Fake("webhook", failure="hooks.example: HTTP status 404")
    async with running(good, bad) as rig:
        zones(rig.herald, AT_ONCE)
        await trio.sleep(1)
        results = await rig.herald.hand_over_now(notices.test())
    assert results == [("exec", ""), ("webhook", "hooks.example: HTTP status 404")]
    assert good.bodies[-1]["kind"] == "test"
    assert good.patience == [True] * AT_ONCE + [False]
