"""A password guesser is banned in the kernel while everybody else goes on reading mail."""

import json
import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
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
WORKERS = 4  # of hydra: so many guesses are under way at once
# The default policy keeps strangers from the server from a score of six on, and from one of 7.8
# where one account is at home; guesses already under way may still arrive.
MAY_REACH_THE_SERVER = 6 + WORKERS
MAY_REACH_IT_FROM_HOME = 8 + WORKERS
PUT_OFF = 20  # guesses at home, far beyond what bans elsewhere

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

    def guesses(self, address: str) -> int:
        """How many wrong passwords from `address` the server has seen."""
        told = rf",{re.escape(address)}\b.*Password mismatch"
        return len(re.findall(told, self.dovecot.log()))

    def metric(self, series: str) -> float:
        """The value of a series as a scraper reads it."""
        path = self.guard.directory / "run/http.sock"
        text = run_tool("curl", "-fsS", "--unix-socket", path, "http://localhost/metrics")
        return float(re.findall(rf"^{re.escape(series)} (\S+)$", text, re.MULTILINE)[0])

    def kernel(self) -> str:
        """The addresses that nft holds as banned; others are in its meter of connections."""
        return self.host.command("nft", "list", "set", "inet", "gatekeeper", "ban4_auth")


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
                guard(
                    base / "guard",
                    services,
                    (pair,),
                    host="0.0.0.0",
                    nft=True,
                    extra=f'{QUICK}[http]\nbind = "unix:{base / "guard/run/http.sock"}"\n',
                ),
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


@contextmanager
def hydra(where: Ns, directory: Path, server: str) -> Iterator[None]:
    """Guesses at ALICE's account, as long as the block lasts."""
    words = directory / "words"
    words.write_text("".join(f"guess-{number}\n" for number in range(200)))
    options = ("-I", "-S", "-l", ALICE, "-P", words, "-t", str(WORKERS))
    process = where.run(start, ["hydra", *options, f"{server}/PLAIN"], directory / "hydra")
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # its workers outlive it otherwise
        process.wait()


@pytest.mark.parametrize(("module", "name"), [("imap", "imaps"), ("smtp", "submissions")])
def test_hydra_is_banned_and_mbsync_is_not(
    scene: Scene, tmp_path: Path, module: str, name: str
) -> None:
    port = scene.guard.ports[name]
    rc = mbsync_configuration(
        tmp_path, scene.authority.file, scene.guard.ports["imaps"], BOB, GUARD_TO_HOME
    )
    with hydra(scene.world, tmp_path, f"{module}://{GUARD_TO_WORLD}:{port}"):
        wait_until(lambda: ATTACKER in scene.kernel(), "nft holds the attacker", 30)
        scene.home.run(run_tool, "mbsync", "-c", rc, "-a")
        assert not can_connect(scene.world, GUARD_TO_WORLD, port)
        assert 0 < scene.guesses(ATTACKER) <= MAY_REACH_THE_SERVER
        dropped = 'gatekeeper_kernel_dropped_packets_total{counter="dropped4_auth"}'
        wait_until(lambda: scene.metric(dropped) > 0, "metrics tell of dropped packets")
        assert scene.metric("gatekeeper_kernel_up") == 1
        ban = 'gatekeeper_bans_active{family="ipv4",origin="rule",scope="auth"}'
        assert scene.metric(ban) == 1

    bans = json.loads(scene.guard.command("ban", "list", "-o", "json"))
    assert [ATTACKER in str(ban) for ban in bans] == [True]
    assert not can_connect(scene.world, GUARD_TO_WORLD, scene.guard.ports["imaps"])
    assert can_connect(scene.home, GUARD_TO_HOME, port)

    scene.guard.command("ban", "del", ATTACKER)
    wait_until(lambda: ATTACKER not in scene.kernel(), "nft has let the attacker go", 5)
    assert can_connect(scene.world, GUARD_TO_WORLD, port)


def test_a_guesser_behind_a_persons_address_is_refused_and_the_person_is_not(
    scene: Scene, tmp_path: Path
) -> None:
    """Nobody is banned where somebody logs in, and the server hears little of the guesses."""
    port = scene.guard.ports["imaps"]
    rc = mbsync_configuration(tmp_path, scene.authority.file, port, BOB, GUARD_TO_HOME)
    scene.home.run(run_tool, "mbsync", "-c", rc, "-a")
    with hydra(scene.home, tmp_path, f"imap://{GUARD_TO_HOME}:{port}"):
        wait_until(
            lambda: scene.guard.log().count("reason=suspect-source") >= PUT_OFF, "strangers wait"
        )
        scene.home.run(run_tool, "mbsync", "-c", rc, "-a")
    assert 0 < scene.guesses(HONEST) <= MAY_REACH_IT_FROM_HOME
    assert HONEST not in scene.kernel()
    assert scene.guard.command("ban", "list", "-o", "json").strip() == "[]"
    told = scene.guard.command("explain", HONEST).partition("\n")[0]
    assert told.startswith(f"{HONEST} is not banned; score ")


def test_one_password_tried_again_and_again_is_no_attack(scene: Scene) -> None:
    """A phone that keeps its old password is heard once by the server and not banned, and its owner
    still gets in."""
    wrong = "imaps://{}:{}/INBOX".format(GUARD_TO_HOME, scene.guard.ports["imaps"])
    curl = ("curl", "-sS", "-k", wrong, "-X", "NOOP", "--user")
    for _ in range(4):
        scene.home.run(run_tool, *curl, f"{ALICE}:an-old-password", expect=67)
    assert scene.guesses(HONEST) == 1
    scene.home.run(run_tool, *curl, f"{ALICE}:{PASSWORDS[ALICE]}")
    assert HONEST not in scene.kernel()
    started = time.monotonic()
    assert can_connect(scene.home, GUARD_TO_HOME, scene.guard.ports["imaps"])
    assert time.monotonic() - started < 1
