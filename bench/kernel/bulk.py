"""Bans a second: one by one into the Ledger and in batches to the kernel, and all at once."""

import os
import time
from typing import Final

import trio

from bench.kernel.desk import BAN_S, Desk, opened
from bench.kernel.results import Figures
from bench.kernel.stage import address, cpu_of
from gatekeeper.ban import Scope

_FEED: Final = 100_000
_FILL: Final = 500_000
_QUICK_DIVISOR: Final = 5
_TURN: Final = 500  # bans between two times that others have their turn: a busy guard's tasks
_PAGE: Final = 10_000  # what a start puts into the kernel at once


def measure(turn: int, *, quick: bool) -> Figures:
    """One round; the same work each time."""
    divisor = _QUICK_DIVISOR if quick else 1
    return trio.run(_measure, _FEED // divisor, _FILL // divisor)


async def _measure(feed: int, fill: int) -> Figures:
    figures: Figures = {}
    async with opened() as desk:
        for name, work, count in (("feed", _feed, feed), ("fill", _fill, fill)):
            before = desk.held()
            pids = {
                f"bulk.{name}_guard_cpu": [os.getpid()],
                f"bulk.{name}_kernel_cpu": desk.kernel_pids,
            }
            with cpu_of(figures, pids, 1e6 / count):
                begun = time.perf_counter()
                await work(desk, count)
                figures[f"bulk.{name}"] = count / (time.perf_counter() - begun)
            if desk.held() != before + count:
                raise RuntimeError(f"{name}: the kernel holds {desk.held()}, not {before + count}")
    return figures


async def _feed(desk: Desk, count: int) -> None:
    for number in range(count):
        desk.ban(address(number))
        if number % _TURN == 0:
            await trio.lowlevel.checkpoint()
    await desk.applied()


async def _fill(desk: Desk, count: int) -> None:
    until = time.time() + BAN_S
    for first in range(_FEED, _FEED + count, _PAGE):
        page = [(address(first + number), Scope.AUTH, until) for number in range(_PAGE)]
        await desk.enforcement.enforcer.fill(page, time.time())
