"""Rules for EHLO and MAIL on port 25. What they go by was found out before (`gatekeeper.envelope`);
where it could not be found out they have no opinion, so a dead resolver costs no mail.

All three only watch unless the operator has them carried out: hosts that call themselves anything,
and forwarders that keep the sender, send wanted mail, too.
"""

from gatekeeper.ban import Scope
from gatekeeper.events import HelloAttempt, JudgedEvent, MailAttempt
from gatekeeper.findings import SenderDomain, SpfResult
from gatekeeper.policy.facts import Facts
from gatekeeper.verdict import Action, Reason, Verdict


def hello(event: JudgedEvent, facts: Facts) -> Verdict | None:
    """Refuse a client that does not say who it is, or says that it is us (550), and mail from one
    that has not greeted at all (503, RFC 5321 4.1.4): else refusing its EHLO would gain nothing."""
    if isinstance(event, MailAttempt):
        faulty = facts.scope is Scope.MX and not event.hello
    else:
        faulty = isinstance(event, HelloAttempt) and event.fault is not None
    return Verdict(Action.REJECT, Reason.HELLO) if faulty else None


def sender_domain(event: JudgedEvent, facts: Facts) -> Verdict | None:
    """Refuse a sender to whom no answer could be sent: there is no such domain, or none that all
    servers read alike (550 5.1.8), or it takes no mail (550 5.7.27, RFC 7505 4.2). The null sender
    has no domain and passes."""
    del facts
    if not isinstance(event, MailAttempt):
        return None
    match event.domain:
        case SenderDomain.MISSING | SenderDomain.UNREADABLE:
            return Verdict(Action.REJECT, Reason.SENDER_DOMAIN)
        case SenderDomain.NULL_MX:
            return Verdict(Action.REJECT, Reason.SENDER_NULL_MX)
        case SenderDomain.FOUND | None:
            return None


def spf_fail(event: JudgedEvent, facts: Facts) -> Verdict | None:
    """Refuse mail that its sender's domain says is forged (550 5.7.23, RFC 7208 8.4).

    All other results pass: `softfail` says that the domain is not sure, an error says nothing. But
    a sender in whom servers might read different domains is taken for forged: else that would be
    the way to forge one.
    """
    del facts
    if not isinstance(event, MailAttempt):
        return None
    if event.spf is SpfResult.FAIL or event.domain is SenderDomain.UNREADABLE:
        return Verdict(Action.REJECT, Reason.SPF_FAIL)
    return None
