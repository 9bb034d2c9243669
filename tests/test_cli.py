"""The command line: what it prints, and the exit codes operators script against."""

import csv
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest
import trio
from click.testing import CliRunner, Result

from gatekeeper import __version__, app
from gatekeeper.abc import BanChange, HeldBan
from gatekeeper.ban import Scope
from gatekeeper.cli import caller, cli
from gatekeeper.cli.caller import caller_covered_by
from gatekeeper.cli.exits import printable
from gatekeeper.control import Control, serve
from gatekeeper.errors import (
    ConfigError,
    EnforcerError,
    GatekeeperError,
    NotRunning,
    PermissionMissing,
)
from gatekeeper.ledger import Ledger
from gatekeeper.log import Log
from gatekeeper.prefix import Prefix
from gatekeeper.sessions import SessionView
from gatekeeper.settings import PolicySettings, Settings

NOW: Final = 1_000_000.0
CONFIG: Final = """\
hostname = "mail.example.org"
run_dir = "."
[[listener]]
name = "mx"
protocol = "smtp"
bind = "127.0.0.1:2525"
tls = "none"
backend = "postfix"
[backend.postfix]
address = "127.0.0.1:1"
"""  # tcpmux, which nobody runs


class Enforcer:
    """A kernel that holds one ban."""

    def __init__(self) -> None:
        self.fails = False

    async def apply(self, changes: Sequence[BanChange], now: float) -> None:
        raise NotImplementedError

    async def held(self) -> list[HeldBan]:
        if self.fails:
            raise EnforcerError("gone")
        return [HeldBan(Prefix.parse("192.0.2.1"), Scope.AUTH, 598)]

    async def remaining_s(self, prefix: Prefix, scope: Scope) -> float | None:
        return None

    async def dropped(self) -> dict[str, int]:
        return {"dropped4_auth": 3, "dropped6_auth": 4}

    async def fill(self, ends: Iterable[tuple[Prefix, Scope, float]], now: float) -> None:
        raise NotImplementedError

    async def walk(self, take: Callable[[Sequence[HeldBan]], None]) -> None:
        raise NotImplementedError

    async def suspend(self, *, on: bool) -> None:
        raise NotImplementedError

    async def aclose(self) -> None:
        raise NotImplementedError


class Sessions:
    """One session, of an account that would play with the terminal."""

    def list(self) -> list[SessionView]:
        evil = "eve\x1b[2J\n"
        return [SessionView("a1", "imaps", "imap", "192.0.2.9", 4, evil, "relay", 61.5, True, 41.0)]

    def kick(self, selector: str) -> int:
        return int(selector == "a1")


class Guard:
    """A control socket served from a thread, over the real Ledger."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "control.sock"
        self.ledger = Ledger(PolicySettings(), [Prefix.parse("127.0.0.0/8")], lambda: NOW)
        self.enforcer = Enforcer()
        self._stop: Callable[[], None]
        self._started = threading.Event()
        self._thread = threading.Thread(target=trio.run, args=(self._main,))

    def __enter__(self) -> "Guard":
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        self._thread.join()

    async def _main(self) -> None:
        status = {"version": "1", "uptime_s": 598.3, "note": "a\x1b[m"}
        control = Control(self.ledger, self.enforcer, Sessions(), lambda: status, lambda: NOW)
        async with trio.open_nursery() as nursery:
            await nursery.start(serve, self.path, control, Log(lambda _: None))
            token = trio.lowlevel.current_trio_token()
            self._stop = lambda: token.run_sync_soon(nursery.cancel_scope.cancel)
            self._started.set()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "gatekeeper.toml"
    path.write_text(CONFIG)
    return path


@pytest.fixture
def guard(config: Path) -> Iterator[Guard]:
    with Guard(config.parent) as running:
        yield running


@pytest.fixture(autouse=True)
def _nobody_logged_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The test's own login is not the operator's."""
    for variable in ("SSH_CLIENT", "SSH_CONNECTION"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(caller.caller_covered_by, "__defaults__", (tmp_path / "proc",))


def run(config: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cli, [*arguments, "-c", str(config)])


def test_version_is_printed() -> None:
    result = CliRunner().invoke(cli, ["--version"])
    assert (result.output, result.exit_code) == (f"gatekeeper {__version__}\n", 0)


# -- bans -----------------------------------------------------------------------------------------


def test_ban_is_added_listed_and_deleted(config: Path, guard: Guard) -> None:
    added = run(config, "ban", "add", "192.0.2.1", "--for", "9m58s", "--reason", "my words",
                "--scope", "auth")  # fmt: skip
    assert added.output == "banned 192.0.2.1 from auth, level 1, 9m58s left\n"
    listed = run(config, "ban", "list")
    assert listed.output.splitlines() == [
        "PREFIX     SCOPE  LEVEL  REASON    ORIGIN    REMAINING  KERNEL  NOTE",
        "192.0.2.1  auth   1      operator  operator  9m58s      9m58s   my words",
    ]
    deleted = run(config, "ban", "del", "192.0.2.1")
    assert deleted.output == "lifted 192.0.2.1 from auth, level 1, 9m58s left\n"
    assert added.exit_code == listed.exit_code == deleted.exit_code == 0
    assert guard.ledger.bans() == []


def test_ban_list_for_scripts(config: Path, guard: Guard) -> None:
    run(config, "ban", "add", "192.0.2.1", "--for", "1h", "--scope", "auth")
    (row,) = json.loads(run(config, "ban", "list", "-o", "json").output)
    assert row == {
        "prefix": "192.0.2.1",
        "scope": "auth",
        "level": 1,
        "reason": "operator",
        "origin": "operator",
        "since": NOW,
        "until": NOW + 3600,
        "remaining_s": 3600.0,
        "kernel_s": 598,
        "note": "",
    }
    (line,) = csv.DictReader(io.StringIO(run(config, "ban", "list", "-o", "csv").output))
    assert list(line) == list(row)
    assert (line["prefix"], line["kernel_s"]) == ("192.0.2.1", "598")


def test_ban_list_without_the_kernel_says_so(config: Path, guard: Guard) -> None:
    guard.enforcer.fails = True
    run(config, "ban", "add", "192.0.2.1")
    result = run(config, "ban", "list")
    assert result.stderr == "gatekeeper: what the kernel holds is not known: gone\n"
    assert result.stdout.count("192.0.2.1") == 2
    assert result.exit_code == 0


def test_ban_without_a_time_escalates(config: Path, guard: Guard) -> None:
    first = run(config, "ban", "add", "192.0.2.1", "--scope", "mx").output
    assert first == "banned 192.0.2.1 from mx, level 1, 10m left\n"
    run(config, "ban", "add", "192.0.2.1", "--scope", "mx")
    (ban,) = guard.ledger.bans()
    assert ban.level == 2
    assert ban.until - NOW > PolicySettings().ban_first_s


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["ban", "del", "192.0.2.77"], 3, "192.0.2.77 is not banned"),
        (["ban", "add", "127.0.0.1"], 1, "127.0.0.1 is never banned"),
        (["ban", "add", "10.0.0.0/8"], 2, "an IPv4 ban is for a /32 or /24, not a /8"),
        (["ban", "add", "nonsense"], 2, "not an IP address: 'nonsense'"),
        (["ban", "add", "192.0.2.1", "--for", "soon"], 2, 'not a duration: "soon"'),
        (["ban", "add", "192.0.2.1", "--for", "0s"], 2, "must be more than 0"),
        (["ban", "add", "192.0.2.1", "--for", "900d"], 2, "at most a year"),
        (["ban", "add", "192.0.2.1", "--scope", "x"], 2, "Invalid value for '--scope'"),
        (["kick", "nobody"], 3, "no session with id, address or account 'nobody'"),
        (["ban", "nonsense"], 2, "No such command"),
    ],
)
def test_what_cannot_be_done_has_its_exit_code(
    config: Path, guard: Guard, arguments: list[str], code: int, text: str
) -> None:
    result = run(config, *arguments)
    assert text in result.stderr
    assert result.exit_code == code
    assert guard.ledger.bans() == []


@pytest.mark.parametrize(
    ("variable", "value", "network"),
    [
        ("SSH_CLIENT", "192.0.2.9 55555 22", "192.0.2.0/24"),
        ("SSH_CONNECTION", "192.0.2.9 55555 192.0.2.1 22", "192.0.2.9"),
        ("SSH_CONNECTION", "2001:db8::9 55555 2001:db8::1 22", "2001:db8::1234"),
    ],
)
def test_ban_of_the_operators_own_address_needs_force(
    config: Path, guard: Guard, monkeypatch: pytest.MonkeyPatch, variable: str, value: str,
    network: str,
) -> None:  # fmt: skip
    monkeypatch.setenv(variable, value)
    refused = run(config, "ban", "add", network)
    assert "where this login comes from" in refused.stderr
    assert (refused.exit_code, guard.ledger.bans()) == (1, [])
    forced = run(config, "ban", "add", network, "--force")
    assert "where this login comes from" in forced.stderr
    assert (forced.exit_code, len(guard.ledger.bans())) == (0, 2)


def test_login_is_found_behind_sudo(tmp_path: Path) -> None:
    proc = tmp_path / "proc"
    chain = [(os.getpid(), 700, b""), (700, 1, b"A=b\0SSH_CLIENT=192.0.2.9 1 22\0"), (1, 0, b"")]
    for pid, parent, environ in chain:
        (proc / str(pid)).mkdir(parents=True)
        (proc / str(pid) / "stat").write_text(f"{pid} (a) (b c) S {parent} 1 1")
        (proc / str(pid) / "environ").write_bytes(environ)
    assert caller_covered_by("192.0.2.9", proc) == "192.0.2.9"
    assert caller_covered_by("192.0.2.10", proc) == ""


# -- sessions -------------------------------------------------------------------------------------


def test_who_shows_sessions_without_playing_their_tricks(config: Path, guard: Guard) -> None:
    assert run(config, "who").output.splitlines() == [
        "ID  LISTENER  ADDRESS    ACCOUNT       PHASE  AGE   IDLE",
        r"a1  imaps     192.0.2.9  eve\x1b[2J\n  idle   1m1s  41s",
    ]
    (row,) = json.loads(run(config, "who", "-o", "json").output)
    assert (row["account"], row["idle"], row["idle_s"]) == ("eve\x1b[2J\n", True, 41.0)


def test_kick_tells_how_many(config: Path, guard: Guard) -> None:
    assert run(config, "kick", "a1").output == "ended 1 session\n"


def test_status_is_shown(config: Path, guard: Guard) -> None:
    assert run(config, "status").output.splitlines() == [
        "version          1",
        "uptime           9m58s",
        r"note             a\x1b[m",
        "dropped_packets  7",
    ]
    assert json.loads(run(config, "status", "-o", "json").output)["uptime_s"] == 598.3


def test_socket_may_be_named(tmp_path: Path, guard: Guard) -> None:
    result = CliRunner().invoke(cli, ["status", "--socket", str(guard.path)])
    assert result.exit_code == 0


@pytest.mark.parametrize("command", [["status"], ["who"], ["ban", "list"], ["kick", "x"]])
def test_guard_that_is_not_running(config: Path, command: list[str]) -> None:
    result = run(config, *command)
    assert result.stderr == f"gatekeeper: no guard answers on {config.parent}/control.sock\n"
    assert result.exit_code == 3


def test_printable_leaves_words_and_escapes_the_rest() -> None:
    assert printable("Grüße, 世界") == "Grüße, 世界"
    assert printable("a\u202eb\ud800\x07") == r"a\u202eb\ud800\x07"


# -- check and run --------------------------------------------------------------------------------


def test_check_of_a_good_text(config: Path) -> None:
    result = run(config, "check", "--text-only")
    assert (result.output, result.exit_code) == (f"{config}: ok\n", 0)


def test_check_tells_every_problem_of_the_text(config: Path) -> None:
    config.write_text(CONFIG.replace("bind", "bnid") + "zzz = 1")
    result = run(config, "check")
    assert result.exit_code == 78
    assert result.stderr.splitlines() == [
        f'gatekeeper: {config}:3: [[listener]] "mx" lacks "bind"',
        f'gatekeeper: {config}:6: unknown key "bnid" in [[listener]] "mx": did you mean "bind"?',
        f'gatekeeper: {config}:11: unknown key "zzz" in [backend.postfix]',
    ]


def test_check_of_the_host_fails_on_errors_alone(config: Path) -> None:
    config.write_text(CONFIG.replace("127.0.0.1:2525", "192.0.2.1:2525"))
    result = run(config, "check")
    assert "error: listener mx: 192.0.2.1:2525: Cannot assign requested address" in result.stdout
    assert "warning: backend postfix: 127.0.0.1:1 does not answer" in result.stdout
    assert result.exit_code == 1


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (ConfigError("a\nb"), 78, "gatekeeper: a\ngatekeeper: b\n"),
        (PermissionMissing("p"), 77, "gatekeeper: p\n"),
        (PermissionError(13, "denied", "f"), 77, "gatekeeper: [Errno 13] denied: 'f'\n"),
        (NotRunning("n"), 3, "gatekeeper: n\n"),
        (GatekeeperError("g"), 1, "gatekeeper: g\n"),
        (OSError(98, "in use"), 1, "gatekeeper: [Errno 98] in use\n"),
        (ExceptionGroup("", [ExceptionGroup("", [ConfigError("c")])]), 78, "gatekeeper: c\n"),
        (ZeroDivisionError("z"), 1, "gatekeeper: ZeroDivisionError: z\ngatekeeper: this is a fa"),
    ],
)
def test_what_run_raises_is_a_line_and_an_exit_code(
    config: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int, text: str
) -> None:
    def fail(settings: Settings, path: Path) -> int:
        raise error

    monkeypatch.setattr(app, "run", fail)
    result = run(config, "run")
    assert result.stderr.startswith(text)
    assert result.exit_code == code


@pytest.mark.parametrize("code", [0, 1])
def test_run_hands_the_settings_over(
    config: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    seen = []

    def note(settings: Settings, path: Path) -> int:
        seen.append((settings.hostname, path))
        return code

    monkeypatch.setattr(app, "run", note)
    assert run(config, "run").exit_code == code
    assert seen == [("mail.example.org", config)]


# -- as a process ---------------------------------------------------------------------------------


def process(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from gatekeeper.cli import main; main()", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_exit_codes_of_the_process(tmp_path: Path, config: Path, guard: Guard) -> None:
    assert process("--version").returncode == 0
    assert process("status", "-c", str(config)).returncode == 0
    assert process("kick", "nobody", "-c", str(config)).returncode == 3
    assert process("nonsense").returncode == 2
    bad = process("run", "-c", str(tmp_path / "none.toml"))
    assert bad.returncode == 78
    assert bad.stderr == f"gatekeeper: {tmp_path}/none.toml: cannot be read: " + (
        "No such file or directory\n"
    )


def test_commands_do_not_load_what_only_the_guard_needs() -> None:
    code = (
        "import sys, gatekeeper.cli; print(sorted({'trio', 'ssl', 'tomllib'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "[]\n"
