"""Remembered records as rows of SQLite, and back.

Locks are few and all are kept until they end. Of familiar pairs and scores the newest are kept:
`keeping.MAX_PAIRS` and `MAX_SCORES`.
"""

import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import groupby
from typing import Any, Final

from gatekeeper.ban import Scope
from gatekeeper.policy.accounts import FAMILIAR_S
from gatekeeper.prefix import Prefix
from gatekeeper.remembered import (
    AccountLock,
    FamiliarPair,
    Learned,
    LockKind,
    Memory,
    SourceScore,
    Unlocked,
)
from gatekeeper.store.keeping import MAX_PAIRS, MAX_SCORES, SCORE_S

Row = tuple[Any, ...]  # what sqlite3 takes and gives

_NET_BITS: Final = (24, 64)
_SCORE_BITS: Final = (24, 32, 48, 56, 64)

# Oldest first, so that a table which keeps the latest that were put in keeps the newest.
_SELECT_PAIRS: Final = (
    "SELECT account, net, first_at, last_at FROM familiar_pair WHERE last_at > ? ORDER BY last_at"
)
_SELECT_SCORES: Final = "SELECT scope, prefix, score, at FROM source_score WHERE at > ? ORDER BY at"
_SELECT_LOCKS: Final = (
    "SELECT account, kind, since, until, note FROM account_lock WHERE until IS NULL OR until > ?"
)
_SELECT_LEARNED: Final = "SELECT unfamiliar_share, at FROM learned"
_PUTS: Final[dict[type[Memory], str]] = {
    FamiliarPair: "INSERT OR REPLACE INTO familiar_pair VALUES (?, ?, ?, ?)",
    SourceScore: "INSERT OR REPLACE INTO source_score VALUES (?, ?, ?, ?)",
    AccountLock: "INSERT OR REPLACE INTO account_lock VALUES (?, ?, ?, ?, ?)",
    Unlocked: "DELETE FROM account_lock WHERE account = ? AND kind = ?",
    Learned: "INSERT OR REPLACE INTO learned VALUES (1, ?, ?)",
}
_PRUNE_PAIRS: Final = "DELETE FROM familiar_pair WHERE last_at <= ?"
_PRUNE_SCORES: Final = "DELETE FROM source_score WHERE at <= ?"
_PRUNE_LOCKS: Final = "DELETE FROM account_lock WHERE until <= ?"
_COUNT_PAIRS: Final = "SELECT count(*) FROM familiar_pair"
_COUNT_SCORES: Final = "SELECT count(*) FROM source_score"
_SHED_PAIRS: Final = (
    "DELETE FROM familiar_pair WHERE (account, net) IN"
    " (SELECT account, net FROM familiar_pair ORDER BY last_at LIMIT ?)"
)
_SHED_SCORES: Final = (
    "DELETE FROM source_score WHERE (scope, prefix) IN"
    " (SELECT scope, prefix FROM source_score ORDER BY at LIMIT ?)"
)


def select(connection: sqlite3.Connection, now: float) -> list[Memory]:
    """All that is of interest at Unix time `now`, in the order of `Store.recall`.

    Raises `sqlite3.DatabaseError` for a row that is none of ours.
    """
    return [
        *_read(connection, _SELECT_PAIRS, _pair, (now - FAMILIAR_S,)),
        *_read(connection, _SELECT_SCORES, _score, (now - SCORE_S,)),
        *_read(connection, _SELECT_LOCKS, _lock, (now,)),
        *_read(connection, _SELECT_LEARNED, lambda row: Learned(*row), ()),
    ]


def write(connection: sqlite3.Connection, memories: Sequence[Memory], now: float) -> None:
    """Write `memories` in order and drop what is of no more interest; the caller's transaction."""
    for kind, run in groupby(memories, key=type):
        connection.executemany(_PUTS[kind], map(_row, run))
    connection.execute(_PRUNE_PAIRS, (now - FAMILIAR_S,))
    connection.execute(_PRUNE_SCORES, (now - SCORE_S,))
    connection.execute(_PRUNE_LOCKS, (now,))
    _shed(connection, _COUNT_PAIRS, _SHED_PAIRS, MAX_PAIRS)
    _shed(connection, _COUNT_SCORES, _SHED_SCORES, MAX_SCORES)


def _shed(connection: sqlite3.Connection, count: str, shed: str, most: int) -> None:
    (number,) = connection.execute(count).fetchone()
    if number > most:
        connection.execute(shed, (number - most,))


def _row(memory: Memory) -> Row:
    match memory:
        case FamiliarPair(account, net, first_at, last_at):
            return _signed(account), str(net), first_at, last_at
        case SourceScore(scope, prefix, score, at):
            return scope.value, str(prefix), score, at
        case AccountLock(account, kind, since, until, note):
            return _signed(account), kind.value, since, until, _utf8(note)
        case Unlocked(account, kind):
            return _signed(account), kind.value
        case Learned(unfamiliar_share, at):
            return unfamiliar_share, at


def _read(
    connection: sqlite3.Connection, query: str, make: Callable[[Row], Memory], arguments: Row
) -> Iterator[Memory]:
    for row in connection.execute(query, arguments):
        try:
            yield make(row)
        except ValueError as error:
            raise sqlite3.DatabaseError(f"row {row[:2]!r}: {error}") from error


def _pair(row: Row) -> FamiliarPair:
    account, net, first_at, last_at = row
    return FamiliarPair(_unsigned(account), _prefix(net, _NET_BITS), first_at, last_at)


def _score(row: Row) -> SourceScore:
    scope, prefix, score, at = row
    return SourceScore(Scope(scope), _prefix(prefix, _SCORE_BITS), score, at)


def _lock(row: Row) -> AccountLock:
    account, kind, since, until, note = row
    return AccountLock(_unsigned(account), LockKind(kind), since, until, note)


def _prefix(text: str, lengths: Collection[int]) -> Prefix:
    prefix = Prefix.parse(text)
    if prefix.length not in lengths:
        raise ValueError("a network of this size is none of ours")
    return prefix


def _signed(account: int) -> int:
    return account - (1 << 64) if account >> 63 else account


def _unsigned(account: int) -> int:
    return account & ((1 << 64) - 1)


def _utf8(note: str) -> str:
    """A lone surrogate would keep the whole batch from being written, each time anew."""
    return note.encode("utf-8", "replace").decode()
