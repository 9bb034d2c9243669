"""Weights: what counts against a client, and what never does."""

import pytest
from facts import login
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.ban import Scope
from gatekeeper.events import ViolationKind
from gatekeeper.policy.accounts import Standing
from gatekeeper.policy.facts import LoginFacts
from gatekeeper.policy.weights import (
    ACCIDENT_SHARE,
    FAMILIAR_SHARE,
    MOST_TIMES,
    NO_ACCOUNT_TIMES,
    TRAP_WEIGHT,
    Severity,
    guess_weight,
    severity,
    violation_weight,
)
from gatekeeper.settings import PolicySettings

SETTINGS = PolicySettings(
    auth_failure_weight=1.5, violation_weight=3.0, hostile_violation_weight=7.0
)


def weight(
    facts: LoginFacts,
    *,
    learned: bool = False,
    accounts_failed: float = 1.0,
    trapped: bool = False,
) -> float:
    return guess_weight(
        facts,
        newcomers_learned=learned,
        accounts_failed=accounts_failed,
        settings=SETTINGS,
        trapped=trapped,
    )


# -- guesses ---------------------------------------------------------------------------------------


def test_strangers_wrong_password_weighs_as_set() -> None:
    assert weight(login()) == 1.5
    assert weight(login(standing=Standing.SEMI)) == 1.5


def test_mistype_at_home_weighs_little_whatever_else_goes_on_there() -> None:
    at_home = login(standing=Standing.FAMILIAR, sprayed=True)
    assert weight(at_home, learned=True, accounts_failed=60) == 1.5 * FAMILIAR_SHARE


def test_unknown_account_weighs_more_once_the_known_ones_are_learnt() -> None:
    unknown = login(account_known=False)
    assert weight(unknown, learned=False) == 1.5
    assert weight(unknown, learned=True) == 1.5 * NO_ACCOUNT_TIMES
    assert weight(login(account_known=True), learned=True) == 1.5


def test_list_of_accounts_weighs_more_than_one_persons_up_to_a_bound() -> None:
    weights = [weight(login(), accounts_failed=failed / 2) for failed in range(40)]
    assert weights == sorted(weights)
    assert weights[0] == weights[2] == 1.5, "one account is one person's"
    assert weights[-1] == 1.5 * MOST_TIMES


def test_sprayed_password_weighs_more_and_a_trap_account_most() -> None:
    assert weight(login()) < weight(login(sprayed=True)) <= 1.5 * MOST_TIMES
    assert weight(login(trap=True), trapped=True) == 1.5 + TRAP_WEIGHT
    assert weight(login(trap=True)) == 1.5, "the Rule only watches"


@given(st.booleans(), st.booleans(), st.booleans(), st.floats(0.0, 1e9))
def test_no_guess_but_at_a_trap_bans_by_itself(
    known: bool, learned: bool, sprayed: bool, accounts_failed: float
) -> None:
    facts = login(account_known=known, sprayed=sprayed)
    heaviest = guess_weight(
        facts,
        newcomers_learned=learned,
        accounts_failed=accounts_failed,
        settings=PolicySettings(),
    )
    assert heaviest <= PolicySettings().auth_ban_score / 2


def test_trap_account_alone_bans_by_default() -> None:
    assert TRAP_WEIGHT + PolicySettings().auth_failure_weight >= PolicySettings().auth_ban_score


@given(
    st.sampled_from(Standing),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.floats(0.0, 1e9),
)
def test_guess_never_takes_anything_off(
    standing: Standing, known: bool, learned: bool, sprayed: bool, accounts_failed: float
) -> None:
    facts = login(standing=standing, account_known=known, sprayed=sprayed)
    assert weight(facts, learned=learned, accounts_failed=accounts_failed) > 0.0


# -- violations ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "scope", "expected"),
    [
        (ViolationKind.STARTTLS_INJECTION, Scope.AUTH, 3.0),
        (ViolationKind.SMUGGLING, Scope.MX, 7.0),
        (ViolationKind.FOREIGN_PROTOCOL, Scope.MX, 3.0),
        (ViolationKind.AUTH_NOT_OFFERED, Scope.MX, 7.0),
        (ViolationKind.AUTH_NOT_OFFERED, Scope.AUTH, 3.0 * ACCIDENT_SHARE),
        (ViolationKind.BAD_SEQUENCE, Scope.MX, 3.0),
        (ViolationKind.TLS_GARBAGE, Scope.AUTH, 3.0 * ACCIDENT_SHARE),
        (ViolationKind.LINE_TOO_LONG, Scope.MX, 3.0 * ACCIDENT_SHARE),
        (ViolationKind.PROXY_HEADER, Scope.AUTH, 0.0),
        (ViolationKind.ALPN_MISMATCH, Scope.AUTH, 0.0),
    ],
)
def test_violations_weigh_by_severity(kind: ViolationKind, scope: Scope, expected: float) -> None:
    assert violation_weight(kind, scope, SETTINGS) == pytest.approx(expected)


@pytest.mark.parametrize("kind", ViolationKind)
def test_every_violation_has_a_severity(kind: ViolationKind) -> None:
    assert all(isinstance(severity(kind, scope), Severity) for scope in Scope)
