"""A set of names by their keys: it answers as a set of strings does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.policy import name_set
from gatekeeper.policy.name_set import NameSet, name_key


@given(st.lists(st.text()), st.lists(st.text()))
def test_it_holds_what_it_was_given_and_nothing_else(names: list[str], others: list[str]) -> None:
    held = NameSet.of(names)
    assert len(held) == len(set(names))
    for name in names + others:
        assert (name in held) == (name in names)


def test_it_holds_many() -> None:
    names = [f"user{number}" for number in range(20_000)]
    held = NameSet.of(names)
    assert len(held) == len(names)
    assert all(name in held for name in names)
    assert not any(f"nobody{number}" in held for number in range(20_000))


def test_an_empty_one_holds_nothing() -> None:
    empty = NameSet()
    assert not empty
    assert "" not in empty
    assert None not in NameSet.of(["a"])


def test_keys_that_begin_at_one_place_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(name_set, "name_key", lambda name: 8 * int(name) + 7)
    held = NameSet((name_set.name_key(name) for name in ("1", "2", "3")), 3)
    assert all(name in held for name in ("1", "2", "3"))
    assert "4" not in held


def test_no_key_is_that_of_a_free_place() -> None:
    assert all(0 < name_key(str(number)) < 2**64 for number in range(1000))
