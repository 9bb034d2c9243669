"""Counters: decay, bounds, and what goes first when a table is full."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatekeeper.policy.counters import FAINT, MARKS, MAX_SCORE, ScoreTable

HALF_LIFE_S = 100.0


def test_unknown_key_scores_nothing() -> None:
    assert ScoreTable[str](HALF_LIFE_S).value("a", 5.0) == 0.0


def test_score_halves_each_half_life() -> None:
    table = ScoreTable[str](HALF_LIFE_S)
    assert table.add("a", 8.0, 1000.0) == 8.0
    assert table.value("a", 1100.0) == pytest.approx(4.0)
    assert table.value("a", 1300.0) == pytest.approx(1.0)


def test_weights_add_to_what_is_left() -> None:
    table = ScoreTable[str](HALF_LIFE_S)
    table.add("a", 2.0, 0.0)
    assert table.add("a", 3.0, 100.0) == pytest.approx(4.0)
    assert table.value("b", 100.0) == 0.0


def test_score_has_a_ceiling() -> None:
    table = ScoreTable[str](HALF_LIFE_S)
    assert table.add("a", 10 * MAX_SCORE, 0.0) == MAX_SCORE


def test_discarded_key_starts_anew() -> None:
    table = ScoreTable[str](HALF_LIFE_S)
    table.add("a", 5.0, 0.0)
    table.discard("a")
    table.discard("never known")
    assert table.add("a", 1.0, 0.0) == 1.0


def test_score_is_exact_enough_after_a_year_of_uptime() -> None:
    table = ScoreTable[str](HALF_LIFE_S)
    now = 365 * 86_400.0
    table.add("a", 7.0, now)
    assert table.add("a", 1.0, now) == pytest.approx(8.0, rel=1e-6)


def test_overflow_drops_the_lowest_and_keeps_high_scores() -> None:
    table = ScoreTable[int](HALF_LIFE_S, capacity=100)
    for guesser in range(10):
        table.add(guesser, 7.0, 0.0)
    for passer_by in range(1000, 11_000):
        table.add(passer_by, 1.0, 1.0)
    assert len(table) == 100
    assert all(table.value(guesser, 1.0) > 6.9 for guesser in range(10))
    assert table.value(10_999, 1.0) == 1.0, "the newest is in"
    assert table.value(1000, 1.0) == 0.0, "the oldest of the low ones is out"


def test_overflow_prefers_decayed_scores_to_fresh_ones() -> None:
    table = ScoreTable[str](HALF_LIFE_S, capacity=2)
    table.add("was high", 16.0, 0.0)
    table.add("fresh", 1.5, 700.0)
    table.add("new", 1.5, 700.0)
    assert table.value("was high", 700.0) == 0.0
    assert table.value("fresh", 700.0) == 1.5


def test_rising_score_outlives_a_flood() -> None:
    """A guesser under way is not washed out by the addresses he floods the table with."""
    table = ScoreTable[int](HALF_LIFE_S, capacity=50)
    for step in range(1, 9):
        assert table.add(-1, 1.0, 0.0) == pytest.approx(step)
        for passer_by in range(40):
            table.add(step * 1000 + passer_by, 1.0, 0.0)


def test_faint_scores_make_room_in_passing() -> None:
    table = ScoreTable[int](HALF_LIFE_S)
    for key in range(1000):
        table.add(key, 1.0, 0.0)
    later = HALF_LIFE_S * 20
    for key in range(1000, 1600):
        table.add(key, 1.0, later)
    assert len(table) == 600


def test_weight_below_faint_is_counted() -> None:
    table = ScoreTable[str](HALF_LIFE_S)
    assert table.add("a", FAINT / 8, 0.0) == pytest.approx(FAINT / 8)


def test_queues_stay_few_and_short() -> None:
    """The bound that makes an event's cost independent of the number of keys."""
    table = ScoreTable[int](HALF_LIFE_S, capacity=64)
    for step in range(20_000):
        table.add(step * 7919 % 256, 0.3 + step % 5, step * 3.0)
    places = sum(len(queue) for queue in table._queues.values())
    assert len(table._queues) <= 24
    assert places <= 64 * 16


EVENTS = st.lists(
    st.tuples(st.integers(0, 9), st.sampled_from([0.1, 1.0, 5.0]), st.floats(0.0, 400.0)),
    max_size=60,
)


@settings(max_examples=60)
@given(EVENTS, st.integers(1, 8))
def test_table_agrees_with_plain_decay(
    events: list[tuple[int, float, float]], capacity: int
) -> None:
    """Against the formula value * 0.5 ** (elapsed / half-life), for all keys still in the table."""
    table = ScoreTable[int](HALF_LIFE_S, capacity)
    plain: dict[int, tuple[float, float]] = {}
    now = 0.0
    for key, weight, elapsed in events:
        now += elapsed
        if table.value(key, now) == 0.0:
            plain.pop(key, None)
        value, at = plain.get(key, (0.0, now))
        plain[key] = (value * 0.5 ** ((now - at) / HALF_LIFE_S) + weight, now)
        assert table.add(key, weight, now) == pytest.approx(plain[key][0], rel=1e-9)
        assert len(table) <= capacity


@settings(max_examples=60)
@given(EVENTS, st.integers(1, 8), st.integers(0, 7))
def test_order_of_scores_never_changes_as_they_rest(
    events: list[tuple[int, float, float]], capacity: int, half_lives: int
) -> None:
    table, now = ScoreTable[int](HALF_LIFE_S, capacity), 0.0
    for key, weight, elapsed in events:
        now += elapsed
        table.add(key, weight, now)
    later = now + half_lives * HALF_LIFE_S
    by_score = sorted(table, key=lambda key: (table.value(key, now), key))
    assert [table.value(key, later) for key in by_score] == sorted(
        table.value(key, later) for key in by_score
    )


@settings(max_examples=60)
@given(EVENTS)
def test_who_is_pushed_out_is_among_the_lowest(events: list[tuple[int, float, float]]) -> None:
    """To within the factor of two that one queue spans."""
    table, now = ScoreTable[int](HALF_LIFE_S, capacity=4), 0.0
    for key, weight, elapsed in events:
        now += elapsed
        before = {each: table.value(each, now) for each in table if each != key}
        table.add(key, weight, now)
        gone = [value for each, value in before.items() if each not in table and value > 2 * FAINT]
        kept = [table.value(each, now) for each in table]
        assert all(value <= 2 * min(kept) * (1 + 1e-9) for value in gone)


# -- taking off, and marks -------------------------------------------------------------------------


def test_what_is_taken_off_never_goes_below_nothing() -> None:
    table = ScoreTable[str](HALF_LIFE_S)
    table.add("a", 5.0, 0.0)
    table.take_off("a", 2.0, 0.0)
    assert table.value("a", 0.0) == pytest.approx(3.0)
    table.take_off("a", 3.5, 0.0)
    assert "a" not in table
    table.take_off("a", 1.0, 0.0)
    assert table.add("a", 1.0, 0.0) == 1.0


def test_different_things_are_counted_with_the_score() -> None:
    table = ScoreTable[str](HALF_LIFE_S)
    table.add("a", 1.0, 0.0)
    assert table.different("a", 5) == 1, "this one included"
    for thing in (5, 6, 5, 7):
        table.mark("a", thing)
    assert table.different("a", 6) == 3
    assert table.different("a", 8) == 4
    for thing in range(1000):
        table.mark("a", thing)
    assert table.different("a", 0) == MARKS


def test_marks_go_with_their_score_and_make_no_entry() -> None:
    table = ScoreTable[int](HALF_LIFE_S, capacity=2)
    table.mark(1, 5)
    assert len(table) == 0
    for key in (1, 2, 3):
        table.add(key, 1.0, 0.0)
        table.mark(key, 5)
    assert 1 not in table
    assert table.different(1, 9) == 1
    assert len(table._marks) == 2
