"""Locks: each kind by itself, ended ones gone, the operator's never pushed out."""

import pytest

from gatekeeper.policy import locks as module
from gatekeeper.policy.locks import Locks
from gatekeeper.remembered import AccountLock, LockKind

NOW = 1_700_000_000.0


def lock(
    account: int = 1, kind: LockKind = LockKind.HELD, until: float | None = NOW + 60
) -> AccountLock:
    return AccountLock(account, kind, NOW, until)


def test_lock_is_found_until_it_ends() -> None:
    locks = Locks()
    locks.put(lock())
    assert locks.find(1, LockKind.HELD, NOW + 59) == lock()
    assert locks.find(1, LockKind.HELD, NOW + 60) is None
    assert locks.find(2, LockKind.HELD, NOW) is None


def test_kinds_are_apart() -> None:
    locks = Locks()
    locks.put(lock(kind=LockKind.HELD))
    assert locks.find(1, LockKind.OPERATOR, NOW) is None
    assert locks.take(1, LockKind.OPERATOR) is None
    assert locks.find(1, LockKind.HELD, NOW) is not None


def test_lock_without_end_stays_until_it_is_taken() -> None:
    locks = Locks()
    locks.put(lock(kind=LockKind.OPERATOR, until=None))
    assert locks.find(1, LockKind.OPERATOR, NOW + 1e9) is not None
    assert locks.take(1, LockKind.OPERATOR) is not None
    assert locks.find(1, LockKind.OPERATOR, NOW) is None


def test_later_lock_replaces_one_of_its_kind() -> None:
    locks = Locks()
    locks.put(lock(until=NOW + 1))
    locks.put(lock(until=NOW + 100))
    assert [each.until for each in locks.in_force(NOW)] == [NOW + 100]


def test_listing_drops_what_has_ended() -> None:
    locks = Locks()
    locks.put(lock(1, until=NOW + 1))
    locks.put(lock(2, until=None))
    assert [each.account for each in locks.in_force(NOW + 2)] == [2]
    assert locks.take(1, LockKind.HELD) is None


def test_overflow_drops_the_oldest_but_never_an_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_LOCKS", 3)
    locks = Locks()
    for account in range(10):
        for kind in LockKind:
            locks.put(lock(account, kind, until=None))
    kept = {
        kind: [each.account for each in locks.in_force(NOW) if each.kind is kind]
        for kind in LockKind
    }
    assert kept[LockKind.HELD] == kept[LockKind.LANE] == [7, 8, 9]
    assert kept[LockKind.OPERATOR] == list(range(10))
