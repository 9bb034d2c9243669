"""The Enforcer in memory."""

import pytest
from contracts.enforcer import ADDRESS, NOW, EnforcerContract, ban

from gatekeeper.abc import Enforcer, Lift
from gatekeeper.ban import Scope
from gatekeeper.enforce import memory
from gatekeeper.enforce.memory import MemoryEnforcer
from gatekeeper.errors import EnforcerError
from gatekeeper.prefix import Prefix


class _Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> _Clock:
    return _Clock()


class TestMemoryEnforcer(EnforcerContract):
    @pytest.fixture
    def enforcer(self, clock: _Clock) -> Enforcer:
        return MemoryEnforcer(clock)


async def test_a_ban_runs_out_by_itself(clock: _Clock) -> None:
    enforcer = MemoryEnforcer(clock)
    await enforcer.apply([ban(seconds=60.0)], NOW)
    clock.seconds += 59.0
    assert await enforcer.remaining_s(ADDRESS, Scope.AUTH) == 1.0
    clock.seconds += 1.0
    assert await enforcer.remaining_s(ADDRESS, Scope.AUTH) is None
    assert await enforcer.held() == []


async def test_fractions_of_a_second_are_rounded_up(clock: _Clock) -> None:
    enforcer = MemoryEnforcer(clock)
    await enforcer.apply([ban(seconds=0.25)], NOW)
    assert await enforcer.remaining_s(ADDRESS, Scope.AUTH) == 1.0


async def test_a_full_enforcer_refuses_whole_lists_and_recovers(
    clock: _Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "HELD_MAX", 3)
    prefixes = [Prefix(bytes([10, 0, 0, i]), 32) for i in range(4)]
    enforcer = MemoryEnforcer(clock)
    await enforcer.apply([ban(prefix, 60.0) for prefix in prefixes[:3]], NOW)
    with pytest.raises(EnforcerError):
        await enforcer.apply([ban(prefixes[0], 600.0), ban(prefixes[3])], NOW)
    assert await enforcer.remaining_s(prefixes[0], Scope.AUTH) == 60.0
    await enforcer.apply([ban(prefixes[0], 600.0), ban(prefixes[1], 60.0)], NOW)
    await enforcer.apply([Lift(prefixes[2], Scope.AUTH)], NOW)
    await enforcer.apply([ban(prefixes[3])], NOW)
    clock.seconds += 60.0
    await enforcer.apply([ban(prefixes[2])], NOW)
    assert len(await enforcer.held()) == 3
