"""Rules by the files of a recipient's domain."""

from typing import Any

import pytest
from facts import POLICY, facts, of_recipient

from gatekeeper.events import RcptAttempt, RcptOutcome, RcptResult
from gatekeeper.policy import domain_rules, recipient_rules
from gatekeeper.policy.domains import CHECKS, DomainFacts
from gatekeeper.policy.facts import Facts
from gatekeeper.policy.rules import BUILT_IN, Rule
from gatekeeper.settings import Treatment
from gatekeeper.verdict import Action, Reason, Verdict

RCPT = RcptAttempt("ann@example.org", reverse_path="bob@elsewhere.example")
UNKNOWN = RcptOutcome(RCPT, RcptResult.UNKNOWN)
RULES = [
    (domain_rules.unknown_user, "unknown_user", Reason.UNKNOWN_USER),
    (domain_rules.sender_blacklisted, "sender_blacklisted", Reason.SENDER_BLACKLISTED),
    (domain_rules.client_blacklisted, "client_blacklisted", Reason.CLIENT_BLACKLISTED),
]


def of_domain(*says: str, treatment: Treatment | None = None) -> Facts:
    checks = {} if treatment is None else dict.fromkeys(CHECKS, treatment)
    flags: dict[str, Any] = dict.fromkeys(says, True)
    return of_recipient(domain=DomainFacts(checks=checks, **flags))


@pytest.mark.parametrize(("rule", "fact", "reason"), RULES)
def test_what_is_listed_is_refused(rule: Rule, fact: str, reason: Reason) -> None:
    assert rule(RCPT, of_domain(fact)) == Verdict(Action.REJECT, reason)
    others = {other for _, other, _ in RULES} - {fact}
    assert rule(RCPT, of_domain(*others)) is None
    assert rule(UNKNOWN, of_domain(fact)) is None
    assert rule(RCPT, facts()) is None


@pytest.mark.parametrize(("rule", "fact", "reason"), RULES)
def test_a_domain_may_be_milder(rule: Rule, fact: str, reason: Reason) -> None:
    refusal = Verdict(Action.REJECT, reason)
    assert rule(RCPT, of_domain(fact, treatment=Treatment.ENFORCE)) == refusal
    assert rule(RCPT, of_domain(fact, treatment=Treatment.IGNORE)) is None
    watched = rule(RCPT, of_domain(fact, treatment=Treatment.OBSERVE))
    assert watched == Verdict(Action.REJECT, reason, watched=True)


def test_white_does_not_undo_black() -> None:
    seen = of_domain("sender_blacklisted", "whitelisted")
    assert domain_rules.sender_blacklisted(RCPT, seen) is not None


def test_every_check_is_a_rule() -> None:
    assert {rule.name for rule in BUILT_IN} >= set(CHECKS)


# -- harvesters -----------------------------------------------------------------------------------


def harvester(unknown: int, domain: DomainFacts) -> Facts:
    return of_recipient(unknown=unknown, mostly_unknown=True, domain=domain)


@pytest.mark.parametrize("event", [RCPT, UNKNOWN])
def test_a_white_list_spares_delay_and_putting_off(event: RcptAttempt | RcptOutcome) -> None:
    rule = recipient_rules.unknown_recipients
    assert rule(event, harvester(POLICY.harvest_defer, DomainFacts())) is not None
    assert rule(event, harvester(POLICY.harvest_defer, DomainFacts(whitelisted=True))) is None


def test_a_ban_is_spared_by_the_clients_own_listing_alone() -> None:
    rule, many = recipient_rules.harvest_ban, POLICY.harvest_ban
    assert rule(RCPT, harvester(many, DomainFacts(whitelisted=True))) is not None
    listed = DomainFacts(client_whitelisted=True, whitelisted=True)
    assert rule(RCPT, harvester(many, listed)) is None


@pytest.mark.parametrize("rule", [recipient_rules.unknown_recipients, recipient_rules.harvest_ban])
def test_a_domain_switches_harvesting(rule: Rule) -> None:
    many = POLICY.harvest_ban
    off = DomainFacts(checks={Reason.UNKNOWN_RECIPIENTS: Treatment.IGNORE})
    assert rule(RCPT, harvester(many, off)) is None
    watched = rule(
        RCPT, harvester(many, DomainFacts(checks={Reason.UNKNOWN_RECIPIENTS: Treatment.OBSERVE}))
    )
    assert watched is not None
    assert watched.watched
