"""Numbers of a run, and what is said about them: medians and ratios. No I/O but JSON."""

import json
from dataclasses import asdict, dataclass, field
from math import ceil
from statistics import median
from typing import Any, Final

GUARD: Final = "gatekeeper"
OTHERS: Final = ("nginx", "nginx-tuned", "haproxy", "haproxy-tuned")


@dataclass(frozen=True, slots=True)
class Sample:
    """One round of one contender: the figure (CPU or memory per unit) and what went with it."""

    figure: float
    per_s: float = 0.0  # sessions by wall clock; noisy where load and proxy share the cores
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    pss: float = 0.0  # beside an RSS figure


@dataclass(slots=True)
class Line:
    """One scenario: its samples by contender, in the order of the rounds."""

    scenario: str
    title: str
    unit: str
    target: float | None
    samples: dict[str, list[Sample]] = field(default_factory=dict)

    def add(self, contender: str, sample: Sample) -> None:
        self.samples.setdefault(contender, []).append(sample)

    def figure(self, contender: str) -> float | None:
        """The median over the rounds, or None where there is none."""
        samples = self.samples.get(contender)
        return median(sample.figure for sample in samples) if samples else None

    def spread(self, contender: str) -> float | None:
        """(largest - smallest) / median over the rounds."""
        figures = [sample.figure for sample in self.samples.get(contender, [])]
        middle = median(figures) if figures else 0.0
        return (max(figures) - min(figures)) / middle if middle else None

    def ratio(self, contender: str, to: str) -> float | None:
        """The ratio of the medians: under 1 `contender` takes less."""
        own, other = self.figure(contender), self.figure(to)
        return own / other if own is not None and other else None

    def middle(self, contender: str, name: str) -> float:
        """The median of another field of the samples; 0 where there is none."""
        samples = self.samples.get(contender)
        return median(getattr(sample, name) for sample in samples) if samples else 0.0


@dataclass(slots=True)
class BanLine:
    """The guard alone, with `held` bans in the kernel before: how fast the next ones get there."""

    held: int
    target_ms: float | None  # of the median, at most
    delays_ms: list[float] = field(default_factory=list)  # failed reply to kernel, one for each ban
    served_s: float = 0.0  # from the start of the process to the end of the first login
    restored_s: float = 0.0  # from the start of the process to when the kernel held all of `held`
    logins_ms: list[float] = field(default_factory=list)  # meanwhile

    def delay_ms(self, share: float) -> float:
        """The delay that `share` (0 to 1) of the bans did not exceed: nearest rank, the larger."""
        return sorted(self.delays_ms)[max(1, ceil(share * len(self.delays_ms))) - 1]

    @property
    def median_ms(self) -> float:
        """The figure with the goal."""
        return median(self.delays_ms)


@dataclass(slots=True)
class Results:
    """A whole run: the machine, the lines, and everything that went wrong."""

    machine: dict[str, str]
    rounds: int
    quick: bool
    lines: list[Line] = field(default_factory=list)
    bans: list[BanLine] = field(default_factory=list)
    no_bans: str = ""  # why the bans were not measured, where they were to be
    endurance: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> "Results":
        """What `to_json` wrote. Raises `ValueError`, `KeyError` or `TypeError` on other text."""
        raw: dict[str, Any] = json.loads(text)
        for line in raw["lines"]:
            line["samples"] = {
                name: [Sample(**sample) for sample in samples]
                for name, samples in line["samples"].items()
            }
        lines = [Line(**line) for line in raw["lines"]]
        bans = [BanLine(**line) for line in raw.get("bans", [])]
        return cls(**{**raw, "lines": lines, "bans": bans})
