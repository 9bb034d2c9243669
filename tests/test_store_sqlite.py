"""The Store in SQLite."""

import sqlite3
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
from contracts.store import MEMORY_S, NOW, V4, StoreContract, ban

from gatekeeper.abc import BanChange, Lift, Store
from gatekeeper.ban import Scope
from gatekeeper.errors import StoreError
from gatekeeper.prefix import Prefix
from gatekeeper.store import schema, sqlite
from gatekeeper.store.sqlite import SqliteStore


class TestSqliteStore(StoreContract):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[Store]:
        store = await SqliteStore.open(tmp_path / "bans.db", MEMORY_S)
        yield store
        await store.aclose()


def modes(directory: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}


async def test_bans_outlive_the_process(tmp_path: Path) -> None:
    first = await SqliteStore.open(tmp_path / "bans.db", MEMORY_S)
    await first.record([ban()], NOW)
    await first.aclose()
    second = await SqliteStore.open(tmp_path / "bans.db", MEMORY_S)
    assert await second.load(NOW) == [ban()]
    await second.aclose()


async def test_recorded_bans_are_in_the_file_before_it_is_closed(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "bans.db", MEMORY_S)
    await store.record([ban()], NOW)
    other = sqlite3.connect(tmp_path / "bans.db")
    assert other.execute("SELECT prefix, scope FROM ban").fetchall() == [("192.0.2.7", "auth")]
    other.close()
    await store.aclose()


async def test_files_are_the_owners_alone(tmp_path: Path) -> None:
    (tmp_path / "bans.db").touch(0o644)
    store = await SqliteStore.open(tmp_path / "bans.db", MEMORY_S)
    await store.record([ban()], NOW)
    assert modes(tmp_path) == {"bans.db": 0o600, "bans.db-wal": 0o600, "bans.db-shm": 0o600}
    await store.aclose()


async def test_failed_batch_leaves_nothing_behind(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "bans.db", MEMORY_S)
    other = sqlite3.connect(tmp_path / "bans.db", isolation_level=None)
    other.execute(
        "CREATE TRIGGER full BEFORE INSERT ON ban WHEN NEW.level = 13 "
        "BEGIN SELECT RAISE(ABORT, 'no room'); END"
    )
    with pytest.raises(StoreError):
        await store.record([ban(), Lift(V4, Scope.MX), ban(scope=Scope.MX, level=13)], NOW)
    assert await store.load(NOW) == []
    await store.record([ban()], NOW)
    assert await store.load(NOW) == [ban()], "the connection is of use after a failure"
    other.close()
    await store.aclose()


async def test_rows_past_memory_leave_the_file(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "bans.db", MEMORY_S)
    await store.record([ban(until=NOW)], NOW)
    await store.record([ban(scope=Scope.MX)], NOW + MEMORY_S)
    assert await store.load(NOW) == [ban(scope=Scope.MX)]
    await store.aclose()


async def test_other_files_are_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "bans.db"
    path.write_bytes(b"this is no database, but it is long enough for a header " * 20)
    before = path.read_bytes()
    with pytest.raises(StoreError, match="damaged or is none"):
        await SqliteStore.open(path, MEMORY_S)
    assert path.read_bytes() == before


async def test_database_of_another_program_is_refused(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "bans.db")
    other.execute("CREATE TABLE bips (ip TEXT)")
    other.close()
    with pytest.raises(StoreError, match="another program"):
        await SqliteStore.open(tmp_path / "bans.db", MEMORY_S)


async def test_newer_schema_is_refused(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "bans.db", MEMORY_S)
    await store.aclose()
    other = sqlite3.connect(tmp_path / "bans.db")
    other.execute(f"PRAGMA user_version = {schema.SCHEMA_VERSION + 1}")
    other.close()
    with pytest.raises(StoreError, match="newer gatekeeper"):
        await SqliteStore.open(tmp_path / "bans.db", MEMORY_S)


async def test_pages_go_on_while_bans_come_and_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "PAGE", 4)
    store = await SqliteStore.open(tmp_path / "bans.db", MEMORY_S)
    made = [ban(Prefix(bytes([192, 0, 2, i]), 32)) for i in range(10, 20)]
    await store.record(made, NOW)
    first = await store.load(NOW)
    assert len(first) == 4
    left = [one for one in made if one not in first]
    await store.record([Lift(first[-1].prefix, Scope.AUTH), Lift(left[0].prefix, Scope.AUTH)], NOW)
    second = await store.load(NOW, first[-1])
    assert second == left[1:5]
    assert await store.load(NOW, second[-1]) == left[5:]
    assert await store.load(NOW, left[-1]) == []
    await store.aclose()


async def test_damage_found_later_is_a_store_error(tmp_path: Path) -> None:
    path = tmp_path / "bans.db"
    store = await SqliteStore.open(path, MEMORY_S)
    many: list[BanChange] = [ban(Prefix(i.to_bytes(4, "big"), 32)) for i in range(500)]
    await store.record(many, NOW)
    await store.aclose()
    octets = path.read_bytes()
    path.write_bytes(octets[:4096] + b"\xa5" * (len(octets) - 4096))
    store = await SqliteStore.open(path, MEMORY_S)
    with pytest.raises(StoreError, match="damaged"):
        await store.load(NOW)
    await store.aclose()


async def test_unknown_word_in_a_row_is_a_store_error(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "bans.db", MEMORY_S)
    await store.record([ban()], NOW)
    other = sqlite3.connect(tmp_path / "bans.db", isolation_level=None)
    other.execute("UPDATE ban SET reason = 'bad-mood'")
    other.close()
    with pytest.raises(StoreError, match="bad-mood"):
        await store.load(NOW)
    await store.aclose()


@pytest.mark.parametrize("name", ["missing/bans.db", "file/bans.db", "directory"])
async def test_path_that_cannot_be_opened_is_a_store_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "directory").mkdir()
    with pytest.raises(StoreError, match="cannot be used"):
        await SqliteStore.open(tmp_path / name, MEMORY_S)


async def test_unwritable_directory_is_a_store_error() -> None:
    """/proc takes no new files, not even from root."""
    with pytest.raises(StoreError, match="cannot be used"):
        await SqliteStore.open(Path("/proc/gatekeeper-test.db"), MEMORY_S)


async def test_use_after_close_is_a_store_error(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "bans.db", MEMORY_S)
    await store.aclose()
    await store.aclose()
    with pytest.raises(StoreError):
        await store.load(NOW)


async def test_concurrent_use_is_one_at_a_time(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "bans.db", MEMORY_S)
    made = [ban(Prefix(i.to_bytes(4, "big"), 32)) for i in range(20)]
    async with trio.open_nursery() as nursery:
        for each in made:
            nursery.start_soon(store.record, [each], NOW)
    assert set(await store.load(NOW)) == set(made)
    await store.aclose()


async def test_close_completes_when_cancelled(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "bans.db", MEMORY_S)
    with trio.CancelScope() as scope:
        scope.cancel()
        await store.aclose()
    assert modes(tmp_path) == {"bans.db": 0o600}, "closing folds the write-ahead log in"


async def test_what_can_only_be_read_is_read_and_written_when_it_can_be(tmp_path: Path) -> None:
    """As on a full disk: SQLite cannot make its -wal file, where here a directory is in the way."""
    path, obstacle = tmp_path / "bans.db", tmp_path / "bans.db-wal"
    store = await SqliteStore.open(path, MEMORY_S)
    await store.record([ban()], NOW)
    await store.aclose()
    obstacle.mkdir()
    health: list[StoreError | None] = []
    store = await SqliteStore.open(path, MEMORY_S, health.append)
    assert "unable to open database file" in str(health[-1])
    assert await store.load(NOW) == [ban()]
    assert len(await store.ends(NOW)) == 1
    assert await store.recall(NOW) == []
    other = ban(Prefix.parse("192.0.2.9"))
    with pytest.raises(StoreError, match="unable to open database file"):
        await store.record([other], NOW)
    with pytest.raises(StoreError, match="unable to open database file"):
        await store.remember([], NOW)
    assert await store.load(NOW) == [ban()]
    assert len(health) == 1
    obstacle.rmdir()
    await store.record([other], NOW)
    assert health[1:] == [None]
    await store.aclose()
    store = await SqliteStore.open(path, MEMORY_S)
    assert await store.load(NOW) == [ban(), other]
    await store.aclose()


async def test_what_is_not_there_cannot_be_read_either(tmp_path: Path) -> None:
    (tmp_path / "bans.db-wal").mkdir()
    (tmp_path / "bans.db-journal").mkdir()
    with pytest.raises(StoreError, match="cannot be used as the database: disk I/O error"):
        await SqliteStore.open(tmp_path / "bans.db", MEMORY_S)
