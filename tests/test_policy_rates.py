"""Rates: never more than the burst and one for each period since."""

from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.policy.rates import Rate, RateTable

START = 1_700_000_000.0
# Periods a float at Unix time holds exactly: what is tested is the rule, not rounding.
RATES = st.builds(Rate, st.integers(1, 20), st.integers(1, 8000).map(lambda eighths: eighths / 8))
GAPS = st.lists(st.floats(0.0, 500.0), max_size=100)


@given(RATES, GAPS)
def test_never_allows_more_than_burst_and_one_a_period(rate: Rate, gaps: list[float]) -> None:
    at, now, allowed = 0.0, START, 0
    for gap in gaps:
        now += gap
        if rate.allows(at, now):
            at = rate.used(at, now)
            allowed += 1
        assert allowed <= rate.burst + (now - START) / rate.period_s + 1e-3


@given(RATES)
def test_whole_burst_fits_at_once_and_no_more(rate: Rate) -> None:
    at = 0.0
    for _ in range(rate.burst):
        assert rate.allows(at, START)
        at = rate.used(at, START)
    assert not rate.allows(at, START)
    assert rate.allows(at, START + rate.period_s)


@given(RATES, GAPS)
def test_who_keeps_to_the_period_is_never_over(rate: Rate, gaps: list[float]) -> None:
    at, now = 0.0, START
    for gap in gaps:
        assert rate.allows(at, now)
        at = rate.used(at, now)
        now += rate.period_s + gap


def test_keys_have_rates_of_their_own() -> None:
    table = RateTable[str](Rate(2, 10.0), capacity=10)
    table.use("a", START)
    table.use("a", START)
    assert not table.allows("a", START)
    assert table.allows("b", START)
    assert table.allows("a", START + 10.0)


def test_asking_uses_nothing() -> None:
    table = RateTable[str](Rate(1, 10.0), capacity=10)
    assert all(table.allows("a", START) for _ in range(5))
    assert len(table) == 0


@given(st.lists(st.tuples(st.integers(0, 30), st.floats(0.0, 30.0)), max_size=200))
def test_table_is_bounded_and_remembers_the_latest(uses: list[tuple[int, float]]) -> None:
    table = RateTable[int](Rate(1, 1000.0), capacity=7)
    now = START
    for key, gap in uses:
        now += gap
        table.use(key, now)
        assert len(table) <= 7
        assert not table.allows(key, now)


def test_overflow_drops_the_one_used_least_recently() -> None:
    table = RateTable[int](Rate(1, 1e6), capacity=3)
    for key in (1, 2, 3, 1, 4):
        table.use(key, START)
    assert table.allows(2, START), "forgotten, so as new"
    assert not any(table.allows(key, START) for key in (1, 3, 4))


def test_rates_that_ran_out_make_room_in_passing() -> None:
    table = RateTable[int](Rate(1, 10.0), capacity=1000)
    for key in range(100):
        table.use(key, START)
    for key in range(100, 200):
        table.use(key, START + 1000.0)
    assert len(table) == 100
