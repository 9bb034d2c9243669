"""A set of prefixes that answers in a few dictionary look-ups, whatever its size."""

from collections.abc import Iterable
from typing import Final

from gatekeeper.prefix import Prefix

BANNABLE_BITS: Final = {4: (24, 32), 6: (48, 64)}  # lengths the kernel's sets exist for


class PrefixSet:
    """Prefixes that are exempt: the operator's list, loopback, our own and the backends' addresses.

    Immutable. The cost of a question grows with the number of distinct lengths, not of prefixes.
    """

    __slots__ = ("_inside", "_networks")

    def __init__(self, prefixes: Iterable[Prefix] = ()) -> None:
        # By octets of the address and by length: the network as a number without its host bits.
        self._networks: dict[int, dict[int, set[int]]] = {4: {}, 16: {}}
        self._inside: set[Prefix] = set()
        for prefix in prefixes:
            networks = self._networks[len(prefix.packed)].setdefault(prefix.length, set())
            networks.add(int.from_bytes(prefix.packed) >> len(prefix.packed) * 8 - prefix.length)
            for bits in BANNABLE_BITS[prefix.version]:
                if bits < prefix.length:
                    self._inside.add(prefix.widen(bits))

    def __bool__(self) -> bool:
        return any(self._networks.values())

    def overlaps(self, prefix: Prefix) -> bool:
        """Whether `prefix` (of a bannable length) lies in one of these, or covers one.

        One exempt address exempts its /64 as well: counters and bans cannot tell them apart.
        """
        if prefix in self._inside:
            return True
        packed, bits = prefix
        number = int.from_bytes(packed)
        width = len(packed) * 8
        for length, networks in self._networks[len(packed)].items():
            if length <= bits and number >> (width - length) in networks:
                return True
        return False
