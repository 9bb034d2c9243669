"""The table of Rules, and the two that concern every client."""

import pytest
from facts import ATTEMPT, FAILURE, POLICY, SUCCESS, facts, login, of_login, of_recipient

from gatekeeper.ban import Scope
from gatekeeper.events import (
    AuthAttempt,
    AuthOutcome,
    ClientListed,
    ConnectionClosed,
    ConnectionOpened,
    EarlyTalk,
    HelloAttempt,
    JudgedEvent,
    Listing,
    MailAttempt,
    RcptAttempt,
    RcptOutcome,
    RcptResult,
    ReverseDns,
    ReverseState,
    Violation,
    ViolationKind,
)
from gatekeeper.findings import HelloFault, SenderDomain, SpfResult
from gatekeeper.policy.accounts import Knowledge, Standing
from gatekeeper.policy.domains import DomainFacts
from gatekeeper.policy.facts import Facts
from gatekeeper.policy.rules import BUILT_IN, BuiltIn, banned, violations
from gatekeeper.verdict import Action, Reason, Verdict

RCPT = RcptAttempt("someone@example.org")
SMUGGLING = Violation(ViolationKind.SMUGGLING, b"", fatal=True)
EVENTS: tuple[JudgedEvent, ...] = (
    ConnectionOpened(),
    ConnectionClosed("", 1.0),
    ATTEMPT,
    FAILURE,
    SUCCESS,
    RCPT,
    RcptOutcome(RCPT, RcptResult.UNKNOWN),
    RcptOutcome(RCPT, RcptResult.ACCEPTED),
    SMUGGLING,
    HelloAttempt("mail.example.net", extended=True),
    MailAttempt("a@b.example", "mail.example.net", "", SenderDomain.FOUND, SpfResult.PASS),
)
# Damning by themselves:
LISTING = (Listing("bl.example", ("127.0.0.2",), 1.0),)
LISTED: tuple[JudgedEvent, ...] = (
    ConnectionOpened(10**6, 10**6),
    EarlyTalk(0.1, 10),
    ReverseDns(ReverseState.MISSING),
    ClientListed(LISTING),
    HelloAttempt("localhost", extended=True, fault=HelloFault.NO_DOT),
    MailAttempt("a@b.example", "mail.example.net", "", SenderDomain.MISSING, SpfResult.FAIL),
    AuthAttempt("PLAIN", "ann", listings=LISTING),
)
DAMNING: tuple[Facts, ...] = (
    facts(score_before=0.0, score=1e3),
    of_login(trap=True),
    of_login(locked=True),
    of_login(refused_ago_s=0.0),
    of_login(sprayed=True, attacked=True, lane_locked=True, level_high=True, network_suspect=True),
    of_recipient(unknown=10**6, mostly_unknown=True, none_accepted=True),
    of_recipient(held=True, over_rate=True),
    of_recipient(domain=DomainFacts(True, True, True)),
)


@pytest.mark.parametrize("event", [event for event in EVENTS if event != EVENTS[1]])
def test_banned_entity_is_closed_on_at_once(event: JudgedEvent) -> None:
    assert banned(event, facts(banned=True)) == Verdict(Action.CLOSE, Reason.BANNED)
    assert banned(event, facts(score=1e3)) is None


def test_closing_is_not_judged_again() -> None:
    assert banned(ConnectionClosed("", 1.0), facts(banned=True)) is None


def test_violations_ban_at_the_ban_score_and_never_delay() -> None:
    below = facts(score_before=0.0, score=POLICY.auth_ban_score / 2)
    assert violations(SMUGGLING, below) is None
    at_it = facts(score_before=0.0, score=POLICY.auth_ban_score)
    expected = Verdict(Action.CLOSE, Reason.PROTOCOL_ABUSE, ban=True)
    assert violations(SMUGGLING, at_it) == expected


def test_scopes_have_ban_scores_of_their_own() -> None:
    on_25 = facts(scope=Scope.MX, score=POLICY.auth_ban_score, ban_score=POLICY.mx_ban_score)
    assert violations(SMUGGLING, on_25) is None


def test_violation_without_weight_never_bans() -> None:
    assert violations(SMUGGLING, facts(score_before=1e3, score=1e3)) is None


@pytest.mark.parametrize("event", EVENTS)
def test_client_of_whom_nothing_is_known_passes(event: JudgedEvent) -> None:
    for seen in (facts(), of_login(), of_recipient()):
        assert [rule.rule(event, seen) for rule in BUILT_IN] == [None] * len(BUILT_IN)


def about(event: JudgedEvent, seen: Facts) -> bool:
    """Whether an Event ever comes with such Facts."""
    if seen.login is not None:
        return isinstance(event, AuthAttempt | AuthOutcome)
    return seen.recipient is None or isinstance(event, RcptAttempt | RcptOutcome)


@pytest.mark.parametrize("rule", BUILT_IN, ids=lambda rule: rule.rule.__name__)
def test_rule_speaks_only_on_the_events_it_is_asked_about(rule: BuiltIn) -> None:
    """The guard spares itself the others."""
    for event in (*EVENTS, *LISTED):
        if rule.events and not isinstance(event, rule.events):
            opinions = [rule.rule(event, seen) for seen in DAMNING if about(event, seen)]
            assert not any(opinions)


def test_every_rule_has_something_to_say() -> None:
    suspect = facts(score_before=9.0, score=9.0, login=of_login().login)
    home = of_login(guessing_at_home=True, standing=Standing.FAMILIAR, knowledge=Knowledge.WRONG)
    banned_one = facts(banned=True)
    seen = (*DAMNING, suspect, home, banned_one)
    for built_in in BUILT_IN:
        opinions = [built_in.rule(event, each) for event in (*EVENTS, *LISTED) for each in seen]
        assert any(opinions), built_in.rule.__name__


def test_rules_that_need_learning_are_about_strangers() -> None:
    assert all(rule.strangers for rule in BUILT_IN if rule.needs_learning)


def test_rules_on_strangers_have_no_opinion_on_who_is_at_home() -> None:
    """The guard does not ask them."""
    everything = dict.fromkeys(
        ("sprayed", "attacked", "lane_locked", "level_high", "network_suspect", "guessing_at_home"),
        True,
    )
    at_home = login(**everything, standing=Standing.FAMILIAR, knowledge=Knowledge.RIGHT)
    seen = facts(score_before=1e3, score=1e3, login=at_home)
    for attempt in (ATTEMPT, LISTED[-1]):
        assert not any(rule.rule(attempt, seen) for rule in BUILT_IN if rule.strangers)
