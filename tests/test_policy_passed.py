"""Who passed a test: for a while, in a bounded table, regulars before strangers."""

from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.policy.passed import Passed

DAY_S = 86_400.0
NOW = 1_000_000.0


def test_a_pass_holds_for_its_time_and_for_nobody_else() -> None:
    passed = Passed()
    passed.note(1, NOW, DAY_S)
    assert passed.holds(1, NOW + DAY_S - 1, DAY_S)
    assert not passed.holds(1, NOW + DAY_S, DAY_S)
    assert not passed.holds(2, NOW, DAY_S)


def test_being_asked_about_makes_a_pass_no_longer() -> None:
    passed = Passed()
    passed.note(1, NOW, DAY_S)
    for hour in range(1, 24):
        passed.note(100 + hour, NOW + hour * 3600.0, DAY_S)
        assert passed.holds(1, NOW + hour * 3600.0, DAY_S)
    assert not passed.holds(1, NOW + DAY_S, DAY_S)


def test_a_shorter_time_holds_at_once() -> None:
    passed = Passed()
    passed.note(1, NOW, DAY_S)
    assert not passed.holds(1, NOW + 60.0, 60.0)


def test_a_flood_pushes_out_itself_and_not_who_comes_back() -> None:
    passed = Passed(capacity=100)
    passed.note(0, NOW, DAY_S)
    passed.note(1, NOW, DAY_S)
    for number in range(1_000):
        passed.note(1_000 + number, NOW + number, DAY_S)
        if number % 40 == 0:
            assert passed.holds(0, NOW + number, DAY_S), "a regular"
        assert len(passed) <= 100
    assert not passed.holds(1, NOW + 1_000, DAY_S)


def test_what_is_old_leaves_without_being_asked_about() -> None:
    passed = Passed()
    for number in range(1_000):
        passed.note(number, NOW, DAY_S)
    for day in range(1, 4):
        passed.note(5_000, NOW + day * (DAY_S + 1), DAY_S)
    assert len(passed) <= 2


@given(
    st.lists(
        st.tuples(st.booleans(), st.integers(0, 5), st.floats(0, 40)),
        max_size=60,
    )
)
def test_it_never_says_more_than_is_true(steps: list[tuple[bool, int, float]]) -> None:
    """It may forget, and never remembers wrongly; two clients fit and are always remembered."""
    small, large = Passed(capacity=4), Passed()
    truth: dict[int, float] = {}
    now = NOW
    for notes, client, later_s in steps:
        now += later_s
        if notes:
            truth[client] = now
            small.note(client, now, 60.0)
            large.note(client, now, 60.0)
        expected = client in truth and now - truth[client] < 60.0
        assert large.holds(client, now, 60.0) is expected
        assert not small.holds(client, now, 60.0) or expected
        assert len(small) <= 4
