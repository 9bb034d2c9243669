"""The emergency exits of a real guard: pause and resume, ban flush, the breaker."""

import itertools
import re
import signal
import socket
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

GUARD_TO_WORLD, WORLD, OTHER = "10.79.1.1", "10.79.1.2", "10.79.1.3"
MOST_GUESSES = 14  # ten ban
DROPPED_S = 1.5  # nothing answers a packet that is dropped; a busy host answers others sooner
# The tarpit would only make an attack, and so the test, take longer. Two bans open the breaker.
QUICK = "[policy]\ntarpit_base = 0\ntarpit_max = 0\nbreaker_bans_minute = 1\n"

_numbers = itertools.count()  # no password is tried twice: that would count for nothing

pytestmark = pytest.mark.netns


@dataclass(frozen=True, slots=True)
class Scene:
    """A mail host with its guard, and a network with two addresses."""

    host: Ns
    world: Ns
    guard: Guard
    dovecot: Dovecot
    authority: Authority
    guard_stack: ExitStack  # ends the guard and checks that it ended well
    clients: ExitStack

    def connect(self, source: str) -> LineClient:
        """A client that has read the greeting. Raises `OSError` where it is kept out."""
        context = self.authority.client_context()
        client = self.world.run(
            LineClient,
            self.guard.ports["imaps"],
            host=GUARD_TO_WORLD,
            source=source,
            tls=context,
        )
        self.clients.callback(client.sock.close)
        if not client.line().startswith(b"* OK "):
            raise ConnectionResetError("no greeting")
        return client

    def login(self, source: str, account: str = ALICE, password: str = "") -> bytes:
        """The first word of the answer to a login."""
        client = self.connect(source)
        secret = password or PASSWORDS[account]
        answer = client.ask(f"a LOGIN {account} {secret}".encode())
        return answer.splitlines()[-1].split(b" ")[1]

    def kept_out(self, source: str) -> bool:
        """Whether no session comes about: its packets are dropped, or the connection is reset."""
        try:
            with self._reach(source) as sock:
                context = self.authority.client_context()
                with context.wrap_socket(sock, server_hostname="localhost") as secured:
                    return not secured.recv(100)
        except OSError:
            return True

    def is_dropped(self, source: str) -> bool:
        """Whether nothing answers, not even a host on which nobody listens."""
        try:
            self._reach(source).close()
        except TimeoutError:
            return True
        except OSError:
            return False
        return False

    def _reach(self, source: str) -> socket.socket:
        port = self.guard.ports["imaps"]
        return self.world.run(
            socket.create_connection, (GUARD_TO_WORLD, port), DROPPED_S, (source, 0)
        )

    def guess(self, source: str) -> None:
        """Wrong passwords until no more is answered, or `MOST_GUESSES`."""
        for _ in range(MOST_GUESSES):
            try:
                self.login(source, ALICE, f"{WRONG}-{next(_numbers)}")
            except (OSError, IndexError):
                return


WITHOUT_KERNEL = pytest.mark.parametrize("scene", [False], indirect=True, ids=["no-nft"])


@pytest.fixture
def scene(request: pytest.FixtureRequest, public: Path, tmp_path: Path) -> Iterator[Scene]:
    """Everything anew, with the kernel where a test is not `WITHOUT_KERNEL`."""
    base = public / tmp_path.name
    base.mkdir()
    authority = Authority.make(base / "pki")
    pair = authority.issue("guard", "localhost")
    with Ns() as host, Ns() as world, ExitStack() as clients:
        link(host, f"{GUARD_TO_WORLD}/24", world, (f"{WORLD}/24", f"{OTHER}/24"))
        servers, guards = ExitStack(), ExitStack()
        # What is entered inside the namespace starts its processes there.
        imap = host.run(servers.enter_context, dovecot(base / "dovecot", pair))
        try:
            service = Service("imaps", "imap", "implicit", imap.imap_haproxy, "proxy-v2")
            running = host.run(
                guards.enter_context,
                guard(
                    base / "guard",
                    [service],
                    (pair,),
                    host="0.0.0.0",
                    nft=getattr(request, "param", True),
                    extra=QUICK,
                ),
            )
            yield Scene(host, world, running, imap, authority, guards, clients)
        finally:
            host.run(guards.close)
            host.run(servers.close)


def test_pause_lets_a_banned_address_in_and_resume_refuses_it_again(scene: Scene) -> None:
    scene.guard.command("ban", "add", WORLD, "--for", "1h")
    scene.guard.command("account", "lock", BOB)
    wait_until(lambda: scene.kept_out(WORLD), "the ban is in force")
    assert scene.login(OTHER) == b"OK"

    told = scene.guard.command("pause", "--for", "1h", "--reason", "who is locked out?")
    assert re.fullmatch(r"paused until \S+( \S+)?, 1h: nothing is enforced\n", told)
    assert scene.login(WORLD) == b"OK"
    assert scene.login(WORLD, BOB) == b"NO", "what the operator has locked stays locked"
    scene.guess(WORLD)
    assert scene.login(WORLD) == b"OK", "guesses are counted, no more"
    status = scene.guard.command("status")
    assert re.search(r"^paused +yes$", status, re.MULTILINE)
    assert re.search(r"^would_have .*\bbanned [1-9]", status, re.MULTILINE)
    assert re.search(
        rf"^\S*{re.escape(WORLD)}\S* ", scene.guard.command("ban", "list"), re.MULTILINE
    )

    assert scene.guard.command("resume") == "resumed, 2 bans in force\n"
    assert scene.kept_out(WORLD)
    assert scene.login(OTHER) == b"OK"
    wait_until(lambda: "control verb=resume" in scene.guard.log(), "the log has it all")
    log = scene.guard.log()
    assert 'paused for_s=3600 note="who is locked out?"' in log
    assert "resumed why=operator" in log
    assert re.search(r"control verb=pause .*uid=0 ", log)


@WITHOUT_KERNEL
def test_pause_ends_by_itself(scene: Scene) -> None:
    scene.guard.command("ban", "add", WORLD, "--for", "1h")
    scene.guard.command("pause", "--for", "3s")
    assert scene.login(WORLD) == b"OK"
    wait_until(lambda: "resumed why=" in scene.guard.log(), "its time is over", 10)
    assert scene.kept_out(WORLD)


@pytest.mark.parametrize("how", ["SIGTERM", "SIGKILL"])
def test_pause_ends_with_the_guard(scene: Scene, how: str) -> None:
    """The kernel drops again what it holds, though nobody is left to say so."""
    scene.guard.command("ban", "add", WORLD, "--for", "1h")
    scene.guard.command("pause", "--for", "1h")
    assert scene.login(WORLD) == b"OK"
    scene.guard.signal(signal.Signals[how])
    scene.guard.process.wait(30)
    if how == "SIGKILL":
        scene.guard_stack.pop_all()  # which would find that it ended badly
    wait_until(lambda: scene.is_dropped(WORLD), "the kernel drops it again")
    assert not scene.is_dropped(OTHER)


def test_flush_lets_all_in_again(scene: Scene) -> None:
    scene.guess(WORLD)
    wait_until(lambda: scene.kept_out(WORLD), "the guesser is banned")
    scene.guard.command("ban", "add", OTHER, "--scope", "auth")
    wait_until(lambda: scene.kept_out(OTHER), "the operator's ban is in force")

    assert scene.guard.command("ban", "flush", expect=2).startswith("would lift 2 bans\n")
    assert scene.kept_out(WORLD)
    told = scene.guard.command("ban", "flush", "--yes", "--origin", "rule")
    assert told == "lifted 1 ban\n"
    wait_until(lambda: not scene.kept_out(WORLD), "the guesser is let in")
    assert scene.kept_out(OTHER)
    assert scene.guard.command("ban", "flush", "--yes") == "lifted 1 ban\n"
    wait_until(lambda: not scene.kept_out(OTHER), "all are let in")


@WITHOUT_KERNEL
def test_open_breaker_puts_off_instead_of_banning_until_it_is_reset(scene: Scene) -> None:
    scene.guess(WORLD)
    wait_until(lambda: scene.kept_out(WORLD), "the first guesser is banned")
    scene.guess(OTHER)
    assert not scene.kept_out(OTHER)
    assert scene.login(OTHER, ALICE, f"{WRONG}-last") == b"NO"
    status = scene.guard.command("status")
    assert re.search(r"^breaker +open, rate: 2 bans wanted within a minute$", status, re.MULTILINE)
    wait_until(lambda: "breaker state=open cause=rate " in scene.guard.log(), "the log has it")
    told = scene.guard.command("explain", OTHER)
    assert "breaker-open: a rule would have banned it, but the breaker is open" in told
    assert scene.guard.command("breaker", "reset").startswith(
        "closed the breaker; it had opened by"
    )
    wait_until(lambda: "breaker state=closed" in scene.guard.log(), "its end is told", 10)
    scene.guess(OTHER)
    wait_until(lambda: scene.kept_out(OTHER), "the second guesser is banned")
    scene.guard.command("breaker", "reset", expect=3)
