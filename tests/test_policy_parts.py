"""A network becomes bans that cover just it, or none."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.ledger import bannable
from gatekeeper.policy.parts import MAX_PARTS, ban_parts
from gatekeeper.prefix import Prefix

V4 = st.builds(
    lambda packed, length: Prefix(packed, 32).widen(length),
    st.binary(min_size=4, max_size=4),
    st.integers(0, 32),
)
V6 = st.builds(
    lambda packed, length: Prefix(packed, 128).widen(length),
    st.binary(min_size=16, max_size=16),
    st.integers(0, 128),
)


@pytest.mark.parametrize(
    ("text", "first", "count"),
    [
        ("192.0.2.1", "192.0.2.1", 1),
        ("192.0.2.0/24", "192.0.2.0/24", 1),
        ("192.0.2.128/25", "192.0.2.128", 128),
        ("192.0.2.0/31", "192.0.2.0", 2),
        ("198.51.0.0/16", "198.51.0.0/24", 256),
        ("2001:db8::/48", "2001:db8::/48", 1),
        ("2001:db8::/40", "2001:db8::/48", 256),
        ("2001:db8:0:ff00::/56", "2001:db8:0:ff00::/64", 256),
        ("2001:db8::1", "2001:db8::/64", 1),
    ],
)
def test_a_network_is_cut_where_that_makes_few_enough(text: str, first: str, count: int) -> None:
    parts = ban_parts(Prefix.parse(text))
    assert (str(parts[0]), len(parts)) == (first, count)


@pytest.mark.parametrize("text", ["198.50.0.0/15", "0.0.0.0/0", "2001:db8::/39", "2001:db8::/55"])
def test_a_wide_network_is_no_ban(text: str) -> None:
    assert ban_parts(Prefix.parse(text)) == []


def test_strict_makes_no_ban_wider_than_was_asked_for() -> None:
    assert ban_parts(Prefix.parse("2001:db8::1"), strict=True) == []
    assert len(ban_parts(Prefix.parse("2001:db8::/64"), strict=True)) == 1


@given(V4 | V6)
def test_parts_cover_just_the_network_and_are_what_the_ledger_takes(prefix: Prefix) -> None:
    parts = ban_parts(prefix, strict=True)
    assert len(parts) <= MAX_PARTS
    assert all(bannable(part) == part for part in parts)
    if parts:
        networks = [
            ipaddress.ip_network((int.from_bytes(part.packed, "big"), part.length))
            if part.version == 4
            else ipaddress.IPv6Network((int.from_bytes(part.packed, "big"), part.length))
            for part in parts
        ]
        (whole,) = ipaddress.collapse_addresses(networks)  # type: ignore[type-var]  # one version
        assert (whole.network_address.packed, whole.prefixlen) == (prefix.packed, prefix.length)
