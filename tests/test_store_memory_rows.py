"""What the SQLite Store remembers: the file, its earlier version, its damage, its bounds."""

import sqlite3
from pathlib import Path
from typing import Final

import pytest
import trio
from contracts.store import MEMORY_S, NOW, V4, ban, lock, pair

from gatekeeper.ban import Scope
from gatekeeper.errors import StoreError
from gatekeeper.policy.accounts import FAMILIAR_S
from gatekeeper.prefix import Prefix
from gatekeeper.remembered import FamiliarPair, Learned, LockKind, Memory, SourceScore
from gatekeeper.store import memory_rows, schema
from gatekeeper.store.keeping import SCORE_S
from gatekeeper.store.sqlite import SqliteStore

# As version 1 wrote it, word for word: files like this are out there.
VERSION_1: Final = """
BEGIN IMMEDIATE;
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
) STRICT, WITHOUT ROWID;
CREATE INDEX ban_until ON ban (until);
PRAGMA application_id = 1735094386;
PRAGMA user_version = 1;
COMMIT;
PRAGMA journal_mode = WAL;
"""
SCORE: Final = SourceScore(Scope.AUTH, V4, 3.0, NOW)


async def opened(path: Path) -> SqliteStore:
    return await SqliteStore.open(path / "gatekeeper.db", MEMORY_S)


def shell(path: Path, *statements: str) -> list[tuple[object, ...]]:
    """What the last of `statements` gives, on a connection of its own."""
    connection = sqlite3.connect(path / "gatekeeper.db", isolation_level=None)
    rows: list[tuple[object, ...]] = []
    for statement in statements:
        rows = connection.execute(statement).fetchall()
    connection.close()
    return rows


def make_version_1(path: Path) -> None:
    connection = sqlite3.connect(path / "gatekeeper.db", isolation_level=None)
    connection.executescript(VERSION_1)
    made = ban()
    connection.execute(
        "INSERT INTO ban VALUES (?, 'auth', 'auth-failures', 1, ?, ?, 'rule', '')",
        (str(made.prefix), made.since, made.until),
    )
    connection.close()


async def test_a_file_of_version_1_keeps_its_bans_and_learns_to_remember(tmp_path: Path) -> None:
    make_version_1(tmp_path)
    store = await opened(tmp_path)
    assert await store.load(NOW) == [ban()]
    assert await store.recall(NOW) == []
    await store.remember([pair(), SCORE, lock(), Learned(0.5, NOW)], NOW)
    await store.aclose()
    again = await opened(tmp_path)
    assert await again.recall(NOW) == [pair(), SCORE, lock(), Learned(0.5, NOW)]
    assert await again.load(NOW) == [ban()]
    await again.aclose()
    assert shell(tmp_path, "PRAGMA user_version") == [(schema.SCHEMA_VERSION,)]


async def test_a_stepped_file_has_the_tables_of_a_new_one(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    make_version_1(old)
    for path in (old, new):
        await (await opened(path)).aclose()
    query = "SELECT type, name, rtrim(sql, char(10)) FROM sqlite_schema ORDER BY name"
    assert shell(old, query) == shell(new, query)


async def test_a_step_that_fails_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_version_1(tmp_path)
    bad = (*schema.STEPS[1], "CREATE TABLE ban (prefix TEXT)")  # there is one already
    monkeypatch.setattr(schema, "STEPS", (schema.STEPS[0], bad))
    with pytest.raises(StoreError):
        await opened(tmp_path)
    tables = "SELECT name FROM sqlite_schema WHERE type = 'table'"
    assert shell(tmp_path, tables) == [("ban",)]
    assert shell(tmp_path, "PRAGMA user_version") == [(1,)]


async def test_two_that_open_an_old_file_at_once_both_can(tmp_path: Path) -> None:
    """The guard starts while a command has the file."""
    make_version_1(tmp_path)
    stores: list[SqliteStore] = []

    async def open_one() -> None:
        stores.append(await opened(tmp_path))

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(open_one)
    for number, store in enumerate(stores):
        await store.remember([pair(number)], NOW)
    found = await stores[0].recall(NOW)
    assert found == [pair(number) for number in range(4)]
    for store in stores:
        await store.aclose()


async def test_records_are_in_the_file_before_it_is_closed(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await store.remember([pair(2**64 - 1)], NOW)
    rows = shell(tmp_path, "SELECT account, net FROM familiar_pair")
    assert rows == [(-1, "192.0.2.0/24")]
    await store.aclose()


async def test_a_failed_list_leaves_nothing_behind(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await store.remember([lock()], NOW)
    shell(
        tmp_path,
        "CREATE TRIGGER full BEFORE INSERT ON source_score WHEN NEW.score = 13 "
        "BEGIN SELECT RAISE(ABORT, 'no room'); END",
    )
    unlucky = SourceScore(Scope.MX, V4, 13.0, NOW)
    with pytest.raises(StoreError):
        await store.remember([pair(), lock(8), SCORE, unlucky], NOW)
    assert await store.recall(NOW) == [lock()]
    await store.remember([pair()], NOW)
    assert await store.recall(NOW) == [pair(), lock()], "the connection is of use after a failure"
    await store.aclose()


async def test_rows_of_no_more_interest_leave_the_file(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await store.remember([pair(), SCORE, lock(until=NOW + 60), lock(8)], NOW)
    await store.remember([], NOW + max(FAMILIAR_S, SCORE_S))
    tables = ("familiar_pair", "source_score", "account_lock")
    counts = [shell(tmp_path, f"SELECT count(*) FROM {table}") for table in tables]
    assert counts == [[(0,)], [(0,)], [(1,)]]
    await store.aclose()


async def test_the_newest_records_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_rows, "MAX_PAIRS", 3)
    monkeypatch.setattr(memory_rows, "MAX_SCORES", 2)
    pairs = [pair(at, last_at=NOW + at) for at in range(9)]
    scores = [SourceScore(scope, V4, 3.0, NOW + at) for at, scope in enumerate(Scope)]
    newest = SourceScore(Scope.MX, Prefix.parse("192.0.2.0/24"), 5.0, NOW + 5)
    store = await opened(tmp_path)
    await store.remember([newest, *pairs[::-1], lock()], NOW)
    await store.remember(scores, NOW)
    assert await store.recall(NOW) == [*pairs[-3:], scores[1], newest, lock()]
    await store.aclose()


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE familiar_pair SET net = 'next door'",
        "UPDATE familiar_pair SET net = '192.0.0.0/16'",
        "UPDATE source_score SET prefix = '::/0'",
        "UPDATE source_score SET scope = 'lmtp'",
        "UPDATE account_lock SET kind = 'bad-mood'",
    ],
)
async def test_a_row_that_is_none_of_ours_is_a_store_error(tmp_path: Path, damage: str) -> None:
    store = await opened(tmp_path)
    await store.remember([pair(), SCORE, lock()], NOW)
    shell(tmp_path, damage)
    with pytest.raises(StoreError, match=r"damaged.*\brow\b"):
        await store.recall(NOW)
    await store.aclose()


async def test_damage_found_later_is_a_store_error(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await store.remember([pair(account) for account in range(2_000)], NOW)
    await store.aclose()
    path = tmp_path / "gatekeeper.db"
    octets = path.read_bytes()
    path.write_bytes(octets[: 16 * 4096] + b"\xa5" * (len(octets) - 16 * 4096))
    store = await opened(tmp_path)
    with pytest.raises(StoreError, match="damaged"):
        await store.recall(NOW)
    await store.aclose()


async def test_a_note_that_is_no_text_does_not_hold_up_the_rest(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await store.remember([lock(note="a\udc80b"), lock(8)], NOW)
    assert set(await store.recall(NOW)) == {lock(note="a?b"), lock(8)}
    await store.aclose()


async def test_accounts_are_any_64_bits(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    accounts = [0, 1, 2**63 - 1, 2**63, 2**64 - 1]
    made: list[Memory] = [lock(account, LockKind.LANE, until=NOW + 9) for account in accounts]
    await store.remember(made, NOW)
    assert set(await store.recall(NOW)) == set(made)
    await store.aclose()


async def test_a_hundred_thousand_pairs_are_kept_and_found(tmp_path: Path) -> None:
    """In batches as the guard writes them; how long that takes is measured, not asserted."""
    pairs = [
        FamiliarPair(
            (number * 0x9E3779B97F4A7C15) % 2**64,
            Prefix((number % 5_000 << 8).to_bytes(4, "big"), 24),
            NOW,
            NOW + number,
        )
        for number in range(100_000)
    ]
    store = await opened(tmp_path)
    for start in range(0, len(pairs), 2_000):
        await store.remember(pairs[start : start + 2_000], NOW)
    assert await store.recall(NOW) == pairs
    await store.aclose()
