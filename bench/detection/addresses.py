"""Where people and attackers connect from: lines, NATs, pools, prefixes that change.

Every address is one that some provider really could route; which provider it is means nothing.
"""

from collections.abc import Callable, Sequence
from random import Random
from typing import Final, Protocol

DAY_S: Final = 86_400.0
_MASK64: Final = 2**64 - 1

# First two octets or groups of the providers that have customers with mailboxes here.
_LINES_V4: Final = tuple(f"78.{second}" for second in range(40, 52))
_OFFICES_V4: Final = tuple(f"62.{second}" for second in range(96, 128))
_MOBILE_V4: Final = ("176.6", "176.7", "109.40")
_CGNAT_V4: Final = ("95.88", "95.91", "46.114", "37.4", "91.32", "84.150")
_HOTSPOTS_V4: Final = tuple(f"{first}.{second}" for first in (80, 87, 212) for second in range(150))
_LINES_V6: Final = ("2a02:8100", "2003:c0", "2a02:908", "2a01:598")
_MOBILE_V6: Final = ("2a01:59f", "2a00:20")
# First octets of everything else, from where attacks come.
_ELSEWHERE_V4: Final = tuple(
    first
    for first in range(1, 224)
    if first not in {10, 37, 46, 62, 78, 80, 84, 87, 91, 95, 100, 109, 127, 169, 172, 176, 192}
    and first not in {194, 198, 203, 212}
)
WEBMAIL_HOST: Final = "194.25.1.10"
PROBE_HOST: Final = "194.25.77.3"


class Place(Protocol):
    """Where a device may be."""

    def address(self, now: float, device: int) -> str:
        """The address that the server sees at `now` for this device (any number of its own)."""


class Fixed:
    """One address that stays: an office behind NAT, a hotel, a server."""

    def __init__(self, ip: str) -> None:
        self._ip = ip

    def address(self, now: float, device: int) -> str:
        """Always the same."""
        return self._ip


class Leased:
    """One address for all devices until a lease of random length ends: a line, a CGNAT mapping."""

    def __init__(self, rng: Random, draw: Callable[[], str], mean_s: float) -> None:
        self._rng = rng
        self._draw = draw
        self._rate = 1.0 / mean_s
        self._ip = draw()
        self._until = rng.expovariate(self._rate)

    def address(self, now: float, device: int) -> str:
        """The leased one; a new one after the end."""
        while now >= self._until:
            self._ip = self._draw()
            self._until += self._rng.expovariate(self._rate)
        return self._ip


class DualStack:
    """A home with an IPv6 prefix of 56 bits: each device has a privacy address of its own in one
    /64 and a new one each day; now and then a connection goes by the line's IPv4 instead."""

    def __init__(self, rng: Random, prefix: Leased, v4: Place, v4_share: float) -> None:
        self._rng = rng
        self._prefix = prefix
        self._v4 = v4
        self._v4_share = v4_share

    def address(self, now: float, device: int) -> str:
        """The device's privacy address of the day."""
        if self._rng.random() < self._v4_share:
            return self._v4.address(now, device)
        return f"{self._prefix.address(now, device)}:{interface_id(device, int(now // DAY_S))}"


class Replaced:
    """A home that changes its provider once."""

    def __init__(self, before: Place, after: Place, at: float) -> None:
        self._before = before
        self._after = after
        self._at = at

    def address(self, now: float, device: int) -> str:
        """By the old provider until then."""
        return (self._before if now < self._at else self._after).address(now, device)


def interface_id(device: int, day: int) -> str:
    """Four groups that look random and are the same for a device all day."""
    bits = (device * 0x9E3779B97F4A7C15 + day * 0xBF58476D1CE4E5B9 + 0x94D049BB133111EB) & _MASK64
    bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & _MASK64
    bits ^= bits >> 27
    return f"{bits >> 48:x}:{bits >> 32 & 0xFFFF:x}:{bits >> 16 & 0xFFFF:x}:{bits & 0xFFFF:x}"


def in_net(rng: Random, net: str) -> str:
    """A random address of a /16 given as two octets."""
    bits = rng.getrandbits(16)
    return f"{net}.{bits >> 8}.{bits & 255}"


def region_v4(rng: Random) -> list[str]:
    """The two /16s from which a provider serves one region."""
    return rng.sample(_LINES_V4, 2)


def line_v4(rng: Random, region: Sequence[str]) -> str:
    """An address of a home."""
    return in_net(rng, rng.choice(region))


def office_v4(rng: Random) -> str:
    """An address of a provider of businesses."""
    return in_net(rng, rng.choice(_OFFICES_V4))


def hotspot_v4(rng: Random) -> str:
    """An address of a hotel or a café."""
    return in_net(rng, rng.choice(_HOTSPOTS_V4))


def home_prefix_v6(rng: Random, provider: str) -> str:
    """The first /64 of a random /56, four groups."""
    return f"{provider}:{rng.getrandbits(16):x}:{rng.getrandbits(8):x}00"


def provider_v6(rng: Random) -> str:
    """A provider of homes, two groups."""
    return rng.choice(_LINES_V6)


def carrier_v6(rng: Random) -> str:
    """A mobile provider, two groups."""
    return rng.choice(_MOBILE_V6)


def mobile_v6(rng: Random, carrier: str) -> str:
    """What a phone gets at each attach: an address in a /64 of its own."""
    return ":".join((carrier, *(f"{rng.getrandbits(16):x}" for _ in range(6))))


def pool_v4(rng: Random, bits: int, addresses: int) -> list[str]:
    """The public addresses of a CGNAT: so many spread over a prefix of so many bits."""
    net = rng.choice((*_CGNAT_V4, *_MOBILE_V4))
    span = 1 << (32 - bits)
    base = rng.randrange(65_536 // span) * span
    offsets = rng.sample(range(span), min(addresses, span))
    return [f"{net}.{(base + offset) >> 8}.{(base + offset) & 255}" for offset in offsets]


def elsewhere_v4(rng: Random) -> str:
    """An address of a network that has no customers here."""
    return in_net(rng, f"{rng.choice(_ELSEWHERE_V4)}.{rng.getrandbits(8)}")


def elsewhere_v6(rng: Random) -> str:
    """A /32 of a hoster, two groups."""
    return f"2a0{rng.choice('46abcde')}:{rng.randrange(0x1000, 0x10000):x}"
