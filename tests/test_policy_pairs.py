"""Pairs refused lately and credentials asked to come again: windows, bounds, and who goes first."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.policy.allowances import Doubt
from gatekeeper.policy.keys import Place, place
from gatekeeper.policy.pairs import Askings, BadPairs, Comebacks
from gatekeeper.prefix import entity

NOW = 1_700_000_000.0
WINDOW_S = 60.0


def test_pair_is_known_for_the_window() -> None:
    pairs = BadPairs(WINDOW_S)
    assert pairs.ago_s(1, NOW) is None
    pairs.add(1, NOW)
    assert pairs.ago_s(1, NOW + 7) == 7.0
    assert pairs.ago_s(1, NOW + WINDOW_S) == WINDOW_S
    assert pairs.ago_s(1, NOW + WINDOW_S + 1) is None
    assert pairs.ago_s(2, NOW) is None


def test_asking_does_not_prolong_the_window() -> None:
    """Else a password that has become right would be refused for as long as it is tried."""
    pairs = BadPairs(WINDOW_S)
    pairs.add(1, NOW)
    for second in range(int(WINDOW_S) + 1):
        assert pairs.ago_s(1, NOW + second) == second
    assert pairs.ago_s(1, NOW + WINDOW_S + 1) is None


def test_pair_that_was_right_after_all_is_forgotten() -> None:
    pairs = BadPairs(WINDOW_S)
    pairs.add(1, NOW)
    pairs.discard(1)
    pairs.discard(2)
    assert pairs.ago_s(1, NOW) is None


def test_refusals_of_an_outage_are_forgotten_together() -> None:
    pairs = BadPairs(WINDOW_S)
    for pair in range(5):
        pairs.add(pair, NOW)
    pairs.clear()
    assert len(pairs) == 0
    assert pairs.ago_s(3, NOW) is None


def test_flood_of_guesses_does_not_push_out_a_device_that_repeats_itself() -> None:
    pairs = BadPairs(1e6, capacity=10)
    pairs.add(-1, NOW)
    for guess in range(1000):
        pairs.add(guess, NOW + guess)
        if guess % 5 == 0:
            assert pairs.ago_s(-1, NOW + guess) == guess
    assert len(pairs) == 10


def test_pairs_past_the_window_are_let_go() -> None:
    pairs = BadPairs(WINDOW_S)
    for guess in range(100):
        pairs.add(guess, NOW)
    for guess in range(100, 200):
        pairs.add(guess, NOW + WINDOW_S + 1)
    assert len(pairs) == 100


@given(st.lists(st.tuples(st.integers(0, 30), st.floats(0.0, 30.0)), max_size=200))
def test_pairs_are_bounded_and_the_latest_is_in(steps: list[tuple[int, float]]) -> None:
    pairs, now = BadPairs(WINDOW_S, capacity=7), NOW
    for pair, elapsed in steps:
        now += elapsed
        pairs.add(pair, now)
        assert len(pairs) <= 7
        assert pairs.ago_s(pair, now) == 0.0


def test_comeback_is_counted_from_the_first_asking() -> None:
    """Who hammers does not have to wait anew each time."""
    comebacks = Comebacks(100.0)
    assert comebacks.ago_s(1, NOW) is None
    for second in range(50):
        comebacks.ask(1, NOW + second)
        assert comebacks.ago_s(1, NOW + second) == second


def test_comeback_lives_for_at_least_one_half_life() -> None:
    comebacks = Comebacks(100.0)
    comebacks.ask(1, NOW)
    for second in range(1, 100):
        comebacks.ask(1000 + second, NOW + second)
        assert comebacks.ago_s(1, NOW + second) == second


def test_comeback_is_gone_after_two_half_lives_where_others_are_asked() -> None:
    comebacks = Comebacks(100.0)
    comebacks.ask(1, NOW)
    for second in range(1, 205):
        comebacks.ask(1000 + second, NOW + second)
    assert comebacks.ago_s(1, NOW + 205) is None


def test_comeback_ends_after_two_half_lives_though_nobody_else_is_asked() -> None:
    comebacks = Comebacks(100.0)
    comebacks.ask(1, NOW)
    assert comebacks.ago_s(1, NOW + 200) == 200
    assert comebacks.ago_s(1, NOW + 201) is None
    comebacks.ask(1, NOW + 300)
    assert comebacks.ago_s(1, NOW + 301) == 1, "and begins anew"


def test_flood_forgets_the_oldest_askings_first() -> None:
    comebacks = Comebacks(1e6, capacity=10)
    for key in range(10_000):
        comebacks.ask(key, NOW)
        assert len(comebacks) <= 20
        assert comebacks.ago_s(max(0, key - 9), NOW) == 0.0, "ten later ones push nobody out"


@given(st.lists(st.tuples(st.integers(0, 30), st.floats(0.0, 200.0)), max_size=200))
def test_comebacks_are_bounded_and_whoever_was_just_asked_is_known(
    steps: list[tuple[int, float]],
) -> None:
    comebacks, now = Comebacks(100.0, capacity=5), NOW
    for key, elapsed in steps:
        now += elapsed
        comebacks.ask(key, now)
        assert len(comebacks) <= 10
        assert comebacks.ago_s(key, now) is not None


# -- who was asked -------------------------------------------------------------------------------

PAIR = 5
HERE = place(entity("203.0.113.9"))
SAME_NET = place(entity("203.0.113.200"))
SAME_PROVIDER = place(entity("203.0.7.1"))
ABROAD = place(entity("198.51.100.7"))


@pytest.mark.parametrize(
    ("doubt", "known_at"),
    [
        (Doubt.NONE, [HERE, SAME_NET, SAME_PROVIDER, ABROAD]),
        (Doubt.SLIGHT, [HERE, SAME_NET, SAME_PROVIDER, ABROAD]),
        (Doubt.CLEAR, [HERE, SAME_NET]),
    ],
)
def test_right_password_is_known_again_everywhere_unless_much_speaks_against_it(
    doubt: Doubt, known_at: list[Place]
) -> None:
    askings = Askings()
    askings.ask_right(PAIR, HERE, NOW)
    for where in (HERE, SAME_NET, SAME_PROVIDER, ABROAD):
        expected = 40.0 if where in known_at else None
        assert askings.right_ago_s(PAIR, where, doubt, NOW + 40) == expected
    assert askings.right_ago_s(PAIR + 1, HERE, doubt, NOW + 40) is None
    assert askings.ago_s(PAIR, HERE, NOW + 40) is None


def test_right_password_asked_anew_elsewhere_keeps_its_first_time_there() -> None:
    """Whoever wanders is asked at each place once, and comes back to any of them."""
    askings = Askings()
    askings.ask_right(PAIR, HERE, NOW)
    askings.ask_right(PAIR, ABROAD, NOW + 10)
    assert askings.right_ago_s(PAIR, HERE, Doubt.CLEAR, NOW + 40) == 40
    assert askings.right_ago_s(PAIR, ABROAD, Doubt.CLEAR, NOW + 40) == 30


def test_any_other_password_is_known_again_in_its_net_alone() -> None:
    askings = Askings()
    askings.ask(PAIR, HERE, NOW)
    assert askings.ago_s(PAIR, SAME_NET, NOW + 40) == 40
    assert askings.ago_s(PAIR, SAME_PROVIDER, NOW + 40) is None
    assert askings.right_ago_s(PAIR, HERE, Doubt.NONE, NOW + 40) is None


def test_flood_of_guesses_forgets_no_right_password_and_is_bounded() -> None:
    askings = Askings(capacity=10)
    askings.ask_right(PAIR, HERE, NOW)
    for guess in range(1000):
        askings.ask(1000 + guess, HERE, NOW)
        assert len(askings) <= 2 * 10 + 3
    assert askings.right_ago_s(PAIR, HERE, Doubt.CLEAR, NOW) == 0.0
    for pair in range(1000):
        askings.ask_right(pair, HERE, NOW)
        assert len(askings) <= 2 * 10 + 2 * 3 * 10
