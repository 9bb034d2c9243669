"""A set of prefixes that answers in a few dictionary look-ups, whatever its size."""

from collections.abc import Iterable
from typing import Final

from gatekeeper.prefix import Prefix, mask

BANNABLE_BITS: Final = {4: (24, 32), 6: (48, 64)}  # lengths the kernel's sets exist for


class PrefixSet:
    """Prefixes that are exempt: the operator's list, loopback, our own and the backends' addresses.

    Immutable. The cost of a question grows with the number of distinct lengths, not of prefixes.
    """

    __slots__ = ("_inside", "_networks")

    def __init__(self, prefixes: Iterable[Prefix] = ()) -> None:
        self._networks: dict[tuple[int, int], set[bytes]] = {}
        self._inside: set[Prefix] = set()
        for prefix in prefixes:
            key = (prefix.version, prefix.length)
            self._networks.setdefault(key, set()).add(prefix.packed)
            for bits in BANNABLE_BITS[prefix.version]:
                if bits < prefix.length:
                    self._inside.add(prefix.widen(bits))

    def __bool__(self) -> bool:
        return bool(self._networks)

    def overlaps(self, prefix: Prefix) -> bool:
        """Whether `prefix` (of a bannable length) lies in one of these, or covers one.

        One exempt address exempts its /64 as well: counters and bans cannot tell them apart.
        """
        if prefix in self._inside:
            return True
        version = prefix.version
        return any(
            length <= prefix.length
            and family == version
            and mask(prefix.packed, length) in networks
            for (family, length), networks in self._networks.items()
        )
