"""Totals as charts: what they grew by, slot by slot."""

from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.series import DAY, HOUR, Ring, Series, Span

SHORT = Span(10.0, 4)


def test_nothing_was_read() -> None:
    assert Ring(["a"], SHORT).read() == (0.0, {"a": []})


def test_growth_is_counted_in_its_slot() -> None:
    ring = Ring(["a", "b"], SHORT)
    ring.add({"a": 1}, 1003.0)
    ring.add({"a": 2, "b": 5}, 1009.9)
    ring.add({"a": 4}, 1010.0)
    assert ring.read() == (1000.0, {"a": [3, 4], "b": [5, 0]})


def test_slots_that_passed_were_quiet() -> None:
    ring = Ring(["a"], SHORT)
    for number in range(4):
        ring.add({"a": number + 1}, 10.0 * number)
    ring.add({"a": 9}, 50.0)
    assert ring.read() == (20.0, {"a": [3, 4, 0, 9]})


def test_after_a_long_silence_nothing_old_is_left() -> None:
    ring = Ring(["a"], SHORT)
    for number in range(4):
        ring.add({"a": 1}, 10.0 * number)
    ring.add({"a": 7}, 1_000_000.0)
    assert ring.read() == (999_970.0, {"a": [0, 0, 0, 7]})


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 9)), min_size=1))
def test_a_ring_is_what_a_list_would_be(steps: list[tuple[int, int]]) -> None:
    ring, seen, now = Ring(["a"], SHORT), dict[int, float](), 0.0
    for wait, amount in steps:
        now += wait
        ring.add({"a": amount}, now)
        seen[int(now // 10)] = seen.get(int(now // 10), 0) + amount
    last = int(now // 10)
    first = max(steps[0][0] // 10, last - 3)
    start, rows = ring.read()
    assert start == first * 10
    assert rows["a"] == [seen.get(slot, 0) for slot in range(first, last + 1)]


def test_totals_become_growth() -> None:
    series = Series(["logins"])
    series.note({"logins": 100}, 0.0)  # what was before the first reading is no growth
    series.note({"logins": 103}, 5.0)
    series.note({"logins": 2}, 10.0)  # begun anew
    hour, day = series.rings
    assert hour.read() == (0.0, {"logins": [3, 2]})
    assert day.read() == (0.0, {"logins": [5]})
    assert (hour.span, day.span) == (HOUR, DAY)
