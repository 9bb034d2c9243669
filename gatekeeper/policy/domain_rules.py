"""Rules for recipients by the files of their domains (`policy.domains`), on port 25 alone.

Each recipient is judged by its own domain, the sender and the client with it: what one domain does
not want another one may.
"""

from dataclasses import replace

from gatekeeper.events import JudgedEvent, RcptAttempt
from gatekeeper.policy.domains import DomainFacts
from gatekeeper.policy.facts import Facts
from gatekeeper.settings import Treatment
from gatekeeper.verdict import Action, Reason, Verdict


def unknown_user(event: JudgedEvent, facts: Facts) -> Verdict | None:
    """Refuse a recipient whom its domain's files do not know (550 5.1.1)."""
    domain = _of_attempt(event, facts)
    return (
        None if domain is None or not domain.unknown_user else _refusal(Reason.UNKNOWN_USER, facts)
    )


def sender_blacklisted(event: JudgedEvent, facts: Facts) -> Verdict | None:
    """Refuse a recipient whose domain takes nothing from this sender (550 5.7.1)."""
    domain = _of_attempt(event, facts)
    if domain is None or not domain.sender_blacklisted:
        return None
    return _refusal(Reason.SENDER_BLACKLISTED, facts)


def client_blacklisted(event: JudgedEvent, facts: Facts) -> Verdict | None:
    """Refuse a recipient whose domain takes nothing from this client (550 5.7.1)."""
    domain = _of_attempt(event, facts)
    if domain is None or not domain.client_blacklisted:
        return None
    return _refusal(Reason.CLIENT_BLACKLISTED, facts)


def as_its_domain_has_it(rule: Reason, opinion: Verdict | None, facts: Facts) -> Verdict | None:
    """The opinion of a Rule as the recipient's domain wants it: none, or only told. A domain cannot
    have carried out what the configuration only observes."""
    if opinion is None or facts.recipient is None:
        return opinion
    match facts.recipient.domain.checks.get(rule):
        case Treatment.IGNORE:
            return None
        case Treatment.OBSERVE:
            return replace(opinion, watched=True)
        case Treatment.ENFORCE | None:
            return opinion


def _of_attempt(event: JudgedEvent, facts: Facts) -> DomainFacts | None:
    if not isinstance(event, RcptAttempt) or facts.recipient is None:
        return None
    return facts.recipient.domain


def _refusal(reason: Reason, facts: Facts) -> Verdict | None:
    return as_its_domain_has_it(reason, Verdict(Action.REJECT, reason), facts)
