"""`gatekeeper import dovecot-log`: to the guard that runs, or into its database."""

import getpass
import gzip
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
import trio
from click.testing import CliRunner, Result

from gatekeeper.account_secret import FILE_NAME, account_secret
from gatekeeper.account_verbs import AccountVerbs
from gatekeeper.cli import cli
from gatekeeper.cli.import_lines import Pair
from gatekeeper.cli.import_target import MAX_ROWS, remember, requests
from gatekeeper.control import MAX_REQUEST_OCTETS, Control, serve
from gatekeeper.enforce.memory import MemoryEnforcer
from gatekeeper.guard import Guard
from gatekeeper.ledger import Ledger
from gatekeeper.log import Log
from gatekeeper.policy.keys import account_key, net_key
from gatekeeper.prefix import Prefix
from gatekeeper.remembered import FamiliarPair, Memory
from gatekeeper.sessions import End, SessionView
from gatekeeper.settings import PolicySettings, Settings, TlsSettings
from gatekeeper.store.sqlite import SqliteStore

MEMORY_S: Final = 1.0
NET: Final = Prefix.parse("203.0.113.0/24")
SECRET: Final = b"s" * 32
CONFIG: Final = """\
hostname = "mail.example.org"
user = "{user}"
run_dir = "run"
state_dir = "state"
[[listener]]
name = "mx"
protocol = "smtp"
bind = "127.0.0.1:2525"
tls = "none"
backend = "postfix"
[backend.postfix]
address = "198.51.100.4:25"
"""


def login(name: str, rip: str = "203.0.113.9", age_s: float = 60.0) -> str:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - age_s))
    return (
        f"{stamp} mail dovecot: imap-login: Login: user=<{name}>, method=PLAIN,"
        f" rip={rip}, lip=192.0.2.1, TLS, session=<x>\n"
    )


LOG: Final = (
    login("ann@example.org", age_s=7200.0)
    + login("ann@example.org")
    + login("bob@example.org", "2001:db8::7")
    + login("ann@example.org", "127.0.0.1")
    + login("monitor", "198.51.100.4")
    + login("a?b")
    + "2026-01-01T00:00:00Z mail postfix/qmgr[1]: something else\n"
)
SUMMARY: Final = (
    "7 lines, 5 logins, 2 accounts, 2 networks, 2 pairs, {done};"
    " skipped: 1 unreadable, 2 from our own addresses\n"
)
TOLD: Final = "told to the guard"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "gatekeeper.toml"
    path.write_text(CONFIG.format(user=getpass.getuser()))
    (tmp_path / "mail.log").write_text(LOG)
    return path


def run(config: Path, *arguments: str, stdin: str = "") -> Result:
    command = ["import", "dovecot-log", "-c", str(config), *arguments]
    return CliRunner().invoke(cli, command, input=stdin)


# -- a guard that runs ----------------------------------------------------------------------


class Sessions:
    """None, ever."""

    def list(self) -> list[SessionView]:
        return []

    def kick(self, selector: str) -> int:
        return 0

    def end_account(self, authcid: str, end: End) -> int:
        return 0


class RunningGuard:
    """The real verbs over a real guard's memory, on a socket served from a thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        settings = Settings("mail.example.org", TlsSettings(), (), {})
        ledger = Ledger(PolicySettings(), (), time.time)
        self.guard = Guard(
            settings, ledger, clock=time.time, account_secret=SECRET, password_secret=b"p" * 32
        )
        self._control = Control(
            ledger,
            MemoryEnforcer(time.time),
            Sessions(),
            dict,
            more=AccountVerbs(self.guard, Sessions()).verbs(),
        )
        self._stop: Callable[[], None]
        self._started = threading.Event()
        self._thread = threading.Thread(target=trio.run, args=(self._main,))

    def __enter__(self) -> "RunningGuard":
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        self._thread.join()

    async def _main(self) -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(serve, self.path, self._control, Log(lambda _: None))
            token = trio.lowlevel.current_trio_token()
            self._stop = lambda: token.run_sync_soon(nursery.cancel_scope.cancel)
            self._started.set()

    def nets(self, name: str) -> dict[int, tuple[float, float]]:
        account = self.guard.evidence.logins.accounts.get(account_key(name, SECRET))
        return {} if account is None else dict(account.nets)


@pytest.fixture
def guard(config: Path) -> Iterator[RunningGuard]:
    (config.parent / "run").mkdir()
    with RunningGuard(config.parent / "run" / "control.sock") as running:
        yield running


def test_a_running_guard_is_told(config: Path, guard: RunningGuard) -> None:
    result = run(config, str(config.parent / "mail.log"))
    assert (result.output, result.exit_code) == (SUMMARY.format(done=TOLD), 0)
    ((net, (first_at, last_at)),) = guard.nets("ann@example.org").items()
    assert net == net_key(NET)
    assert last_at - first_at == 7140.0
    assert list(guard.nets("bob@example.org")) == [net_key(Prefix.parse("2001:db8::/64"))]
    assert guard.nets("monitor") == guard.nets("a?b") == {}
    assert not (config.parent / "state").exists(), "the guard writes its database itself"
    before = guard.nets("ann@example.org")
    assert run(config, str(config.parent / "mail.log")).exit_code == 0
    assert guard.nets("ann@example.org") == before, "telling it twice changes nothing"


def test_what_the_guard_was_told_it_writes_down(config: Path, guard: RunningGuard) -> None:
    assert run(config, str(config.parent / "mail.log")).exit_code == 0
    assert {account_key(name, SECRET) for name in ("ann@example.org", "bob@example.org")} == {
        account for account, _ in guard.guard.evidence.logins.changes.pairs
    }


def test_many_pairs_go_in_several_requests(config: Path, guard: RunningGuard) -> None:
    log = config.parent / "big.log"
    log.write_text("".join(login(f"user{number}") for number in range(2 * MAX_ROWS + 1)))
    result = run(config, str(log))
    assert f"{2 * MAX_ROWS + 1} pairs, {TOLD}" in result.output
    assert guard.nets(f"user{2 * MAX_ROWS}")


def test_requests_stay_within_what_the_guard_takes() -> None:
    now = time.time()
    pairs = [
        Pair("ü" * 80 + str(number), "203.0.113.9", NET, now - 1, now) for number in range(900)
    ]
    batches = list(requests(pairs))
    assert [row for rows in batches for row in rows] == [
        [pair.authcid, pair.address, at] for pair in pairs for at in (pair.first_at, pair.last_at)
    ]
    sizes = [len(json.dumps({"verb": "familiar-add", "rows": rows})) for rows in batches]
    assert max(sizes) < MAX_REQUEST_OCTETS
    assert max(map(len, batches)) <= MAX_ROWS
    assert len(batches) < 40, "requests are filled"
    assert list(requests([])) == []


# -- its database ---------------------------------------------------------------------------


def recalled(directory: Path) -> list[Memory]:
    async def recall() -> list[Memory]:
        store = await SqliteStore.open(directory / "gatekeeper.db", MEMORY_S)
        try:
            return await store.recall(time.time())
        finally:
            await store.aclose()

    return trio.run(recall)


def command(
    config: Path, *arguments: str, stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """The command in a process of its own, since it gives up rights for good."""
    program = "from gatekeeper.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", program, "import", "dovecot-log", "-c", config, *arguments],
        input=stdin,
        capture_output=True,
        check=False,
        timeout=60,
    )


def test_without_a_guard_its_database_is_written(config: Path) -> None:
    archive = config.parent / "mail.log.gz"
    archive.write_bytes(gzip.compress(LOG.encode()))
    result = command(config, str(archive))
    assert (result.stdout.decode(), result.stderr) == (SUMMARY.format(done="2 of them new"), b"")
    assert result.returncode == 0
    state = config.parent / "state"
    key = account_secret(state)
    found = {
        (each.account, each.net): each.last_at - each.first_at
        for each in recalled(state)
        if isinstance(each, FamiliarPair)
    }
    assert found == {
        (account_key("ann@example.org", key), NET): 7140.0,
        (account_key("bob@example.org", key), Prefix.parse("2001:db8::/64")): 0.0,
    }
    assert b"example" not in (state / "gatekeeper.db").read_bytes()
    again = command(config, "-", stdin=LOG.encode())
    assert again.stdout.decode() == SUMMARY.format(done="0 of them new")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_writes_is_the_guards(config: Path) -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's own are closed to other users
        state = Path(name, "state")
        Path(name).chmod(0o711)
        text = CONFIG.format(user="nobody").replace('"state"', f'"{state}"')
        config.write_text(text)
        result = command(config, str(config.parent / "mail.log"))
        assert (result.stderr, result.returncode) == (b"", 0)
        owners = {path.name: path.owner() for path in state.iterdir()}
    assert owners == {FILE_NAME: "nobody", "gatekeeper.db": "nobody"}


async def test_what_is_known_is_widened_not_replaced(tmp_path: Path) -> None:
    now = time.time()
    ann = account_key("ann", SECRET)
    path = tmp_path / "gatekeeper.db"
    store = await SqliteStore.open(path, MEMORY_S)
    await store.remember([FamiliarPair(ann, NET, now - 50, now - 10)], now)
    await store.aclose()
    earlier = Pair("ANN", "203.0.113.9", NET, now - 90, now - 80)
    assert await remember([earlier], path, MEMORY_S, SECRET) == 0
    later = Pair("ann", "203.0.113.9", NET, now - 5, now - 1)
    assert await remember([later], path, MEMORY_S, SECRET) == 0
    store = await SqliteStore.open(path, MEMORY_S)
    assert await store.recall(now) == [FamiliarPair(ann, NET, now - 90, now - 1)]
    await store.aclose()


def test_without_guard_and_database_there_is_nowhere_to_write(config: Path) -> None:
    config.write_text(CONFIG.format(user=getpass.getuser()) + '[store]\nurl = "memory:"\n')
    result = run(config, str(config.parent / "mail.log"))
    assert result.exit_code == 3
    assert "no guard answers" in result.output
    assert "no database" in result.output


def test_a_bad_key_file_is_left_alone_and_named(config: Path) -> None:
    key = config.parent / "state" / FILE_NAME
    key.parent.mkdir()
    key.touch(0o600)
    key.write_bytes(b"short")
    result = command(config, str(config.parent / "mail.log"))
    assert result.returncode == 1
    assert f"gatekeeper: {key}: not a key of 32 octets".encode() in result.stderr
    assert key.read_bytes() == b"short"
    assert not (key.parent / "gatekeeper.db").exists()


# -- what is asked of it --------------------------------------------------------------------


def test_nothing_found_changes_nothing(config: Path) -> None:
    result = run(config, "-", stdin="a log of something else\n")
    assert result.exit_code == 0
    assert result.output == "1 lines, 0 logins, 0 accounts, 0 networks, 0 pairs, 0 of them new\n"
    assert not (config.parent / "state").exists()


def test_a_file_that_cannot_be_read_is_named_and_nothing_is_written(config: Path) -> None:
    result = run(config, str(config.parent / "mail.log"), str(config.parent / "missing.log"))
    assert result.exit_code == 1
    assert "missing.log" in result.output
    assert not (config.parent / "state").exists()


def test_a_damaged_archive_is_named(config: Path) -> None:
    archive = config.parent / "mail.log.1.gz"
    archive.write_bytes(gzip.compress(LOG.encode())[:-9])
    result = run(config, str(archive))
    assert result.exit_code == 1
    assert f"gatekeeper: {archive}: damaged" in result.output


def test_a_bad_configuration_is_told_before_anything_is_read(config: Path) -> None:
    config.write_text("hostname = 5\n")
    result = run(config, str(config.parent / "missing.log"))
    assert result.exit_code == 78


def test_it_wants_a_file(config: Path) -> None:
    assert run(config).exit_code == 2
