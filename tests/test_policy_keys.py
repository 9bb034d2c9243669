"""Keys: they come back as the prefix they were made of, and take any text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.policy import keys
from gatekeeper.prefix import Prefix, mask
from gatekeeper.secret import Secret

V4 = st.binary(min_size=4, max_size=4).map(lambda packed: Prefix(packed, 32))
V6 = st.binary(min_size=8, max_size=8).map(lambda packed: Prefix(packed + bytes(8), 64))
ENTITIES = st.one_of(V4, V6)
TEXTS = st.text(st.characters(), max_size=50)  # surrogates included
U64 = st.integers(0, 2**64 - 1)


@given(ENTITIES)
def test_source_is_the_entity_again(entity: Prefix) -> None:
    assert keys.source_prefix(keys.place(entity).source) == entity


@given(ENTITIES)
def test_net_is_the_24_or_the_64_again(entity: Prefix) -> None:
    net = keys.familiar_net(entity)
    assert net.length == (24 if net.version == 4 else 64)
    assert net.covers(entity)
    assert keys.net_key(net) == keys.place(entity).net
    assert keys.net_prefix(keys.place(entity).net) == net


@given(ENTITIES)
def test_parents_are_the_networks_around_it(entity: Prefix) -> None:
    lengths = [24] if entity.version == 4 else [56, 48]
    expected = [entity.widen(length) for length in lengths]
    assert [keys.parent_prefix(parent) for parent in keys.place(entity).parents] == expected


@given(ENTITIES)
def test_wide_is_told_from_the_net(entity: Prefix) -> None:
    place = keys.place(entity)
    assert keys.wide_of(place.net) == place.wide


@given(ENTITIES, ENTITIES)
def test_wide_is_shared_exactly_within_a_16_or_a_32(one: Prefix, two: Prefix) -> None:
    def wide(entity: Prefix) -> bytes:
        return mask(entity.packed, 16 if entity.version == 4 else 32)

    shared = wide(one) == wide(two)
    assert (keys.place(one).wide == keys.place(two).wide) is shared


@given(st.lists(ENTITIES, unique=True))
def test_families_and_lengths_never_collide_within_a_role(entities: list[Prefix]) -> None:
    places = [keys.place(entity) for entity in entities]
    assert len({place.source for place in places}) == len(entities)
    parents = {
        (entity.version, p.length, p.packed) for entity in entities for p in _parents(entity)
    }
    assert len({parent for place in places for parent in place.parents}) == len(parents)


def _parents(entity: Prefix) -> list[Prefix]:
    return [entity.widen(length) for length in ([24] if entity.version == 4 else [56, 48])]


def test_zeroes_of_both_families_are_apart() -> None:
    v4, v6 = keys.place(Prefix(bytes(4), 32)), keys.place(Prefix(bytes(16), 64))
    assert v4.source != v6.source
    assert v4.net != v6.net
    assert v4.wide != v6.wide
    assert not set(v4.parents) & set(v6.parents)


@given(TEXTS)
def test_any_text_is_an_account_whatever_its_case(name: str) -> None:
    key = keys.account_key(name, b"k")
    assert 0 <= key < 2**64
    assert keys.account_key(name.lower(), b"k") == key


@pytest.mark.parametrize(
    "name", ["", "\r\nann", "\0", "\ud800\udcff", "ann@example.org" * 4370, "\u0130\u1e9e\u03a3"]
)
def test_odd_account_names_have_keys_of_their_own(name: str) -> None:
    assert keys.account_key(name, b"k") != keys.account_key(name + "x", b"k")


def test_who_lacks_the_secret_cannot_tell_an_account() -> None:
    assert keys.account_key("ann", b"one") != keys.account_key("ann", b"two")
    assert keys.account_key("ann", b"k" * 64) != keys.account_key("ann", b"k" * 63)


def test_password_key_is_the_same_for_every_account_and_hangs_on_its_key() -> None:
    assert keys.password_key(Secret(b"x"), b"k") == keys.password_key(Secret(b"x"), b"k")
    assert keys.password_key(Secret(b"x"), b"k") != keys.password_key(Secret(b"y"), b"k")
    assert keys.password_key(Secret(b"x"), b"k") != keys.password_key(Secret(b"x"), b"l")


@given(U64, U64)
def test_mixed_is_64_bits_and_not_commutative(first: int, second: int) -> None:
    assert 0 <= keys.mixed(first, second) < 2**64
    if first != second:
        assert keys.mixed(first, second) != keys.mixed(second, first)


def test_mixed_spreads_over_every_bit() -> None:
    """The sketch and the marks take a few bits of it."""
    low = {keys.mixed(each, 7) % 64 for each in range(1000)}
    high = {keys.mixed(7, each) >> 58 for each in range(1000)}
    assert len(low) == len(high) == 64
