"""The figures of a run of `bench.kernel`, and what is said about them. No I/O but JSON."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from math import ceil
from statistics import median
from typing import Any, Final

Figures = dict[str, float]  # one round of one part: names of `rows`, and what was measured
NOISY_LOAD: Final = 1.5  # times the CPUs; from there on other work shares in the wall clock


@dataclass(slots=True)
class Results:
    """A whole run: the machine, the samples of each figure in the order of the rounds.

    `loads` has the load average of a minute before each part of each round began: the bench's own
    earlier parts are in it.
    """

    machine: dict[str, str]
    quick: bool
    samples: dict[str, list[float]] = field(default_factory=dict)
    loads: dict[str, list[float]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def add(self, part: str, load: float, figures: Figures) -> None:
        """One round of a part."""
        self.loads.setdefault(part, []).append(load)
        for name, value in figures.items():
            self.samples.setdefault(name, []).append(value)

    def replace(self, other: "Results", parts: Iterable[str], names: Iterable[str]) -> None:
        """Take the parts that `other` measured, and leave the rest as it is."""
        for part in parts:
            self.loads.pop(part, None)
        for name in names:
            self.samples.pop(name, None)
        self.loads |= other.loads
        self.samples |= other.samples
        self.problems = other.problems
        self.machine = other.machine

    def middle(self, name: str) -> float | None:
        """The median over the rounds; None where it was not measured."""
        samples = self.samples.get(name)
        return median(samples) if samples else None

    def reach(self, name: str) -> tuple[float, float] | None:
        """The least and the most of the rounds."""
        samples = self.samples.get(name)
        return (min(samples), max(samples)) if samples else None

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> "Results":
        """What `to_json` wrote. Raises `ValueError` or `TypeError` on other text."""
        raw: dict[str, Any] = json.loads(text)
        return cls(**raw)


def rank(samples: Sequence[float], share: float) -> float:
    """What `share` (above 0, to 1) of the samples did not exceed: nearest rank, the larger.

    Raises `ValueError` where there are none.
    """
    if not samples:
        raise ValueError("no samples")
    return sorted(samples)[max(1, ceil(share * len(samples))) - 1]
