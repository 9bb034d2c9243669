"""What the policy knows goes to the Store: in rounds, in batches, through outages, once."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest
import trio
import trio.testing

from gatekeeper.abc import Store
from gatekeeper.errors import GatekeeperError, StoreError
from gatekeeper.events import AuthAttempt, AuthOutcome, AuthResult
from gatekeeper.policy import recollection
from gatekeeper.policy.evidence import Evidence
from gatekeeper.policy.keys import Place, place
from gatekeeper.prefix import Prefix, entity
from gatekeeper.remembered import (
    AccountLock,
    FamiliarPair,
    LockKind,
    Memory,
)
from gatekeeper.remembering import INTERVAL_S, MAX_BATCH, PolicyMemory, Remembering
from gatekeeper.secret import Secret
from gatekeeper.settings import PolicySettings
from gatekeeper.store.memory import MemoryStore
from gatekeeper.store.sqlite import SqliteStore

START: Final = 1_700_000_000.0
HOME: Final = place(entity("203.0.113.9"))
ELSEWHERE: Final = place(entity("198.51.100.7"))


def clock() -> float:
    return START + trio.current_time()


def pair(number: int, last_at: float = START) -> FamiliarPair:
    return FamiliarPair(number, Prefix.parse("192.0.2.0/24"), START, last_at)


class Changes:
    """A source of pairs by account: what changed again is drained as it is by then."""

    def __init__(self) -> None:
        self.changed: dict[int, None] = {}
        self.last_at: dict[int, float] = {}

    def change(self, *numbers: int, last_at: float = START) -> None:
        for number in numbers:
            self.changed[number] = None
            self.last_at[number] = last_at

    def drain(self, limit: int) -> list[Memory]:
        taken = list(self.changed)[:limit]
        for number in taken:
            del self.changed[number]
        return [pair(number, self.last_at[number]) for number in taken]

    def put_back(self, memories: Sequence[Memory]) -> None:
        for memory in memories:
            assert isinstance(memory, FamiliarPair)
            self.changed[memory.account] = None


class FlakyStore(MemoryStore):
    """A Store that keeps nothing while it is `broken`, and never the account `refused`."""

    def __init__(self) -> None:
        super().__init__(memory_s=1.0)
        self.broken = False
        self.refused: int | None = None
        self.attempts = 0
        self.written: list[list[Memory]] = []
        self.gate = trio.Event()
        self.gate.set()

    async def remember(self, memories: Sequence[Memory], now: float) -> None:
        self.attempts += 1
        await self.gate.wait()
        refused = any(
            isinstance(each, FamiliarPair) and each.account == self.refused for each in memories
        )
        if self.broken or refused:
            raise StoreError("disk full")
        await super().remember(memories, now)
        self.written.append(list(memories))

    @property
    def sizes(self) -> list[int]:
        return [len(batch) for batch in self.written]


class Desk:
    """A source, a Store and what remembers between them."""

    def __init__(self) -> None:
        self.source = Changes()
        self.store = FlakyStore()
        self.health: list[GatekeeperError | None] = []
        self.remembering = Remembering(
            self.source, self.store, clock=clock, on_health=self.health.append
        )

    async def accounts(self) -> set[int]:
        found = await self.store.recall(clock())
        return {each.account for each in found if isinstance(each, FamiliarPair)}


@pytest.fixture
async def desk(nursery: trio.Nursery) -> Desk:
    desk = Desk()
    nursery.start_soon(desk.remembering.run)
    await trio.testing.wait_all_tasks_blocked()
    return desk


async def a_round() -> None:
    await trio.sleep(INTERVAL_S)
    await trio.testing.wait_all_tasks_blocked()


async def test_what_changed_is_written_once(
    desk: Desk, autojump_clock: trio.testing.MockClock
) -> None:
    desk.source.change(1, 2)
    assert desk.store.attempts == 0, "nothing waits for the Store"
    await a_round()
    await a_round()
    assert desk.store.written == [[pair(1), pair(2)]]
    assert desk.health == []


async def test_what_changed_often_is_one_record(
    desk: Desk, autojump_clock: trio.testing.MockClock
) -> None:
    for second in range(5):
        desk.source.change(1, last_at=START + second)
    await a_round()
    assert desk.store.written == [[pair(1, START + 4)]]


async def test_many_changes_go_in_batches_in_one_round(
    desk: Desk, autojump_clock: trio.testing.MockClock
) -> None:
    desk.source.change(*range(2 * MAX_BATCH + 1))
    await a_round()
    assert desk.store.sizes == [MAX_BATCH, MAX_BATCH, 1]
    assert await desk.accounts() == set(range(2 * MAX_BATCH + 1))


async def test_a_lost_store_is_said_once_and_so_is_its_return(
    desk: Desk, autojump_clock: trio.testing.MockClock
) -> None:
    desk.store.broken = True
    desk.source.change(1)
    for _ in range(5):
        await a_round()
    assert [str(error) for error in desk.health] == ["disk full"]
    desk.store.broken = False
    for _ in range(5):
        await a_round()
    assert desk.health[1:] == [None]
    assert await desk.accounts() == {1}


async def test_an_outage_loses_nothing_and_writes_the_latest_value(
    desk: Desk, autojump_clock: trio.testing.MockClock
) -> None:
    desk.store.broken = True
    desk.source.change(1, 2)
    await a_round()
    desk.source.change(2, last_at=START + 40)
    desk.source.change(3)
    await a_round()
    desk.store.broken = False
    await a_round()
    await a_round()
    assert set(await desk.store.recall(clock())) == {pair(1), pair(2, START + 40), pair(3)}
    assert sum(desk.store.sizes) == 3, "each once"


async def test_an_outage_is_tried_again_once_a_round(
    desk: Desk, autojump_clock: trio.testing.MockClock
) -> None:
    desk.store.broken = True
    desk.source.change(*range(3 * MAX_BATCH))
    for _ in range(4):
        await a_round()
    assert desk.store.attempts == 4
    desk.store.broken = False
    for _ in range(3):
        await a_round()
    assert await desk.accounts() == set(range(3 * MAX_BATCH))
    assert max(desk.store.sizes) <= MAX_BATCH


async def test_a_record_refused_for_itself_does_not_hold_up_the_others(
    desk: Desk, autojump_clock: trio.testing.MockClock
) -> None:
    desk.store.refused = 7
    desk.source.change(*range(100))
    for _ in range(20):
        await a_round()
    assert await desk.accounts() == set(range(100)) - {7}
    assert list(desk.source.changed) == [7]


async def test_flush_writes_what_no_round_has(desk: Desk) -> None:
    desk.source.change(*range(MAX_BATCH + 5))
    await desk.remembering.flush()
    assert await desk.accounts() == set(range(MAX_BATCH + 5))


async def test_flush_gives_up_at_the_first_failure(desk: Desk) -> None:
    desk.store.broken = True
    desk.source.change(*range(3 * MAX_BATCH))
    await desk.remembering.flush()
    assert desk.store.attempts == 1
    assert set(desk.source.changed) == set(range(3 * MAX_BATCH))


async def test_a_cancelled_write_is_written_by_flush(
    autojump_clock: trio.testing.MockClock,
) -> None:
    desk = Desk()
    desk.source.change(1)
    desk.store.gate = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.remembering.run)
        await a_round()
        assert desk.store.attempts == 1
        nursery.cancel_scope.cancel()
    assert desk.store.written == []
    desk.store.gate.set()
    await desk.remembering.flush()
    assert desk.store.written == [[pair(1)]]
    assert desk.health == []


async def test_a_fault_of_ours_is_not_taken_for_an_outage() -> None:
    desk = Desk()

    async def remember(memories: Sequence[Memory], now: float) -> None:
        await trio.lowlevel.checkpoint()
        raise TypeError("no record")

    desk.store.remember = remember  # type: ignore[method-assign]  # a Store with a bug
    desk.source.change(1)
    with pytest.raises(TypeError):
        await desk.remembering.flush()
    assert list(desk.source.changed) == [1]


# -- a guard's own memory -------------------------------------------------------------------


def evidence() -> Evidence:
    return Evidence(PolicySettings(), account_secret=b"account", password_secret=b"password")


def login(guard: Evidence, where: Place, password: str, result: AuthResult) -> None:
    attempt = AuthAttempt("PLAIN", "ann@example.org", secret=Secret(password.encode()))
    guard.attempt(attempt, where, clock())
    guard.outcome(AuthOutcome(attempt, result), where, clock())


def live_a_morning(guard: Evidence) -> None:
    """A person at home, guesses from elsewhere, a lock of the operator's."""
    login(guard, HOME, "right", AuthResult.SUCCESS)
    for number in range(6):
        login(guard, ELSEWHERE, f"wrong {number}", AuthResult.FAILURE)
    key = guard.logins.account_key("bob@example.org")
    guard.logins.lock(AccountLock(key, LockKind.OPERATOR, clock(), None, "left us"))


def no_news(error: GatekeeperError | None) -> None:
    pytest.fail(f"the Store is well, and yet: {error}")


def score(guard: Evidence, where: Place) -> float:
    return guard.logins.neighbourhood.scores.sources.value(where.source, clock())


async def restarted(store: Store) -> Evidence:
    """A guard that starts now and knows what `store` kept."""
    guard = evidence()
    recollection.recall(guard, await store.recall(clock()), clock())
    return guard


async def test_a_guard_that_starts_anew_knows_what_the_last_one_did(tmp_path: Path) -> None:
    before = evidence()
    live_a_morning(before)
    store = await SqliteStore.open(tmp_path / "gatekeeper.db", 1.0)
    remembering = Remembering(PolicyMemory(before, clock), store, clock=clock, on_health=no_news)
    await remembering.flush()
    await store.aclose()
    store = await SqliteStore.open(tmp_path / "gatekeeper.db", 1.0)
    after = await restarted(store)
    await store.aclose()
    assert score(before, ELSEWHERE) > 1.0
    assert score(after, ELSEWHERE) == pytest.approx(score(before, ELSEWHERE))
    assert score(after, HOME) == score(before, HOME) == 0.0
    ann, bob = map(after.logins.account_key, ("Ann@example.org", "bob@example.org"))
    account = after.logins.accounts.get(ann)
    assert account is not None
    assert list(account.nets) == [HOME.net]
    lock = after.logins.locks.find(bob, LockKind.OPERATOR, clock())
    assert lock is not None
    assert lock.note == "left us"


async def test_nothing_is_scored_twice_after_the_store_was_lost() -> None:
    before, store = evidence(), FlakyStore()
    health: list[GatekeeperError | None] = []
    remembering = Remembering(
        PolicyMemory(before, clock), store, clock=clock, on_health=health.append
    )
    live_a_morning(before)
    await remembering.flush()
    store.broken = True
    for number in range(3):
        login(before, ELSEWHERE, f"worse {number}", AuthResult.FAILURE)
        await remembering.flush()
    risen = score(before, ELSEWHERE)
    store.broken = False
    for _ in range(3):
        await remembering.flush()
    assert score(before, ELSEWHERE) == pytest.approx(risen), "writing changes nothing in memory"
    assert score(await restarted(store), ELSEWHERE) == pytest.approx(risen)
    assert [error is None for error in health] == [False, True]


async def test_what_was_learned_of_passwords_is_in_no_record(tmp_path: Path) -> None:
    guard = evidence()
    live_a_morning(guard)
    store = await SqliteStore.open(tmp_path / "gatekeeper.db", 1.0)
    memory = PolicyMemory(guard, clock)
    await Remembering(memory, store, clock=clock, on_health=no_news).flush()
    await store.aclose()
    octets = (tmp_path / "gatekeeper.db").read_bytes()
    assert b"left us" in octets, "the file is readable"
    for word in (b"ann", b"bob", b"example.org", b"right", b"wrong"):
        assert word not in octets


async def test_a_guard_with_nothing_new_writes_nothing() -> None:
    guard, store = evidence(), FlakyStore()
    live_a_morning(guard)
    remembering = Remembering(PolicyMemory(guard, clock), store, clock=clock, on_health=no_news)
    await remembering.flush()
    attempts = store.attempts
    await remembering.flush()
    assert store.attempts == attempts > 0
