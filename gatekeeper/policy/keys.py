"""Names for accounts, passwords and places: small integers that tell nobody what they stand for.

An account's key is a keyed hash of its lower-cased name and may be stored; whoever reads it needs
the key as well. A password's key is made with a key of this process and lives in memory only.
Places are the bits of the address, for addresses are no secret: the kernel lists them.
"""

import hashlib
from typing import Final, NamedTuple

from gatekeeper.prefix import Prefix
from gatekeeper.secret import Secret

_MASK: Final = 2**64 - 1
_V6: Final = 1 << 64  # tells the 64 network bits of IPv6 from the 32 bits of IPv4
_FAMILIAR_BITS: Final = {4: 24, 16: 64}  # by octets of the address


class Place(NamedTuple):
    """Where a client is, in integers that never collide within one of these roles."""

    source: int  # the /32, or the /64 of IPv6
    net: int  # /24 or /64: what accounts are familiar with
    wide: int  # /16 or /32: about one provider
    parents: tuple[int, ...]  # /24, or /56 and /48: what scores are summed up in


def account_key(authcid: str, key: bytes) -> int:
    """64 bits for an account; `key` has at most 64 octets. Backends take names in any case, so the
    case does not count. Any text does, surrogates and line breaks included."""
    name = authcid.lower().encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(name, key=key, digest_size=8).digest(), "big")


def password_key(secret: Secret, key: bytes) -> int:
    """64 bits for a password, the same for every account that has it."""
    return int.from_bytes(secret.fingerprint(key), "big")


def mixed(first: int, second: int) -> int:
    """64 bits of two keys that tell neither. Not commutative.

    The finaliser of SplitMix64 (Steele, Lea, Flood 2014): its inputs are keyed hashes already, so
    what is asked of it is an even spread, not secrecy.
    """
    x = (first ^ (second * 0x9E3779B97F4A7C15)) & _MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return x ^ (x >> 31)


def place(entity: Prefix) -> Place:
    """The place of an entity (a /32 or a /64)."""
    packed = entity.packed
    if len(packed) == 4:
        bits = int.from_bytes(packed, "big")
        return Place(bits, bits >> 8, bits >> 16, (bits >> 8,))
    bits = int.from_bytes(packed[:8], "big") | _V6
    return Place(bits, bits, bits >> 32, (bits >> 8, bits >> 16))


def wide_of(net: int) -> int:
    """The `Place.wide` around a `Place.net`."""
    return net >> 32 if net >= _V6 else net >> 8


def familiar_net(entity: Prefix) -> Prefix:
    """The /24 or /64 around an address or entity."""
    return entity.widen(_FAMILIAR_BITS[len(entity.packed)])


def net_key(net: Prefix) -> int:
    """The `Place.net` of a /24 or a /64."""
    if len(net.packed) == 4:
        return int.from_bytes(net.packed, "big") >> 8
    return int.from_bytes(net.packed[:8], "big") | _V6


def net_prefix(net: int) -> Prefix:
    """The prefix of a `Place.net`."""
    if net >= _V6:
        return _v6(net, 64)
    return Prefix((net << 8).to_bytes(4, "big"), 24)


def source_prefix(source: int) -> Prefix:
    """The prefix of a `Place.source`."""
    return _v6(source, 64) if source >= _V6 else Prefix(source.to_bytes(4, "big"), 32)


def parent_prefix(parent: int) -> Prefix:
    """The prefix of one of `Place.parents`."""
    for bits in (56, 48):
        if parent >> bits:
            return _v6(parent << (64 - bits), bits)
    return Prefix((parent << 8).to_bytes(4, "big"), 24)


def parent_key(parent: Prefix) -> int:
    """The key among `Place.parents` of a /24, a /56 or a /48."""
    if len(parent.packed) == 4:
        return int.from_bytes(parent.packed, "big") >> 8
    return (int.from_bytes(parent.packed[:8], "big") | _V6) >> (64 - parent.length)


def _v6(bits: int, length: int) -> Prefix:
    return Prefix((bits & _MASK).to_bytes(8, "big") + bytes(8), length)
