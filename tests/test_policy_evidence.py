"""Evidence: what each Event makes of the Facts."""

from dataclasses import replace

import pytest

from gatekeeper.ban import Scope
from gatekeeper.events import (
    AuthAttempt,
    AuthOutcome,
    AuthResult,
    RcptAttempt,
    RcptOutcome,
    RcptResult,
    Violation,
    ViolationKind,
)
from gatekeeper.policy.accounts import Knowledge
from gatekeeper.policy.evidence import Evidence, Seen
from gatekeeper.policy.keys import Place, place
from gatekeeper.policy.levels import FAMILIARITY, Learning
from gatekeeper.policy.recipients import NEW_NET_RECIPIENTS, NEW_NET_S
from gatekeeper.prefix import entity
from gatekeeper.remembered import AccountLock, LockKind
from gatekeeper.secret import Secret
from gatekeeper.settings import PolicySettings

NOW = 1_700_000_000.0
POLICY = PolicySettings()
HOME = place(entity("203.0.113.9"))
ELSEWHERE = place(entity("198.51.100.7"))
SMUGGLING = Violation(ViolationKind.SMUGGLING, b"", fatal=True)


@pytest.fixture
def evidence() -> Evidence:
    return Evidence(POLICY, account_secret=b"a", password_secret=b"password")


def attempt(password: str, account: str = "ann") -> AuthAttempt:
    return AuthAttempt("PLAIN", account, secret=Secret(password.encode()))


def outcome(
    evidence: Evidence,
    password: str,
    result: AuthResult = AuthResult.FAILURE,
    where: Place = HOME,
    account: str = "ann",
) -> Seen:
    event = attempt(password, account)
    evidence.attempt(event, where, NOW)
    return evidence.outcome(AuthOutcome(event, result), where, NOW)


def rcpt(
    evidence: Evidence,
    name: str,
    result: RcptResult = RcptResult.ACCEPTED,
    *,
    scope: Scope = Scope.MX,
    authcid: str = "",
    now: float = NOW,
) -> Seen:
    event = RcptAttempt(f"{name}@example.org", authcid)
    evidence.recipient(event, scope, HOME, now)
    return evidence.recipient_outcome(RcptOutcome(event, result), scope, HOME, now)


# -- logins --------------------------------------------------------------------------------------


def test_attempt_counts_nothing_yet(evidence: Evidence) -> None:
    for number in range(5):
        seen = evidence.attempt(attempt(f"guess {number}"), HOME, NOW)
        assert not seen.facts.counted
        assert seen.facts.score == 0.0
        assert seen.facts.login is not None


def test_failure_is_counted_between_the_two_scores(evidence: Evidence) -> None:
    first, second = outcome(evidence, "one"), outcome(evidence, "two")
    assert (first.facts.score_before, first.facts.score) == (0.0, POLICY.auth_failure_weight)
    assert second.facts.score_before == pytest.approx(first.facts.score)
    assert second.facts.counted


@pytest.mark.parametrize("result", [AuthResult.UNAVAILABLE, AuthResult.PROTOCOL])
def test_what_is_nobodys_guess_counts_nothing(evidence: Evidence, result: AuthResult) -> None:
    for number in range(50):
        assert not outcome(evidence, f"password {number}", result).facts.counted
    assert outcome(evidence, "password 1").facts.counted, "and is no repetition later"


def test_facts_of_an_outcome_are_those_before_it(evidence: Evidence) -> None:
    seen = outcome(evidence, "right", AuthResult.SUCCESS)
    assert seen.facts.login is not None
    assert not seen.facts.login.account_known
    again = outcome(evidence, "right", AuthResult.SUCCESS)
    assert again.facts.login is not None
    assert again.facts.login.at_home


def test_parallel_connections_with_one_wrong_password_count_once(evidence: Evidence) -> None:
    """A phone with a dead password opens several at a time."""
    events = [attempt("last year's") for _ in range(4)]
    for event in events:
        evidence.attempt(event, HOME, NOW)
    seen = [evidence.outcome(AuthOutcome(event, AuthResult.FAILURE), HOME, NOW) for event in events]
    assert [each.facts.counted for each in seen] == [True, False, False, False]


def test_outcome_of_an_attempt_is_told_from_the_one_before(evidence: Evidence) -> None:
    """Two sessions think at once: each outcome goes to its own account and place."""
    ann, bob = attempt("a", "ann"), attempt("b", "bob")
    evidence.attempt(ann, HOME, NOW)
    evidence.attempt(bob, ELSEWHERE, NOW)
    evidence.outcome(AuthOutcome(ann, AuthResult.SUCCESS), HOME, NOW)
    evidence.outcome(AuthOutcome(bob, AuthResult.FAILURE), ELSEWHERE, NOW)
    accounts = evidence.logins.accounts
    assert accounts.get(evidence.logins.account_key("ann")) is not None
    assert accounts.get(evidence.logins.account_key("bob")) is None
    assert evidence.logins.neighbourhood.scores.sources.value(HOME.source, NOW) == 0.0
    assert evidence.logins.neighbourhood.scores.sources.value(ELSEWHERE.source, NOW) > 0.0


def test_refusal_without_the_backend_is_counted_in_the_facts(evidence: Evidence) -> None:
    outcome(evidence, "right", AuthResult.SUCCESS)
    seen = evidence.attempt(attempt("wrong"), ELSEWHERE, NOW)
    facts = evidence.refused(seen, ELSEWHERE, NOW)
    assert (facts.score_before, facts.score) == (0.0, POLICY.auth_failure_weight)


def test_ban_is_paid_for_by_half(evidence: Evidence) -> None:
    for number in range(9):
        outcome(evidence, f"guess {number}")
    evidence.start_anew(Scope.AUTH, HOME.source, 10.0, NOW)
    assert evidence.logins.neighbourhood.scores.sources.value(HOME.source, NOW) == pytest.approx(
        5.0
    )


def test_unbanned_address_starts_anew_in_its_scope(evidence: Evidence) -> None:
    outcome(evidence, "guess")
    evidence.violation(SMUGGLING, Scope.MX, HOME, NOW)
    evidence.forget(Scope.AUTH, HOME.source)
    assert evidence.anything(Scope.AUTH, HOME, NOW).facts.score == 0.0
    assert evidence.anything(Scope.MX, HOME, NOW).facts.score > 0.0


def test_login_of_an_account_locked_meanwhile_teaches_nothing(evidence: Evidence) -> None:
    """The backend took its time, and the operator was faster."""
    outcome(evidence, "right", AuthResult.SUCCESS)
    logins = evidence.logins
    key = logins.account_key("ann")
    account = logins.accounts.get(key)
    assert account is not None
    event = attempt("another")
    evidence.attempt(event, ELSEWHERE, NOW)
    logins.lock(AccountLock(key, LockKind.OPERATOR, NOW, None))
    seen = evidence.outcome(AuthOutcome(event, AuthResult.SUCCESS), ELSEWHERE, NOW)
    assert seen.facts.login is not None
    assert seen.facts.login.locked
    assert list(account.nets) == [HOME.net]
    assert not logins.neighbourhood.spared(ELSEWHERE, NOW)
    assert logins.facts(logins.credential(event), HOME, NOW).knowledge is Knowledge.WRONG


def test_new_settings_hold_for_logins_and_recipients(evidence: Evidence) -> None:
    evidence.reconfigure(replace(POLICY, auth_ban_score=50.0, recipients_burst=1))
    assert outcome(evidence, "guess").facts.ban_score == 50.0
    outcome(evidence, "right", AuthResult.SUCCESS)
    rcpt(evidence, "one", scope=Scope.AUTH, authcid="ann")
    seen = evidence.recipient(RcptAttempt("x@example.org", "ann"), Scope.AUTH, HOME, NOW)
    assert seen.facts.recipient is not None
    assert seen.facts.recipient.over_rate


# -- violations ----------------------------------------------------------------------------------


def test_violations_count_in_their_scope(evidence: Evidence) -> None:
    seen = evidence.violation(SMUGGLING, Scope.MX, HOME, NOW)
    assert seen.facts.score == POLICY.hostile_violation_weight
    assert seen.facts.ban_score == POLICY.mx_ban_score
    assert evidence.anything(Scope.AUTH, HOME, NOW).facts.score == 0.0


def test_violation_without_weight_is_not_counted(evidence: Evidence) -> None:
    event = Violation(ViolationKind.PROXY_HEADER, b"")
    assert not evidence.violation(event, Scope.AUTH, HOME, NOW).facts.counted


def test_violations_are_held_against_an_address_people_log_in_from(evidence: Evidence) -> None:
    """Only guesses are forgiven there."""
    outcome(evidence, "right", AuthResult.SUCCESS)
    assert outcome(evidence, "mistyped").facts.spared
    assert not evidence.violation(SMUGGLING, Scope.AUTH, HOME, NOW).facts.spared


# -- recipients ----------------------------------------------------------------------------------


def test_unknown_recipients_are_counted_on_port_25_only(evidence: Evidence) -> None:
    for number in range(10):
        on_25 = rcpt(evidence, f"name{number}", RcptResult.UNKNOWN)
        user = rcpt(evidence, f"name{number}", RcptResult.UNKNOWN, scope=Scope.AUTH)
    assert on_25.facts.recipient is not None
    assert user.facts.recipient is not None
    assert on_25.facts.recipient.unknown == pytest.approx(10, abs=1)
    assert user.facts.recipient.unknown == 0


@pytest.mark.parametrize("result", [RcptResult.DEFERRED, RcptResult.REFUSED])
def test_recipient_that_is_nobodys_guess_is_not_unknown(
    evidence: Evidence, result: RcptResult
) -> None:
    seen = rcpt(evidence, "name", result)
    assert seen.facts.recipient is not None
    assert seen.facts.recipient.unknown == 0


def test_relay_denied_weighs_less_in_the_share(evidence: Evidence) -> None:
    for number in range(4):
        rcpt(evidence, f"name{number}", RcptResult.RELAY_DENIED)
    for number in range(2):
        seen = rcpt(evidence, f"other{number}")
    assert seen.facts.recipient is not None
    assert not seen.facts.recipient.mostly_unknown


def test_address_over_its_day_is_told(evidence: Evidence) -> None:
    for number in range(POLICY.recipients_per_address_day):
        seen = rcpt(evidence, f"name{number}")
    assert seen.facts.recipient is not None
    assert seen.facts.recipient.over_rate


def test_account_over_its_burst_is_told_wherever_it_sends_from(evidence: Evidence) -> None:
    outcome(evidence, "right", AuthResult.SUCCESS)
    for number in range(POLICY.recipients_burst):
        rcpt(evidence, f"name{number}", scope=Scope.AUTH, authcid="Ann")
    event = RcptAttempt("one@example.org", "ann")
    seen = evidence.recipient(event, Scope.AUTH, ELSEWHERE, NOW)
    assert seen.facts.recipient is not None
    assert seen.facts.recipient.over_rate


def test_account_that_sends_much_from_a_new_network_is_held(evidence: Evidence) -> None:
    evidence.logins.familiarity = Learning(FAMILIARITY, share=0.0)
    outcome(evidence, "right", AuthResult.SUCCESS, ELSEWHERE)
    outcome(evidence, "right", AuthResult.SUCCESS, HOME)
    locks = [
        rcpt(evidence, f"name{number}", scope=Scope.AUTH, authcid="ann").lock
        for number in range(NEW_NET_RECIPIENTS + 5)
    ]
    assert [lock.kind for lock in locks if lock] == [LockKind.HELD]
    assert locks.index(next(filter(None, locks))) == NEW_NET_RECIPIENTS
    seen = evidence.recipient(RcptAttempt("x@example.org", "ann"), Scope.AUTH, HOME, NOW)
    assert seen.facts.recipient is not None
    assert seen.facts.recipient.held


def test_account_that_sends_much_a_while_after_it_came_is_not_held(evidence: Evidence) -> None:
    evidence.logins.familiarity = Learning(FAMILIARITY, share=0.0)
    outcome(evidence, "right", AuthResult.SUCCESS, ELSEWHERE)
    outcome(evidence, "right", AuthResult.SUCCESS, HOME)
    later = NOW + NEW_NET_S + 1
    for number in range(2 * NEW_NET_RECIPIENTS):
        seen = rcpt(evidence, f"name{number}", scope=Scope.AUTH, authcid="ann", now=later)
        assert seen.lock is None


def test_recipient_put_off_unheard_still_counts_as_one_asked_for(evidence: Evidence) -> None:
    rcpt(evidence, "name", RcptResult.UNKNOWN)
    for number in range(20):
        event = RcptAttempt(f"other{number}@example.org")
        evidence.recipient_refused(event, Scope.MX, HOME, NOW)
    assert evidence.harvest.known(HOME.source, NOW).unknown > 15


def test_new_numbers_hold_from_the_next_event_on(evidence: Evidence) -> None:
    evidence.reconfigure(PolicySettings(auth_failure_weight=3.0, auth_ban_score=99.0))
    facts = outcome(evidence, "guess").facts
    assert facts.score == pytest.approx(3.0)
    assert facts.ban_score == 99.0


def test_a_look_tells_what_is_known_and_uses_nothing_up(evidence: Evidence) -> None:
    outcome(evidence, "wrong")
    event = attempt("wrong")
    looked = [evidence.look(event, Scope.AUTH, HOME, NOW) for _ in range(3)]
    assert looked == [evidence.attempt(event, HOME, NOW).facts] * 3
    assert looked[0].login is not None
    assert looked[0].login.refused_ago_s == 0
    failure = AuthOutcome(event, AuthResult.FAILURE)
    assert evidence.look(failure, Scope.AUTH, HOME, NOW).score == looked[0].score
    assert evidence.look(SMUGGLING, Scope.MX, HOME, NOW).score == 0


def test_a_look_takes_no_harvesters_probe(evidence: Evidence) -> None:
    for number in range(POLICY.harvest_defer):
        rcpt(evidence, f"{number}", RcptResult.UNKNOWN)
    later = NOW + 3600
    event = RcptAttempt("next@example.org")
    for _ in range(3):
        recipient = evidence.look(event, Scope.MX, HOME, later).recipient
        assert recipient is not None
        assert not recipient.probe
        assert recipient.mostly_unknown
    seen = evidence.recipient(event, Scope.MX, HOME, later).facts.recipient
    assert seen is not None
    assert seen.probe
