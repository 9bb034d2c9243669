"""The lines of the report: what each figure is called, its unit, and the goal it has.

A name is `PART.WHAT`, or `PART.WHAT.SHARE` for a percentile. Parts are the modules that measure.
"""

from dataclasses import dataclass
from typing import Final

HELD: Final = (0, 100_000, 1_000_000)  # bans in the kernel when one more is made
GOAL_HELD: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `goal` bounds it from above, or from below where `more` is better."""

    name: str
    title: str
    unit: str
    goal: float | None = None
    more: bool = False

    @property
    def part(self) -> str:
        return self.name.partition(".")[0]

    def reached(self, value: float) -> bool | None:
        """Whether a figure reaches the goal; None where there is none."""
        if self.goal is None:
            return None
        return value >= self.goal if self.more else value <= self.goal


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the report: a heading, what is under it, and how it was measured."""

    part: str
    title: str
    method: str
    rows: tuple[Row, ...]


def _latency() -> tuple[Row, ...]:
    rows: list[Row] = []
    for held in HELD:
        goals = (1.0, 5.0) if held == GOAL_HELD else (None, None)
        words = f"{held:,} held" if held else "none held"
        rows += [
            Row(f"latency.{held}.p50", f"{words}: p50", "ms", goals[0]),
            Row(f"latency.{held}.p99", f"{words}: p99", "ms", goals[1]),
            Row(f"latency.{held}.guard_cpu", f"{words}: CPU of the guard", "ms/ban"),
            Row(f"latency.{held}.kernel_cpu", f"{words}: CPU of the kernel process", "ms/ban"),
        ]
    words = f"{GOAL_HELD:,} held, while all are compared (1 round)"
    rows += [
        Row("latency.compared.p50", f"{words}: p50", "ms"),
        Row("latency.compared.p99", f"{words}: p99", "ms"),
        Row("latency.compared.took", f"{words}: the comparison takes", "s"),
    ]
    return tuple(rows)


_BULK: Final = (
    Row("bulk.feed", "through Ledger and feed", "bans/s", 40_000, more=True),
    Row("bulk.feed_guard_cpu", "the same: CPU of the guard", "µs/ban"),
    Row("bulk.feed_kernel_cpu", "the same: CPU of the kernel process", "µs/ban"),
    Row("bulk.fill", "`fill`, as at a start", "bans/s"),
    Row("bulk.fill_guard_cpu", "the same: CPU of the guard", "µs/ban"),
    Row("bulk.fill_kernel_cpu", "the same: CPU of the kernel process", "µs/ban"),
)

_START: Final = (
    Row("start.served", "first login served after", "s"),
    Row("start.restored", "500,000 bans in the kernel after", "s", 5.0),
    Row("start.login.p50", "logins until then: p50", "ms"),
    Row("start.login.max", "logins until then: longest", "ms"),
    Row("start.cpu", "CPU of guard and kernel process until then", "s"),
    Row("start.again_served", "started again, the kernel kept them: served after", "s"),
    Row("start.again_compared", "the same: bans compared, and idle, after", "s"),
    Row("start.again_login.p50", "the same, logins until then: p50", "ms"),
    Row("start.again_login.max", "the same, logins until then: longest", "ms"),
)

_MEMORY: Final = (
    Row("memory.guard", "the guard's process (RSS), for each of 1,000,000 bans", "octets", 200),
    Row("memory.peak", "the same at its peak, while bans are compared", "octets"),
    Row("memory.kernel", "the kernel process (RSS)", "octets"),
    Row("memory.empty", "the guard's process without a ban", "MiB"),
)

PLACES: Final = {
    "floor": "XDP, a program that only drops (floor)",
    "native": "XDP native, banned",
    "generic": "XDP generic, banned",
    "ban": "nftables, banned",
    "flood": "nftables, over the SYN rate",
    "block": "nftables, on the block list",
    "clean": "clean SYN to a closed port: RST, with the table",
    "bare": "clean SYN to a closed port: RST, without the table",
}

_DROPS: Final = (
    *(Row(f"drops.{name}", title, "ns/packet") for name, title in PLACES.items()),
    Row("drops.test_banned", "test run of the XDP program alone: banned", "ns/packet"),
    Row("drops.test_clean", "test run of the XDP program alone: clean", "ns/packet"),
)

FLOODED: Final = {"nft": "nftables", "xdp": "XDP", "none": "no kernel, the guard alone"}


def _flood() -> tuple[Row, ...]:
    rows: list[Row] = []
    for name, title in FLOODED.items():
        goals = (1.2, 1.0) if name != "none" else (None, None)
        rows += [
            Row(f"flood.{name}.quiet.p50", f"{title}, quiet: login p50", "ms"),
            Row(f"flood.{name}.quiet.p99", f"{title}, quiet: login p99", "ms"),
            Row(f"flood.{name}.quiet.cpu", f"{title}, quiet: CPU of the guard", "% of a core"),
            Row(f"flood.{name}.busy.p50", f"{title}, flood: login p50", "ms"),
            Row(f"flood.{name}.busy.p99", f"{title}, flood: login p99", "ms"),
            Row(f"flood.{name}.busy.cpu", f"{title}, flood: CPU of the guard", "% of a core"),
            Row(f"flood.{name}.ratio", f"{title}: login p50, flood / quiet", "ratio", goals[0]),
            Row(f"flood.{name}.added", f"{title}: CPU the flood adds", "% of a core", goals[1]),
            Row(f"flood.{name}.rate", f"{title}: connections tried", "per s"),
            Row(f"flood.{name}.opened", f"{title}: of them let in", "per s"),
        ]
    return tuple(rows)


DROPPERS: Final = {
    "guard0": "guard, none held",
    "guard100000": "guard, 100,000 held",
    "fail2ban-pyinotify": "fail2ban, pyinotify",
    "fail2ban-polling": "fail2ban, polling",
}

_FIRST_DROP: Final = tuple(
    Row(f"first.{name}.{share}", f"{title}: {share}", "ms")
    for name, title in DROPPERS.items()
    for share in ("p50", "p99")
)

SECTIONS: Final = (
    Section(
        "latency",
        "From a ban to the kernel",
        "The guard's own Ledger, feed and Enforcement in a Trio process; from `Ledger.ban` to when "
        "the kernel has acknowledged the transaction, one ban at a time with a pause between two. "
        "Afterwards each is asked for in the kernel. Before, the bans held came in as at a start.",
        _latency(),
    ),
    Section(
        "bulk",
        "Many at once",
        "100,000 bans made as fast as the Ledger makes them, until the kernel has acknowledged the "
        "last; then 500,000 by `fill`. The kernel is asked for its count.",
        _BULK,
    ),
    Section(
        "first",
        "From the failed login to the first packet dropped",
        "The whole guard: the clock runs from just before the backend says NO to the last wrong "
        "password. fail2ban as Debian ships it, with its own dovecot filter, the nftables action "
        "and five tries: the clock runs from just before Dovecot's line about the last one is "
        "written to the log. (Dovecot itself waits two seconds before it answers and logs.) In "
        "both, segments from the address follow each other to the guarded port, each answered with "
        "a RST at once; the first without an answer ends the time.",
        _FIRST_DROP,
    ),
    Section(
        "start",
        "A start with 500,000 bans",
        "`gatekeeper run` with the bans in SQLite, from the start of the process. Somebody logs in "
        "over TLS every 50 ms meanwhile. One ban in a hundred is asked for in the kernel until all "
        "of those are there; then all are counted.",
        _START,
    ),
    Section(
        "memory",
        "Memory",
        "`gatekeeper run` with 1,000,000 bans of IPv4 addresses in SQLite, in the kernel and "
        "compared, against one without bans. What the kernel holds is not in it: about 96 octets.",
        _MEMORY,
    ),
    Section(
        "drops",
        "What a packet costs",
        "SYNs from 50,000 sources, made by XDP live frames (`BPF_PROG_TEST_RUN`) and redirected "
        "into a veth pair: no sk_buff before XDP, as with a driver. Wall time of one core of a "
        "real-time process, generator included. The rules are the guard's own, whole. Their "
        "counters, or the interface's, must agree with what was sent to within a hundredth.",
        _DROPS,
    ),
    Section(
        "flood",
        "Under a flood",
        "50,000 banned addresses open connections to the guarded port while one person logs in "
        "over TLS every 100 ms. The flood runs on one core, guard and person on the other. The "
        "guard's CPU is that of its process, as its scheduler counts it.",
        _flood(),
    ),
)

ROWS: Final = {row.name: row for section in SECTIONS for row in section.rows}
PARTS: Final = tuple(section.part for section in SECTIONS)
