"""How many different things were seen lately, in a few octets.

Theory of operation. Each thing sets one of `BITS` bits; the number of set bits tells how many
different ones there were, a little low once several share a bit (linear counting: Whang, Vander-
Zanden, Taylor 1990). Two sets of bits cover a window: the current half and the one before it, so
that what is old leaves within one and a half windows and nothing is ever walked.
"""

from typing import Final

BITS: Final = 256


class Distinct:
    """Different things within about `window_s`. `window_s` is an argument: there are many of these
    and all of one table share it."""

    __slots__ = ("_before", "_current", "_half")

    def __init__(self) -> None:
        self._current = 0
        self._before = 0
        self._half = 0  # which half window `_current` belongs to

    def add(self, key: int, now: float, window_s: float) -> int:
        """Note the thing of this evenly spread `key`; how many there are now."""
        self._turn(now, window_s)
        self._current |= 1 << (key % BITS)
        return (self._current | self._before).bit_count()

    def count(self, now: float, window_s: float) -> int:
        """How many there are."""
        self._turn(now, window_s)
        return (self._current | self._before).bit_count()

    def _turn(self, now: float, window_s: float) -> None:
        half = int(now * 2 / window_s)
        if half == self._half:
            return
        self._before = self._current if half == self._half + 1 else 0
        self._current = 0
        self._half = half
