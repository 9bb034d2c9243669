"""Distinct: never too many, hardly too few, and what is old leaves."""

from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.policy.distinct import BITS, Distinct
from gatekeeper.policy.keys import mixed

WINDOW_S = 100.0
STEPS = st.lists(st.tuples(st.integers(0, 400), st.floats(0.0, 60.0)), max_size=80)


@given(STEPS)
def test_never_counts_more_than_there_were_in_a_window(steps: list[tuple[int, float]]) -> None:
    distinct = Distinct()
    seen: dict[int, float] = {}
    now = 0.0
    for key, elapsed in steps:
        now += elapsed
        seen[key] = now
        within = sum(now - at <= WINDOW_S for at in seen.values())
        assert 1 <= distinct.add(key, now, WINDOW_S) <= min(within, BITS)
        assert distinct.count(now, WINDOW_S) <= within


def test_thing_that_comes_again_counts_once() -> None:
    distinct = Distinct()
    assert [distinct.add(5, float(second), WINDOW_S) for second in range(40)] == [1] * 40


def test_a_few_are_told_apart() -> None:
    """What thresholds lie at: dozens of evenly spread keys are counted to within a tenth."""
    distinct = Distinct()
    for number in range(30):
        count = distinct.add(mixed(number, 3), 1.0, WINDOW_S)
    assert 27 <= count <= 30


def test_half_a_window_is_remembered_and_a_whole_one_is_over() -> None:
    distinct = Distinct()
    distinct.add(1, 49.0, WINDOW_S)
    assert distinct.count(99.0, WINDOW_S) == 1
    assert distinct.count(49.0 + WINDOW_S, WINDOW_S) == 0


def test_long_rest_forgets_all() -> None:
    distinct = Distinct()
    distinct.add(1, 0.0, WINDOW_S)
    assert distinct.count(1e9, WINDOW_S) == 0
    assert distinct.add(2, 1e9, WINDOW_S) == 1


def test_size_does_not_grow() -> None:
    distinct = Distinct()
    counts = [distinct.add(mixed(number, 1), 1.0, WINDOW_S) for number in range(5000)]
    assert max(counts) <= BITS
    assert counts == sorted(counts)
