"""`gatekeeper ban export`: rows as they come, and a list that import reads again."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from click.testing import CliRunner
from control_rig import Rig, served

from gatekeeper.ban import Scope
from gatekeeper.cli import cli
from gatekeeper.cli.client import ask_rows
from gatekeeper.errors import GatekeeperError
from gatekeeper.prefix import Prefix
from gatekeeper.verdict import Reason

NETWORKS = ("192.0.2.1", "198.51.100.0/24", "2001:db8::/64", "2001:db8:7::/48")


def fill(rig: Rig, scope: Scope = Scope.AUTH) -> dict[str, float]:
    """Bans of every length; their ends by network."""
    for number, text in enumerate(NETWORKS, 1):
        rig.bench.ledger.ban(Prefix.parse(text), scope, Reason.OPERATOR, seconds=600.0 * number)
    return ends(rig, scope)


def ends(rig: Rig, scope: Scope = Scope.AUTH) -> dict[str, float]:
    return {str(ban.prefix): ban.until for ban in rig.bench.ledger.bans() if ban.scope is scope}


async def test_a_list_has_every_network_with_its_length_and_seconds(tmp_path: Path) -> None:
    async with served(tmp_path) as rig:
        fill(rig)
        result = await rig.run("ban", "export")
    heading, *lines = result.output.splitlines()
    assert result.exit_code == 0
    assert heading == "# bans of gatekeeper, scope all: network, seconds left"
    assert sorted(lines) == [
        "192.0.2.1/32 600",
        "198.51.100.0/24 1200",
        "2001:db8:7::/48 2400",
        "2001:db8::/64 1800",
    ]


async def test_what_is_exported_as_a_list_is_imported_the_same(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    async with served(first) as rig:
        expected = fill(rig)
        rig.bench.now += 0.4
        text = (await rig.run("ban", "export", "--scope", "auth")).output
    (tmp_path / "bans.txt").write_text(text)
    async with served(second) as rig:
        result = await rig.run("import", "list", str(tmp_path / "bans.txt"))
        assert result.output == "4 networks read, 4 bans to make\n4 imported\n"
        found = ends(rig)
    assert found.keys() == expected.keys()
    assert all(abs(found[net] - expected[net]) <= 1 for net in expected)


async def test_a_list_is_of_the_scope_that_is_named(tmp_path: Path) -> None:
    async with served(tmp_path) as rig:
        fill(rig, Scope.MX)
        result = await rig.run("ban", "export", "--scope", "auth")
    assert result.output == "# bans of gatekeeper, scope auth: network, seconds left\n"


async def test_a_script_for_nft_names_the_guards_sets(tmp_path: Path) -> None:
    async with served(tmp_path) as rig:
        fill(rig, Scope.MX)
        lines = (await rig.run("ban", "export", "-o", "nft")).output.splitlines()
    assert sorted(line for line in lines if not line.startswith("#")) == [
        "add element inet gatekeeper ban4_mx { 192.0.2.1 timeout 600s }",
        "add element inet gatekeeper ban4n_mx { 198.51.100.0 timeout 1200s }",
        "add element inet gatekeeper ban6_mx { 2001:db8:: timeout 1800s }",
        "add element inet gatekeeper ban6n_mx { 2001:db8:7:: timeout 2400s }",
    ]


@pytest.mark.parametrize("count", [0, 1, 3000])
async def test_json_is_what_the_list_of_bans_has(tmp_path: Path, count: int) -> None:
    async with served(tmp_path) as rig:
        for number in range(count):
            prefix = Prefix(number.to_bytes(4, "big"), 32)
            rig.bench.ledger.ban(prefix, Scope.MX, Reason.OPERATOR, seconds=60.0 + number, note="]")
        exported = (await rig.run("ban", "export", "-o", "json")).output
        listed = (await rig.run("ban", "list", "-o", "json")).output
    rows = json.loads(exported)
    assert len(rows) == count
    assert sorted(rows, key=lambda row: row["until"]) == json.loads(listed)
    if count == 1:
        assert exported == listed  # to the octet


def test_without_a_guard_one_line_says_so(tmp_path: Path) -> None:
    path = tmp_path / "none.sock"
    result = CliRunner().invoke(cli, ["ban", "export", "--socket", str(path)])
    assert (result.exit_code, result.output) == (3, f"gatekeeper: no guard answers on {path}\n")


# -- rows as they come ----------------------------------------------------------------------


@contextmanager
def answering(path: Path, *pieces: bytes) -> Iterator[None]:
    """Something behind a socket that answers one request with these pieces and hangs up."""

    def answer() -> None:
        # A client that has its last row leaves, perhaps before the end of the line is sent.
        with listener.accept()[0] as peer, suppress(BrokenPipeError):
            while not peer.recv(65536).endswith(b"\n"):
                pass
            for piece in pieces:
                peer.sendall(piece)

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=answer)
        thread.start()
        yield
        thread.join()


ROWS = [{"note": 'a ], [ } , "bans": [ ', "n": 1}, {"note": "", "n": [2, {}]}, {}]
REPLY = json.dumps({"ok": True, "now": 5.0, "bans": ROWS}).encode() + b"\n"


@pytest.mark.parametrize("cut", range(len(REPLY)))
def test_a_reply_is_read_in_any_cut(tmp_path: Path, cut: int) -> None:
    with answering(tmp_path / "s", REPLY[:cut], REPLY[cut:]):
        head, *rows = ask_rows(tmp_path / "s", "ban-export", "bans")
    assert (head, rows) == ({"ok": True, "now": 5.0}, ROWS)


@pytest.mark.parametrize("length", [0, 1, 20, 60, len(REPLY) - 4])
def test_a_reply_that_ends_early_is_an_error(tmp_path: Path, length: int) -> None:
    with answering(tmp_path / "s", REPLY[:length]), pytest.raises(GatekeeperError, match="broke"):
        list(ask_rows(tmp_path / "s", "ban-export", "bans"))


def test_a_refusal_ends_the_command(tmp_path: Path) -> None:
    refusal = json.dumps({"ok": False, "code": "bad-request", "error": "no such verb"}).encode()
    with answering(tmp_path / "s", refusal + b"\n"):
        command = ["ban", "export", "--socket", str(tmp_path / "s")]
        result = CliRunner().invoke(cli, command)
    assert (result.exit_code, result.output) == (2, "gatekeeper: no such verb\n")
