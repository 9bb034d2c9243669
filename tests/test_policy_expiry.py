"""Expiry: the soonest first, and no growth from what was put off."""

from hypothesis import given, settings
from hypothesis import strategies as st

from gatekeeper.policy.expiry import SWEEP_FLOOR, Expiry


def test_due_keys_come_soonest_first() -> None:
    expiry = Expiry[str]()
    expiry.put("late", 30.0)
    expiry.put("soon", 10.0)
    expiry.put("next", 20.0)
    assert expiry.pop_due(9.9) == []
    assert expiry.pop_due(20.0) == ["soon", "next"]
    assert len(expiry) == 1


def test_key_put_off_is_not_due_at_its_old_instant() -> None:
    expiry = Expiry[str]()
    expiry.put("a", 10.0)
    expiry.put("a", 50.0)
    assert expiry.pop_due(49.0) == []
    assert expiry.pop_due(50.0) == ["a"]
    assert expiry.pop_due(99.0) == []


def test_same_instant_twice_is_due_once() -> None:
    expiry = Expiry[str]()
    expiry.put("a", 10.0)
    expiry.put("a", 10.0)
    assert expiry.pop_due(10.0) == ["a"]


def test_discarded_key_is_never_due() -> None:
    expiry = Expiry[str]()
    expiry.put("a", 10.0)
    expiry.discard("a")
    expiry.discard("unknown")
    assert expiry.pop_soonest() is None
    assert len(expiry) == 0


def test_soonest_key_can_be_taken_before_it_is_due() -> None:
    expiry = Expiry[str]()
    expiry.put("b", 20.0)
    expiry.put("a", 10.0)
    assert expiry.pop_soonest() == "a"
    assert expiry.pop_due(100.0) == ["b"]


def test_keys_that_cannot_be_ordered_may_share_an_instant() -> None:
    expiry = Expiry[complex]()
    expiry.put(1j, 10.0)
    expiry.put(2j, 10.0)
    assert set(expiry.pop_due(10.0)) == {1j, 2j}


def test_putting_off_does_not_grow_the_heap() -> None:
    expiry = Expiry[str]()
    for at in range(10_000):
        expiry.put("a", float(at))
    assert len(expiry._heap) <= SWEEP_FLOOR + 3


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 5), st.one_of(st.none(), st.integers(0, 50)))))
def test_agrees_with_a_dictionary(operations: list[tuple[int, int | None]]) -> None:
    expiry, plain = Expiry[int](), dict[int, float]()
    for key, at in operations:
        if at is None:
            expiry.discard(key)
            plain.pop(key, None)
        else:
            expiry.put(key, float(at))
            plain[key] = float(at)
    assert len(expiry) == len(plain)
    assert set(expiry.pop_due(25.0)) == {key for key, at in plain.items() if at <= 25.0}
    assert set(expiry.pop_due(50.0)) == {key for key, at in plain.items() if at > 25.0}
