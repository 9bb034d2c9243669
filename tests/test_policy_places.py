"""Places: how many accounts are at home somewhere."""

from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.policy.keys import mixed
from gatekeeper.policy.places import MOST_ACCOUNTS, ORDERED_S, WINDOW_S, Places

NOW = 1_700_000_000.0
OFFICE = 42


def test_nobody_is_at_home_in_an_unknown_place() -> None:
    places = Places()
    assert not places.knows(OFFICE)
    assert places.accounts(OFFICE, NOW) == 0
    assert places.last_s(OFFICE, NOW) is None


def test_each_account_counts_once() -> None:
    places = Places()
    for account in (1, 2, 2, 3, 1):
        places.add(OFFICE, account, NOW)
    assert places.accounts(OFFICE, NOW) == 3
    assert places.accounts(OFFICE + 1, NOW) == 0


def test_crowd_is_counted_up_to_a_bound() -> None:
    places = Places()
    for account in range(1000):
        places.add(OFFICE, mixed(account, 5), NOW)
    assert places.accounts(OFFICE, NOW) == MOST_ACCOUNTS


def test_last_login_is_told_roughly() -> None:
    places = Places()
    for minute in range(60):
        places.add(OFFICE, 1, NOW + 60.0 * minute)
    last_s = places.last_s(OFFICE, NOW + 3600.0)
    assert last_s is not None
    assert 60.0 <= last_s <= 60.0 + ORDERED_S


def test_place_left_for_good_is_nobodys() -> None:
    places = Places()
    places.add(OFFICE, 1, NOW)
    places.add(OFFICE, 2, NOW)
    assert places.accounts(OFFICE, NOW + WINDOW_S) == 2
    assert places.accounts(OFFICE, NOW + WINDOW_S + 1) == 0
    places.add(OFFICE, 3, NOW + WINDOW_S + 1)
    assert places.accounts(OFFICE, NOW + WINDOW_S + 1) == 1, "who has left does not count again"


def test_place_in_use_outlives_a_flood_of_new_ones() -> None:
    places = Places(capacity=50)
    for step in range(2000):
        now = NOW + step * 60.0
        places.add(OFFICE, 1, now)
        places.add(1000 + step, 1, now)
        assert len(places) <= 50
    assert places.knows(OFFICE)
    assert not places.knows(1000)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 200), st.floats(0.0, 1e5))))
def test_bounded_and_never_more_than_logged_in(steps: list[tuple[int, int, float]]) -> None:
    places, now = Places(capacity=4), NOW
    seen: dict[int, set[int]] = {}
    for place, account, elapsed in steps:
        now += elapsed
        places.add(place, account, now)
        seen.setdefault(place, set()).add(account)
        assert len(places) <= 4
        assert 1 <= places.accounts(place, now) <= len(seen[place])
