"""`gatekeeper import fail2ban`: databases as fail2ban makes them, and others."""

import os
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from import_rig import BAN_MAX_S, held, rigged, run, seconds

from gatekeeper.ban import Scope
from gatekeeper.cli.fail2ban_bans import scopes_of

# As fail2ban 1.0.2 and 1.1.0 make it (server/database.py, version 4).
SCHEMA = """
CREATE TABLE fail2banDb(version INTEGER);
CREATE TABLE jails(name TEXT NOT NULL UNIQUE, enabled INTEGER NOT NULL DEFAULT 1);
CREATE TABLE bans(jail TEXT NOT NULL, ip TEXT, timeofban INTEGER NOT NULL,
 bantime INTEGER NOT NULL, bancount INTEGER NOT NULL default 1, data JSON,
 FOREIGN KEY(jail) REFERENCES jails(name));
CREATE TABLE bips(ip TEXT NOT NULL, jail TEXT NOT NULL, timeofban INTEGER NOT NULL,
 bantime INTEGER NOT NULL, bancount INTEGER NOT NULL default 1, data JSON,
 PRIMARY KEY(ip, jail), FOREIGN KEY(jail) REFERENCES jails(name));
"""


def database(path: Path, rows: Sequence[tuple[str, str, float, int]], version: int = 4) -> Path:
    """fail2ban's database at `path`; rows are jail, address, age and time of the ban."""
    with closing(sqlite3.connect(path)) as made:
        made.executescript(SCHEMA)
        made.execute("INSERT INTO fail2banDb VALUES(?)", (version,))
        for jail, address, age_s, bantime in rows:
            made.execute("INSERT OR IGNORE INTO jails VALUES(?, 0)", (jail,))
            for table in ("bans", "bips"):
                made.execute(
                    f"INSERT INTO {table}(ip, jail, timeofban, bantime) VALUES(?, ?, ?, ?)",
                    (address, jail, int(time.time() - age_s), bantime),
                )
        made.commit()
    return path


JAILS = (
    ("postfix", "192.0.2.1", 10, 3600),
    ("postfix-sasl", "192.0.2.1", 10, 7200),
    ("postfix-sasl", "192.0.2.2", 7201, 7200),  # is over
    ("dovecot", "192.0.2.3", 10, -1),  # for ever
    ("dovecot", "ann@example.org", 10, 3600),
    ("sshd", "192.0.2.5", 10, 3600),
    ("sshd", "192.0.2.6", 10, 3600),
    ("nginx-http-auth", "192.0.2.7", 10, 3600),
)


async def test_mail_jails_are_taken_over_each_into_its_scope(tmp_path: Path) -> None:
    db = database(tmp_path / "db", JAILS)
    before = db.read_bytes()
    async with rigged(tmp_path) as rig:
        result = await run(rig, "fail2ban", str(db))
        bans = held(rig)
        assert set(bans) == {("192.0.2.1", "mx"), ("192.0.2.1", "auth"), ("192.0.2.3", "auth")}
        assert seconds(rig, "192.0.2.1", "mx") == pytest.approx(3590, abs=3)
        assert seconds(rig, "192.0.2.1") == pytest.approx(7190, abs=3)
        assert seconds(rig, "192.0.2.3") == BAN_MAX_S
        assert bans["192.0.2.3", "auth"].note == "fail2ban jail dovecot"
    assert result.stdout.splitlines() == [
        "JAIL             BANS  SCOPE",
        "dovecot          2     auth",
        "nginx-http-auth  1     left out",
        "postfix          1     mx",
        "postfix-sasl     1     auth",
        "sshd             2     left out",
        "4 bans read, 3 bans to make; left out: 1 no address",
        "3 imported",
    ]
    assert db.read_bytes() == before
    assert set(os.listdir(tmp_path)) <= {"db", "control.sock"}  # nothing is left beside it


async def test_a_jail_that_is_named_is_the_only_one(tmp_path: Path) -> None:
    db = database(tmp_path / "db", JAILS)
    async with rigged(tmp_path) as rig:
        await run(rig, "fail2ban", str(db), "--jail", "sshd", "--jail", "postfix")
        assert set(held(rig)) == {
            ("192.0.2.1", "mx"),
            ("192.0.2.5", "auth"),
            ("192.0.2.6", "auth"),
        }


async def test_a_scope_is_for_all_jails_that_are_taken(tmp_path: Path) -> None:
    db = database(tmp_path / "db", JAILS)
    async with rigged(tmp_path) as rig:
        await run(rig, "fail2ban", str(db), "--scope", "mx")
        assert set(held(rig)) == {("192.0.2.1", "mx"), ("192.0.2.3", "mx")}


async def test_a_jail_that_is_not_there_is_named(tmp_path: Path) -> None:
    db = database(tmp_path / "db", JAILS[:2])
    async with rigged(tmp_path) as rig:
        result = await run(rig, "fail2ban", str(db), "--jail", "sshd")
        assert not held(rig)
    assert result.exit_code == 1
    assert result.stderr == (
        f"gatekeeper: {db}: no ban in force in a jail sshd; it has: postfix, postfix-sasl\n"
    )


async def test_a_database_somebody_writes_to_is_read(tmp_path: Path) -> None:
    db = database(tmp_path / "db", JAILS[:1])
    async with rigged(tmp_path) as rig:
        with closing(sqlite3.connect(db)) as writer:
            writer.execute("PRAGMA journal_mode = WAL")
            writer.execute("UPDATE bips SET ip = '192.0.2.77'")
            writer.commit()  # into the log beside the file
            result = await run(rig, "fail2ban", str(db))
        assert result.exit_code == 0, result.output
        assert set(held(rig)) == {("192.0.2.77", "mx")}


@pytest.mark.parametrize("kind", ["none", "directory", "empty", "text", "other", "old", "cut"])
async def test_a_database_that_cannot_be_read_is_one_line(tmp_path: Path, kind: str) -> None:
    db = tmp_path / "db"
    match kind:
        case "directory":
            db.mkdir()
        case "empty":
            db.touch()
        case "text":
            db.write_text("this is no database\n" * 100)
        case "other":
            with closing(sqlite3.connect(db)) as made:
                made.execute("CREATE TABLE bips(x)")
        case "old":
            database(db, (), version=3)
        case "cut":
            whole = database(tmp_path / "whole", JAILS * 1).read_bytes()
            db.write_bytes(whole[: len(whole) // 2])
        case _:
            pass
    async with rigged(tmp_path) as rig:
        result = await run(rig, "fail2ban", str(db))
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"gatekeeper: {db}: ")
    assert "fault of gatekeeper" not in line


@pytest.mark.parametrize(
    ("jail", "scopes"),
    [
        ("postfix", (Scope.MX,)),
        ("postfix-rbl", (Scope.MX,)),
        ("postfix-sasl", (Scope.AUTH,)),
        ("postfix-sasl-aggressive", (Scope.AUTH,)),
        ("dovecot", (Scope.AUTH,)),
        ("exim", (Scope.AUTH, Scope.MX)),
        ("exim-spam", (Scope.MX,)),
        ("sshd", ()),
        ("apache-auth", ()),
        ("recidive", ()),
    ],
)
def test_jails_speak_of_what_their_names_say(jail: str, scopes: tuple[Scope, ...]) -> None:
    assert scopes_of(jail) == scopes
