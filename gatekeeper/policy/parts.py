"""From a network of any length to the ones a ban can be made for. Pure.

Bans are for a /32, /24, /64 or /48. A network between two of these is the sum of smaller ones; a
wide one would be so many that it is a matter for a firewall, not for a list of bans.
"""

from typing import Final

from gatekeeper.policy.prefix_set import BANNABLE_BITS
from gatekeeper.prefix import Prefix

MAX_PARTS: Final = 256  # a /16 in /24s, a /40 in /48s


def ban_parts(prefix: Prefix, *, strict: bool = False) -> list[Prefix]:
    """The bans that together cover just `prefix`; empty where there is no such sum of at most
    `MAX_PARTS`.

    Less than a /64 of IPv6 becomes its /64, which is more than was asked for: with `strict` it
    becomes nothing.
    """
    narrow, wide = prefix.length, max(BANNABLE_BITS[prefix.version])
    if narrow > wide:
        return [] if strict else [prefix.widen(wide)]
    length = min(bits for bits in BANNABLE_BITS[prefix.version] if bits >= narrow)
    count = 1 << (length - narrow)
    if count > MAX_PARTS:
        return []
    width = len(prefix.packed) * 8
    first, step = int.from_bytes(prefix.packed, "big"), 1 << (width - length)
    octets = len(prefix.packed)
    return [
        Prefix((first + number * step).to_bytes(octets, "big"), length) for number in range(count)
    ]
