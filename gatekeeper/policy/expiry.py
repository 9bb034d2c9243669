"""When things end: a heap of instants that forgets what has been put off.

Theory of operation: an entry is never removed when its key is put off or dropped; it is left
behind as stale and recognised when it surfaces, because the instant it carries is no longer the
key's. Stale entries are swept out once they outnumber the live ones, so each push costs O(log n)
on average and the heap stays within twice the live keys.
"""

import heapq
from typing import Final, Generic, TypeVar

Key = TypeVar("Key")

SWEEP_FLOOR: Final = 64  # below this many entries a sweep is not worth its own bookkeeping


class Expiry(Generic[Key]):
    """At most one instant per key; the soonest is found first. Keys need not be comparable."""

    __slots__ = ("_heap", "_instants", "_serial")

    def __init__(self) -> None:
        self._instants: dict[Key, float] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._serial = 0  # orders equal instants, so that keys are never compared

    def __len__(self) -> int:
        return len(self._instants)

    def put(self, key: Key, at: float) -> None:
        """Let `key` end at the instant `at`, whatever was said before."""
        self._instants[key] = at
        self._serial += 1
        heapq.heappush(self._heap, (at, self._serial, key))
        if len(self._heap) > SWEEP_FLOOR + 2 * len(self._instants):
            self._sweep()

    def discard(self, key: Key) -> None:
        """Forget `key`; unknown keys are no error."""
        self._instants.pop(key, None)

    def pop_due(self, now: float) -> list[Key]:
        """Remove and return every key whose instant is `now` or earlier, soonest first."""
        due = []
        while self._heap and self._heap[0][0] <= now:
            key = self._pop()
            if key is not None:
                due.append(key)
        return due

    def pop_soonest(self) -> Key | None:
        """Remove and return the key that ends first; None where there is none."""
        while self._heap:
            key = self._pop()
            if key is not None:
                return key
        return None

    def _pop(self) -> Key | None:
        """The key of the top entry, None where that entry is stale."""
        at, _, key = heapq.heappop(self._heap)
        if self._instants.get(key) != at:
            return None
        del self._instants[key]
        return key

    def _sweep(self) -> None:
        self._heap = [entry for entry in self._heap if self._instants.get(entry[2]) == entry[0]]
        heapq.heapify(self._heap)
