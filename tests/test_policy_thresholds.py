"""Thresholds: which score delays, and which one bans."""

import pytest
from facts import POLICY, facts
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.ban import Scope
from gatekeeper.policy.thresholds import SLACK, against, ban_due, reached, tarpit_s
from gatekeeper.verdict import Action, Reason, Verdict

REASON = Reason.AUTH_FAILURES
BAN = Verdict(Action.CLOSE, REASON, ban=True)
TARPIT_SCORE, BAN_SCORE = POLICY.auth_tarpit_score, POLICY.auth_ban_score


def after_one_more(score: float, **changes: object) -> Verdict | None:
    return against(facts(score_before=score - 1, score=score, **changes), REASON)


def test_first_failures_are_answered_at_once() -> None:
    assert after_one_more(1.0) is None
    assert after_one_more(TARPIT_SCORE - 2 * SLACK) is None


def test_delay_doubles_from_the_tarpit_score_up_to_its_bound() -> None:
    delays = [tarpit_s(facts(score=TARPIT_SCORE + point)) for point in range(100)]
    assert delays[0] == POLICY.tarpit_base_s
    assert delays[1] == min(POLICY.tarpit_max_s, 2 * POLICY.tarpit_base_s)
    assert delays == sorted(delays)
    assert delays[-1] == POLICY.tarpit_max_s


def test_a_little_decay_does_not_make_it_one_failure_later() -> None:
    assert after_one_more(TARPIT_SCORE - SLACK) == Verdict(
        Action.DELAY, Reason.TARPIT, POLICY.tarpit_base_s
    )
    assert after_one_more(BAN_SCORE - SLACK) == BAN


def test_ban_is_not_delayed() -> None:
    """The refusal has to leave before the kernel cuts the connection."""
    assert after_one_more(BAN_SCORE) == BAN


def test_failure_that_adds_nothing_never_bans_however_high_the_score() -> None:
    repeated = facts(score_before=2 * BAN_SCORE, score=2 * BAN_SCORE)
    assert not ban_due(repeated)
    assert against(repeated, REASON) == Verdict(Action.DELAY, Reason.TARPIT, POLICY.tarpit_max_s)


def test_address_people_log_in_from_is_delayed_and_not_banned() -> None:
    verdict = after_one_more(BAN_SCORE, spared=True)
    assert verdict == Verdict(Action.DELAY, Reason.TARPIT, POLICY.tarpit_max_s)


def test_crowded_address_has_a_higher_ban_score() -> None:
    verdict = after_one_more(BAN_SCORE, ban_score=BAN_SCORE * 5)
    assert verdict is not None
    assert not verdict.ban


def test_banned_client_is_left_to_the_rule_for_it() -> None:
    assert after_one_more(BAN_SCORE, banned=True) is None


@given(st.floats(0.0, 2000.0))
def test_port_25_has_no_tarpit_for_scores(score: float) -> None:
    assert tarpit_s(facts(score=score, scope=Scope.MX)) == 0.0


@pytest.mark.parametrize(
    ("score", "expected"), [(10.0, True), (10.0 - SLACK, True), (10.0 - 2 * SLACK, False)]
)
def test_threshold_is_reached_with_a_little_forgiven(score: float, expected: bool) -> None:
    assert reached(score, 10.0) is expected
