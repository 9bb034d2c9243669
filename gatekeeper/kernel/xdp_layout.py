"""What nft/gatekeeper_xdp.bpf.c and we agree on: names, keys, values and constants. Pure."""

import struct
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from gatekeeper.kernel.element import SETS, Element, Network

PROGRAM: Final = "gatekeeper_xdp"
ALLOWED: Final = {4: "allow4", 16: "allow6"}  # by octets of the address
COUNTERS: Final = "counters"
# In the order of `enum counter`; named as in nftables, and told apart from those.
COUNTER_NAMES: Final = tuple(
    f"xdp_{name}"
    for name in (
        *("dropped4_auth", "dropped6_auth", "dropped4_mx", "dropped6_mx"),
        *("spared", "unreadable"),
    )
)
MAPS: Final = (*SETS, *ALLOWED.values(), COUNTERS)

EXPIRY_OCTETS: Final = 8
COUNT_OCTETS: Final = 16
_AUTH: Final = 1
_MX: Final = 2
_PORTS: Final = 65536
_PORTS_PER_OCTET: Final = 4


def port_table(auth: Collection[int], mx: Collection[int]) -> bytes:
    """The program's constants: the scope of every port, two bits each."""
    table = bytearray(_PORTS // _PORTS_PER_OCTET)
    for scope, ports in ((_AUTH, auth), (_MX, mx)):
        for port in ports:
            table[port // _PORTS_PER_OCTET] |= scope << port % _PORTS_PER_OCTET * 2
    return bytes(table)


def key_octets(set_name: str) -> int:
    """How long the keys of a map of bans are: an IPv4 address, or the half of an IPv6 one."""
    return 4 if SETS[set_name][1] in {24, 32} else 8


def ban_key(element: Element) -> bytes:
    """The key of a ban: of an IPv6 address the first half, as a /48 needs no more."""
    return element.packed[:8]


def element_of(set_name: str, key: bytes) -> Element:
    """What `ban_key` made the key of."""
    scope, length = SETS[set_name]
    return Element(scope, key if len(key) == 4 else key + bytes(8), length)


def allow_key(network: Network) -> bytes:
    """The key of an allowed network: its length in host order, then the whole address."""
    return struct.pack("=I", network.length) + network.packed


def expiries(seconds: Iterable[int], now_ns: int) -> bytes:
    """The values of bans that end so many seconds after `now_ns` of CLOCK_MONOTONIC."""
    ends = [now_ns + each * 1_000_000_000 for each in seconds]
    return struct.pack(f"={len(ends)}Q", *ends)


def by_map(elements: Iterable[Element]) -> dict[str, list[Element]]:
    """Elements by the map they belong to."""
    maps: dict[str, list[Element]] = {}
    for each in elements:
        maps.setdefault(each.set_name, []).append(each)
    return maps


def counter_sum(per_cpu: bytes) -> tuple[int, int]:
    """Packets and octets over all CPUs."""
    numbers: Sequence[int] = struct.unpack(f"={len(per_cpu) // 8}Q", per_cpu)
    return sum(numbers[::2]), sum(numbers[1::2])
