"""Verdicts: what is to be done about an Event, and the stable reason for it."""

from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Final


class Action(IntEnum):
    """What happens to the bytes an Event completes; of several opinions the strongest wins."""

    PASS = 0
    DELAY = 1  # the same, after `delay_s`
    DEFER = 2  # answered locally with a temporary failure
    DECOY = 3  # a credential answered as if the backend had refused it, which never saw it
    REJECT = 4  # answered locally with a permanent failure
    CLOSE = 5  # answered locally, then the session ends


class Reason(Enum):
    """Stable words for logs, metrics and `explain`; never renamed, never shown to strangers."""

    NONE = "none"
    AUTH_FAILURES = "auth-failures"
    UNKNOWN_RECIPIENTS = "unknown-recipients"
    PROTOCOL_ABUSE = "protocol-abuse"
    BANNED = "banned"
    TARPIT = "tarpit"
    OPERATOR = "operator"
    HELD_BY_KERNEL = "held-by-kernel"  # found there when nothing was known of it
    BLOCKED = "blocked"  # the configuration never lets it in
    SYN_FLOOD = "syn-flood"  # too many new connections: the kernel dropped them by itself
    IMPORTED = "imported"  # another program had banned it
    TOO_MANY_CONNECTIONS = "too-many-connections"
    BACKEND_UNAVAILABLE = "backend-unavailable"
    # A login, before the backend sees it:
    REPEATED_PASSWORD = "repeated-password"  # noqa: S105  the backend refused it a moment ago
    TRAP_ACCOUNT = "trap-account"  # nobody has this account
    ACCOUNT_LOCKED = "account-locked"  # by the operator
    FAMILIAR_GUESSING = "familiar-guessing"  # wrong passwords from where the account is at home
    SUSPECT_SOURCE = "suspect-source"  # the address itself has failed too often
    SUSPECT_NETWORK = "suspect-network"  # the networks around it have
    SPRAYED_PASSWORD = "sprayed-password"  # noqa: S105  it is tried on many accounts
    ACCOUNT_ATTACKED = "account-attacked"  # strangers guess at this account
    ACCOUNT_LANE_LOCKED = "account-lane-locked"  # they guess so much that strangers must prove more
    ATTACK_LEVEL = "attack-level"  # strangers guess everywhere
    AUTH_LISTED = "auth-listed"  # lists of guessers name the address
    BREAKER_OPEN = "breaker-open"  # a Rule would have banned it
    # A connection to port 25, before the greeting:
    EARLY_TALKER = "early-talker"  # it spoke before it was greeted
    REVERSE_DNS = "reverse-dns"  # its address has no name, or none that has the address
    DNS_LISTED = "dns-listed"  # blocklists name its address
    # EHLO and MAIL on port 25:
    HELLO = "hello"  # the client does not say who it is, or says that it is us
    SENDER_DOMAIN = "sender-domain"  # there is no such domain
    SENDER_NULL_MX = "sender-null-mx"  # the domain takes no mail
    SPF_FAIL = "spf-fail"  # the sender's domain says that the client may not send for it
    # Recipients:
    RECIPIENT_RATE = "recipient-rate"  # of an address or an account
    ACCOUNT_HELD = "account-held"  # it behaves like a stolen one
    # Recipients, by the files of their domains:
    UNKNOWN_USER = "unknown-user"  # they name no such user
    SENDER_BLACKLISTED = "sender-blacklisted"
    CLIENT_BLACKLISTED = "client-blacklisted"
    # The operator's own Rules:
    HOOK = "hook"
    HOOK_FAILED = "hook-failed"  # one of them did, and `on_error` puts off then


@dataclass(frozen=True, slots=True)
class Verdict:
    """An opinion on one Event.

    `delay_s` is waited before the answer, whatever the action. `ban` asks the Ledger to ban the
    client's entity in its scope; the first such ban lasts `ban_first_s`, None is the policy's time.
    `watched` has it told and counted, but not carried out, whatever the Rule's mode is.
    `ticket` names this one decision to the client's helpdesk; empty where the answer has none.
    Replies are made by the session from `action`: generic on purpose, so that a stranger learns
    nothing of the rule; where a hook has said it in its own words, those are `text`, one printable
    line. `source` names the hook, for logs.
    """

    action: Action
    reason: Reason
    delay_s: float = 0.0
    ban: bool = False
    ban_first_s: float | None = None
    watched: bool = False
    ticket: str = field(default="", compare=False)
    text: str = ""
    source: str = ""

    def with_ticket(self, ticket: str) -> "Verdict":
        """The same decision under this ticket. (`dataclasses.replace` takes several times as long,
        and each refusal of an attack has a ticket.)"""
        return Verdict(
            self.action,
            self.reason,
            self.delay_s,
            self.ban,
            self.ban_first_s,
            self.watched,
            ticket,
            self.text,
            self.source,
        )


PASS: Final = Verdict(Action.PASS, Reason.NONE)


def strongest(verdicts: list[Verdict]) -> Verdict:
    """One verdict for several: the strongest action, the longest delay, a ban if any asks.

    An empty list is `PASS`; of equal actions the first gives the reason, of bans the longest time.
    """
    if not verdicts:
        return PASS
    if len(verdicts) == 1:
        return verdicts[0]
    top = max(verdicts, key=lambda verdict: verdict.action)
    delay_s = max(verdict.delay_s for verdict in verdicts)
    bans = [verdict.ban_first_s for verdict in verdicts if verdict.ban]
    first_s = max((first for first in bans if first is not None), default=None)
    return Verdict(
        top.action, top.reason, delay_s, bool(bans), first_s, text=top.text, source=top.source
    )
