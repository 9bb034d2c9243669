"""`gatekeeper import list`, against a real control socket and Ledger."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from import_rig import BAN_MAX_S, held, rigged, run, seconds

from gatekeeper.ban import Origin, Scope
from gatekeeper.cli import cli
from gatekeeper.cli import import_input as input_module
from gatekeeper.prefix import Prefix
from gatekeeper.verdict import Reason


async def test_a_list_is_imported(tmp_path: Path) -> None:
    file = tmp_path / "mine.txt"
    file.write_text("# mine\n192.0.2.1 4h\n203.0.113.0/24\n198.51.100.7\n2001:db8::9\n")
    async with rigged(tmp_path) as rig:
        result = await run(rig, "list", str(file))
        bans = held(rig)
        times = [seconds(rig, "192.0.2.1"), seconds(rig, "203.0.113.0/24")]
    assert result.output == "4 networks read, 4 bans to make\n3 imported, 1 never banned\n"
    assert result.exit_code == 0
    assert set(bans) == {
        ("192.0.2.1", "auth"),
        ("203.0.113.0/24", "auth"),
        ("2001:db8::/64", "auth"),
    }
    assert times == [4 * 3600, BAN_MAX_S]
    assert {(ban.reason, ban.origin, ban.note) for ban in bans.values()} == {
        (Reason.IMPORTED, Origin.IMPORT, "list mine.txt")
    }


async def test_a_list_comes_by_standard_input_into_the_scope_that_is_named(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        result = await run(rig, "list", "-", "--scope", "all", "--for", "1h", stdin="192.0.2.1\n")
        assert result.output.endswith("2 imported\n")
        assert seconds(rig, "192.0.2.1", "mx") == seconds(rig, "192.0.2.1", "auth") == 3600
        assert held(rig)["192.0.2.1", "mx"].note == "list standard input"


async def test_the_longest_ban_of_a_list_counts(tmp_path: Path) -> None:
    text = "192.0.2.1 60\n192.0.2.1 2h\n192.0.2.1 90\n192.0.2.2 60\n192.0.2.2\n"
    async with rigged(tmp_path) as rig:
        await run(rig, "list", "-", stdin=text)
        assert (seconds(rig, "192.0.2.1"), seconds(rig, "192.0.2.2")) == (7200, BAN_MAX_S)


async def test_wrong_lines_are_all_said_and_nothing_is_done(tmp_path: Path) -> None:
    text = "192.0.2.1\nnonsense\n192.0.2.2\n192.0.2.3 soon\n"
    async with rigged(tmp_path) as rig:
        result = await run(rig, "list", "-", stdin=text)
        assert not held(rig)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "gatekeeper: -:2: not an address or network: 'nonsense'",
        "gatekeeper: -:4: not a time: 'soon'",
        "gatekeeper: nothing was imported; --skip-bad leaves these lines out",
    ]


async def test_wrong_lines_are_left_out_where_that_is_asked_for(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        result = await run(rig, "list", "-", "--skip-bad", stdin="192.0.2.1\nnonsense\n")
        assert set(held(rig)) == {("192.0.2.1", "auth")}
    assert result.stdout == "1 networks read, 1 bans to make; left out: 1 wrong\n1 imported\n"


async def test_a_file_that_is_no_list_is_said_in_bounded_lines(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        result = await run(rig, "list", "-", stdin="\x1b[2J nonsense\n" * 10_000)
    lines = result.stderr.splitlines()
    assert len(lines) == 52
    assert lines[50] == "gatekeeper: -: 9950 more lines are wrong"
    assert "\x1b" not in result.output


async def test_networks_are_cut_into_bans_or_named(tmp_path: Path) -> None:
    text = "192.0.2.0/30\n10.0.0.0/8\n2001:db8::/32\n"
    async with rigged(tmp_path) as rig:
        result = await run(rig, "list", "-", stdin=text)
        assert {prefix for prefix, _ in held(rig)} == {f"192.0.2.{host}" for host in range(4)}
    assert result.stderr.splitlines() == [
        "gatekeeper: 10.0.0.0/8: too wide to be banned",
        "gatekeeper: 2001:db8::/32: too wide to be banned",
    ]
    assert "left out: 2 no network that can be banned\n" in result.stdout


async def test_strict_makes_no_wider_ban(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        result = await run(rig, "list", "-", "--strict", stdin="2001:db8::9\n192.0.2.1\n")
        assert set(held(rig)) == {("192.0.2.1", "auth")}
    assert result.stderr == "gatekeeper: 2001:db8::9: less than a /64, and strict\n"


async def test_dry_run_asks_and_does_nothing(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        rig.bench.ledger.ban(Prefix.parse("192.0.2.2"), Scope.AUTH, Reason.OPERATOR, seconds=9999)
        text = "192.0.2.1 60\n192.0.2.2 60\n198.51.100.7\n"
        result = await run(rig, "list", "-", "--dry-run", stdin=text)
        assert set(held(rig)) == {("192.0.2.2", "auth")}
    assert result.stdout.endswith("would import 1, 1 never banned, 1 already longer\n")


async def test_many_bans_take_several_requests(tmp_path: Path) -> None:
    text = "".join(f"10.1.{number >> 8}.{number & 255}\n" for number in range(1234))
    async with rigged(tmp_path) as rig:
        result = await run(rig, "list", "-", stdin=text)
        assert len(rig.bench.ledger) == 1234
    assert result.stdout.endswith("\n1234 imported\n")


async def test_an_import_twice_changes_nothing(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        await run(rig, "list", "-", stdin="192.0.2.1 1h\n")
        result = await run(rig, "list", "-", stdin="192.0.2.1 1h\n")
    assert result.stdout.endswith("\n0 imported, 1 already longer\n")


def test_without_a_guard_one_line_says_so(tmp_path: Path) -> None:
    socket = tmp_path / "none.sock"
    command = ["import", "list", "-", "--socket", str(socket)]
    result = CliRunner().invoke(cli, command, input="192.0.2.1\n")
    assert result.exit_code == 3
    assert result.stderr == f"gatekeeper: no guard answers on {socket}\n"


async def test_a_file_that_is_missing_or_too_long_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(input_module, "MAX_OCTETS", 1 << 20)
    async with rigged(tmp_path) as rig:
        result = await run(rig, "list", str(tmp_path / "none"))
        assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
        result = await run(rig, "list", "-", stdin="#" * ((1 << 20) + 1))
    assert (result.exit_code, result.stderr) == (1, "gatekeeper: -: longer than 1 MiB\n")
