"""The attack level, what is learnt, and outages told from people who are wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.policy import levels
from gatekeeper.policy.levels import AttackLevel, Decayed, Learning, OutageWatch

NOW = 1_700_000_000.0
SHARES = levels.NEWCOMERS


# -- sums that decay -----------------------------------------------------------------------------


def test_sum_halves_each_half_life_up_to_its_bound() -> None:
    total = Decayed(100.0, most=10.0)
    total.add(8.0, NOW)
    assert total.value(NOW + 100.0) == pytest.approx(4.0)
    total.add(100.0, NOW + 100.0)
    assert total.value(NOW + 100.0) == 10.0


@given(st.lists(st.tuples(st.floats(-50.0, 50.0), st.floats(0.0, 500.0)), max_size=50))
def test_sum_stays_within_its_bounds(steps: list[tuple[float, float]]) -> None:
    total, now = Decayed(100.0, most=30.0), NOW
    for weight, elapsed in steps:
        now += elapsed
        total.add(weight, now)
        assert 0.0 <= total.value(now) <= 30.0


# -- the attack level ----------------------------------------------------------------------------


def guessed(level: AttackLevel, guesses: float) -> bool:
    for _ in range(int(guesses)):
        level.guessed(1.0, NOW)
    return level.high(NOW)


def test_level_is_low_before_and_high_at_its_floor() -> None:
    level = AttackLevel()
    assert not guessed(level, levels.LEVEL_FLOOR - 1)
    assert guessed(level, 1)


def test_guesses_that_may_be_right_count_less() -> None:
    level = AttackLevel()
    for _ in range(int(levels.LEVEL_FLOOR)):
        level.guessed(0.5, NOW)
    assert not level.high(NOW)


def test_where_strangers_log_in_more_guesses_are_peace() -> None:
    level = AttackLevel()
    for _ in range(100):
        level.logged_in(NOW)
    assert not guessed(level, levels.LEVEL_FLOOR)
    assert guessed(level, 100 * levels.LEVEL_PER_LOGIN + 1)


def test_no_number_of_logins_puts_the_level_out_of_reach() -> None:
    """An attacker may have an account, and log in from everywhere."""
    level = AttackLevel()
    for _ in range(100_000):
        level.logged_in(NOW)
    assert guessed(level, 100_000)


def test_level_once_high_stays_until_guesses_are_half() -> None:
    level = AttackLevel()
    assert guessed(level, levels.LEVEL_FLOOR)
    assert level.high(NOW + 0.9 * levels.HALF_LIFE_S)
    assert not level.high(NOW + 1.1 * levels.HALF_LIFE_S)


def test_level_falls_soon_after_any_attack_however_large() -> None:
    level = AttackLevel()
    assert guessed(level, 100_000)
    assert not level.high(NOW + 2 * 86_400.0)


def test_figures_are_those_it_judges_by() -> None:
    level = AttackLevel()
    level.guessed(3.0, NOW)
    level.logged_in(NOW)
    assert level.figures(NOW) == (3.0, 1.0)
    assert level.figures(NOW + levels.HALF_LIFE_S) == (1.5, 0.5)


# -- learning ------------------------------------------------------------------------------------


def learned_after(learning: Learning, logins: int) -> int | None:
    """How many logins of no rare kind it takes."""
    for number in range(logins):
        if learning.learned:
            return number
        learning.note(rare=False)
    return None


def test_nothing_is_known_at_a_cold_start() -> None:
    assert not Learning(SHARES).learned


def test_people_are_learnt_from_their_logins() -> None:
    needed = learned_after(Learning(SHARES), 5000)
    assert needed is not None
    assert 256 < needed < 2000


def test_recalled_share_needs_no_learning() -> None:
    assert Learning(SHARES, SHARES[0] / 2).learned


def test_where_rare_things_are_common_nothing_is_learnt() -> None:
    learning = Learning(SHARES)
    for number in range(20_000):
        learning.note(rare=number % 20 == 0)
    assert not learning.learned


def test_one_rare_login_unlearns_nothing_and_a_wave_of_them_does() -> None:
    learning = Learning(SHARES, SHARES[0] / 2)
    learning.note(rare=True)
    assert learning.learned
    for _ in range(20):
        learning.note(rare=True)
    assert not learning.learned


@given(st.lists(st.booleans(), max_size=300))
def test_share_is_a_share(notes: list[bool]) -> None:
    learning = Learning(SHARES)
    for rare in notes:
        learning.note(rare=rare)
        assert 0.0 <= learning.share <= 1.0


# -- outages -------------------------------------------------------------------------------------


def voted(*votes: tuple[int, bool], at: float = NOW) -> OutageWatch:
    watch = OutageWatch()
    for account, success in votes:
        watch.note(account, success, at)
    return watch


def fails(accounts: int) -> list[tuple[int, bool]]:
    return [(account, False) for account in range(accounts)]


def test_no_votes_are_no_outage() -> None:
    assert not OutageWatch().outage(NOW)


def test_several_accounts_that_ought_to_be_right_make_an_outage() -> None:
    assert not voted(*fails(levels.OUTAGE_ACCOUNTS - 1)).outage(NOW)
    assert voted(*fails(levels.OUTAGE_ACCOUNTS)).outage(NOW)


def test_one_stale_phone_is_no_outage_however_often_it_calls() -> None:
    assert not voted(*[(1, False)] * 1000).outage(NOW)


def test_few_failures_among_many_successes_are_no_outage() -> None:
    right = [(1000 + account, True) for account in range(4 * levels.OUTAGE_ACCOUNTS)]
    assert not voted(*right, *fails(levels.OUTAGE_ACCOUNTS)).outage(NOW)


def test_outage_ends_as_its_accounts_log_in_again() -> None:
    watch = voted(*fails(levels.OUTAGE_ACCOUNTS))
    assert watch.outage(NOW)
    watch.note(0, success=True, now=NOW + 1)
    assert not watch.outage(NOW + 1)


def test_votes_grow_old() -> None:
    watch = voted(*fails(levels.OUTAGE_ACCOUNTS))
    assert watch.outage(NOW + levels.OUTAGE_WINDOW_S)
    assert not watch.outage(NOW + levels.OUTAGE_WINDOW_S + 1)


@given(st.lists(st.tuples(st.integers(0, 90), st.booleans(), st.floats(0.0, 120.0)), max_size=300))
def test_failures_are_counted_right_and_votes_are_bounded(
    votes: list[tuple[int, bool, float]],
) -> None:
    watch, now = OutageWatch(), NOW
    for account, success, elapsed in votes:
        now += elapsed
        watch.note(account, success, now)
        watch.outage(now)
        assert watch._failed == sum(not vote for _, vote in watch._votes.values())
        assert 1 <= len(watch._votes) <= levels.OUTAGE_MEMORY
