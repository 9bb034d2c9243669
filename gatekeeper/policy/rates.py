"""Rates: how much of something is allowed at once and over time.

The generic cell rate algorithm (ITU-T I.371, "virtual scheduling"): one instant per key, the
theoretical arrival time. Each use moves it one period on; a use is over the rate when that instant
lies more than the burst ahead of now.
"""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


ROUNDING: Final = 1e-3  # of a use: instants of Unix time are exact to a few hundred nanoseconds


@dataclass(frozen=True, slots=True)
class Rate:
    """`burst` uses at once, then one more each `period_s`."""

    burst: int
    period_s: float

    def allows(self, at: float, now: float) -> bool:
        """Whether one more use fits; `at` is the theoretical arrival time, 0 for an unused one."""
        return max(at, now) - now <= (self.burst - 1 + ROUNDING) * self.period_s

    def used(self, at: float, now: float) -> float:
        """The theoretical arrival time after one more use."""
        return max(at, now) + self.period_s


class RateTable(Generic[Key]):
    """One rate for each of at most `capacity` keys.

    Overflow: the key used least recently goes first and is as new when it comes again; a table is
    made large enough that a flood of new keys costs its sender more than it forgives.
    """

    __slots__ = ("_at", "_capacity", "rate")

    def __init__(self, rate: Rate, capacity: int) -> None:
        self.rate = rate
        self._capacity = capacity
        self._at: OrderedDict[Key, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._at)

    def allows(self, key: Key, now: float) -> bool:
        """Whether one more use of `key` is within the rate."""
        return self.rate.allows(self._at.get(key, 0.0), now)

    def use(self, key: Key, now: float) -> None:
        """Count one use of `key`."""
        self._at[key] = self.rate.used(self._at.get(key, 0.0), now)
        self._at.move_to_end(key)
        for _ in range(2):  # one may have come in; a second step shrinks what has run out
            oldest = next(iter(self._at))
            if len(self._at) <= self._capacity and self._at[oldest] > now:
                return
            if oldest == key and len(self._at) == 1:
                return
            del self._at[oldest]
