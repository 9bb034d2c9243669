"""Rules: one opinion each."""

import pytest

from gatekeeper.ban import Scope
from gatekeeper.events import (
    AuthAttempt,
    AuthOutcome,
    AuthResult,
    ConnectionClosed,
    ConnectionOpened,
    JudgedEvent,
    RcptAttempt,
    RcptOutcome,
    RcptResult,
    Violation,
    ViolationKind,
)
from gatekeeper.policy.facts import Facts
from gatekeeper.policy.rules import (
    auth_failures,
    banned,
    tarpit_s,
    unknown_recipients,
    violations,
)
from gatekeeper.settings import PolicySettings
from gatekeeper.verdict import Action, Reason, Verdict

ATTEMPT = AuthAttempt("PLAIN", "ann")
FAILURE = AuthOutcome(ATTEMPT, AuthResult.FAILURE)
RCPT = RcptAttempt("someone@example.org")
UNKNOWN = RcptOutcome(RCPT, RcptResult.UNKNOWN)
SMUGGLING = Violation(ViolationKind.SMUGGLING, b"", fatal=True)


def facts(
    score: float,
    *,
    added: float = 1.0,
    scope: Scope = Scope.AUTH,
    banned: bool = False,
    repeated: bool = False,
) -> Facts:
    return Facts(scope, banned, score - added, score, repeated, PolicySettings())


@pytest.mark.parametrize(
    "event", [ConnectionOpened(), ATTEMPT, FAILURE, AuthOutcome(ATTEMPT, AuthResult.SUCCESS), RCPT]
)
def test_banned_entity_is_closed_on_at_once(event: JudgedEvent) -> None:
    assert banned(event, facts(9.0, banned=True)) == Verdict(Action.CLOSE, Reason.BANNED)
    assert banned(event, facts(9.0)) is None


def test_closing_is_not_judged_again() -> None:
    assert banned(ConnectionClosed("", 1.0), facts(9.0, banned=True)) is None


def test_first_failures_are_answered_at_once() -> None:
    assert auth_failures(FAILURE, facts(1.0)) is None
    assert auth_failures(FAILURE, facts(2.0)) is None


@pytest.mark.parametrize(
    ("score", "delay_s"), [(2.99, 1.0), (3.98, 2.0), (4.97, 4.0), (5.96, 8.0), (6.95, 8.0)]
)
def test_failures_are_delayed_from_the_tarpit_score(score: float, delay_s: float) -> None:
    """A little decay between the failures does not make it one failure later."""
    assert auth_failures(FAILURE, facts(score)) == Verdict(Action.DELAY, Reason.TARPIT, delay_s)


def test_eighth_failure_bans_without_delay() -> None:
    """The refusal has to leave before the kernel cuts the connection."""
    expected = Verdict(Action.CLOSE, Reason.AUTH_FAILURES, delay_s=0.0, ban=True)
    assert auth_failures(FAILURE, facts(7.9)) == expected


def test_repeated_password_never_bans_however_high_the_score() -> None:
    verdict = auth_failures(FAILURE, facts(9.0, added=0.0, repeated=True))
    assert verdict == Verdict(Action.DELAY, Reason.TARPIT, 8.0)


@pytest.mark.parametrize(
    "result", [AuthResult.SUCCESS, AuthResult.UNAVAILABLE, AuthResult.PROTOCOL]
)
def test_nothing_but_a_failure_is_delayed(result: AuthResult) -> None:
    assert auth_failures(AuthOutcome(ATTEMPT, result), facts(7.5, added=0.0)) is None


def test_attempt_is_not_judged_by_its_score() -> None:
    assert auth_failures(ATTEMPT, facts(7.5, added=0.0)) is None


def test_unknown_recipients_are_delayed_then_banned() -> None:
    assert unknown_recipients(UNKNOWN, facts(4.0, scope=Scope.MX)) is None
    assert unknown_recipients(UNKNOWN, facts(5.0, scope=Scope.MX)) == Verdict(
        Action.DELAY, Reason.TARPIT, 1.0
    )
    assert unknown_recipients(UNKNOWN, facts(20.0, scope=Scope.MX)) == Verdict(
        Action.CLOSE, Reason.UNKNOWN_RECIPIENTS, ban=True
    )


def test_relay_denied_has_the_same_ladder() -> None:
    denied = RcptOutcome(RCPT, RcptResult.RELAY_DENIED)
    assert unknown_recipients(denied, facts(20.0, added=0.5, scope=Scope.MX)) == Verdict(
        Action.CLOSE, Reason.UNKNOWN_RECIPIENTS, ban=True
    )


def test_recipients_of_users_have_no_consequence() -> None:
    assert unknown_recipients(UNKNOWN, facts(7.9, added=0.0)) is None


def test_accepted_recipient_is_not_delayed_by_earlier_ones() -> None:
    accepted = RcptOutcome(RCPT, RcptResult.ACCEPTED)
    assert unknown_recipients(accepted, facts(19.0, added=0.0, scope=Scope.MX)) is None


def test_violations_ban_at_the_ban_score_and_never_delay() -> None:
    assert violations(SMUGGLING, facts(5.0, added=5.0)) is None
    assert violations(SMUGGLING, facts(10.0, added=5.0)) == Verdict(
        Action.CLOSE, Reason.PROTOCOL_ABUSE, ban=True
    )
    assert violations(SMUGGLING, facts(10.0, added=5.0, scope=Scope.MX)) is None


def test_violation_without_weight_never_bans() -> None:
    assert violations(SMUGGLING, facts(10.0, added=0.0)) is None


def test_tarpit_is_capped_for_any_score() -> None:
    assert tarpit_s(facts(0.0)) == 0.0
    assert tarpit_s(facts(1024.0)) == 8.0
