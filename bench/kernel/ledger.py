"""What the Ledger costs: memory for each ban, a look at a stranger, a start with many bans.

Run as `python -m bench.kernel.ledger`; each measurement has a process of its own, so that none
finds the memory of another. Half of the bans are of an IPv4 /32, half of an IPv6 /64, in both
scopes, with ends spread over a week.
"""

import gc
import resource
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from statistics import quantiles
from typing import Final

import trio

from gatekeeper.app import GC_THRESHOLD
from gatekeeper.ban import Ban, Scope
from gatekeeper.durable import Restore
from gatekeeper.ledger import Ledger
from gatekeeper.prefix import Prefix
from gatekeeper.settings import PolicySettings
from gatekeeper.store.sqlite import SqliteStore
from gatekeeper.verdict import Reason

HELD: Final = 1_000_000
RESTORED: Final = 500_000
SLICE: Final = 20_000
LOOKS: Final = 100_000
LOOK_S: Final = 0.001  # how often somebody else wants the loop during a restore
WEEK_S: Final = 7 * 86_400
_SPREAD: Final = 2_654_435_761  # odd, so no number comes twice modulo 2 ** 32


def main() -> None:
    """Measure all and print a table."""
    for name in _MEASUREMENTS:
        command = [sys.executable, "-m", "bench.kernel.ledger", name]
        sys.stdout.write(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def memory() -> Iterator[tuple[str, str]]:
    """The growth of the process."""
    ledger = _ledger()
    before = _resident_octets()
    _fill(ledger, HELD)
    grown = _resident_octets() - before
    yield f"resident memory for each of {HELD:,} bans", f"{grown / len(ledger):.0f} octets"


def traced() -> Iterator[tuple[str, str]]:
    """What Python's allocators were asked for."""
    ledger = _ledger()
    tracemalloc.start()
    _fill(ledger, HELD)
    asked, _ = tracemalloc.get_traced_memory()
    yield "the same, as tracemalloc counts it", f"{asked / len(ledger):.0f} octets"


def looks() -> Iterator[tuple[str, str]]:
    """`find` for who is not banned, and for who is."""
    ledger = _ledger()
    _fill(ledger, HELD)
    banned = [ban.prefix for ban in islice(_bans(HELD), LOOKS) if ban.scope is Scope.AUTH]
    strangers = [Prefix((index * 997).to_bytes(4, "big"), 32) for index in range(LOOKS)]
    for what, prefixes in (("a stranger", strangers), ("one banned", banned)):
        best_s = min(_time_finds(ledger, prefixes) for _ in range(5))
        yield f"a look at {what}, {HELD:,} held", f"{best_s * 1e9:.0f} ns"


def restore() -> Iterator[tuple[str, str]]:
    """A start: all of it, and how long others wait for the loop meanwhile."""
    with tempfile.TemporaryDirectory() as directory:
        gc.freeze()  # as the guard does
        gc.set_threshold(GC_THRESHOLD, 20, 20)
        seconds, waits_s = trio.run(_restore, Path(directory) / "bans.db")
    p99_s = quantiles(waits_s, n=100)[98]
    yield f"{RESTORED:,} bans from SQLite into the Ledger", f"{seconds:.2f} s"
    yield "others wait for the loop meanwhile, p99", f"{p99_s * 1e3:.1f} ms"
    yield "others wait for the loop meanwhile, longest", f"{max(waits_s) * 1e3:.1f} ms"


_MEASUREMENTS: Final = {each.__name__: each for each in (memory, traced, looks, restore)}


def _ledger() -> Ledger:
    ledger = Ledger(PolicySettings(), [Prefix.parse("127.0.0.0/8")], time.time)
    _fill(ledger, 1)  # what is made once is no cost of a ban
    return ledger


def _fill(ledger: Ledger, count: int) -> None:
    bans = _bans(count)
    while page := list(islice(bans, SLICE)):
        ledger.restore(page)
    del page
    gc.collect()


def _bans(count: int) -> Iterator[Ban]:
    now = time.time()
    for index in range(count):
        number = (index * _SPREAD & 0xFFFF_FFFF).to_bytes(4, "big")
        v6 = b"\x20\x01\x0d\xb8" + number + bytes(8)
        prefix = Prefix(number, 32) if index % 2 else Prefix(v6, 64)
        scope = Scope.AUTH if index % 4 < 2 else Scope.MX
        until = now + 600 + index * 7_919 % WEEK_S
        yield Ban(prefix, scope, Reason.AUTH_FAILURES, 1, now - 60, until)


def _resident_octets() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


def _time_finds(ledger: Ledger, prefixes: list[Prefix]) -> float:
    find, scope = ledger.find, Scope.AUTH
    begun_s = time.perf_counter()
    for prefix in prefixes:
        find(prefix, scope)
    return (time.perf_counter() - begun_s) / len(prefixes)


async def _restore(path: Path) -> tuple[float, list[float]]:
    store = await SqliteStore.open(path, WEEK_S)
    bans = _bans(RESTORED)
    while page := list(islice(bans, SLICE)):
        await store.record(page, time.time())
    ledger = _ledger()
    waits_s: list[float] = []
    restore = Restore(store, ledger, print)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_look, waits_s)
        begun_s = time.perf_counter()
        await restore.begin()
        await restore.run()
        seconds = time.perf_counter() - begun_s
        nursery.cancel_scope.cancel()
    await store.aclose()
    return seconds, waits_s


async def _look(waits_s: list[float]) -> None:
    while True:
        begun_s = time.perf_counter()
        await trio.sleep(LOOK_S)
        waits_s.append(time.perf_counter() - begun_s - LOOK_S)


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        for what, figure in _MEASUREMENTS[sys.argv[1]]():
            sys.stdout.write(f"{what:<52} {figure:>12}\n")
