"""How far two programs agree that were given the same events."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

SAME_S: Final = 1.0  # fail2ban knows whole seconds only


@dataclass(frozen=True, slots=True, order=True)
class Ban:
    """From when, in the seconds of the world, and how long."""

    start: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Seen:
    """What a program did: the bans of each address in order, and the events a ban dropped."""

    bans: Mapping[str, Sequence[Ban]]
    dropped: frozenset[int]


@dataclass(frozen=True, slots=True)
class Agreement:
    """Of a real program and its baseline, on `events` events.

    `same_bans` begin within `SAME_S` of each other and last as long; `apart_s` are the distances
    of the first bans of those addresses that both ban.
    """

    name: str
    events: int
    alike: int
    real: frozenset[str]
    baseline: frozenset[str]
    real_bans: int
    baseline_bans: int
    same_bans: int
    apart_s: tuple[float, ...]

    @property
    def both(self) -> frozenset[str]:
        """Addresses banned by both."""
        return self.real & self.baseline

    def row(self) -> str:
        """A line of `HEADER`'s table."""
        cells = (
            self.name,
            f"{len(self.real)} / {len(self.baseline)} / {len(self.both)}",
            f"{self.real_bans} / {self.baseline_bans} / {self.same_bans}",
            f"{statistics.median(self.apart_s):.1f} / {max(self.apart_s):.1f}"
            if self.apart_s
            else "-",
            f"{self.events - self.alike} of {self.events:,} ({self.alike / self.events:.3%} alike)",
        )
        return f"| {' | '.join(cells)} |"


HEADER: Final = (
    "| program | addresses banned: real / baseline / both | bans: real / baseline / same"
    " | first ban apart, s: median / most | events treated differently |\n|---|---|---|---|---|"
)


def agreement(name: str, events: int, real: Seen, baseline: Seen) -> Agreement:
    """Of two programs that saw the same `events` events."""
    both = real.bans.keys() & baseline.bans.keys()
    return Agreement(
        name=name,
        events=events,
        alike=events - len(real.dropped ^ baseline.dropped),
        real=frozenset(real.bans),
        baseline=frozenset(baseline.bans),
        real_bans=sum(map(len, real.bans.values())),
        baseline_bans=sum(map(len, baseline.bans.values())),
        same_bans=sum(_same(real.bans[ip], baseline.bans[ip]) for ip in both),
        apart_s=tuple(abs(real.bans[ip][0].start - baseline.bans[ip][0].start) for ip in both),
    )


def _same(real: Sequence[Ban], baseline: Sequence[Ban]) -> int:
    left = list(baseline)
    for ban in real:
        near = [
            one
            for one in left
            if abs(one.start - ban.start) <= SAME_S and one.seconds == ban.seconds
        ]
        if near:
            left.remove(near[0])
    return len(baseline) - len(left)
