"""Bans as packed rows: whatever goes in comes out, and keys are never mixed up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.ban import Ban, Origin, Scope
from gatekeeper.policy.ban_rows import (
    PLACE_OCTETS,
    key_of,
    pack,
    place_of,
    prefix_of,
    read_place,
    scope_of,
    side_of,
    since_of,
    unpack,
    unpack_end,
)
from gatekeeper.prefix import Prefix
from gatekeeper.verdict import Reason

TEXTS = ("0.0.0.0", "203.0.113.9", "203.0.113.0/24", "2001:db8:9::/48", "2001:db8:9::/64", "::/48")
INSTANTS = st.floats(0.0, allow_infinity=False)
BANS = st.builds(
    Ban,
    st.sampled_from(TEXTS).map(Prefix.parse),
    st.sampled_from(Scope),
    st.sampled_from(Reason),
    st.integers(-(2**63), 2**63 - 1),
    INSTANTS,
    INSTANTS,
    st.sampled_from(Origin),
    st.text(max_size=5),
)


@given(BANS, st.booleans())
def test_every_field_comes_back(ban: Ban, ended: bool) -> None:
    row = pack(ban, ended=ended)
    assert unpack(side_of(ban.scope), key_of(ban.prefix), row, ban.note) == ban
    assert unpack_end(row) == (-ban.until if ended else ban.until,)
    assert since_of(row) == ban.since


def test_places_are_of_one_size_and_apart() -> None:
    prefixes = [Prefix.parse(text) for text in TEXTS]
    places = {
        place_of(side_of(scope), key_of(prefix)): (prefix, scope)
        for prefix in prefixes
        for scope in Scope
    }
    assert len(places) == len(prefixes) * len(Scope)
    for place, (prefix, scope) in places.items():
        side, key = read_place(place)
        assert len(place) == PLACE_OCTETS
        assert (prefix_of(key), scope_of(side)) == (prefix, scope)


@pytest.mark.parametrize("scope", Scope)
def test_scopes_have_numbers(scope: Scope) -> None:
    assert scope_of(side_of(scope)) is scope
