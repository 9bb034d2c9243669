"""An operator asks why, undoes it, and locks an account, with Dovecot and the kernel in earnest."""

import re
import shlex
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from netns.namespace import Ns, link

from .accounts import ALICE, BOB, PASSWORDS, WRONG
from .certificates import Authority
from .dovecot import Dovecot, dovecot
from .guard_process import Guard, Service, guard
from .line_client import LineClient
from .processes import wait_until

GUARD_TO_WORLD, ATTACKER = "10.78.1.1", "10.78.1.2"
GUARD_TO_HOME, HONEST = "10.78.2.1", "10.78.2.2"
MOST_GUESSES = 30
# The tarpit would only make the attack, and so the test, take longer.
QUICK = "[policy]\ntarpit_base = 0\ntarpit_max = 0\n"

pytestmark = pytest.mark.netns


@dataclass(frozen=True, slots=True)
class Scene:
    """A mail host with its guard, and two networks that know only the guard."""

    world: Ns
    home: Ns
    guard: Guard
    dovecot: Dovecot
    authority: Authority
    stack: ExitStack

    def connect(self, where: Ns, host: str) -> LineClient:
        """A client that has read the greeting."""
        client = where.run(
            LineClient,
            self.guard.ports["imaps"],
            host=host,
            tls=self.authority.client_context(),
        )
        self.stack.callback(client.sock.close)
        assert client.line().startswith(b"* OK ")
        return client

    def login(self, account: str, password: str) -> tuple[LineClient, bytes]:
        """A client at home and the answer to its login."""
        client = self.connect(self.home, GUARD_TO_HOME)
        answer = client.ask(f"a LOGIN {account} {password}".encode())
        return client, answer.splitlines(keepends=True)[-1]

    def guess(self) -> None:
        """Wrong passwords for an account, each on a connection of its own, until one is cut."""
        for number in range(MOST_GUESSES):
            try:
                client = self.connect(self.world, GUARD_TO_WORLD)
                client.ask(f"a LOGIN {ALICE} {WRONG}-{number}".encode())
            except (OSError, AssertionError):
                return
            if "sessions_ended=" in self.guard.log():
                return
        raise AssertionError("a guesser is banned")


@pytest.fixture
def scene(public: Path, tmp_path: Path) -> Iterator[Scene]:
    """Everything anew: bans and locks last longer than a test."""
    base = public / tmp_path.name
    base.mkdir()
    authority = Authority.make(base / "pki")
    pair = authority.issue("guard", "localhost")
    with Ns() as host, Ns() as world, Ns() as home:
        link(host, f"{GUARD_TO_WORLD}/24", world, f"{ATTACKER}/24")
        link(host, f"{GUARD_TO_HOME}/24", home, f"{HONEST}/24")
        stack = ExitStack()
        # What is entered inside the namespace starts its processes there.
        imap = host.run(stack.enter_context, dovecot(base / "dovecot", pair))
        try:
            service = Service("imaps", "imap", "implicit", imap.imap_haproxy, "proxy-v2")
            running = host.run(
                stack.enter_context,
                guard(base / "guard", [service], (pair,), host="0.0.0.0", nft=True, extra=QUICK),
            )
            yield Scene(world, home, running, imap, authority, stack)
        finally:
            host.run(stack.close)


def test_a_ban_is_explained_and_undone_by_the_command_it_names(scene: Scene) -> None:
    _, answer = scene.login(ALICE, PASSWORDS[ALICE])
    assert answer.startswith(b"a OK ")
    scene.guess()
    told = wait_until(lambda: _held(scene.guard), "the kernel holds the ban")

    lines = told.splitlines()
    assert re.fullmatch(
        rf"{re.escape(ATTACKER)} is banned from the login ports for \S+ more:"
        r" auth-failures, level 1",
        lines[0],
    )
    assert "imaps: wrong password" in told
    assert re.search(r"imaps: .*auth-failures +banned", told)
    assert WRONG not in told

    undo = lines[lines.index("To undo it") + 1].split()
    assert undo == ["gatekeeper", "ban", "del", ATTACKER]
    scene.guard.command(*undo[1:])
    client = wait_until(lambda: _connected(scene), "the attacker is let back in")
    assert client is not None
    answer = client.ask(f"a LOGIN {ALICE} {PASSWORDS[ALICE]}".encode())
    assert re.search(rb"^a (OK|NO \[UNAVAILABLE\])", answer, re.MULTILINE)
    after = scene.guard.command("explain", ATTACKER)
    assert after.startswith(f"{ATTACKER} is not banned; score 0 of 1")


def test_a_lock_ends_a_live_session_and_unlock_lets_in_again(scene: Scene) -> None:
    client, answer = scene.login(ALICE, PASSWORDS[ALICE])
    neighbour, _ = scene.login(BOB, PASSWORDS[BOB])
    assert answer.startswith(b"a OK ")
    assert b"b OK " in client.ask(b"b SELECT INBOX")

    locked = scene.guard.command("account", "lock", ALICE.upper(), "--reason", "stolen phone")
    assert locked == f"locked {ALICE} until you unlock it, ended 1 session\n"
    assert client.rest() == b""
    logins = scene.dovecot.log().count(ALICE)
    _, answer = scene.login(ALICE, PASSWORDS[ALICE])
    assert answer.startswith(b"a NO ")
    assert scene.dovecot.log().count(ALICE) == logins
    assert b"c OK " in neighbour.ask(b"c NOOP")

    told = scene.guard.command("explain", ALICE)
    assert told.startswith(f"{ALICE} is locked until somebody unlocks it: no login at all\n")
    assert "no login at all: stolen phone" in told
    assert re.search(r"imaps: login .* account-locked +refused here", told)
    assert "attack_level" in scene.guard.command("status")

    command = shlex.split(told.splitlines()[-1])
    assert command == ["gatekeeper", "account", "unlock", ALICE]
    assert scene.guard.command(*command[1:]) == f"unlocked {ALICE}: lifted operator\n"
    client, answer = scene.login(ALICE, PASSWORDS[ALICE])
    assert answer.startswith(b"a OK ")
    scene.guard.command("account", "unlock", ALICE, expect=3)


def _held(running: Guard) -> str:
    """The explanation of the attacker's ban once the kernel has it, else empty."""
    told = running.command("explain", ATTACKER)
    return told if "the kernel holds it for" in told else ""


def _connected(scene: Scene) -> LineClient | None:
    try:
        return scene.connect(scene.world, GUARD_TO_WORLD)
    except OSError:
        return None
