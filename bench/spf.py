"""What SPF costs: `python -m bench.spf`, in half a minute.

DNS is a table, so what is measured is the guard's own: the event loop's part, the threads', and
what a task beside them that wakes each millisecond feels. Rounds of all kinds alternate; medians
are told.
"""

import os
import statistics
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import trio

from gatekeeper.envelope.spf import MAX_RECORDS_OCTETS, THREADS, SpfChecks
from gatekeeper.findings import SpfResult
from gatekeeper.policy.strict_paths import StrictPath
from gatekeeper.records import Answer, Question, RecordType

CLIENT: Final = "203.0.113.9"
ROUNDS: Final = 7
CHECKS: Final = 400  # of one kind in a round
AT_ONCE: Final = 64
DEADLINE_S: Final = 30.0
SHORT: Final = "v=spf1 ip4:198.51.100.0/24 ip4:192.0.2.0/24 -all"
TEXTS: Final = {
    "none.example": "a text that is none",
    "short.example": SHORT,
    "nested.example": "v=spf1 include:a.example include:b.example include:c.example ~all",
    **{f"{letter}.example": SHORT.replace("-all", "?all") for letter in "abc"},
    "worst.example": "v=spf1 " + " ".join(f"include:w{n}.example" for n in range(3)) + " -all",
    **{f"w{number}.example": "v=spf1" + " -ip4:192.0.2.1/31" * 215 for number in range(3)},
}
assert 3 * len(TEXTS["w0.example"]) > 0.95 * MAX_RECORDS_OCTETS
KINDS: Final = {"no record": "none", "one record": "short", "three includes": "nested"}


class Table:
    """A Resolver that knows everything at once."""

    async def resolve(self, question: Question) -> Answer:
        """See `gatekeeper.abc.Resolver`."""
        await trio.lowlevel.checkpoint()
        text = TEXTS.get(question.name)
        return Answer((text,) if text and question.type is RecordType.TXT else (), 60.0)

    def known(self, question: Question) -> Answer | None:
        """See `gatekeeper.abc.Resolver`."""
        del question
        return None

    def forget(self, question: Question) -> None:
        """See `gatekeeper.abc.Resolver`."""


async def _check(checks: SpfChecks, name: str) -> SpfResult | None:
    until = trio.current_time() + DEADLINE_S
    return await checks.check(CLIENT, StrictPath("ann", f"{name}.example"), "mail.example", until)


async def _one_by_one(checks: SpfChecks, name: str) -> float:
    """CPU seconds of one check."""
    started = time.process_time()
    for _ in range(CHECKS):
        await _check(checks, name)
    return (time.process_time() - started) / CHECKS


async def _together(checks: SpfChecks, name: str) -> float:
    """Checks a second where many are asked for at once."""
    left = CHECKS

    async def work() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await _check(checks, name)

    started = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for _ in range(AT_ONCE):
            nursery.start_soon(work)
    return CHECKS / (time.perf_counter() - started)


async def _felt(beside: Callable[[], Awaitable[object]]) -> tuple[float, float]:
    """Median and 99th percentile in seconds of how late a task is that wakes each millisecond."""
    late: list[float] = []

    async def wake() -> None:
        while True:
            due = time.perf_counter() + 0.001
            await trio.sleep(0.001)
            late.append(time.perf_counter() - due)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wake)
        await beside()
        nursery.cancel_scope.cancel()
    return statistics.median(late), statistics.quantiles(late, n=100)[-1]


async def main() -> None:
    """Measure and print."""
    table = Table()
    few, usual = SpfChecks(table, threads=2), SpfChecks(table)
    cpu: dict[str, list[float]] = {kind: [] for kind in KINDS}
    rates: dict[tuple[str, int], list[float]] = {}
    for _ in range(ROUNDS):
        for kind, name in KINDS.items():
            cpu[kind].append(await _one_by_one(usual, name))
            for threads, checks in ((2, few), (THREADS, usual)):
                rates.setdefault((kind, threads), []).append(await _together(checks, name))
    print(f"load {os.getloadavg()[0]:.1f}")
    for kind in KINDS:
        both = " and ".join(
            f"{statistics.median(rates[kind, threads]):,.0f}/s with {threads} threads"
            for threads in (2, THREADS)
        )
        print(f"{kind}: {statistics.median(cpu[kind]) * 1e6:.0f} µs of CPU, {both}")
    started = time.perf_counter()
    await _check(usual, "worst")
    print(f"the dearest record found: {(time.perf_counter() - started) * 1e3:.0f} ms")
    others: dict[str, Callable[[], Awaitable[object]]] = {
        "nothing": partial(trio.sleep, 2),
        "checks without a pause": partial(_together, usual, "nested"),
        "two of the dearest at a time": partial(_pairs, usual),
    }
    for what, beside in others.items():
        median, late = await _felt(beside)
        print(f"beside {what}: {median * 1e3:.1f} ms late, 99th percentile {late * 1e3:.1f} ms")


async def _pairs(checks: SpfChecks) -> None:
    for _ in range(50):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_check, checks, "worst")
            nursery.start_soon(_check, checks, "worst")


if __name__ == "__main__":
    trio.run(main)
