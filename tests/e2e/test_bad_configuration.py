"""A running guard is told to read what cannot be used: one line each, and nothing changes."""

import os
import pwd
import shutil
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from gatekeeper.cli.client import exchange
from gatekeeper.control import SOCKET_NAME

from .certificates import Authority
from .guard_process import COMMAND, Guard, Service, guard
from .line_client import LineClient
from .processes import free_ports, run_tool, wait_until
from .sink import sink

HOOK = """\
from gatekeeper.hooks import *
def mail(event, facts):
    return refuse("5.7.1 by a hook")
"""
EXTRA = """
[hooks]
files = ["{0}/hooks.py"]
[policy]
greet_wait = 0
[http]
bind = "unix:{0}/run/http.sock"
token_file = "{0}/token"
[notify]
exec = "{0}/program"
[domains]
root = "{0}/domains"
"""
QUICKLY_S = 3.0  # a file that were waited for would be waited for without end


@dataclass(frozen=True, slots=True)
class Rig:
    """A guard, the texts of its configuration, and two sessions that last."""

    guard: Guard
    text: str
    tls: ssl.SSLContext
    smtp: LineClient
    imap: LineClient

    @property
    def directory(self) -> Path:
        return self.guard.directory

    def reload(self) -> list[str]:
        """What the guard says to a reload: a line for each problem."""
        started = time.monotonic()
        reply = exchange(self.directory / "run" / SOCKET_NAME, {"verb": "reload"})
        assert time.monotonic() - started < QUICKLY_S
        if reply.get("ok") is True:
            return []
        assert reply["code"] == "bad-configuration"
        return str(reply["error"]).replace(f"{self.directory}/", "").splitlines()

    def lives(self) -> None:
        """Old sessions live on, and new ones are served as ever: by certificate, hook, backend."""
        assert self.smtp.command(b"NOOP").startswith(b"250")
        assert b"n OK" in self.imap.ask(b"n NOOP")
        with LineClient(self.guard.ports["mx"]) as client:
            assert client.reply().startswith(b"220 ")
            assert client.command(b"EHLO client.example").startswith(b"250")
            assert client.command(b"MAIL FROM:<a@b.example>").startswith(b"550 5.7.1 by a hook")
        with LineClient(self.guard.ports["imaps"], tls=self.tls) as client:
            assert client.line().startswith(b"* OK")


@pytest.fixture(scope="module")
def rig(public: Path) -> Iterator[Rig]:
    directory = public / "mistakes"
    directory.mkdir(mode=0o755)
    authority = Authority.make(directory / "pki")
    pair = authority.issue("x", "localhost", "127.0.0.1")
    (directory / "hooks.py").write_text(HOOK)
    (directory / "program").write_text("#!/bin/sh\n")
    (directory / "program").chmod(0o755)
    (directory / "token").write_text("0123456789abcdef\n")
    shutil.chown(directory / "token", "nobody")
    (directory / "token").chmod(0o600)
    (directory / "domains").mkdir()
    with ExitStack() as stack:
        behind = stack.enter_context(sink())
        services = [
            Service("mx", "smtp", "none", behind.smtp_port),
            Service("imaps", "imap", "implicit", behind.imap_port),
        ]
        running = stack.enter_context(
            guard(directory, services, [pair], extra=EXTRA.format(directory))
        )
        tls = authority.client_context()
        smtp = stack.enter_context(LineClient(running.ports["mx"]))
        imap = stack.enter_context(LineClient(running.ports["imaps"], tls=tls))
        assert smtp.reply().startswith(b"220")
        assert smtp.command(b"EHLO client.example").startswith(b"250")
        assert imap.line().startswith(b"* OK")
        yield Rig(running, running.configuration.read_text(), tls, smtp, imap)


TEXTS: dict[str, tuple[Callable[[str], str], list[str]]] = {
    "no TOML": (lambda text: f"{text}x = \n", ["gatekeeper.toml:54: not TOML: invalid value"]),
    "a NUL": (lambda text: f"{text}\0", ["gatekeeper.toml:54: not TOML: invalid statement"]),
    "slips": (
        lambda text: text.replace("greet_wait", "greet_wiat").replace("implicit", "implict"),
        [
            'gatekeeper.toml:35: [[listener]] "imaps" tls: no such choice "implict": did you mean'
            ' "implicit"?',
            'gatekeeper.toml:46: unknown key "greet_wiat" in [policy]: did you mean "greet_wait"?',
        ],
    ),
    "a zone that is none": (
        lambda text: f'{text}[[dnsbl]]\nzone = "zen..example"\n',
        ["gatekeeper.toml:55: [[dnsbl]] zone: not the name of a zone"],
    ),
    "a moved listener and a moved certificate": (
        lambda text: text.replace("x.pem", "y.pem").replace('name = "mx"', 'name = "port25"'),
        [
            "pki/y.pem: No such file or directory (named in gatekeeper.toml:8)",
            "listeners changed: that takes a restart",
        ],
    ),
}


@pytest.mark.parametrize("what", TEXTS)
def test_a_wrong_text_is_told_with_its_lines(rig: Rig, what: str) -> None:
    change, told = TEXTS[what]
    rig.guard.configuration.write_text(change(rig.text))
    assert rig.reload() == told
    rig.lives()
    rig.guard.configuration.write_text(rig.text)


def _garbage(path: Path) -> None:
    path.write_bytes(b"\0\xff" * 100)
    path.chmod(0o640)  # so that the guard's user reads it, and nobody else
    os.chown(path, 0, pwd.getpwnam("nobody").pw_gid)


def _unreadable(path: Path) -> None:
    path.write_text("x")
    path.chmod(0)


INSTEAD: dict[str, Callable[[Path], object]] = {
    "nothing": lambda path: None,
    "a directory": lambda path: path.mkdir(),
    "a pipe": os.mkfifo,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a loop": lambda path: path.symlink_to(path.name),
    "secrets": _unreadable,
    "garbage": _garbage,
}
# What is told of each file: the configuration, certificate, key, hooks, program, token.
FILES = ("gatekeeper.toml", "pki/x.pem", "pki/x.key", "hooks.py", "program", "token")
ABSENT, LOOPED = "No such file or directory", "Too many levels of symbolic links"
NONE, DENIED = "is no regular file", "Permission denied"
WHY: dict[str, tuple[str, ...]] = {
    "nothing": (f"cannot be read: {ABSENT}", ABSENT, ABSENT, ABSENT, ABSENT, ABSENT),
    "a directory": (
        *("cannot be read: Is a directory", "Is a directory", "Is a directory"),
        *("Is a directory", NONE, "Is a directory"),
    ),
    "a pipe": (NONE,) * 6,
    "a device": (NONE,) * 6,
    "a loop": (f"cannot be read: {LOOPED}", LOOPED, LOOPED, LOOPED, LOOPED, LOOPED),
    "secrets": (
        *("may not be read by this user", DENIED, DENIED, DENIED),
        *("it may not be executed: chmod +x", DENIED),
    ),
    "garbage": (
        *("not UTF-8 text", "there is no certificate in it (PEM)"),
        *("there is no private key in it (PEM)", "syntax error: "),
        *("it may not be executed: chmod +x", "wants one word of 16 to 256 printable"),
    ),
}


@pytest.mark.parametrize("what", INSTEAD)
def test_what_is_no_file_is_told_and_not_waited_for(rig: Rig, what: str) -> None:
    for name, why in zip(FILES, WHY[what], strict=True):
        path, kept = rig.directory / name, rig.directory / "kept"
        path.rename(kept)
        INSTEAD[what](path)
        (told,) = rig.reload()
        _remove(path)
        kept.rename(path)
        assert f"{name}: {why}" in told or f"{name}:1: {why}" in told
        assert told.startswith(FILES[0]) or "(named in gatekeeper.toml:" in told
    rig.lives()


def _remove(path: Path) -> None:
    if path.is_dir():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)


def test_a_tree_of_domains_that_is_none_is_told_and_the_rest_is_taken(rig: Rig) -> None:
    """Nothing is refused for it: what it held before stays in force until it is there again."""
    tree, kept = rig.directory / "domains", rig.directory / "kept"
    tree.rename(kept)
    os.mkfifo(tree)
    assert rig.reload() == []
    line = f' domains why="not a directory" path={tree}\n'
    wait_until(lambda: line in rig.guard.log(), "the tree is told of")
    rig.lives()
    _remove(tree)
    kept.rename(tree)
    assert rig.reload() == []


def test_the_command_and_check_say_it_in_the_same_words(rig: Rig) -> None:
    hooks = rig.directory / "hooks.py"
    hooks.write_text(HOOK + "def rcpt(:\n")
    line = f"{hooks}:4: syntax error: invalid syntax (named in {rig.guard.configuration}:44)"
    assert rig.guard.command("reload", expect=78).splitlines() == [
        f"gatekeeper: {line}",
        "gatekeeper: the guard goes on with the old configuration",
    ]
    assert f"error: {line}\n" in rig.guard.command("check", "--no-relay-test", expect=1)
    rig.lives()
    hooks.write_text(HOOK)
    assert "in force" in rig.guard.command("reload")


def test_a_second_guard_does_not_take_the_place_of_the_first(rig: Rig) -> None:
    ports = dict.fromkeys(rig.guard.ports.values())
    text = rig.text
    for port, other in zip(ports, free_ports(len(ports)), strict=True):
        text = text.replace(f'bind = ["127.0.0.1:{port}"]', f'bind = ["127.0.0.1:{other}"]')
    second = rig.directory / "second.toml"
    second.write_text(text)
    said = run_tool(COMMAND, "run", "-c", second, expect=78)
    assert said == (
        f"gatekeeper: {rig.directory}/run: another guard runs with this run_dir"
        f" (named in {second}:5)\n"
    )
    second.write_text(rig.text.replace(f"{rig.directory}/run", f"{rig.directory}/other"))
    said = run_tool(COMMAND, "run", "-c", second, expect=78)
    assert said.count("\n") == 1
    assert "Address already in use" in said
    rig.lives()
