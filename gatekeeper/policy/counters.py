"""Counters of bounded size: decaying scores and pairs seen lately.

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

from collections import OrderedDict, deque
from collections.abc import Hashable
from math import floor, log2
from typing import Final, Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)

MAX_SCORES: Final = 200_000  # about 40 MB full; a day of a large botnet's addresses
MAX_PAIRS: Final = 100_000  # about 20 MB full
MAX_SCORE: Final = 1024.0  # far above every threshold; keeps the number of queues small
FAINT: Final = 1 / 16  # a score decayed to this says nothing any more
SWEEP_STEPS: Final = 4  # stale or faint places looked at per event: more than an event leaves


class ScoreTable(Generic[Key]):
    """A decaying score for each of at most `capacity` keys.

    Overflow: the lowest scores go first, the longest rested of them before others. A flood of new
    keys pushes out one another and what has decayed, never a key close to its threshold.
    """

    __slots__ = ("_capacity", "_half_life_s", "_queues", "_ranks")

    def __init__(self, half_life_s: float, capacity: int = MAX_SCORES) -> None:
        self._half_life_s = half_life_s
        self._capacity = capacity
        self._ranks: dict[Key, float] = {}
        self._queues: dict[int, deque[Key]] = {}

    def __len__(self) -> int:
        return len(self._ranks)

    def value(self, key: Key, now: float) -> float:
        """The score of `key`; 0 where nothing is known of it."""
        rank = self._ranks.get(key)
        if rank is None:
            return 0.0
        return float(2.0 ** (rank - now / self._half_life_s))

    def add(self, key: Key, weight: float, now: float) -> float:
        """Add `weight` (above 0) to the score of `key` and return it, at most `MAX_SCORE`."""
        value = min(self.value(key, now) + weight, MAX_SCORE)
        rank = log2(value) + now / self._half_life_s
        before = self._ranks.get(key)
        self._ranks[key] = rank
        if before is None or floor(before) != floor(rank):
            self._queues.setdefault(floor(rank), deque()).append(key)
            self._make_room(now)
        return value

    def discard(self, key: Key) -> None:
        """Forget the score of `key`; unknown keys are no error."""
        self._ranks.pop(key, None)

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
                del self._ranks[key]


class RecentPairs:
    """Which keyed fingerprints were seen within the last `window_s`, at most `capacity` of them.

    Each sighting starts the window of its fingerprint anew. Overflow: the one longest unseen goes
    first, so a device that repeats itself outlasts a stream of guesses never made twice.
    """

    __slots__ = ("_capacity", "_seen_at", "_window_s")

    def __init__(self, window_s: float, capacity: int = MAX_PAIRS) -> None:
        self._window_s = window_s
        self._capacity = capacity
        self._seen_at: OrderedDict[bytes, float] = OrderedDict()  # longest unseen first

    def __len__(self) -> int:
        return len(self._seen_at)

    def seen(self, fingerprint: bytes, now: float) -> bool:
        """Note `fingerprint`, and say whether it was noted before within the window."""
        at = self._seen_at.get(fingerprint)
        self._seen_at[fingerprint] = now
        self._seen_at.move_to_end(fingerprint)
        self._drop_oldest(now)
        return at is not None and now - at < self._window_s

    def _drop_oldest(self, now: float) -> None:
        """Two steps per sighting: one may come in, so the table cannot outgrow its bound."""
        for _ in range(2):
            oldest = next(iter(self._seen_at.values()))
            if now - oldest < self._window_s and len(self._seen_at) <= self._capacity:
                return
            self._seen_at.popitem(last=False)
