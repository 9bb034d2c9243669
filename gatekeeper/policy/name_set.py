"""A set of names that costs 16 to 32 octets a name, however long the names are.

The names themselves are not kept: as Python strings in a set they take several times as much. Kept
is the 64-bit key of each, in open addressing. Two names have the same key once in 2**64; keys are
made with a secret of this process (SipHash), so that nobody can look for such a pair, and they mean
nothing in another one.
"""

from array import array
from collections.abc import Iterable, Sequence
from typing import Final, Self

_MASK: Final = 2**64 - 1
_FEWEST: Final = 8
_FREE: Final = array("Q", bytes(8 * 4096))  # a power of two


def name_key(name: str) -> int:
    """64 bits for `name`, never 0: that is a free place."""
    return hash(name) & _MASK or 1


class NameSet:
    """Immutable. A question looks at two places on average, at most half of which are taken."""

    __slots__ = ("_count", "_mask", "_places")

    def __init__(self, keys: Iterable[int] = (), most: int = 0) -> None:
        """The names with these `keys`, of which there are `most` at most."""
        size = _FEWEST
        while size < 2 * most:
            size *= 2
        self._mask = size - 1
        self._places = array("Q", _FREE[:size])
        while len(self._places) < size:  # step by step: other threads wait while one step is done
            self._places.extend(_FREE)
        self._count = 0
        places, mask = self._places, self._mask
        for key in keys:
            at = key & mask
            while (held := places[at]) and held != key:
                at = (at + 1) & mask
            if not held:
                places[at] = key
                self._count += 1

    @classmethod
    def of(cls, names: Sequence[str]) -> Self:
        """The set of `names`, as they are."""
        return cls(map(name_key, names), len(names))

    def __len__(self) -> int:
        return self._count

    def __contains__(self, name: object) -> bool:
        if not self._count or not isinstance(name, str):
            return False
        key, places, mask = name_key(name), self._places, self._mask
        at = key & mask
        while held := places[at]:
            if held == key:
                return True
            at = (at + 1) & mask
        return False
