"""What is banned, as the kernel holds it: a scope, a network and one of four lengths."""

import socket
from typing import Final, NamedTuple

SCOPES: Final = ("auth", "mx")

# Prefix length, which tells the family too -> the stem of the set's name in nft/gatekeeper.nft.
_STEMS: Final = {32: "ban4", 24: "ban4n", 64: "ban6", 48: "ban6n"}
_OCTETS: Final = {32: 4, 24: 4, 64: 16, 48: 16}


class Element(NamedTuple):
    """One key of one set. `packed` holds 4 or 16 octets with the host bits zero."""

    scope: str
    packed: bytes
    length: int

    @property
    def set_name(self) -> str:
        """The nft set this element belongs to."""
        return set_name(self.scope, self.length)

    @property
    def network(self) -> str:
        """The network address in text, without the length."""
        return socket.inet_ntop(_family(self.packed), self.packed)


class Network(NamedTuple):
    """A prefix of any length, for the lists: `packed` has its host bits zero."""

    packed: bytes
    length: int

    @property
    def address(self) -> str:
        """The network address in text, without the length."""
        return socket.inet_ntop(_family(self.packed), self.packed)

    def __str__(self) -> str:
        return f"{self.address}/{self.length}"


def set_name(scope: str, length: int) -> str:
    """The nft set of a scope and a prefix length; the length tells the family."""
    return f"{_STEMS[length]}_{scope}"


# Sets in the order they are listed: name -> (scope, prefix length).
SETS: Final = {
    f"{stem}_{scope}": (scope, length) for scope in SCOPES for length, stem in _STEMS.items()
}


def element(address: str, length: int, scope: str) -> Element:
    """Check and pack one element; raises `ValueError` naming what is wrong.

    The host bits must be zero: a caller who thinks he bans an address must not ban its network.
    """
    if scope not in SCOPES:
        raise ValueError("unknown scope")
    packed = pack(address)
    if _OCTETS.get(length) != len(packed):
        raise ValueError("prefix length is none of /32, /24, /64, /48")
    if masked(packed, length) != packed:
        raise ValueError("address has host bits")
    return Element(scope, packed, length)


def network(text: str) -> Network:
    """Read `ADDRESS` or `ADDRESS/LENGTH`, clearing host bits. Raises `ValueError`."""
    address, slash, bits = text.partition("/")
    packed = pack(address)
    width = len(packed) * 8
    if not slash:
        return Network(packed, width)
    if not (bits.isascii() and bits.isdigit() and len(bits) <= 3 and int(bits) <= width):
        raise ValueError("bad prefix length")
    return Network(masked(packed, int(bits)), int(bits))


def pack(address: str) -> bytes:
    """The 4 or 16 octets of an address; IPv4-mapped IPv6 is refused, for nft would never match it.

    Raises `ValueError`.
    """
    try:
        packed = socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
    except (OSError, ValueError) as error:  # ValueError: embedded NUL, lone surrogates
        raise ValueError("not an IP address") from error
    if packed.startswith(b"\x00" * 10 + b"\xff\xff"):
        raise ValueError("IPv4-mapped address")
    return packed


def masked(packed: bytes, length: int) -> bytes:
    """`packed` with all but its first `length` bits cleared."""
    spare = len(packed) * 8 - length
    return (int.from_bytes(packed, "big") >> spare << spare).to_bytes(len(packed), "big")


def _family(packed: bytes) -> socket.AddressFamily:
    return socket.AF_INET if len(packed) == 4 else socket.AF_INET6
