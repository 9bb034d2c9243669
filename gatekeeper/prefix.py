"""Network prefixes as small, quickly hashed keys.

`Prefix` is a named tuple of the packed network and its length: about 100 octets with its bytes
object, hashed and compared in C. A million of them are keys of the ban dictionary, which is why
this is not `ipaddress.IPv4Network` (three times the size, hashed in Python).
"""

import socket
from typing import Final, NamedTuple, Self

ENTITY_V4_BITS: Final = 32
ENTITY_V6_BITS: Final = 64  # one customer, one host: privacy addresses hop inside a /64
_ZEROS: Final = bytes(16)
_V4_MAPPED: Final = b"\x00" * 10 + b"\xff\xff"


class Prefix(NamedTuple):
    """A network: `packed` holds 4 or 16 octets with the host bits zero, `length` its bits."""

    packed: bytes
    length: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `ADDRESS` or `ADDRESS/LENGTH`; host bits are cleared.

        IPv4-mapped IPv6 addresses become IPv4.
        Raises `ValueError` on anything else, zone ids included.
        """
        address, slash, bits = text.partition("/")
        packed = pack_address(address)
        width = len(packed) * 8
        if not slash:
            return cls(packed, width)
        if not (bits.isascii() and bits.isdigit()):
            raise ValueError(f"not a prefix length: {bits!r}")
        length = int(bits)
        if ":" in address and width == 32:
            length -= 96
        if not 0 <= length <= width:
            raise ValueError(f"prefix length out of range: {text!r}")
        return cls(mask(packed, length), length)

    @property
    def version(self) -> int:
        """4 or 6."""
        return 4 if len(self.packed) == 4 else 6

    @property
    def network(self) -> str:
        """The network address in text, without the length."""
        family = socket.AF_INET if len(self.packed) == 4 else socket.AF_INET6
        return socket.inet_ntop(family, self.packed)

    def covers(self, other: "Prefix") -> bool:
        """Whether every address of `other` lies in this prefix."""
        return (
            len(self.packed) == len(other.packed)
            and self.length <= other.length
            and mask(other.packed, self.length) == self.packed
        )

    def widen(self, length: int) -> "Prefix":
        """The enclosing prefix of `length` bits; itself where it is already as wide."""
        if length >= self.length:
            return self
        return Prefix(mask(self.packed, length), length)

    def __str__(self) -> str:
        if self.length == len(self.packed) * 8:
            return self.network
        return f"{self.network}/{self.length}"


def pack_address(text: str) -> bytes:
    """The 4 or 16 octets of an address in text; IPv4-mapped IPv6 gives 4. Raises `ValueError`."""
    try:
        if ":" not in text:
            return socket.inet_pton(socket.AF_INET, text)
        packed = socket.inet_pton(socket.AF_INET6, text)
    except (OSError, ValueError) as error:  # ValueError: embedded NUL
        raise ValueError(f"not an IP address: {text!r}") from error
    return packed[12:] if packed.startswith(_V4_MAPPED) else packed


def canonical(text: str) -> str:
    """An address in its one spelling, IPv4-mapped IPv6 as IPv4. Raises `ValueError`."""
    if ":" not in text:
        return text
    packed = pack_address(text)
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


def mask(packed: bytes, length: int) -> bytes:
    """`packed` with all but its first `length` bits cleared."""
    spare = len(packed) * 8 - length
    if spare <= 0:
        return packed
    if not spare & 7:  # whole octets: three times as fast
        return packed[: length >> 3] + _ZEROS[: spare >> 3]
    return (int.from_bytes(packed, "big") >> spare << spare).to_bytes(len(packed), "big")


def entity(address: str) -> Prefix:
    """What counters and bans are keyed by: the address for IPv4, its /64 for IPv6.

    Raises `ValueError` where `address` is no IP address.
    """
    packed = pack_address(address)
    if len(packed) == 4:
        return Prefix(packed, ENTITY_V4_BITS)
    return Prefix(mask(packed, ENTITY_V6_BITS), ENTITY_V6_BITS)
