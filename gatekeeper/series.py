"""What totals grew by, slot by slot, in the last hour and the last day: the lines of a chart.

Totals only grow. Each is read once a slot and its growth is kept in a ring of fixed length, so what
a chart shows costs nothing where things happen, and its memory is known: 8 octets a slot and name.
"""

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Span:
    """How long a chart is, and how fine."""

    step_s: float
    slots: int


HOUR: Final = Span(10.0, 360)
DAY: Final = Span(300.0, 288)


class Ring:
    """The growth of some totals over one `Span`. `now` is any clock that goes on evenly, in
    seconds."""

    def __init__(self, names: Sequence[str], span: Span) -> None:
        self.span = span
        self._rings = {name: array("d", bytes(8 * span.slots)) for name in names}
        self._slot: int | None = None  # the one being filled, counted from the clock's zero
        self._begun = 0  # the first one that was

    def add(self, growth: Mapping[str, float], now: float) -> None:
        """Count `growth` in the slot of `now`. Slots that passed without a call were quiet."""
        slot = int(now // self.span.step_s)
        if self._slot is None:
            self._slot = self._begun = slot
        for passed in range(self._slot + 1, min(slot, self._slot + self.span.slots) + 1):
            for ring in self._rings.values():
                ring[passed % self.span.slots] = 0.0
        self._slot = max(slot, self._slot)
        for name, amount in growth.items():
            self._rings[name][self._slot % self.span.slots] += amount

    def read(self) -> tuple[float, dict[str, list[float]]]:
        """When the first slot began, and the amounts, oldest first; the last slot is not full yet.
        Slots from before the first `add` are left out."""
        if self._slot is None:
            return 0.0, {name: [] for name in self._rings}
        first = max(self._begun, self._slot - self.span.slots + 1)
        slots = [number % self.span.slots for number in range(first, self._slot + 1)]
        rows = {name: [ring[slot] for slot in slots] for name, ring in self._rings.items()}
        return first * self.span.step_s, rows


class Series:
    """Totals over the last hour and the last day."""

    def __init__(self, names: Sequence[str]) -> None:
        self.rings = (Ring(names, HOUR), Ring(names, DAY))
        self._last: dict[str, float] = {}

    def note(self, totals: Mapping[str, float], now: float) -> None:
        """Take a reading of all totals. The first one of a name only says where it begins; one that
        fell was begun anew, and counts from nought."""
        growth = {}
        for name, total in totals.items():
            last = self._last.get(name)
            if last is not None:
                growth[name] = total - last if total >= last else total
            self._last[name] = total
        for ring in self.rings:
            ring.add(growth, now)
