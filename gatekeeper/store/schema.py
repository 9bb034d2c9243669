"""The tables of the SQLite file, and how a file of an earlier version becomes one of this.

A schema is never changed, only stepped on from: what a step did is in files out there. Accounts are
the 64 bits of their keyed hash as SQLite has integers, signed; prefixes are text, instants Unix
time in seconds.
"""

import sqlite3
from typing import Final

APPLICATION_ID: Final = 0x676B7072  # "gkpr"; tells our file from another program's

_BANS: Final = (
    """
CREATE TABLE ban (
    prefix TEXT NOT NULL,
    scope  TEXT NOT NULL,
    reason TEXT NOT NULL,
    level  INTEGER NOT NULL,
    since  REAL NOT NULL,
    until  REAL NOT NULL,
    origin TEXT NOT NULL,
    note   TEXT NOT NULL,
    PRIMARY KEY (prefix, scope)
) STRICT, WITHOUT ROWID
""",
    "CREATE INDEX ban_until ON ban (until)",
    f"PRAGMA application_id = {APPLICATION_ID}",
)
_MEMORIES: Final = (
    """
CREATE TABLE familiar_pair (
    account  INTEGER NOT NULL,
    net      TEXT NOT NULL,
    first_at REAL NOT NULL,
    last_at  REAL NOT NULL,
    PRIMARY KEY (account, net)
) STRICT, WITHOUT ROWID
""",
    "CREATE INDEX familiar_pair_last_at ON familiar_pair (last_at)",
    """
CREATE TABLE source_score (
    scope  TEXT NOT NULL,
    prefix TEXT NOT NULL,
    score  REAL NOT NULL,
    at     REAL NOT NULL,
    PRIMARY KEY (scope, prefix)
) STRICT, WITHOUT ROWID
""",
    "CREATE INDEX source_score_at ON source_score (at)",
    """
CREATE TABLE account_lock (
    account INTEGER NOT NULL,
    kind    TEXT NOT NULL,
    since   REAL NOT NULL,
    until   REAL,
    note    TEXT NOT NULL,
    PRIMARY KEY (account, kind)
) STRICT, WITHOUT ROWID
""",
    """
CREATE TABLE learned (
    id               INTEGER PRIMARY KEY CHECK (id = 1),
    unfamiliar_share REAL NOT NULL,
    at               REAL NOT NULL
) STRICT
""",
)
STEPS: Final = (_BANS, _MEMORIES)  # step n makes schema n + 1 of schema n; an empty file is 0
SCHEMA_VERSION: Final = len(STEPS)


def prepare(connection: sqlite3.Connection) -> None:
    """Make the tables in an empty file, or step an older file on, all or nothing.

    Raises `sqlite3.DatabaseError` for the file of another program and `OperationalError` for one of
    a newer gatekeeper; both are left as they are.
    """
    if _one(connection, "SELECT count(*) FROM sqlite_schema"):
        _check_owner(connection)
    if _version(connection) == SCHEMA_VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Asked again: another process may have been at this while we waited for the file.
        for step in STEPS[_version(connection) :]:
            for statement in step:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def check(connection: sqlite3.Connection) -> None:
    """Raises as `prepare` does, and `OperationalError` where that would have something to do."""
    _check_owner(connection)
    if _version(connection) != SCHEMA_VERSION:
        raise sqlite3.OperationalError("it was written by an older gatekeeper")


def _check_owner(connection: sqlite3.Connection) -> None:
    if _one(connection, "PRAGMA application_id") != APPLICATION_ID:
        raise sqlite3.DatabaseError("the database of another program")


def _version(connection: sqlite3.Connection) -> int:
    version = _one(connection, "PRAGMA user_version")
    if version > SCHEMA_VERSION:
        raise sqlite3.OperationalError(
            f"it was written by a newer gatekeeper (schema {version}, known {SCHEMA_VERSION})"
        )
    return version


def _one(connection: sqlite3.Connection, query: str) -> int:
    return int(connection.execute(query).fetchone()[0])
