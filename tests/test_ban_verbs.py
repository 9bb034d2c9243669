"""Imports and exports over a real control socket and a real Ledger."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from control_rig import DEFAULTS, Rig, served

from gatekeeper.ban import Ban, Origin, Scope
from gatekeeper.ban_verbs import MAX_BAN_ROWS, SLACK_S
from gatekeeper.control import MAX_REQUEST_OCTETS
from gatekeeper.prefix import Prefix
from gatekeeper.verdict import Reason

HOST = Prefix.parse("192.0.2.1")
EXEMPT = Prefix.parse("198.51.100.7")
BAN_MAX_S = DEFAULTS.policy.ban_max_s
Row = list[object]


@asynccontextmanager
async def rigged(directory: Path) -> AsyncIterator[Rig]:
    async with served(directory, never=(EXEMPT,)) as rig:
        yield rig


def ban_of(rig: Rig, prefix: Prefix = HOST, scope: Scope = Scope.AUTH) -> Ban:
    ban = rig.bench.ledger.latest(prefix, scope)
    assert ban is not None
    return ban


def counts(reply: dict[str, object]) -> tuple[object, object, object]:
    return reply["imported"], reply["never_banned"], reply["already_longer"]


async def add(rig: Rig, *rows: Row, go: str = "yes", **more: object) -> tuple[object, ...]:
    reply = await rig.ask("ban-add-many", rows=list(rows), go=go, **more)
    assert reply["ok"], reply
    return counts(reply)


async def test_rows_become_bans_of_an_import(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        rows: list[Row] = [["192.0.2.1", "auth", 60], ["2001:db8::7", "mx", 90.5]]
        assert await add(rig, *rows, note="a list") == (2, 0, 0)
        first, second = ban_of(rig), ban_of(rig, Prefix.parse("2001:db8::/64"), Scope.MX)
    assert (first.until - first.since, second.until - second.since) == (60, 90.5)
    assert (first.reason, first.origin, first.note) == (Reason.IMPORTED, Origin.IMPORT, "a list")


async def test_a_row_without_time_lasts_as_long_as_the_policy_bans(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        rows: list[Row] = [["192.0.2.1", "auth", None], ["192.0.2.2", "auth", 10**400]]
        await add(rig, *rows, ["192.0.2.3", "auth", BAN_MAX_S + 5])
        lengths = {ban.until - ban.since for ban in rig.bench.ledger.bans()}
    assert lengths == {BAN_MAX_S}


async def test_the_operators_time_is_what_all_last_at_most(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        rows: list[Row] = [["192.0.2.1", "auth", None], ["192.0.2.2", "auth", 7200]]
        await add(rig, *rows, ["192.0.2.3", "auth", 60], most_s=3600)
        lengths = sorted(ban.until - ban.since for ban in rig.bench.ledger.bans())
    assert lengths == [60, 3600, 3600]


async def test_who_is_never_banned_is_counted(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        wide: Row = ["198.51.100.0/24", "auth", 60]  # holds the address
        assert await add(rig, wide, ["198.51.100.7", "mx", 60], ["192.0.2.1", "mx", 60]) == (
            1,
            2,
            0,
        )
        assert [ban.prefix for ban in rig.bench.ledger.bans()] == [HOST]


@pytest.mark.parametrize(
    ("seconds", "longer"),
    [(599.0, False), (600.0, False), (600.0 + SLACK_S, True), (None, True)],
)
async def test_no_ban_in_force_is_shortened(
    tmp_path: Path, seconds: float | None, longer: bool
) -> None:
    async with rigged(tmp_path) as rig:
        rig.bench.ledger.ban(HOST, Scope.AUTH, Reason.AUTH_FAILURES, seconds=600)
        expected = (1, 0, 0) if longer else (0, 0, 1)
        assert await add(rig, ["192.0.2.1", "auth", seconds]) == expected
        ban = ban_of(rig)
    assert (ban.reason is Reason.IMPORTED) is longer
    assert ban.until - ban.since >= 600


async def test_an_import_is_no_offence(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        ledger = rig.bench.ledger
        for seconds in range(60, 600, 60):
            await add(rig, ["192.0.2.1", "auth", seconds])
        rig.bench.now += 1000
        ban = ledger.ban(HOST, Scope.AUTH, Reason.AUTH_FAILURES)
    assert ban is not None
    assert ban.level == 1


async def test_an_import_keeps_the_level_of_a_guesser(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        rig.bench.ledger.ban(HOST, Scope.AUTH, Reason.AUTH_FAILURES, seconds=60)
        await add(rig, ["192.0.2.1", "auth", 600])
        assert ban_of(rig).level == 1


async def test_without_go_it_is_only_told_what_would_be(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        rows: list[Row] = [["192.0.2.1", "auth", 60], ["198.51.100.7", "auth", 60]]
        assert await add(rig, *rows, go="no") == (1, 1, 0)
        assert not rig.bench.ledger.bans()


GOOD: Row = ["192.0.2.1", "auth", 60]


@pytest.mark.parametrize(
    "row",
    [
        [],
        ["192.0.2.1", "auth"],
        [*GOOD, 1],
        [7, "auth", 60],
        ["nonsense", "auth", 60],
        ["10.0.0.0/8", "auth", 60],
        ["192.0.2.1", "all", 60],
        ["192.0.2.1", None, 60],
        ["192.0.2.1", ["auth"], 60],
        ["192.0.2.1", "auth", 0],
        ["192.0.2.1", "auth", -1],
        ["192.0.2.1", "auth", float("nan")],
        ["192.0.2.1", "auth", True],
        ["192.0.2.1", "auth", "60"],
    ],
    ids=str,
)
async def test_one_bad_row_keeps_all_of_a_request_out(tmp_path: Path, row: Row) -> None:
    async with rigged(tmp_path) as rig:
        reply = await rig.ask("ban-add-many", rows=[GOOD, row], go="yes")
        assert (reply["ok"], reply["code"]) == (False, "bad-request")
        assert not rig.bench.ledger.bans()


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"rows": "x"},
        {"rows": [GOOD], "most_s": 0},
        {"rows": [GOOD], "extra": 1},
        {"rows": [GOOD] * (MAX_BAN_ROWS + 1)},
    ],
    ids=",".join,
)
async def test_bad_request_changes_nothing(tmp_path: Path, arguments: dict[str, object]) -> None:
    async with rigged(tmp_path) as rig:
        reply = await rig.ask("ban-add-many", **{"go": "yes"} | arguments)
        assert (reply["ok"], reply["code"]) == (False, "bad-request")
        assert not rig.bench.ledger.bans()


async def test_a_full_page_is_a_request(tmp_path: Path) -> None:
    rows: list[Row] = [
        [f"2001:db8:{number:x}:ffff::/64", "auth", 604_799.123] for number in range(MAX_BAN_ROWS)
    ]
    assert len(str(rows)) < MAX_REQUEST_OCTETS / 2
    async with rigged(tmp_path) as rig:
        assert await add(rig, *rows, note="n" * 200) == (MAX_BAN_ROWS, 0, 0)
        assert len(rig.bench.ledger) == MAX_BAN_ROWS


async def test_export_tells_every_ban_once_and_by_scope(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        hosts = [Prefix(number.to_bytes(4, "big"), 32) for number in range(1, 1002)]
        for host in hosts:
            rig.bench.ledger.ban(host, Scope.AUTH, Reason.OPERATOR, seconds=60)
        rig.bench.ledger.ban(HOST, Scope.MX, Reason.OPERATOR, seconds=90)
        everything = await rig.ask("ban-export")
        only = await rig.ask("ban-export", scope="mx")
        now = rig.bench.now
    assert (everything["now"], everything["count"], len(everything["bans"])) == (now, 1002, 1002)
    assert {row["prefix"] for row in everything["bans"] if row["scope"] == "auth"} == {
        str(host) for host in hosts
    }
    assert only["bans"] == [{"prefix": "192.0.2.1", "scope": "mx", "until": now + 90}]


async def test_export_of_all_has_what_the_list_has(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        for number in range(1, 300):
            prefix = Prefix(number.to_bytes(4, "big"), 32)
            rig.bench.ledger.ban(prefix, Scope.AUTH, Reason.OPERATOR, seconds=60 + number)
        exported = (await rig.ask("ban-export", all="yes"))["bans"]
        listed = (await rig.ask("ban-list"))["bans"]
    assert sorted(exported, key=lambda row: row["until"]) == listed
