"""A password guesser is banned in the kernel while everybody else goes on reading mail."""

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from netns.namespace import Ns, link

from .accounts import ALICE, BOB, PASSWORDS
from .certificates import Authority
from .dovecot import Dovecot, dovecot
from .guard_process import Guard, Service, guard
from .postfix import Postfix, postfix
from .processes import run_tool, start, wait_until
from .test_clients import mbsync_configuration

GUARD_TO_WORLD, ATTACKER = "10.77.1.1", "10.77.1.2"
GUARD_TO_HOME, HONEST = "10.77.2.1", "10.77.2.2"
# The default policy bans at a score of eight; guesses already under way may still arrive.
MAY_REACH_THE_SERVER = 10

pytestmark = pytest.mark.netns


@dataclass(frozen=True, slots=True)
class Scene:
    """A mail host with its guard, and two networks that know only the guard."""

    world: Ns
    home: Ns
    host: Ns
    guard: Guard
    dovecot: Dovecot
    postfix: Postfix
    authority: Authority

    def guesses(self) -> int:
        """How many wrong passwords of the attacker the server has seen."""
        lines = self.dovecot.log().splitlines()
        return sum(f",{ATTACKER}" in line and "Password mismatch" in line for line in lines)

    def kernel(self) -> str:
        """What nft holds."""
        return self.host.command("nft", "list", "table", "inet", "gatekeeper")


@pytest.fixture
def scene(public: Path, tmp_path: Path) -> Iterator[Scene]:
    """Everything anew: bans last longer than a test."""
    base = public / tmp_path.name
    base.mkdir()
    authority = Authority.make(base / "pki")
    pair = authority.issue("guard", GUARD_TO_HOME, GUARD_TO_WORLD, "localhost")
    with Ns() as host, Ns() as world, Ns() as home:
        link(host, f"{GUARD_TO_WORLD}/24", world, f"{ATTACKER}/24")
        link(host, f"{GUARD_TO_HOME}/24", home, f"{HONEST}/24")
        stack = ExitStack()
        # What is entered inside the namespace starts its processes there.
        imap = host.run(stack.enter_context, dovecot(base / "dovecot", pair))
        try:
            smtp = host.run(
                stack.enter_context,
                postfix(base / "postfix", pair, lmtp=imap.lmtp, auth=imap.auth),
            )
            services = [
                Service("imaps", "imap", "implicit", imap.imap_haproxy, "proxy-v2"),
                Service("submissions", "submission", "implicit", smtp.submission, "xclient"),
            ]
            running = host.run(
                stack.enter_context,
                guard(base / "guard", services, (pair,), host="0.0.0.0", nft=True, extra=QUICK),
            )
            yield Scene(world, home, host, running, imap, smtp, authority)
        finally:
            host.run(stack.close)


# The tarpit would only make the attack, and so the test, take longer.
QUICK = "[policy]\ntarpit_base = 0\ntarpit_max = 0\n"


def can_connect(host: Ns, address: str, port: int) -> bool:
    """Whether a connection comes about; dropped packets are given a second."""

    def connect() -> bool:
        try:
            with socket.create_connection((address, port), 1.0):
                return True
        except OSError:
            return False

    return host.run(connect)


@pytest.mark.parametrize(("module", "name"), [("imap", "imaps"), ("smtp", "submissions")])
def test_hydra_is_banned_and_mbsync_is_not(
    scene: Scene, tmp_path: Path, module: str, name: str
) -> None:
    port = scene.guard.ports[name]
    words = tmp_path / "words"
    words.write_text("".join(f"guess-{number}\n" for number in range(200)))
    rc = mbsync_configuration(
        tmp_path, scene.authority.file, scene.guard.ports["imaps"], BOB, GUARD_TO_HOME
    )
    hydra = scene.world.run(
        start,
        [
            *("hydra", "-I", "-l", ALICE, "-P", words, "-s", str(port), "-S", "-t", "4"),
            *(GUARD_TO_WORLD, module, "PLAIN"),
        ],
        tmp_path / "hydra",
    )
    try:
        wait_until(lambda: f"{ATTACKER}" in scene.kernel(), "nft holds the attacker", 30)
        scene.home.run(run_tool, "mbsync", "-c", rc, "-a")
        assert not can_connect(scene.world, GUARD_TO_WORLD, port)
        assert 0 < scene.guesses() <= MAY_REACH_THE_SERVER
    finally:
        os.killpg(hydra.pid, signal.SIGKILL)  # its workers outlive it otherwise
        hydra.wait()

    bans = json.loads(scene.guard.command("ban", "list", "-o", "json"))
    assert [ATTACKER in str(ban) for ban in bans] == [True]
    assert not can_connect(scene.world, GUARD_TO_WORLD, scene.guard.ports["imaps"])
    assert can_connect(scene.home, GUARD_TO_HOME, port)

    scene.guard.command("ban", "del", ATTACKER)
    wait_until(lambda: ATTACKER not in scene.kernel(), "nft has let the attacker go", 5)
    assert can_connect(scene.world, GUARD_TO_WORLD, port)


def test_one_password_tried_again_and_again_is_no_attack(scene: Scene, tmp_path: Path) -> None:
    """A phone that keeps its old password is not banned, and its owner still gets in."""
    wrong = "imaps://{}:{}/INBOX".format(GUARD_TO_HOME, scene.guard.ports["imaps"])
    curl = ("curl", "-sS", "-k", wrong, "-X", "NOOP", "--user")
    for _ in range(10):
        scene.home.run(run_tool, *curl, f"{ALICE}:an-old-password", expect=67)
    scene.home.run(run_tool, *curl, f"{ALICE}:{PASSWORDS[ALICE]}")
    assert HONEST not in scene.kernel()
    started = time.monotonic()
    assert can_connect(scene.home, GUARD_TO_HOME, scene.guard.ports["imaps"])
    assert time.monotonic() - started < 1
