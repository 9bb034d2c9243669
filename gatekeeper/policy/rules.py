"""Rules: one opinion each on one Event, from the Event and its Facts alone.

A Rule returns None where it has no opinion. The strongest of all opinions is the verdict. The
operator's own Rules have the same shape as these.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gatekeeper.events import (
    AuthAttempt,
    AuthOutcome,
    ClientListed,
    ConnectionClosed,
    ConnectionOpened,
    EarlyTalk,
    HelloAttempt,
    JudgedEvent,
    MailAttempt,
    RcptAttempt,
    RcptOutcome,
    ReverseDns,
    Violation,
)
from gatekeeper.policy import (
    connection_rules,
    domain_rules,
    envelope_rules,
    login_rules,
    recipient_rules,
)
from gatekeeper.policy.facts import Facts
from gatekeeper.policy.thresholds import ban_due
from gatekeeper.settings import Mode, Settings, Treatment
from gatekeeper.verdict import Action, Reason, Verdict

Rule = Callable[[JudgedEvent, Facts], Verdict | None]

BANNED: Final = Verdict(Action.CLOSE, Reason.BANNED)


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """A Rule, and what the guard must know to use it.

    `name` is what the operator calls it (`[rules]`); its verdicts may have other reasons, too.
    `events` are the kinds it has an opinion on; none are all. A rule on `strangers` has none on the
    right password from where its account is at home. A rule that `needs_learning` only watches
    until it is known who is at home where. One that is `observed` only watches where the operator
    says nothing of it: decent senders may be at fault, too.
    """

    name: Reason
    rule: Rule
    events: tuple[type, ...] = ()
    strangers: bool = False
    needs_learning: bool = False
    observed: bool = False


def banned(event: JudgedEvent, facts: Facts) -> Verdict | None:
    """Close on every Event of a banned entity, at once.

    This ends the connections that were open when the ban was made: parallel guesses under way get
    no further answer than a refusal, a right one included.
    """
    if facts.banned and not isinstance(event, ConnectionClosed):
        return BANNED
    return None


def violations(event: JudgedEvent, facts: Facts) -> Verdict | None:
    """Ban at the ban score for bytes that are not the protocol (weights in `policy.weights`).

    Never delays: the refusal itself ends most such sessions.
    """
    if isinstance(event, Violation) and ban_due(facts):
        return Verdict(Action.CLOSE, Reason.PROTOCOL_ABUSE, ban=True)
    return None


_ATTEMPT: Final = (AuthAttempt,)
_LOGIN: Final = (AuthAttempt, AuthOutcome)
_ENVELOPE: Final = (HelloAttempt, MailAttempt)
_RCPT: Final = (RcptAttempt, RcptOutcome)


def _on_strangers(name: Reason, rule: Rule, *, needs_learning: bool = False) -> BuiltIn:
    return BuiltIn(name, rule, _ATTEMPT, strangers=True, needs_learning=needs_learning)


BUILT_IN: Final[tuple[BuiltIn, ...]] = (
    BuiltIn(Reason.BANNED, banned),
    BuiltIn(Reason.PROTOCOL_ABUSE, violations, (Violation,)),
    BuiltIn(Reason.AUTH_FAILURES, login_rules.auth_failures, _LOGIN),
    BuiltIn(Reason.ACCOUNT_LOCKED, login_rules.account_locked, _LOGIN),
    BuiltIn(Reason.REPEATED_PASSWORD, login_rules.repeated_password, _ATTEMPT),
    BuiltIn(Reason.TRAP_ACCOUNT, login_rules.trap_account, _ATTEMPT),
    _on_strangers(Reason.FAMILIAR_GUESSING, login_rules.familiar_guessing),
    _on_strangers(Reason.SUSPECT_SOURCE, login_rules.suspect_source),
    _on_strangers(Reason.SUSPECT_NETWORK, login_rules.suspect_network),
    _on_strangers(Reason.AUTH_LISTED, login_rules.auth_listed),
    _on_strangers(Reason.SPRAYED_PASSWORD, login_rules.sprayed_password, needs_learning=True),
    _on_strangers(Reason.ACCOUNT_ATTACKED, login_rules.account_attacked, needs_learning=True),
    _on_strangers(Reason.ATTACK_LEVEL, login_rules.attack_level, needs_learning=True),
    BuiltIn(
        Reason.TOO_MANY_CONNECTIONS, connection_rules.too_many_connections, (ConnectionOpened,)
    ),
    BuiltIn(Reason.EARLY_TALKER, connection_rules.early_talker, (EarlyTalk,)),
    BuiltIn(Reason.DNS_LISTED, connection_rules.dns_listed, (ClientListed,)),
    BuiltIn(Reason.REVERSE_DNS, connection_rules.reverse_dns, (ReverseDns,), observed=True),
    BuiltIn(Reason.HELLO, envelope_rules.hello, _ENVELOPE, observed=True),
    BuiltIn(Reason.SENDER_DOMAIN, envelope_rules.sender_domain, (MailAttempt,), observed=True),
    BuiltIn(Reason.SPF_FAIL, envelope_rules.spf_fail, (MailAttempt,), observed=True),
    BuiltIn(Reason.UNKNOWN_RECIPIENTS, recipient_rules.unknown_recipients, _RCPT),
    BuiltIn(Reason.UNKNOWN_RECIPIENTS, recipient_rules.harvest_ban, _RCPT),
    BuiltIn(Reason.RECIPIENT_RATE, recipient_rules.recipient_rate, _RCPT),
    BuiltIn(Reason.ACCOUNT_HELD, recipient_rules.account_held, _RCPT),
    BuiltIn(Reason.CLIENT_BLACKLISTED, domain_rules.client_blacklisted, (RcptAttempt,)),
    BuiltIn(Reason.SENDER_BLACKLISTED, domain_rules.sender_blacklisted, (RcptAttempt,)),
    BuiltIn(Reason.UNKNOWN_USER, domain_rules.unknown_user, (RcptAttempt,)),
)
# What `[rules]` knows: these, and all hooks together.
RULE_NAMES: Final = (*dict.fromkeys(each.name for each in BUILT_IN), Reason.HOOK)
OBSERVED: Final = frozenset(each.name for each in BUILT_IN if each.observed)


def treatment(
    name: Reason, settings: Settings, observed: frozenset[Reason] = OBSERVED
) -> Treatment:
    """What is done about the Rules of this name: what the operator wrote, else to observe it where
    it is among those `observed` by themselves, else what `mode` says. Nothing is asked or waited
    for on behalf of one that is ignored."""
    written = settings.rules.get(name)
    if written is not None:
        return written
    if name in observed or settings.mode is Mode.OBSERVE:
        return Treatment.OBSERVE
    return Treatment.ENFORCE
