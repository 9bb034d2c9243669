"""PrefixSet: overlap in both directions."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatekeeper.policy.prefix_set import PrefixSet
from gatekeeper.prefix import Prefix, mask

ALLOWED = PrefixSet(
    Prefix.parse(text)
    for text in ("192.0.2.0/25", "198.51.100.7", "10.0.0.0/8", "2001:db8:1::/48", "2001:db8:2::53")
)


@pytest.mark.parametrize(
    "text",
    [
        "192.0.2.1",
        "192.0.2.0/24",  # covers an allowed half
        "198.51.100.7",
        "198.51.100.0/24",
        "10.255.0.1",
        "10.1.2.0/24",
        "2001:db8:1:ffff::/64",
        "2001:db8:1::/48",
        "2001:db8:2::/64",  # the /64 of an allowed host
        "2001:db8:2::/48",
    ],
)
def test_overlapping(text: str) -> None:
    assert ALLOWED.overlaps(Prefix.parse(text))


@pytest.mark.parametrize(
    "text",
    ["192.0.2.128", "198.51.100.8", "11.0.0.1", "2001:db8:3::/64", "2001:db8:2:1::/64", "::/64"],
)
def test_apart(text: str) -> None:
    assert not ALLOWED.overlaps(Prefix.parse(text))


def test_everything_of_one_family_leaves_the_other_alone() -> None:
    every_v4 = PrefixSet([Prefix.parse("0.0.0.0/0")])
    assert every_v4.overlaps(Prefix.parse("203.0.113.5"))
    assert not every_v4.overlaps(Prefix.parse("2001:db8::/64"))


def test_empty_set_overlaps_nothing() -> None:
    assert not PrefixSet()
    assert not PrefixSet().overlaps(Prefix.parse("127.0.0.1"))


def v4(length: st.SearchStrategy[int]) -> st.SearchStrategy[Prefix]:
    """Prefixes out of a small corner, so that they meet."""
    octets = st.tuples(st.just(10), st.just(0), st.integers(0, 1), st.integers(0, 255)).map(bytes)
    return st.builds(lambda packed, bits: Prefix(mask(packed, bits), bits), octets, length)


@settings(max_examples=100)
@given(st.lists(v4(st.integers(0, 32)), max_size=4), v4(st.sampled_from([24, 32])))
def test_agrees_with_covers(prefixes: list[Prefix], asked: Prefix) -> None:
    plain = any(each.covers(asked) or asked.covers(each) for each in prefixes)
    assert PrefixSet(prefixes).overlaps(asked) == plain
