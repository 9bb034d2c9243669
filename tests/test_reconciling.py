"""Ledger and Enforcer differ in every way there is, and agree afterwards."""

from collections import Counter
from collections.abc import Iterable

import pytest
import trio
import trio.testing
from contracts.enforcer import held_keys

from gatekeeper.abc import HeldBan, Lift
from gatekeeper.ban import Ban, Origin, Scope
from gatekeeper.enforce.memory import MemoryEnforcer
from gatekeeper.errors import EnforcerError
from gatekeeper.ledger import Ledger
from gatekeeper.prefix import Prefix
from gatekeeper.propagation import enforcer_feed
from gatekeeper.reconciling import LOOK_S, PAGE, Hooks, Reconciler, Repair
from gatekeeper.settings import PolicySettings
from gatekeeper.verdict import Reason

ONE, TWO, NEVER = map(Prefix.parse, ("192.0.2.1", "192.0.2.2", "198.51.100.1"))
AUTH = Scope.AUTH
Clock = trio.testing.MockClock


class Kernel(MemoryEnforcer):
    """Holds bans in memory; fails when told to, and lets a test in between."""

    def __init__(self) -> None:
        super().__init__(trio.current_time)
        self.broken = False
        self.fills: list[int] = []
        self.gate = trio.Event()
        self.gate.set()

    async def fill(self, ends: Iterable[tuple[Prefix, Scope, float]], now: float) -> None:
        if self.broken:
            raise EnforcerError("gone")
        pages = list(ends)
        self.fills.append(len(pages))
        await self.gate.wait()
        await super().fill(pages, now)


class Desk:
    """A Ledger, a kernel, the feed and the reconciler between them, and what they said."""

    def __init__(self) -> None:
        self.kernel = Kernel()
        self.ledger = Ledger(PolicySettings(), (NEVER,), trio.current_time)
        self.feed = enforcer_feed(
            self.ledger, self.kernel.apply, clock=trio.current_time, on_health=lambda _: None
        )
        self.prepared: list[bool] = []
        self.said: list[object] = []
        hooks = Hooks(
            prepare=self._prepare,
            on_repair=self.said.append,
            on_lifted=lambda *key: self.said.append(("lifted", *key)),
            on_refused=lambda *key: self.said.append(("refused", *key)),
            on_flood=lambda prefix: self.said.append(("flood", prefix)),
        )
        self.reconciler = Reconciler(
            self.ledger, self.kernel, self.feed, clock=trio.current_time, hooks=hooks
        )

    async def _prepare(self, anew: bool) -> None:
        self.prepared.append(anew)

    def ban(self, prefix: Prefix, seconds: float = 600.0) -> Ban:
        ban = self.ledger.ban(
            prefix, AUTH, Reason.OPERATOR, seconds=seconds, origin=Origin.OPERATOR
        )
        assert ban is not None
        return ban

    async def holds(self, prefix: Prefix, seconds: float) -> None:
        """Have the kernel hold what the Ledger does not know."""
        ends = [(prefix, AUTH, trio.current_time() + seconds)]
        await MemoryEnforcer.fill(self.kernel, ends, trio.current_time())

    async def left_s(self, prefix: Prefix) -> float | None:
        return await self.kernel.remaining_s(prefix, AUTH)


@pytest.fixture
async def desk(nursery: trio.Nursery) -> Desk:
    made = Desk()
    nursery.start_soon(made.feed.run)
    await trio.testing.wait_all_tasks_blocked()
    return made


async def test_where_both_agree_nothing_is_done(desk: Desk, autojump_clock: Clock) -> None:
    desk.ban(ONE)
    await desk.feed.applied()
    assert await desk.reconciler.once() == Counter()
    assert desk.said == []
    assert desk.kernel.fills == []


async def test_what_only_the_ledger_has_is_put_in(desk: Desk, autojump_clock: Clock) -> None:
    desk.ban(ONE)
    desk.ban(TWO, 60.0)
    await desk.feed.applied()
    await desk.kernel.apply([Lift(ONE, AUTH), Lift(TWO, AUTH)], trio.current_time())
    assert await desk.reconciler.once() == {Repair.MISSING: 2}
    assert await desk.left_s(ONE) == pytest.approx(600.0, abs=1.0)
    assert await desk.left_s(TWO) == pytest.approx(60.0, abs=1.0)
    assert desk.said == [Counter({Repair.MISSING: 2})]


async def test_an_end_that_differs_is_set_right(desk: Desk, autojump_clock: Clock) -> None:
    await desk.holds(ONE, 50.0)
    desk.ledger.restore([Ban(ONE, AUTH, Reason.OPERATOR, 1, 0.0, trio.current_time() + 600.0)])
    assert await desk.reconciler.once() == {Repair.END: 1}
    await desk.feed.applied()
    assert await desk.left_s(ONE) == pytest.approx(600.0, abs=1.0)


async def test_a_second_of_difference_is_none(desk: Desk, autojump_clock: Clock) -> None:
    desk.ban(ONE, 600.0)
    await desk.feed.applied()
    await desk.kernel.apply([Lift(ONE, AUTH)], trio.current_time())
    await desk.holds(ONE, 601.0)
    await desk.holds(TWO, 1.0)  # has ended in the Ledger, and is rounded up in the kernel
    assert await desk.reconciler.once() == Counter()


async def test_what_only_the_kernel_has_becomes_a_ban(desk: Desk, autojump_clock: Clock) -> None:
    await desk.holds(ONE, 300.0)
    assert await desk.reconciler.once() == {Repair.UNKNOWN: 1}
    (ban,) = desk.ledger.bans()
    assert (ban.prefix, ban.reason, ban.origin) == (ONE, Reason.HELD_BY_KERNEL, Origin.IMPORT)
    assert ban.until - trio.current_time() == pytest.approx(300.0)


async def test_what_is_never_banned_is_lifted(desk: Desk, autojump_clock: Clock) -> None:
    await desk.holds(NEVER, 300.0)
    assert await desk.reconciler.once() == {Repair.EXEMPT: 1}
    await desk.feed.applied()
    assert await held_keys(desk.kernel) == set()


async def test_what_has_ended_by_a_clock_that_was_set_is_lifted(
    desk: Desk, autojump_clock: Clock
) -> None:
    desk.ban(ONE, 10.0)
    await desk.feed.applied()
    await trio.sleep(20.0)
    desk.ledger.prune()
    await desk.holds(ONE, 300.0)
    assert await desk.reconciler.once() == {Repair.ENDED: 1}
    await desk.feed.applied()
    assert await held_keys(desk.kernel) == set()


async def test_a_lift_under_way_is_no_unknown_ban(desk: Desk, autojump_clock: Clock) -> None:
    desk.ban(ONE)
    await desk.feed.applied()
    desk.ledger.lift(ONE, AUTH)  # the kernel has not heard of it when it is read
    assert await desk.reconciler.once() == Counter()
    assert desk.ledger.bans() == []
    assert await held_keys(desk.kernel) == set()


async def test_a_lift_while_a_page_is_under_way_is_not_undone(
    desk: Desk, autojump_clock: Clock
) -> None:
    desk.ban(ONE)
    desk.ban(TWO)
    await desk.feed.applied()
    await desk.kernel.apply([Lift(ONE, AUTH), Lift(TWO, AUTH)], trio.current_time())
    desk.kernel.gate = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.reconciler.once)
        await trio.testing.wait_all_tasks_blocked()
        assert desk.kernel.fills == [2]
        desk.ledger.lift(ONE, AUTH)
        desk.ban(TWO, 60.0)
        await desk.feed.applied()
        desk.kernel.gate.set()  # and now the page arrives, with both as they were
    await desk.feed.applied()
    assert await held_keys(desk.kernel) == {(str(TWO), AUTH)}
    assert await desk.left_s(TWO) == pytest.approx(60.0, abs=1.0)


async def test_many_go_in_pages(desk: Desk, autojump_clock: Clock) -> None:
    desk.ledger.restore(
        Ban(
            Prefix(bytes([10, i >> 16, i >> 8 & 255, i & 255]), 32),
            AUTH,
            Reason.OPERATOR,
            1,
            0,
            9e9,
        )
        for i in range(2 * PAGE + 5)
    )
    assert await desk.reconciler.once() == {Repair.MISSING: 2 * PAGE + 5}
    assert desk.kernel.fills == [PAGE, PAGE, 5]


async def test_elements_changed_by_hand_are_the_operators_word(
    desk: Desk, autojump_clock: Clock
) -> None:
    desk.ban(ONE)
    desk.reconciler.lifted(ONE, AUTH)
    desk.reconciler.lifted(ONE, AUTH)  # what is lifted is lifted
    assert desk.said == [("lifted", ONE, AUTH)]
    assert desk.ledger.bans() == []
    desk.reconciler.added(HeldBan(TWO, AUTH, 90.0))
    desk.reconciler.added(HeldBan(NEVER, AUTH, 90.0))
    (ban,) = desk.ledger.bans()
    assert (ban.prefix, ban.reason, ban.origin) == (TWO, Reason.OPERATOR, Origin.OPERATOR)
    await desk.feed.applied()
    assert await held_keys(desk.kernel) == {(str(TWO), AUTH)}


async def test_a_ban_of_our_own_is_not_shortened_by_an_element(
    desk: Desk, autojump_clock: Clock
) -> None:
    desk.ban(ONE, 600.0)
    await desk.feed.applied()
    desk.reconciler.added(HeldBan(ONE, AUTH, 5.0))
    assert desk.ledger.remaining_s(ONE, AUTH) == pytest.approx(600.0, abs=1.0)


async def test_news_are_passed_on(desk: Desk, autojump_clock: Clock) -> None:
    await desk.feed.applied()
    desk.reconciler.refused(ONE, AUTH)
    desk.reconciler.flooding(TWO)
    assert desk.said == [("refused", ONE, AUTH), ("flood", TWO)]


async def test_it_runs_at_once_when_asked_and_now_and_then(
    desk: Desk, nursery: trio.Nursery, autojump_clock: Clock
) -> None:
    nursery.start_soon(desk.reconciler.run)
    await trio.sleep(1.0)
    assert desk.prepared == [True]
    desk.reconciler.rebuilt()
    await trio.sleep(1.0)
    assert desk.prepared == [True, False]
    desk.reconciler.doubtful()
    await trio.sleep(1.0)
    assert desk.prepared == [True, False, True]
    await trio.sleep(2 * LOOK_S)
    assert desk.prepared == [True, False, True, False, False]


async def test_a_failure_is_tried_again_and_tells_everything_anew(
    desk: Desk, nursery: trio.Nursery, autojump_clock: Clock
) -> None:
    desk.ledger.restore([Ban(ONE, AUTH, Reason.OPERATOR, 1, 0.0, 9e9)])
    desk.kernel.broken = True
    nursery.start_soon(desk.reconciler.run)
    await trio.sleep(60.0)
    assert 5 < len(desk.prepared) < 30
    assert all(desk.prepared)
    desk.kernel.broken = False
    await trio.sleep(10.0)
    assert desk.reconciler.repaired == {Repair.MISSING: 1}
    assert await held_keys(desk.kernel) == {(str(ONE), AUTH)}
