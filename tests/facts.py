"""Facts for tests of Rules: nothing speaks against anybody but what a test says."""

from typing import Any, Final

from gatekeeper.ban import Scope
from gatekeeper.events import AuthAttempt, AuthOutcome, AuthResult
from gatekeeper.policy.accounts import Knowledge, Standing
from gatekeeper.policy.facts import Facts, LoginFacts, RecipientFacts
from gatekeeper.settings import PolicySettings

POLICY: Final = PolicySettings()
ATTEMPT: Final = AuthAttempt("PLAIN", "ann")
FAILURE: Final = AuthOutcome(ATTEMPT, AuthResult.FAILURE)
SUCCESS: Final = AuthOutcome(ATTEMPT, AuthResult.SUCCESS)
SOON_S: Final = POLICY.retry_after_s / 2
LATER_S: Final = POLICY.retry_after_s

_STRANGER: Final = LoginFacts(
    standing=Standing.STRANGER,
    knowledge=Knowledge.UNKNOWN,
    account_known=True,
    learned=True,
    trap=False,
    locked=False,
    refused_ago_s=None,
    replaced=False,
    repeated=False,
    asked_ago_s=None,
    sprayed=False,
    attacked=False,
    lane_locked=False,
    level_high=False,
    network_suspect=False,
    guessing_at_home=False,
    proof_left=True,
    patience_left=True,
)
_SENDER: Final = RecipientFacts(
    held=False,
    over_rate=False,
    unknown=0,
    mostly_unknown=False,
    none_accepted=False,
    probe=False,
)
_FACTS: Final = Facts(
    scope=Scope.AUTH,
    banned=False,
    score_before=0.0,
    score=0.0,
    ban_score=POLICY.auth_ban_score,
    spared=False,
    settings=POLICY,
)


def login(**changes: Any) -> LoginFacts:  # noqa: ANN401  fields of any type
    """A stranger's attempt at a known account with a password of which nothing is known."""
    return _STRANGER._replace(**changes)


def recipient(**changes: Any) -> RecipientFacts:  # noqa: ANN401  fields of any type
    """A recipient of a sender of good standing."""
    return _SENDER._replace(**changes)


def facts(**changes: Any) -> Facts:  # noqa: ANN401  fields of any type
    """Facts of an address without a score."""
    return _FACTS._replace(**changes)


def of_login(**changes: Any) -> Facts:  # noqa: ANN401  fields of any type
    """Facts of `login(**changes)` at an address without a score."""
    return facts(login=login(**changes))


def of_recipient(scope: Scope = Scope.MX, **changes: Any) -> Facts:  # noqa: ANN401  fields of any type
    """Facts of `recipient(**changes)`."""
    return facts(scope=scope, recipient=recipient(**changes))
