"""Who has passed a test lately, and need not be put to it again for a while.

Two generations, as `pairs.Comebacks` has them: the older one goes when the younger has filled its
half of the table, or is as old as a pass lasts. Who is asked about is put into the younger one, so
a flood of new clients pushes out one another and those who have not come back, not the regulars.
No call walks the table.
"""

from typing import Final

MAX_PASSED: Final = 65_536  # about 6 MB full; clients of one test, some days of a busy server


class Passed:
    """When each of at most `capacity` clients, by its `Place.source`, passed one test."""

    __slots__ = ("_before", "_current", "_half", "_turned_at")

    def __init__(self, capacity: int = MAX_PASSED) -> None:
        self._half = max(1, capacity // 2)
        self._current: dict[int, float] = {}
        self._before: dict[int, float] = {}
        self._turned_at = 0.0

    def __len__(self) -> int:
        """How many are known, some of them perhaps twice or no longer of use."""
        return len(self._current) + len(self._before)

    def note(self, client: int, now: float, lasts_s: float) -> None:
        """`client` has passed now. `now` is in seconds of any clock that never goes back."""
        self._put(client, now, now, lasts_s)

    def holds(self, client: int, now: float, lasts_s: float) -> bool:
        """Whether `client` passed within `lasts_s`."""
        at = self._current.get(client)
        if at is None:
            at = self._before.pop(client, None)
            if at is None:
                return False
            if now - at < lasts_s:
                self._put(client, at, now, lasts_s)
        return now - at < lasts_s

    def _put(self, client: int, at: float, now: float, lasts_s: float) -> None:
        if len(self._current) >= self._half or now - self._turned_at > lasts_s:
            self._before, self._current = self._current, {}
            self._turned_at = now
        self._current[client] = at
