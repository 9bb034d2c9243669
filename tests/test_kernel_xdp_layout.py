"""What the loader and the XDP program agree on."""

import re
import struct
from pathlib import Path

import pytest

from gatekeeper.kernel import xdp_layout
from gatekeeper.kernel.element import SETS, Element, element, network
from gatekeeper.ledger import MAX_BANS

SOURCE = Path(__file__).parent.parent / "nft" / "gatekeeper_xdp.bpf.c"


def scope_in(table: bytes, port: int) -> int:
    """As the program reads it."""
    return table[port >> 2] >> (port & 3) * 2 & 3


def test_every_port_has_its_scope_and_no_other() -> None:
    auth, mx = (465, 587, 993, 65_535), (1, 25)
    table = xdp_layout.port_table(auth, mx)
    assert {port for port in range(65_536) if scope_in(table, port) == 1} == set(auth)
    assert {port for port in range(65_536) if scope_in(table, port) == 2} == set(mx)
    assert {scope_in(table, port) for port in range(65_536)} == {0, 1, 2}


def test_the_program_has_these_maps_and_counters() -> None:
    text = SOURCE.read_text(encoding="ascii")
    made = re.findall(r"^(?:BANS|ALLOWED)\((\w+), ", text, re.MULTILINE)
    assert set(made) | {"counters"} == set(xdp_layout.MAPS)
    (names,) = re.findall(r"^enum counter { (.*), COUNTERS };$", text, re.MULTILINE)
    assert [f"xdp_{name.lower()}" for name in names.split(", ")] == list(xdp_layout.COUNTER_NAMES)
    assert f"int {xdp_layout.PROGRAM}(" in text


def test_maps_hold_every_ban_the_ledger_may_and_networks_as_nftables_does() -> None:
    text = SOURCE.read_text(encoding="ascii")
    sizes = {
        name: int(size)
        for name, size in re.findall(r"^BANS\((\w+), [\w ]+, (\d+)\);", text, re.MULTILINE)
    }
    assert set(sizes) == set(SETS)
    rules = (SOURCE.parent / "gatekeeper.nft").read_text(encoding="ascii")
    for name, size in sizes.items():
        if name.startswith(("ban4n", "ban6n")):
            (in_nftables,) = re.findall(
                rf"^\tset {name} {{\n(?:\t\t.*\n)*?\t\tsize (\d+)$", rules, re.MULTILINE
            )
            assert size == int(in_nftables)
        else:
            assert size == MAX_BANS


@pytest.mark.parametrize(
    ("banned", "key"),
    [
        (element("192.0.2.1", 32, "auth"), b"\xc0\x00\x02\x01"),
        (element("192.0.2.0", 24, "mx"), b"\xc0\x00\x02\x00"),
        (element("2001:db8:1:2::", 64, "auth"), bytes.fromhex("20010db800010002")),
        (element("2001:db8:1::", 48, "mx"), bytes.fromhex("20010db800010000")),
    ],
)
def test_keys_are_the_packets_octets_and_come_back(banned: Element, key: bytes) -> None:
    assert xdp_layout.ban_key(banned) == key
    assert xdp_layout.element_of(banned.set_name, key) == banned


def test_allow_keys_are_length_then_address() -> None:
    key = xdp_layout.allow_key(network("198.51.100.0/24"))
    assert key == struct.pack("=I", 24) + bytes([198, 51, 100, 0])
    assert len(xdp_layout.allow_key(network("2001:db8::/32"))) == 20


def test_ends_are_nanoseconds_from_now() -> None:
    assert xdp_layout.expiries([1, 0], 5) == struct.pack("=QQ", 1_000_000_005, 5)


def test_counters_are_summed_over_cpus() -> None:
    assert xdp_layout.counter_sum(struct.pack("=QQQQ", 1, 60, 2, 80)) == (3, 140)
