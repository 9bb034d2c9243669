"""One person's logins, and the guard's CPU, while 50,000 banned addresses knock.

Three guards, each in namespaces of its own, are there for the whole round: with nftables, with XDP
before it, and without the kernel. Quiet and flood take turns. The flood has the last core and all
else the first: where a driver spreads its queues no packet costs the core the guard happens to be
on, and here it must not be the scheduler's whim either.
"""

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from bench.ban_ends import Ends
from bench.kernel.desk import counted
from bench.kernel.frames import compiled_xdp
from bench.kernel.guards import Guard, remembering, running
from bench.kernel.results import Figures, rank
from bench.kernel.stage import GUARDED, Pair, command, cpu_s, private_bpffs, settled
from bench.workshop import BENCH, BUILD
from demo.namespaces import GUARD, PERSON
from gatekeeper.kernel.nfnetlink import Nfnetlink

_SOURCES: Final = 50_000
_RATE: Final = 5_000  # connections a second; the guard alone takes half a core to refuse them
_PHASE_S: Final = 8
_QUICK_PHASE_S: Final = 3
_EVERY_S: Final = 0.1
_LEAD_S: Final = 0.5  # the flood has begun before the first login
_COMPARED_S: Final = 60.0
_INTERFACE: Final = "world"


def measure(turn: int, *, quick: bool) -> Figures:
    """One round."""
    private_bpffs()
    compiled_xdp()
    _build()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    figures: Figures = {}
    with ExitStack() as stack:
        # That with XDP comes last: one without takes off what an earlier start left.
        besieged = [stack.enter_context(_besieged(name)) for name in ("nft", "none", "xdp")]
        for number in range(len(besieged)):
            one = besieged[(number + turn) % len(besieged)]
            figures |= one.pair.run(_both, one, _QUICK_PHASE_S if quick else _PHASE_S)
    return figures


@dataclass(frozen=True, slots=True)
class _Besieged:
    name: str
    pair: Pair
    ends: Ends
    guard: Guard


@contextlib.contextmanager
def _besieged(name: str) -> Iterator[_Besieged]:
    pair = Pair()
    with ExitStack() as stack:
        stack.callback(pair.close)
        pair.run(command, "ip", "route", "add", "local", "10.0.0.0/8", "dev", "lo")
        pair.inside(command, "ip", "route", "add", "10.0.0.0/8", "via", PERSON)
        yield pair.run(_start, name, pair, stack)


def _start(name: str, pair: Pair, stack: ExitStack) -> _Besieged:
    namespaces = pair.namespaces
    ends = Ends(namespaces)
    stack.callback(ends.close)
    directory = remembering(f"flood-{name}", _SOURCES)
    guard = stack.enter_context(
        running(namespaces, directory, nft=name != "none", xdp=_INTERFACE if name == "xdp" else "")
    )
    guard.await_service(ends)
    guard.await_started(kernel=name != "none")
    settled(guard.pids, within_s=_COMPARED_S)
    if name != "none":
        with namespaces.guard_side():
            kernel = Nfnetlink()
        with contextlib.closing(kernel):
            if counted(kernel) != _SOURCES:
                raise RuntimeError(f"{name}: the kernel holds {counted(kernel)} bans")
    return _Besieged(name, pair, ends, guard)


def _both(one: _Besieged, seconds: int) -> Figures:
    """Quiet, then the flood; in the world's thread."""
    quiet = _logins(one, seconds)
    words = (_SOURCES, GUARD, GUARDED, _RATE, seconds + 1)
    core = str(max(range(os.cpu_count() or 1)))
    flood = subprocess.Popen(
        ["taskset", "-c", core, str(BUILD / "flood"), *map(str, words)],
        stdout=subprocess.PIPE,
        text=True,
    )
    with flood:
        time.sleep(_LEAD_S)
        busy = _logins(one, seconds)
        assert flood.stdout is not None
        tried, opened, late = map(int, flood.stdout.read().split())
    if flood.returncode != 0 or late > tried / 10:
        raise RuntimeError(f"{one.name}: the flood tried {tried} and was late for {late}")
    name = f"flood.{one.name}"
    return {
        **{f"{name}.quiet.{what}": value for what, value in quiet.items()},
        **{f"{name}.busy.{what}": value for what, value in busy.items()},
        f"{name}.ratio": busy["p50"] / quiet["p50"],
        f"{name}.added": busy["cpu"] - quiet["cpu"],
        f"{name}.rate": tried / (seconds + 1),
        f"{name}.opened": opened / (seconds + 1),
    }


def _logins(one: _Besieged, seconds: int) -> Figures:
    """Log in at every tenth of a second; latencies, and the CPU of the guard."""
    delays_ms = []
    pid = one.guard.pid
    before, begun = cpu_s(pid), time.perf_counter()
    for number in range(round(seconds / _EVERY_S)):
        time.sleep(max(0.0, begun + number * _EVERY_S - time.perf_counter()))
        start = time.perf_counter()
        one.ends.login(PERSON)
        delays_ms.append((time.perf_counter() - start) * 1e3)
    share = (cpu_s(pid) - before) / (time.perf_counter() - begun)
    return {"p50": rank(delays_ms, 0.5), "p99": rank(delays_ms, 0.99), "cpu": share * 100}


def _build() -> None:
    source, target = BENCH / "kernel" / "flood.c", BUILD / "flood"
    if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
        flags = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Werror")
        subprocess.run(["gcc", *flags, "-o", str(target), str(source)], check=True)
