"""The Store in memory."""

import pytest
from contracts.store import MEMORY_S, NOW, StoreContract, ban, pair

from gatekeeper.abc import Store
from gatekeeper.policy.accounts import FAMILIAR_S
from gatekeeper.prefix import Prefix
from gatekeeper.store import memory
from gatekeeper.store.memory import PRUNE_FLOOR, MemoryStore


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def store(self) -> Store:
        return MemoryStore(MEMORY_S)


async def test_bans_past_memory_are_dropped() -> None:
    store = MemoryStore(MEMORY_S)
    old = [ban(Prefix(i.to_bytes(4, "big"), 32), until=NOW) for i in range(PRUNE_FLOOR - 1)]
    await store.record(old, NOW)
    assert len(await store.load(NOW)) == PRUNE_FLOOR - 1
    await store.record([ban()], NOW + MEMORY_S)
    assert await store.load(NOW) == [ban()], "a walk back in time shows what is still held"


async def test_records_of_no_more_interest_are_dropped() -> None:
    store = MemoryStore(MEMORY_S)
    await store.remember([pair(account) for account in range(PRUNE_FLOOR - 1)], NOW)
    await store.remember([pair(PRUNE_FLOOR, last_at=NOW + FAMILIAR_S)], NOW + FAMILIAR_S)
    assert await store.recall(NOW) == [pair(PRUNE_FLOOR, last_at=NOW + FAMILIAR_S)]


async def test_the_newest_pairs_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MAX_PAIRS", 3)
    store = MemoryStore(MEMORY_S)
    await store.remember([pair(at, last_at=NOW + at) for at in range(PRUNE_FLOOR)], NOW)
    kept = range(PRUNE_FLOOR)[-3:]
    assert await store.recall(NOW) == [pair(at, last_at=NOW + at) for at in kept]
