"""Bans and remembered records in one SQLite file, written in batches from one thread at a time.

The file is its owner's alone (mode 0600) and can be read with the `sqlite3` shell while the guard
runs: prefixes are text, instants are Unix time in seconds. Write-ahead logging lets readers and the
one writer work at once (https://www.sqlite.org/wal.html); `synchronous=FULL` makes a recorded ban
survive a power failure, which costs one fsync per batch and none on the path of a verdict.

A file that can be read and not written, as on a full disk, is read all the same: what was banned
stays so. Each write then tries first to open it properly, and the first that can ends that state.

`gatekeeper.store.schema` has the tables, `gatekeeper.store.memory_rows` what is remembered.
"""

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, Self, TypeVar

import trio

from gatekeeper.abc import BanChange
from gatekeeper.ban import Ban, End, Origin, Scope
from gatekeeper.errors import StoreError
from gatekeeper.prefix import Prefix, pack_address
from gatekeeper.remembered import Memory
from gatekeeper.store import memory_rows
from gatekeeper.store.schema import check, prepare
from gatekeeper.verdict import Reason

Result = TypeVar("Result")
OnHealth = Callable[[StoreError | None], None]

BUSY_TIMEOUT_S: Final = 5.0  # how long another program, say a backup, may hold the file
FILE_MODE: Final = 0o600

_OF_WRITING: Final = frozenset(
    {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY}
)
_PRIMARY_CODE: Final = 0xFF  # of an extended one (https://www.sqlite.org/rescode.html)

PAGE: Final = 5_000  # bans read in one go: some 15 ms in the thread, 2 MB as records

# In the order of the table itself; the + keeps SQLite from sorting all that an index on `until`
# would find, once for each page.
_SELECT: Final = (
    "SELECT prefix, scope, reason, level, since, until, origin, note FROM ban"
    " WHERE (prefix, scope) > (?, ?) AND +until > ? ORDER BY prefix, scope LIMIT ?"
)
_SELECT_ENDS: Final = (
    "SELECT prefix, scope, until FROM ban"
    " WHERE (prefix, scope) > (?, ?) AND +until > ? ORDER BY prefix, scope LIMIT ?"
)
_SCOPES: Final = {scope.value: scope for scope in Scope}
_REASONS: Final = {reason.value: reason for reason in Reason}
_ORIGINS: Final = {origin.value: origin for origin in Origin}
_PUT: Final = "INSERT OR REPLACE INTO ban VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_LIFT: Final = "DELETE FROM ban WHERE prefix = ? AND scope = ?"
_END: Final = "UPDATE ban SET until = min(until, ?) WHERE prefix = ? AND scope = ?"
_PRUNE: Final = "DELETE FROM ban WHERE until <= ?"


class SqliteStore:
    """Durable bans and records; see `gatekeeper.abc.Store`. Made with `open`.

    A cancelled call still finishes its work in the thread before it returns.
    """

    def __init__(
        self, path: Path, memory_s: float, connection: sqlite3.Connection, on_health: OnHealth
    ) -> None:
        self._connection = connection
        self._path = path
        self._memory_s = memory_s
        self._on_health = on_health
        self._writable = True
        self._one_at_a_time = trio.CapacityLimiter(1)

    @classmethod
    async def open(
        cls, path: Path, memory_s: float, on_health: OnHealth = lambda error: None
    ) -> Self:
        """Open or make the file at `path`; its directory must exist.

        Bans ended more than `memory_s` ago are dropped. Where the file can only be read `on_health`
        hears why, and None when it can be written. Raises `StoreError` where it cannot be read, is
        damaged, or belongs to something else.
        """
        try:
            return cls(path, memory_s, await _opened(path, _connect), on_health)
        except StoreError as error:
            if not _is_of_writing(error.__cause__):
                raise
            try:
                store = cls(path, memory_s, await _opened(path, _connect_to_read), on_health)
            except StoreError:
                raise error from error.__cause__
            store._writable = False
            on_health(error)
            return store

    async def load(self, now: float, after: Ban | None = None) -> list[Ban]:
        """See `gatekeeper.abc.Store.load`; pages of at most `PAGE`."""
        oldest = now - self._memory_s
        return await self._in_thread(lambda: _select(self._connection, oldest, after))

    async def ends(self, now: float, after: End | None = None) -> list[End]:
        """See `gatekeeper.abc.Store.ends`; pages of at most `PAGE`."""
        return await self._in_thread(lambda: _select_ends(self._connection, now, after))

    async def record(self, changes: Sequence[BanChange], now: float) -> None:
        """See `gatekeeper.abc.Store.record`; one transaction."""
        oldest = now - self._memory_s
        await self._be_writable()
        await self._in_thread(lambda: _write(self._connection, changes, now, oldest))

    async def recall(self, now: float) -> list[Memory]:
        """See `gatekeeper.abc.Store.recall`."""
        return await self._in_thread(lambda: memory_rows.select(self._connection, now))

    async def remember(self, memories: Sequence[Memory], now: float) -> None:
        """See `gatekeeper.abc.Store.remember`; one transaction."""

        def write() -> None:
            with _transaction(self._connection):
                memory_rows.write(self._connection, memories, now)

        await self._be_writable()
        await self._in_thread(write)

    async def aclose(self) -> None:
        """Wait for a write under way and close the file, even when cancelled."""
        with trio.CancelScope(shield=True):
            await self._in_thread(self._connection.close)

    async def _be_writable(self) -> None:
        """Raises `StoreError`; then it can be read as before."""
        if self._writable:
            return

        def reopen() -> None:
            connection = _connect(self._path)
            self._connection.close()
            self._connection = connection

        await self._in_thread(reopen)
        if not self._writable:  # nor has another write been here meanwhile
            self._writable = True
            self._on_health(None)

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        return await trio.to_thread.run_sync(
            lambda: _translated(self._path, work), limiter=self._one_at_a_time
        )


async def _opened(path: Path, connect: Callable[[Path], sqlite3.Connection]) -> sqlite3.Connection:
    return await trio.to_thread.run_sync(lambda: _translated(path, lambda: connect(path)))


def _translated(path: Path, work: Callable[[], Result]) -> Result:
    """The one place where the library's errors become ours."""
    try:
        return work()
    except (OSError, sqlite3.OperationalError, sqlite3.ProgrammingError) as error:
        why = (error.strerror or error) if isinstance(error, OSError) else error
        raise StoreError(f"{path}: cannot be used as the database: {why}") from error
    except sqlite3.DatabaseError as error:
        raise StoreError(
            f"{path}: the database is damaged or is none ({error}); "
            "move it away and a new one is made"
        ) from error


def _connect(path: Path) -> sqlite3.Connection:
    # Made before SQLite sees it, so that it never exists with a wider mode; the -wal and -shm files
    # take their mode from it.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    try:
        os.fchmod(descriptor, FILE_MODE)
    finally:
        os.close(descriptor)
    # Trio's threads differ from call to call; the limiter lets in one at a time.
    connection = sqlite3.connect(
        path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
    )
    try:
        # First a look: a file of another program is not to be changed, not even to a WAL.
        connection.execute("PRAGMA synchronous = FULL")
        prepare(connection)
        connection.execute("PRAGMA journal_mode = WAL")
    except BaseException:
        connection.close()
        raise
    return connection


def _connect_to_read(path: Path) -> sqlite3.Connection:
    """As it was when it was last closed: what a crash left in the -wal file is not seen, for to
    read that SQLite wants to write beside it."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro&immutable=1",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        check(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _is_of_writing(error: BaseException | None) -> bool:
    """Whether a file that could not be opened may be fit to be read: nobody else has it locked, and
    it is not damaged."""
    if isinstance(error, sqlite3.OperationalError):
        return getattr(error, "sqlite_errorcode", 0) & _PRIMARY_CODE in _OF_WRITING
    return isinstance(error, OSError)


def _select(connection: sqlite3.Connection, oldest: float, after: Ban | None) -> list[Ban]:
    key = ("", "") if after is None else (str(after.prefix), after.scope.value)
    rows = connection.execute(_SELECT, (*key, oldest, PAGE)).fetchall()
    return [_ban(row) for row in rows]


def _select_ends(connection: sqlite3.Connection, now: float, after: End | None) -> list[End]:
    key = ("", "") if after is None else (str(after[0]), after[1].value)
    rows = connection.execute(_SELECT_ENDS, (*key, now, PAGE)).fetchall()
    try:
        return [(_prefix(prefix), _SCOPES[scope], until) for prefix, scope, until in rows]
    except (ValueError, KeyError) as error:
        raise sqlite3.DatabaseError(f"a row makes no sense: {error}") from error


def _prefix(text: str) -> Prefix:
    """As `Prefix.parse`; half a million times at a start, most of them single addresses."""
    if "/" in text or ":" in text:
        return Prefix.parse(text)
    return Prefix(pack_address(text), 32)


def _write(
    connection: sqlite3.Connection, changes: Sequence[BanChange], now: float, oldest: float
) -> None:
    with _transaction(connection):
        for change in changes:
            if isinstance(change, Ban):
                connection.execute(_PUT, _row(change))
            elif not change.forget:
                connection.execute(_END, (now, str(change.prefix), change.scope.value))
            else:
                connection.execute(_LIFT, (str(change.prefix), change.scope.value))
        connection.execute(_PRUNE, (oldest,))


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing of what is done inside."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # some errors, such as a full disk, have ended it already
            connection.execute("ROLLBACK")
        raise


def _row(ban: Ban) -> tuple[str, str, str, int, float, float, str, str]:
    return (
        str(ban.prefix),
        ban.scope.value,
        ban.reason.value,
        ban.level,
        ban.since,
        ban.until,
        ban.origin.value,
        ban.note,
    )


def _ban(row: tuple[str, str, str, int, float, float, str, str]) -> Ban:
    prefix, scope, reason, level, since, until, origin, note = row
    try:
        return Ban(
            _prefix(prefix),
            _SCOPES[scope],
            _REASONS[reason],
            level,
            since,
            until,
            _ORIGINS[origin],
            note,
        )
    except (ValueError, KeyError) as error:
        raise sqlite3.DatabaseError(f"row {prefix!r}: {error}") from error
