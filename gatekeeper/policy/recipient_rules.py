"""Rules for recipients: harvesters of addresses, senders beyond measure, stolen accounts.

A server that sends to many may hold a stale list; what tells a harvester is that most of those it
asks for do not exist, and that they are many. It is slowed, then put off (450, which a real server
repeats), and only then banned from port 25. Log-in ports know their sender by his account.
"""

from typing import Final

from gatekeeper.ban import Scope
from gatekeeper.events import JudgedEvent, RcptAttempt, RcptOutcome, RcptResult
from gatekeeper.policy.domain_rules import as_its_domain_has_it
from gatekeeper.policy.facts import Facts
from gatekeeper.verdict import Action, Reason, Verdict

FREE_UNKNOWN: Final = 5  # unknown recipients a day that are not answered late
HOPELESS: Final = 20  # unknown ones, and not one that exists: the session is over
_BAD: Final = frozenset({RcptResult.UNKNOWN, RcptResult.RELAY_DENIED})


def unknown_recipients(event: JudgedEvent, facts: Facts) -> Verdict | None:
    """Delay, put off and at last ban an address that asks for recipients who do not exist.

    Nothing is held against a logged-in user who mistypes. A white list of the recipient's domain
    spares both; to forge a listed sender gains only that, for `harvest_ban` goes by the client.
    """
    recipient = facts.recipient
    if recipient is None or facts.scope is not Scope.MX or facts.banned:
        return None
    if recipient.domain.whitelisted:
        return None
    return as_its_domain_has_it(Reason.UNKNOWN_RECIPIENTS, _unknown(event, facts), facts)


def _unknown(event: JudgedEvent, facts: Facts) -> Verdict | None:
    recipient = facts.recipient
    assert recipient is not None, "the Rule has looked"
    if isinstance(event, RcptAttempt):
        suspect = recipient.mostly_unknown and recipient.unknown >= facts.settings.harvest_defer
        if not suspect or recipient.probe:
            return None
        return Verdict(Action.DEFER, Reason.UNKNOWN_RECIPIENTS)
    if not isinstance(event, RcptOutcome) or event.result not in _BAD:
        return None
    return _on_unknown(facts, recipient.unknown, hopeless=recipient.none_accepted)


def harvest_ban(event: JudgedEvent, facts: Facts) -> Verdict | None:
    """Ban from port 25 at `harvest_ban` different recipients, most of them unknown.

    Those it was put off with count as well; an honest server repeats the same ones.
    """
    recipient = facts.recipient
    if recipient is None or facts.scope is not Scope.MX or facts.banned:
        return None
    if recipient.domain.client_whitelisted:
        return None
    if recipient.mostly_unknown and recipient.unknown >= facts.settings.harvest_ban:
        first_s = facts.settings.harvest_ban_first_s
        ban = Verdict(Action.CLOSE, Reason.UNKNOWN_RECIPIENTS, ban=True, ban_first_s=first_s)
        return as_its_domain_has_it(Reason.UNKNOWN_RECIPIENTS, ban, facts)
    return None


def recipient_rate(event: JudgedEvent, facts: Facts) -> Verdict | None:
    """Put off recipients beyond what an address may have in a day, or an account at once."""
    recipient = facts.recipient
    if isinstance(event, RcptAttempt) and recipient is not None and recipient.over_rate:
        return Verdict(Action.DEFER, Reason.RECIPIENT_RATE)
    return None


def account_held(event: JudgedEvent, facts: Facts) -> Verdict | None:
    """Put off every recipient of an account that behaves like a stolen one (451 4.7.1)."""
    recipient = facts.recipient
    if isinstance(event, RcptAttempt) and recipient is not None and recipient.held:
        return Verdict(Action.DEFER, Reason.ACCOUNT_HELD)
    return None


def _on_unknown(facts: Facts, unknown: int, *, hopeless: bool) -> Verdict | None:
    if hopeless and unknown >= HOPELESS:
        return Verdict(Action.CLOSE, Reason.UNKNOWN_RECIPIENTS)
    if unknown <= FREE_UNKNOWN:
        return None
    delay_s = min(
        facts.settings.tarpit_max_s, facts.settings.tarpit_base_s * (unknown - FREE_UNKNOWN)
    )
    return Verdict(Action.DELAY, Reason.TARPIT, delay_s)
