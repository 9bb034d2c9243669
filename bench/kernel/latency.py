"""From `Ledger.ban` to the kernel's acknowledgement, with few and with many bans held."""

import os
import random
import time
from typing import Final

import trio

from bench.kernel.desk import Desk, opened
from bench.kernel.results import Figures, rank
from bench.kernel.rows import HELD
from bench.kernel.stage import address, cpu_of

_COUNT: Final = 1000
_QUICK_COUNT: Final = 200
_PAUSE_S: Final = (0.002, 0.006)  # between two bans: the processes are asleep when one comes
_COMPARED_ROUNDS: Final = 1
_FIRST_NEW: Final = 2_000_000  # above the numbers of all that are held before


def measure(turn: int, *, quick: bool) -> Figures:
    """One round; while all are compared only in the first, for it takes a minute."""
    count = _QUICK_COUNT if quick else _COUNT
    return trio.run(_measure, random.Random(turn), count, turn < _COMPARED_ROUNDS and not quick)


async def _measure(seeded: random.Random, count: int, compared: bool) -> Figures:
    figures: Figures = {}
    before = 0
    async with opened() as desk:
        for held in HELD:
            # What is measured counts among them: beyond its capacity the Ledger lifts another.
            upto = max(before, held - count * (len(HELD) + 1))
            await desk.restore(before, upto)
            before = upto
            name = f"latency.{held}"
            pids = {f"{name}.guard_cpu": [os.getpid()], f"{name}.kernel_cpu": desk.kernel_pids}
            with cpu_of(figures, pids, 1e3 / count):
                figures |= await _several(desk, name, _FIRST_NEW + held, count, seeded)
        if compared:
            figures |= await _while_compared(desk, count, seeded)
    return figures


async def _while_compared(desk: Desk, count: int, seeded: random.Random) -> Figures:
    figures: Figures = {}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_compare, desk, figures)
        several = await _several(desk, "latency.compared", 2 * _FIRST_NEW, count, seeded)
    return figures | several


async def _compare(desk: Desk, figures: Figures) -> None:
    begun = time.perf_counter()
    await desk.enforcement.reconciler.once()
    figures["latency.compared.took"] = time.perf_counter() - begun


async def _several(desk: Desk, name: str, first: int, count: int, seeded: random.Random) -> Figures:
    """Raises `RuntimeError` where the kernel knows nothing of one that it acknowledged."""
    delays_ms = [await _one(desk, first + number, seeded) for number in range(count)]
    for number in range(count):
        if not desk.in_force(address(first + number)):
            raise RuntimeError(f"ban {number} is acknowledged and not in the kernel")
    return {f"{name}.p50": rank(delays_ms, 0.5), f"{name}.p99": rank(delays_ms, 0.99)}


async def _one(desk: Desk, number: int, seeded: random.Random) -> float:
    """Milliseconds."""
    await trio.sleep(seeded.uniform(*_PAUSE_S))
    prefix = address(number)
    begun = time.perf_counter()
    desk.ban(prefix)
    await desk.applied()
    return (time.perf_counter() - begun) * 1e3
