"""The commands of docs/incidents.md and docs/operations.md, run as they stand there, by a shell."""

import itertools
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from netns.namespace import Ns, link

from .accounts import ALICE, PASSWORDS, WRONG
from .certificates import Authority
from .dovecot import dovecot
from .guard_process import COMMAND, Guard, Service, guard
from .line_client import LineClient
from .processes import stop, wait_until

DOCS = Path(__file__).parents[2] / "docs"
GUARD, PERSON = "10.78.1.1", "10.78.1.3"
GUARD_TO_STRANGERS, ATTACKER = "10.78.2.1", "10.78.2.2"  # far from where the person is at home
GUESSES = 10
# So that the test is short: nothing is delayed.
QUICK = """[policy]
auth_ban_score = 8
auth_suspect_share = 1
tarpit_base = 0
tarpit_max = 0
"""
# Others need a host with systemd, or would take the machine's own files.
RUN = ("gatekeeper ", "grep ", "nft ")

_guesses = itertools.count()  # the same guess again is no new one

pytestmark = pytest.mark.netns


def lines(page: str, section: str) -> list[str]:
    """The shell's lines in a section of a page, those that are run here."""
    text = (DOCS / page).read_text(encoding="utf-8")
    _, found, rest = text.partition(f"\n## {section}\n")
    assert found, f"{page} has no section {section}"
    blocks = re.findall(r"```sh\n(.*?)```", rest.split("\n## ")[0], re.DOTALL)
    all_lines = [line for block in blocks for line in block.splitlines() if line]
    kept = [line for line in all_lines if line.startswith(RUN)]
    assert kept, f"{section} of {page} has no commands"
    return kept


@dataclass(frozen=True, slots=True)
class Scene:
    """A guard before Dovecot, and a world with a person and an attacker in it."""

    host: Ns
    world: Ns
    guard: Guard
    authority: Authority
    directory: Path

    def shell(self, line: str, expect: int = 0) -> str:
        """What a line of the documents prints on the guard's host."""
        path = f"{self.directory}:{os.environ['PATH']}:/usr/sbin"
        done = self.host.run(
            subprocess.run,
            ["bash", "-c", line],
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": path, "LC_ALL": "C.UTF-8"},
        )
        assert done.returncode == expect, f"{line}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def connect(self, source: str, timeout_s: float = 10.0) -> LineClient:
        """A client that has read the greeting. Raises `OSError` where the kernel drops it."""
        client = self.world.run(
            LineClient,
            self.guard.ports["imaps"],
            host=GUARD,
            source=source,
            tls=self.authority.client_context(),
            timeout_s=timeout_s,
        )
        client.line()
        return client

    def login(self, source: str, password: str) -> bytes:
        """The answer to a login."""
        with self.connect(source) as client:
            client.send(f"a LOGIN {ALICE} {password}\r\nz LOGOUT\r\n".encode())
            return client.rest()

    def get_banned(self) -> None:
        """The attacker guesses, on many connections at once, and the kernel holds his address.
        What he is told is not waited for: in the end the kernel drops it."""
        with ExitStack() as stack:
            clients = [stack.enter_context(self.connect(ATTACKER)) for _ in range(GUESSES)]
            over = self.sessions_over() + GUESSES
            for client, number in zip(clients, _guesses, strict=False):
                client.send(f"a LOGIN root {WRONG}-{number}\r\nz LOGOUT\r\n".encode())
            wait_until(lambda: self.sessions_over() >= over, "all his sessions are over")
        wait_until(self.is_dropped, "a guesser is banned")

    def sessions_over(self) -> int:
        """How many sessions of the attacker's have ended."""
        return len(re.findall(rf" session .*rip={ATTACKER} ", self.guard.log()))

    def is_dropped(self) -> bool:
        """Whether the attacker's address is in one of the kernel's sets."""
        return ATTACKER in self.host.command(
            "nft", "list", "set", "inet", "gatekeeper", "ban4_auth"
        )


@pytest.fixture
def scene(public: Path, tmp_path: Path) -> Iterator[Scene]:
    """Everything anew; `gatekeeper` is the command of this guard."""
    base = public / tmp_path.name
    base.mkdir()
    authority = Authority.make(base / "pki")
    pair = authority.issue("guard", "localhost", "guard.example.test")
    with Ns() as host, Ns() as world, ExitStack() as stack:
        ours, theirs = (GUARD, GUARD_TO_STRANGERS), (PERSON, ATTACKER)
        link(host, [f"{one}/24" for one in ours], world, [f"{one}/24" for one in theirs])
        # What is entered inside the namespace starts its processes there.
        imap = host.run(stack.enter_context, dovecot(base / "dovecot", pair))
        service = Service("imaps", "imap", "implicit", imap.imap_haproxy, "proxy-v2")
        running = host.run(
            stack.enter_context,
            guard(base / "guard", [service], (pair,), host="0.0.0.0", nft=True, extra=QUICK),
        )
        command = base / "gatekeeper"
        command.write_text(f'#!/bin/sh\nexec {COMMAND} "$@" -c {running.configuration}\n')
        command.chmod(0o755)
        yield Scene(host, world, running, authority, base)


def test_incident_pages_do_what_they_say(scene: Scene) -> None:
    assert b"a OK" in scene.login(PERSON, PASSWORDS[ALICE])
    scene.get_banned()
    _stop_everything(scene)
    _everybody_is_locked_out(scene)
    _one_user_is_locked_out(scene)
    (reset,) = lines("incidents.md", "The breaker is open")
    scene.shell(reset, expect=3)  # it is closed
    _remove_everything(scene)


def _stop_everything(scene: Scene) -> None:
    """The banned address gets in during a pause; what was judged meanwhile is the week's recipe."""
    pause, status, who, resume = lines("incidents.md", "Stop everything now")
    scene.shell(pause)
    assert re.search(r"^paused +yes", scene.shell(status), re.MULTILINE)
    assert b"NO" in scene.login(ATTACKER, f"{WRONG}-paused")
    assert b"a OK" in scene.login(PERSON, PASSWORDS[ALICE])
    for _ in range(2):
        assert b"NO" in scene.login(PERSON, f"{WRONG}-of-a-phone")
    scene.shell(who)
    _first_week(scene)
    scene.shell(resume)
    with pytest.raises(TimeoutError):
        scene.connect(ATTACKER, timeout_s=1.0)


def _first_week(scene: Scene) -> None:
    """Who was to be refused, by rule; of them who has a mailbox: the person, not the guesser."""
    log, refused = scene.guard.directory / "log", scene.directory / "refused"
    printed = [
        scene.shell(line.replace("/tmp/day", str(log)).replace("/tmp/refused", str(refused)))
        for line in lines("operations.md", "The first week")
    ]
    assert re.search(r"^learned +no", printed[0], re.MULTILINE)
    *_, by_reason, nothing, people = printed
    assert re.search(r"^ +\d+ reason=repeated-password$", by_reason, re.MULTILINE)
    assert nothing == ""
    assert f"rip={ATTACKER}\n" in refused.read_text()
    assert people == f"rip={PERSON}\n"


def _everybody_is_locked_out(scene: Scene) -> None:
    """Each way to lift bans lifts the one of a guesser; asked without `--yes` it lifts none."""
    asked, *ways = lines("incidents.md", "Everybody is locked out")
    scene.shell(asked, expect=2)
    for way in ways:
        if not scene.is_dropped():
            scene.get_banned()
        scene.shell(way)
        assert not scene.is_dropped(), way


def _one_user_is_locked_out(scene: Scene) -> None:
    """By his ticket, his account and his address; the command that it names lets him in."""
    scene.guard.command("account", "lock", ALICE, "--reason", "stolen phone")
    tickets = re.findall(r" verdict .* ref=(\w+) ", scene.guard.log())
    means = {"7f3k2": tickets[-1], "ann@example.org": ALICE, "203.0.113.7": ATTACKER}
    for line in lines("incidents.md", "One user is locked out"):
        word = next(word for word in means if word in line)
        told = scene.shell(line.replace(word, means[word]))
        if means[word] == ALICE:
            assert f"gatekeeper account unlock {ALICE}" in told
    scene.shell(f"gatekeeper account unlock {ALICE}")
    assert b"a OK" in scene.login(PERSON, PASSWORDS[ALICE])


def _remove_everything(scene: Scene) -> None:
    """The bans are taken along, and nothing of the guard's stays in the kernel."""
    scene.get_banned()
    export, delete = lines("incidents.md", "Remove everything")
    taken = scene.directory / "bans.txt"
    scene.shell(export.replace("/root/gatekeeper-bans.txt", str(taken)))
    assert f"\n{ATTACKER}/32 " in taken.read_text()
    assert stop(scene.guard.process) == 0
    assert scene.is_dropped(), "a guard that ends leaves its bans"
    scene.shell(delete)
    assert "gatekeeper" not in scene.host.command("nft", "list", "tables")
