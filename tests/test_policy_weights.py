"""Weights: what counts against a client and what never does."""

import pytest

from gatekeeper.ban import Scope
from gatekeeper.events import (
    AuthAttempt,
    AuthOutcome,
    AuthResult,
    ConnectionClosed,
    ConnectionOpened,
    RcptAttempt,
    RcptOutcome,
    RcptResult,
    Violation,
    ViolationKind,
)
from gatekeeper.policy.weights import Severity, severity, weight
from gatekeeper.settings import PolicySettings

SETTINGS = PolicySettings(
    auth_failure_weight=1.5,
    unknown_recipient_weight=2.0,
    violation_weight=3.0,
    hostile_violation_weight=7.0,
)
ATTEMPT = AuthAttempt("PLAIN", "ann")
RCPT = RcptAttempt("someone@example.org")


def violation(kind: ViolationKind) -> Violation:
    return Violation(kind, b"")


def test_wrong_password_weighs_and_its_repetition_does_not() -> None:
    failure = AuthOutcome(ATTEMPT, AuthResult.FAILURE)
    assert weight(failure, Scope.AUTH, False, SETTINGS) == 1.5
    assert weight(failure, Scope.AUTH, True, SETTINGS) == 0.0


@pytest.mark.parametrize(
    "result", [AuthResult.SUCCESS, AuthResult.UNAVAILABLE, AuthResult.PROTOCOL]
)
def test_only_a_certain_failure_weighs(result: AuthResult) -> None:
    assert weight(AuthOutcome(ATTEMPT, result), Scope.AUTH, False, SETTINGS) == 0.0


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (RcptResult.UNKNOWN, 2.0),
        (RcptResult.RELAY_DENIED, 1.0),
        (RcptResult.ACCEPTED, 0.0),
        (RcptResult.DEFERRED, 0.0),
        (RcptResult.REFUSED, 0.0),
    ],
)
def test_recipients_weigh_on_port_25_only(result: RcptResult, expected: float) -> None:
    assert weight(RcptOutcome(RCPT, result), Scope.MX, False, SETTINGS) == expected
    assert weight(RcptOutcome(RCPT, result), Scope.AUTH, False, SETTINGS) == 0.0


@pytest.mark.parametrize(
    ("kind", "scope", "expected"),
    [
        (ViolationKind.STARTTLS_INJECTION, Scope.AUTH, 3.0),
        (ViolationKind.SMUGGLING, Scope.MX, 7.0),
        (ViolationKind.FOREIGN_PROTOCOL, Scope.MX, 3.0),
        (ViolationKind.AUTH_NOT_OFFERED, Scope.MX, 7.0),
        (ViolationKind.AUTH_NOT_OFFERED, Scope.AUTH, 0.3),
        (ViolationKind.BAD_SEQUENCE, Scope.MX, 3.0),
        (ViolationKind.TLS_GARBAGE, Scope.AUTH, 0.3),
        (ViolationKind.LINE_TOO_LONG, Scope.MX, 0.3),
        (ViolationKind.PROXY_HEADER, Scope.AUTH, 0.0),
        (ViolationKind.ALPN_MISMATCH, Scope.AUTH, 0.0),
    ],
)
def test_violations_weigh_by_severity(kind: ViolationKind, scope: Scope, expected: float) -> None:
    assert weight(violation(kind), scope, False, SETTINGS) == pytest.approx(expected)


@pytest.mark.parametrize("kind", ViolationKind)
def test_every_violation_has_a_severity(kind: ViolationKind) -> None:
    assert all(isinstance(severity(kind, scope), Severity) for scope in Scope)


@pytest.mark.parametrize("event", [ConnectionOpened(), ConnectionClosed("", 1.0), ATTEMPT, RCPT])
def test_what_is_not_decided_yet_weighs_nothing(
    event: ConnectionOpened | ConnectionClosed | AuthAttempt | RcptAttempt,
) -> None:
    assert weight(event, Scope.MX, False, SETTINGS) == 0.0
