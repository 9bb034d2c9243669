"""Feeds: at once, in batches, the last change per key, and through outages."""

from collections.abc import Sequence

import pytest
import trio
import trio.testing

from gatekeeper import propagation
from gatekeeper.abc import BanChange, HeldBan, Lift
from gatekeeper.ban import Ban, Origin, Scope
from gatekeeper.errors import EnforcerError, EnforcerFull, GatekeeperError, StoreError
from gatekeeper.ledger import Ledger
from gatekeeper.prefix import Prefix
from gatekeeper.propagation import MAX_BATCH, MAX_PAUSE_S, ChangeFeed, enforcer_feed, store_feed
from gatekeeper.settings import PolicySettings
from gatekeeper.store.memory import MemoryStore
from gatekeeper.verdict import Reason


class Follower:
    """An Enforcer that keeps what it is told, and fails when told to."""

    def __init__(self) -> None:
        self.batches: list[list[BanChange]] = []
        self.attempts = 0
        self.broken = False
        self.refused: Prefix | None = None
        self.full: Prefix | None = None
        self.gate = trio.Event()
        self.gate.set()

    async def apply(self, changes: Sequence[BanChange], now: float) -> None:
        self.attempts += 1
        await self.gate.wait()
        if any(change.prefix == self.full for change in changes):
            raise EnforcerFull("no room")
        if self.broken or any(change.prefix == self.refused for change in changes):
            raise EnforcerError("nobody answers")
        self.batches.append(list(changes))

    async def held(self) -> list[HeldBan]:
        return []

    async def remaining_s(self, prefix: Prefix, scope: Scope) -> float | None:
        return None

    async def dropped(self) -> dict[str, int]:
        return {}

    async def aclose(self) -> None:
        pass

    @property
    def applied(self) -> list[BanChange]:
        return [change for batch in self.batches for change in batch]


class Desk:
    """A Ledger on Trio's clock, a Follower, and the feed between them."""

    def __init__(self) -> None:
        self.ledger = Ledger(PolicySettings(), (), trio.current_time)
        self.follower = Follower()
        self.health: list[GatekeeperError | None] = []
        self.feed = enforcer_feed(
            self.ledger, self.follower.apply, clock=trio.current_time, on_health=self.health.append
        )

    def ban(self, number: int, seconds: float | None = None) -> Ban:
        ban = self.ledger.ban(
            host(number), Scope.AUTH, Reason.OPERATOR, seconds=seconds, origin=Origin.OPERATOR
        )
        assert ban is not None
        return ban


def host(number: int) -> Prefix:
    return Prefix(number.to_bytes(4, "big"), 32)


@pytest.fixture
async def desk(nursery: trio.Nursery) -> Desk:
    desk = Desk()
    nursery.start_soon(desk.feed.run)
    await trio.testing.wait_all_tasks_blocked()
    return desk


async def test_ban_is_applied_without_waiting_for_a_timer(
    desk: Desk, autojump_clock: trio.testing.MockClock
) -> None:
    before = trio.current_time()
    ban = desk.ban(1)
    await trio.testing.wait_all_tasks_blocked()
    assert desk.follower.batches == [[ban]]
    assert trio.current_time() == before


async def test_changes_made_together_are_one_batch_in_order(
    desk: Desk, autojump_clock: trio.testing.MockClock
) -> None:
    bans = [desk.ban(number) for number in range(5)]
    await trio.testing.wait_all_tasks_blocked()
    assert desk.follower.batches == [bans]


async def test_changes_during_a_batch_make_the_next_one(
    desk: Desk, autojump_clock: trio.testing.MockClock
) -> None:
    desk.follower.gate = trio.Event()
    first = desk.ban(1)
    await trio.testing.wait_all_tasks_blocked()
    second, third = desk.ban(2), desk.ban(3)
    desk.follower.gate.set()
    await trio.testing.wait_all_tasks_blocked()
    assert desk.follower.batches == [[first], [second, third]]


async def test_only_the_last_change_of_a_key_is_applied(
    desk: Desk, autojump_clock: trio.testing.MockClock
) -> None:
    desk.ban(1)
    desk.ledger.lift(host(1), Scope.AUTH)
    desk.ban(2, seconds=10)
    last = desk.ban(2, seconds=20)
    await trio.testing.wait_all_tasks_blocked()
    assert desk.follower.batches == [[Lift(host(1), Scope.AUTH), last]]


async def test_flood_goes_out_in_bounded_batches(
    desk: Desk, autojump_clock: trio.testing.MockClock
) -> None:
    for number in range(2 * MAX_BATCH + 1):
        desk.ban(number)
    await trio.testing.wait_all_tasks_blocked()
    assert [len(batch) for batch in desk.follower.batches] == [MAX_BATCH, MAX_BATCH, 1]


async def test_outage_loses_nothing_and_is_told_once(
    desk: Desk, autojump_clock: trio.testing.MockClock
) -> None:
    desk.follower.broken = True
    first = desk.ban(1, seconds=9_999)
    await trio.sleep(5)
    second = desk.ban(2, seconds=9_999)
    await trio.sleep(100)
    assert desk.follower.batches == []
    assert len(desk.health) == 1
    assert isinstance(desk.health[0], EnforcerError)
    desk.follower.broken = False
    await trio.sleep(propagation.MAX_PAUSE_S)
    assert set(desk.follower.applied) == {first, second}
    assert len(desk.health) == 2
    assert desk.health[1] is None
    assert len(desk.feed) == 0


async def test_retries_grow_apart(desk: Desk, autojump_clock: trio.testing.MockClock) -> None:
    desk.follower.broken = True
    desk.ban(1, seconds=9_999)
    await trio.sleep(3_600)
    assert 700 < desk.follower.attempts < 740, "every five seconds in the end"


async def test_change_made_in_an_outage_replaces_the_one_that_failed(
    desk: Desk, autojump_clock: trio.testing.MockClock
) -> None:
    desk.follower.broken = True
    desk.ban(1)
    await trio.testing.wait_all_tasks_blocked()
    desk.ledger.lift(host(1), Scope.AUTH)
    desk.follower.broken = False
    await trio.sleep(1)
    assert desk.follower.applied == [Lift(host(1), Scope.AUTH)]


async def test_change_made_during_a_failing_batch_is_not_undone_by_the_retry(
    desk: Desk, autojump_clock: trio.testing.MockClock
) -> None:
    desk.follower.gate = trio.Event()
    desk.follower.broken = True
    desk.ban(1)
    await trio.testing.wait_all_tasks_blocked()
    desk.ledger.lift(host(1), Scope.AUTH)
    desk.follower.gate.set()
    await trio.testing.wait_all_tasks_blocked()
    desk.follower.broken = False
    await trio.sleep(1)
    assert desk.follower.applied == [Lift(host(1), Scope.AUTH)]


async def test_ban_that_ended_in_an_outage_is_not_applied(
    desk: Desk, autojump_clock: trio.testing.MockClock
) -> None:
    desk.follower.broken = True
    desk.ban(1, seconds=10)
    lasting = desk.ban(2, seconds=1_000)
    await trio.sleep(60)
    desk.follower.broken = False
    await trio.sleep(60)
    assert desk.follower.applied == [lasting]


async def test_refused_change_does_not_hold_up_the_others(
    desk: Desk, autojump_clock: trio.testing.MockClock
) -> None:
    """The kernel process has its own list of what is never banned."""
    desk.follower.refused = host(3)
    bans = [desk.ban(number, seconds=9_999) for number in range(8)]
    await trio.sleep(300)
    assert set(desk.follower.applied) == {ban for ban in bans if ban.prefix != host(3)}
    assert len(desk.feed) == 1


async def test_what_there_is_no_room_for_holds_nobody_up_and_is_tried_again(
    desk: Desk, autojump_clock: trio.testing.MockClock
) -> None:
    desk.follower.full = host(3)
    started = trio.current_time()
    bans = [desk.ban(number, seconds=9_999) for number in range(8)]
    await desk.feed.applied()
    assert trio.current_time() == started, "nobody paused"
    assert set(desk.follower.applied) == {ban for ban in bans if ban.prefix != host(3)}
    assert len(desk.feed) == 1
    later = desk.ban(9)
    await desk.feed.applied()
    assert trio.current_time() == started
    assert desk.follower.applied[-1] == later
    assert [str(error) for error in desk.health] == ["no room"], "not well while one is left"
    desk.follower.full = None
    await trio.sleep(2 * MAX_PAUSE_S)
    assert desk.follower.applied[-1] == bans[3]
    assert (len(desk.feed), desk.health[-1]) == (0, None)


async def test_a_lift_takes_the_place_of_a_ban_set_aside(
    desk: Desk, autojump_clock: trio.testing.MockClock
) -> None:
    desk.follower.full = host(3)
    desk.ban(3)
    await desk.feed.applied()
    desk.follower.full = None
    desk.ledger.lift(host(3), Scope.AUTH)
    await trio.sleep(2 * MAX_PAUSE_S)
    assert [type(change) for change in desk.follower.applied] == [Lift]


async def test_a_change_applied_again_goes_behind_all_that_waits(
    desk: Desk, autojump_clock: trio.testing.MockClock
) -> None:
    bans = [desk.ban(1), desk.ban(2)]
    await desk.feed.applied()
    desk.follower.batches.clear()
    desk.feed.again(bans[0])
    third = desk.ban(3)
    desk.feed.again(bans[1])
    await desk.feed.applied()
    assert desk.follower.applied == [bans[0], third, bans[1]]


async def test_applied_waits_for_the_batch_under_way(
    desk: Desk, autojump_clock: trio.testing.MockClock
) -> None:
    await desk.feed.applied()
    desk.follower.gate = trio.Event()
    desk.ban(1)
    with trio.move_on_after(10):
        await desk.feed.applied()
        raise AssertionError("the follower has not answered")
    desk.follower.gate.set()
    await desk.feed.applied()


async def test_waiting_changes_are_bounded_and_the_oldest_goes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ledger = Ledger(PolicySettings(), (), trio.current_time)
    follower = Follower()
    feed = ChangeFeed(
        ledger,
        follower.apply,
        EnforcerError,
        clock=trio.current_time,
        on_health=lambda _: None,
        capacity=3,
    )
    for number in range(5):
        ledger.ban(host(number), Scope.AUTH, Reason.OPERATOR)
    assert len(feed) == 3
    await feed.flush()
    assert [change.prefix for change in follower.applied] == [host(2), host(3), host(4)]


async def test_cancelled_batch_is_kept_for_the_flush(
    autojump_clock: trio.testing.MockClock,
) -> None:
    desk = Desk()
    desk.follower.gate = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.feed.run)
        ban = desk.ban(1)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    desk.follower.gate.set()
    await desk.feed.flush()
    assert desk.follower.batches == [[ban]]


async def test_flush_gives_up_at_the_first_failure(
    autojump_clock: trio.testing.MockClock,
) -> None:
    desk = Desk()
    desk.follower.broken = True
    desk.ban(1)
    await desk.feed.flush()
    assert desk.follower.attempts == 1


async def test_store_follows_from_the_next_change_on(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ledger = Ledger(PolicySettings(), (), trio.current_time)
    ledger.ban(host(1), Scope.AUTH, Reason.OPERATOR)
    store = MemoryStore(memory_s=1_000)
    feed = store_feed(ledger, store, clock=trio.current_time, on_health=lambda _: None)
    ban = ledger.ban(host(2), Scope.AUTH, Reason.OPERATOR)
    await feed.flush()
    assert await store.load(trio.current_time()) == [ban]


async def test_store_errors_are_retried(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    failures = iter([StoreError("disk full")])

    class FullOnce(MemoryStore):
        async def record(self, changes: Sequence[BanChange], now: float) -> None:
            for failure in failures:
                raise failure
            await super().record(changes, now)

    ledger = Ledger(PolicySettings(), (), trio.current_time)
    store = FullOnce(memory_s=1_000)
    feed = store_feed(ledger, store, clock=trio.current_time, on_health=lambda _: None)
    nursery.start_soon(feed.run)
    ban = ledger.ban(host(1), Scope.AUTH, Reason.OPERATOR)
    await trio.sleep(1)
    assert await store.load(trio.current_time()) == [ban]
