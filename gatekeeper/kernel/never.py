"""Who is never banned, asked once for each ban: thousands of times in one packet.

Theory of operation. Networks of one family are ranges of integers; overlapping ones are merged, so
the ranges are apart and sorted by their starts and by their ends alike. Then one bisection finds
the only range that can touch a network.
"""

from bisect import bisect_right
from collections.abc import Iterable
from typing import Final

from gatekeeper.kernel.element import Network, network

# Whatever anybody says: loopback, and link-local, where a /64 is the whole link.
ALWAYS: Final = tuple(map(network, ("127.0.0.0/8", "::1", "fe80::/10")))


class NeverList:
    """The networks of `networks` and of `ALWAYS`. Not to be changed."""

    def __init__(self, networks: Iterable[Network]) -> None:
        self.networks = tuple(networks)
        given = ALWAYS + self.networks
        self._ranges = {octets: _Ranges(given, octets) for octets in (4, 16)}

    def touches(self, packed: bytes, length: int) -> bool:
        """Whether an address of this network, 4 or 16 octets and its bits, is never banned."""
        return self._ranges[len(packed)].touch(packed, length)


class _Ranges:
    def __init__(self, networks: Iterable[Network], octets: int) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._width = octets * 8
        for each in sorted(each for each in networks if len(each.packed) == octets):
            start = int.from_bytes(each.packed, "big")
            end = start | ((1 << (self._width - each.length)) - 1)
            if self._ends and start <= self._ends[-1] + 1:
                self._ends[-1] = max(end, self._ends[-1])
            else:
                self._starts.append(start)
                self._ends.append(end)

    def touch(self, packed: bytes, length: int) -> bool:
        start = int.from_bytes(packed, "big")
        end = start | ((1 << (self._width - length)) - 1)
        at = bisect_right(self._starts, end) - 1
        return at >= 0 and self._ends[at] >= start
