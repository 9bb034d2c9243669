"""Accounts kept back: by the operator, because they behave like stolen ones, or under siege."""

from collections.abc import Iterator
from typing import Final

from gatekeeper.remembered import AccountLock, LockKind

MAX_LOCKS: Final = 20_000  # per kind; beyond it the oldest HELD or LANE lock goes, never OPERATOR


class Locks:
    """Locks by account and kind. Only accounts that have logged in are held or besieged, and an
    operator locks by hand, so strangers make no entries."""

    __slots__ = ("_by_kind",)

    def __init__(self) -> None:
        self._by_kind: dict[LockKind, dict[int, AccountLock]] = {kind: {} for kind in LockKind}

    def find(self, account: int, kind: LockKind, now: float) -> AccountLock | None:
        """The lock of this kind in force, if any."""
        locks = self._by_kind[kind]
        if not locks:
            return None
        lock = locks.get(account)
        if lock is None or (lock.until is not None and lock.until <= now):
            return None
        return lock

    def put(self, lock: AccountLock) -> None:
        """Lock, in place of a lock of the same kind."""
        locks = self._by_kind[lock.kind]
        locks.pop(lock.account, None)
        locks[lock.account] = lock
        if lock.kind is not LockKind.OPERATOR and len(locks) > MAX_LOCKS:
            del locks[next(iter(locks))]

    def take(self, account: int, kind: LockKind) -> AccountLock | None:
        """Remove the lock of this kind; it, None where none was."""
        return self._by_kind[kind].pop(account, None)

    def in_force(self, now: float) -> Iterator[AccountLock]:
        """Every lock in force at `now`; what has ended is dropped on the way."""
        for locks in self._by_kind.values():
            for account, lock in list(locks.items()):
                if lock.until is not None and lock.until <= now:
                    del locks[account]
                else:
                    yield lock
