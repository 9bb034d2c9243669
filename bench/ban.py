"""From the backend's word on the last wrong password to the address in the kernel's set.

The guard runs as it does in earnest: root's start, the privileged process, nftables, bans in
SQLite; in a network namespace of its own, so that the machine's ruleset is untouched. Each ban has
another source address. The clock starts before the backend's NO goes out, so the time holds all the
guard does: reading the reply, judging it, the ban, the question to the privileged process and the
kernel's transaction. It ends when this process, asking the kernel for that one element about every
0.1 ms, is first told that it is held; so the figure is too long by up to that, never too short.

Bans held before are written into the guard's database; bringing them into the kernel is the
guard's own start. Meanwhile somebody logs in again and again.
"""

import contextlib
import os
import select
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from bench import configs
from bench.ban_ends import BACKEND_PORT, GUARD_PORT, Ends
from bench.measure import Wrong
from bench.proxies import GuardProcess, guard_command, guard_environment, stop
from bench.results import BanLine
from bench.workshop import OUT, Certificates
from demo.namespaces import GUARD, PERSON, Namespaces, NoNamespaceError, make
from gatekeeper.abc import BanChange
from gatekeeper.ban import Ban, Scope
from gatekeeper.kernel.element import Element
from gatekeeper.kernel.nfnetlink import Dump, Nfnetlink
from gatekeeper.prefix import Prefix
from gatekeeper.store.sqlite import SqliteStore
from gatekeeper.verdict import Reason

NAME: Final = "ban"
HELD: Final = (0, 100_000)
GOAL_HELD: Final = 100_000
GOAL_MS: Final = 5.0  # median, with so many held
COUNT: Final = 100
QUICK_COUNT: Final = 30

_ATTACKERS: Final = "203.0.113."  # the demo's namespaces have a route for the whole network
_ATTACKERS_MAX: Final = 254
_BAN_S: Final = 5.0  # a thousand times the goal; a ban that takes it is a failure
# Asking without pause would take a core from the processes that are watched, on a machine with two,
# and have them wait for the scheduler; with the kernel's timer slack it is a look in some 0.1 ms.
_LOOK_S: Final = 50e-6
_READY_S: Final = 60.0
_RESTORE_S: Final = 60.0
_SAMPLED: Final = 100  # every such ban is asked for until the kernel has it; then all are counted
_SYN_S: Final = 0.3  # an answer to a SYN would take far less, and a second SYN goes out after 1 s
_MEMORY_S: Final = 30 * 86_400.0


class NotMeasured(Exception):
    """This machine or user cannot; the text says why."""


def measure(count: int, tls: Certificates, how: GuardProcess) -> list[BanLine]:
    """A line for each of `HELD`, of `count` bans. Raises `NotMeasured`, or `Wrong` for a fault."""
    if os.geteuid() != 0:
        raise NotMeasured("network namespaces and nftables need root")
    lines = []
    for held in HELD:
        # A thread that left for another network namespace does not come back.
        with ThreadPoolExecutor(max_workers=1) as thread:
            lines.append(thread.submit(_measure, held, count, tls, how).result())
    return lines


def preloaded(held: int, now: float) -> list[Ban]:
    """`held` bans of different addresses, made a minute before Unix time `now`, in force for hours
    to days."""
    return [
        Ban(
            # An odd factor permutes the 2 ** 24 addresses of the network.
            Prefix(bytes((10,)) + (number * 40_503 % 2**24).to_bytes(3, "big"), 32),
            Scope.AUTH,
            Reason.AUTH_FAILURES,
            level=1,
            since=now - 60,
            until=now + 3 * 3600 + number % 500_000,
        )
        for number in range(held)
    ]


def attackers(count: int) -> list[str]:
    """`count` source addresses. Raises `ValueError` where the network has not so many."""
    if count > _ATTACKERS_MAX:
        raise ValueError(f"at most {_ATTACKERS_MAX} bans in a run")
    return [f"{_ATTACKERS}{host}" for host in range(1, count + 1)]


def _measure(held: int, count: int, tls: Certificates, how: GuardProcess) -> BanLine:
    """One line, in a thread of its own."""
    try:
        namespaces = make()
        _route_attackers()
    except NoNamespaceError as error:
        raise NotMeasured(str(error)) from error
    line = BanLine(held, GOAL_MS if held == GOAL_HELD else None)
    try:
        with contextlib.closing(Ends(namespaces)) as ends:
            _fill(line, count, _Stage(namespaces, ends, tls, how))
    except OSError as error:  # TimeoutError and ssl.SSLError are some
        raise Wrong(f"{NAME}: {error}") from error
    finally:
        os.close(namespaces.guard)
        os.close(namespaces.world)
    return line


def _route_attackers() -> None:
    """All of the attackers' network is this end's own: no address of it is to be added."""
    command = ["ip", "route", "add", "local", f"{_ATTACKERS}0/24", "dev", "lo"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NoNamespaceError(f"ip: {done.stderr.strip()}")


@dataclass(frozen=True, slots=True)
class _Stage:
    namespaces: Namespaces
    ends: Ends
    tls: Certificates
    how: GuardProcess


def _fill(line: BanLine, count: int, stage: _Stage) -> None:
    """Start a guard that remembers `line.held` bans, and measure. Raises `Wrong` and `OSError`."""
    directory = OUT / NAME
    shutil.rmtree(directory, ignore_errors=True)
    (directory / "state").mkdir(parents=True)
    bans = preloaded(line.held, time.time())
    trio.run(_remember, directory / "state" / configs.BANS, bans)
    with _guard(directory, stage) as process:
        start = time.perf_counter()
        _await_service(process, stage.ends, directory)
        line.served_s = time.perf_counter() - start
        _await_kernel(directory)
        with stage.namespaces.guard_side():
            kernel = Nfnetlink()
        with contextlib.closing(kernel):
            _await_restored(bans, kernel, stage, line)
            line.restored_s = time.perf_counter() - start
            for source in attackers(count):
                line.delays_ms.append(_ban(source, stage.ends, kernel))
        _expect_dropped(attackers(count))


async def _remember(path: Path, bans: list[Ban]) -> None:
    store = await SqliteStore.open(path, _MEMORY_S)
    changes: list[BanChange] = [*bans]
    await store.record(changes, time.time())
    await store.aclose()


@contextlib.contextmanager
def _guard(directory: Path, stage: _Stage) -> Iterator[subprocess.Popen[bytes]]:
    file = directory / "gatekeeper.conf"
    file.write_text(configs.banning(GUARD, GUARD_PORT, BACKEND_PORT, stage.tls, directory))
    with stage.namespaces.guard_side(), _log(directory).open("wb") as output:
        process = subprocess.Popen(
            [*guard_command(stage.how), str(file)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=guard_environment(),
        )
    try:
        yield process
    finally:
        stop(process)


def _log(directory: Path) -> Path:
    return directory / "output.log"


def _await_service(process: subprocess.Popen[bytes], ends: Ends, directory: Path) -> None:
    """Return when the first login has succeeded."""
    deadline = time.monotonic() + _READY_S
    while True:
        try:
            return ends.login(PERSON)
        except ConnectionRefusedError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                words = _log(directory).read_text(errors="replace")[-2000:]
                raise Wrong(f"{NAME}: the guard does not listen\n{words}") from error
        time.sleep(0.005)


def _await_kernel(directory: Path) -> None:
    """Raises `NotMeasured` where the guard found no way into the kernel."""
    deadline = time.monotonic() + _READY_S
    while " started " not in (said := _log(directory).read_text(errors="replace")):
        if time.monotonic() > deadline:
            raise Wrong(f"{NAME}: the guard does not say that it has started\n{said}")
        time.sleep(0.01)
    if " kernel=true " not in said:
        raise NotMeasured(f"the guard cannot use the kernel here: {said.strip()[-500:]}")


def _await_restored(bans: list[Ban], kernel: Nfnetlink, stage: _Stage, line: BanLine) -> None:
    """Log in, over and over, until the kernel holds all `bans`. Raises `Wrong` when it never does.

    A few samples are asked for, one at a time, before all is counted: counting is dear.
    """
    missing = [Element("auth", ban.prefix.packed, 32) for ban in bans[::_SAMPLED]]
    deadline = time.monotonic() + _RESTORE_S
    while True:
        while missing and kernel.remaining_ms(missing[-1]) is not None:
            missing.pop()
        if not missing and _held(stage.namespaces) >= len(bans):
            return
        if time.monotonic() > deadline:
            raise Wrong(f"{NAME}: the kernel never held {len(bans)} bans")
        start = time.perf_counter()
        stage.ends.login(PERSON)
        line.logins_ms.append((time.perf_counter() - start) * 1e3)


def _held(namespaces: Namespaces) -> int:
    """How many elements there are."""
    with namespaces.guard_side():
        dump = Dump()
    with contextlib.closing(dump):
        return sum(len(page) for page in iter(dump.page, None))


def _ban(source: str, ends: Ends, kernel: Nfnetlink) -> float:
    """Guess from `source` until it is banned; milliseconds. Raises `Wrong`."""
    element = Element("auth", socket.inet_aton(source), 32)
    with ends.session(source) as session:
        for number in range(1, configs.WRONG_PASSWORDS):
            session.offer(f"{source}-{number}")  # a pair refused before would be answered unheard
            session.answer(welcome=False)
            session.hear(welcome=False)
        session.offer(f"{source}-{configs.WRONG_PASSWORDS}")
        if kernel.remaining_ms(element) is not None:
            raise Wrong(f"{NAME}: {source} is banned too early")
        start = time.perf_counter()
        session.answer(welcome=False)
        while kernel.remaining_ms(element) is None:
            time.sleep(_LOOK_S)
            if time.perf_counter() - start > _BAN_S:
                raise Wrong(f"{NAME}: {source} is not in the kernel after {_BAN_S:.0f} s")
        delay_ms = (time.perf_counter() - start) * 1e3
        session.hear(welcome=False)
        return delay_ms


def _expect_dropped(sources: list[str]) -> None:
    """Nobody of `sources` can connect any more. Raises `Wrong` for one who can.

    The guard itself would accept and then reset; silence is the kernel's.
    """
    with contextlib.ExitStack() as stack:
        poll = select.poll()
        names = {}
        for source in sources:
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.bind((source, 0))
            sock.connect_ex((GUARD, GUARD_PORT))
            poll.register(sock, select.POLLOUT)
            names[sock.fileno()] = source
        time.sleep(_SYN_S)
        answered = [names[number] for number, _ in poll.poll(0)]
    if answered:
        raise Wrong(f"{NAME}: the kernel answers {', '.join(answered)}")
