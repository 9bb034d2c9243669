"""The Store in memory."""

import pytest
from contracts.store import MEMORY_S, NOW, StoreContract, ban

from gatekeeper.abc import Store
from gatekeeper.prefix import Prefix
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
