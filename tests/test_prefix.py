"""Prefixes, with the standard library's `ipaddress` as the oracle."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.prefix import Prefix, entity, mask, pack_address

V4_ADDRESSES = st.ip_addresses(v=4)
V6_ADDRESSES = st.ip_addresses(v=6)
ADDRESSES = st.one_of(V4_ADDRESSES, V6_ADDRESSES).filter(
    lambda address: isinstance(address, IPv4Address) or address.ipv4_mapped is None
)


@st.composite
def networks(draw: st.DrawFn) -> str:
    address = draw(ADDRESSES)
    return f"{address}/{draw(st.integers(0, address.max_prefixlen))}"


@given(networks())
def test_parse_agrees_with_ipaddress(text: str) -> None:
    oracle = ip_network(text, strict=False)
    prefix = Prefix.parse(text)
    assert prefix.packed == oracle.network_address.packed
    assert prefix.length == oracle.prefixlen
    assert prefix.version == oracle.version
    assert ip_address(prefix.network) == oracle.network_address


@given(networks())
def test_text_and_prefix_go_round(text: str) -> None:
    prefix = Prefix.parse(text)
    assert Prefix.parse(str(prefix)) == prefix


@given(networks(), networks())
def test_covers_agrees_with_ipaddress(wide: str, narrow: str) -> None:
    oracles = ip_network(wide, strict=False), ip_network(narrow, strict=False)
    same_version = oracles[0].version == oracles[1].version
    oracle = same_version and oracles[1].subnet_of(oracles[0])  # type: ignore[arg-type]  # checked
    assert Prefix.parse(wide).covers(Prefix.parse(narrow)) == oracle


@given(networks(), st.integers(0, 128))
def test_widen_covers_and_never_narrows(text: str, length: int) -> None:
    prefix = Prefix.parse(text)
    wide = prefix.widen(length)
    assert wide.covers(prefix)
    assert wide.length == min(prefix.length, length)
    assert Prefix.parse(str(wide)) == wide


@given(ADDRESSES)
def test_an_address_packs_as_in_ipaddress(address: IPv4Address | IPv6Address) -> None:
    assert pack_address(str(address)) == address.packed


@given(V4_ADDRESSES, st.integers(0, 32))
def test_mapped_addresses_are_ipv4(address: IPv4Address, length: int) -> None:
    mapped = f"::ffff:{address}"
    assert pack_address(mapped) == address.packed
    assert entity(mapped) == entity(str(address))
    assert Prefix.parse(f"{mapped}/{96 + length}") == Prefix.parse(f"{address}/{length}")


@given(st.binary(min_size=4, max_size=4), st.integers(0, 40))
def test_mask_is_idempotent_and_keeps_the_width(packed: bytes, length: int) -> None:
    masked = mask(packed, length)
    assert len(masked) == len(packed)
    assert mask(masked, length) == masked


def test_the_entity_is_the_address_for_ipv4_and_its_64_for_ipv6() -> None:
    assert str(entity("192.0.2.7")) == "192.0.2.7"
    assert str(entity("2001:db8:1:2:3:4:5:6")) == "2001:db8:1:2::/64"


def test_a_single_address_is_written_without_its_length() -> None:
    assert str(Prefix.parse("192.0.2.7/32")) == "192.0.2.7"
    assert str(Prefix.parse("2001:db8::/32")) == "2001:db8::/32"
    assert str(Prefix.parse("0.0.0.0/0")) == "0.0.0.0/0"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/24",
        "192.0.2",
        "192.0.2.256",
        "192.0.2.1/",
        "192.0.2.1/33",
        "192.0.2.1/-1",
        "192.0.2.1/+8",
        "192.0.2.1/ 8",
        "192.0.2.1/\u0662",
        "192.0.2.1/8/8",
        " 192.0.2.1",
        "192.0.2.1\0",
        "2001:db8::/129",
        "fe80::1%eth0",
        "::ffff:192.0.2.1/95",
        "mail.example.org",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not an IP address|prefix length"):
        Prefix.parse(text)
