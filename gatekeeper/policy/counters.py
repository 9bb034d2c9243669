"""Counters of bounded size: decaying scores, each with a mark of what they were made of.

Theory of operation. A score halves every `half_life_s`. Two scores that decay alike never change
their order, so a score is kept as one number that does not move while it rests:

    rank = log2(value) + at / half_life        value = 2 ** (rank - now / half_life)

`rank` is the same whenever it is computed, one float serves for value and time, and the lowest
score *now* is the lowest rank. Ranks are filed in queues, one for each whole number, that is one
for each factor of two. When the table is full the front of the lowest queue goes: among the lowest
scores, to within that factor, the one longest without an event. A key whose rank rises is filed
again and its old place is left behind as stale, to be skipped when it comes up; it can be left
behind once in each queue, and queues below `FAINT` are emptied in passing. So the cost of an event
does not depend on the number of keys.

All instants are monotonic seconds and come in as arguments.
"""

from collections import deque
from collections.abc import Hashable, Iterator
from math import floor, log2
from typing import Final, Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)

MAX_SCORES: Final = 65_536  # about 12 MB full; addresses that guessed more than others
MAX_SCORE: Final = 1024.0  # far above every threshold; keeps the number of queues small
MARKS: Final = 64
FAINT: Final = 1 / 16  # a score decayed to this says nothing any more
SWEEP_STEPS: Final = 4  # stale or faint places looked at per event: more than an event leaves


class ScoreTable(Generic[Key]):
    """A decaying score for each of at most `capacity` keys, with a mark of `MARKS` bits.

    Overflow: the lowest scores go first, the longest rested of them before others. A flood of new
    keys pushes out one another and what has decayed, never a key close to its threshold.
    """

    __slots__ = ("_capacity", "_half_life_s", "_marks", "_queues", "_ranks")

    def __init__(self, half_life_s: float, capacity: int = MAX_SCORES) -> None:
        self._half_life_s = half_life_s
        self._capacity = capacity
        self._ranks: dict[Key, float] = {}
        self._marks: dict[Key, int] = {}
        self._queues: dict[int, deque[Key]] = {}

    def __len__(self) -> int:
        return len(self._ranks)

    def value(self, key: Key, now: float) -> float:
        """The score of `key`; 0 where nothing is known of it."""
        rank = self._ranks.get(key)
        if rank is None:
            return 0.0
        return float(2.0 ** (rank - now / self._half_life_s))

    def decayed(self, value: float, at: float, now: float) -> float:
        """What a score of `value` at the instant `at` has become."""
        return float(value * 2.0 ** ((at - now) / self._half_life_s))

    def add(self, key: Key, weight: float, now: float) -> float:
        """Add `weight` (above 0) to the score of `key` and return it, at most `MAX_SCORE`."""
        value = min(self.value(key, now) + weight, MAX_SCORE)
        self._file(key, value, now)
        return value

    def take_off(self, key: Key, weight: float, now: float) -> None:
        """Take `weight` off the score of `key`, which is never below 0."""
        value = self.value(key, now)
        if value <= weight:
            self.discard(key)
        elif weight > 0:
            self._file(key, value - weight, now)

    def mark(self, key: Key, thing: int) -> None:
        """Note, with the score of `key`, the different thing of this evenly spread number."""
        if key in self._ranks:
            self._marks[key] = self._marks.get(key, 0) | 1 << (thing % MARKS)

    def different(self, key: Key, thing: int) -> int:
        """How many different things were noted with `key`, `thing` included; `MARKS` at most."""
        return (self._marks.get(key, 0) | 1 << (thing % MARKS)).bit_count()

    def discard(self, key: Key) -> None:
        """Forget the score of `key`; unknown keys are no error."""
        self._ranks.pop(key, None)
        self._marks.pop(key, None)

    def __contains__(self, key: Key) -> bool:
        return key in self._ranks

    def __iter__(self) -> Iterator[Key]:
        """The keys that have a score."""
        return iter(self._ranks)

    def _file(self, key: Key, value: float, now: float) -> None:
        rank = log2(value) + now / self._half_life_s
        before = self._ranks.get(key)
        self._ranks[key] = rank
        if before is None or floor(before) != floor(rank):
            self._queues.setdefault(floor(rank), deque()).append(key)
            self._make_room(now)

    def _make_room(self, now: float) -> None:
        faintest = log2(FAINT) + now / self._half_life_s
        steps = SWEEP_STEPS
        while self._queues and (steps > 0 or len(self._ranks) > self._capacity):
            steps -= 1
            lowest = min(self._queues)  # at most log2(MAX_SCORE / FAINT) and a few awaiting a sweep
            queue = self._queues[lowest]
            key = queue[0]
            rank = self._ranks.get(key)
            filed_here = rank is not None and floor(rank) == lowest
            if filed_here and lowest + 1 > faintest and len(self._ranks) <= self._capacity:
                return
            queue.popleft()
            if not queue:
                del self._queues[lowest]
            if filed_here:
                self.discard(key)
