"""Rules for connections to port 25, before the client is greeted."""

from collections.abc import Iterable
from typing import Final

from gatekeeper.events import (
    ClientListed,
    ConnectionOpened,
    EarlyTalk,
    JudgedEvent,
    Listing,
    ReverseDns,
    ReverseState,
)
from gatekeeper.policy.facts import Facts
from gatekeeper.verdict import Action, Reason, Verdict

ROUNDING: Final = 1e-6  # three weights of a third are a whole one


def too_many_connections(event: JudgedEvent, facts: Facts) -> Verdict | None:
    """Put a client off while its address, or the network around it, holds more connections than it
    may have at once."""
    if not isinstance(event, ConnectionOpened):
        return None
    policy = facts.settings
    if (
        event.of_address > policy.mx_connections_per_address
        or event.of_network > policy.mx_connections_per_network
    ):
        return Verdict(Action.DEFER, Reason.TOO_MANY_CONNECTIONS)
    return None


def early_talker(event: JudgedEvent, facts: Facts) -> Verdict | None:
    """Refuse who does not wait for the greeting: no mail server does that, programs that only send
    do."""
    del facts
    if isinstance(event, EarlyTalk):
        return Verdict(Action.REJECT, Reason.EARLY_TALKER)
    return None


def reverse_dns(event: JudgedEvent, facts: Facts) -> Verdict | None:
    """Refuse a client whose address has no name of its own."""
    del facts
    if isinstance(event, ReverseDns) and event.state is not ReverseState.CONFIRMED:
        return Verdict(Action.REJECT, Reason.REVERSE_DNS)
    return None


def dns_listed(event: JudgedEvent, facts: Facts) -> Verdict | None:
    """Refuse a client whose listings add up to `dnsbl_reject_score`; allow lists take off.

    Where only lists that are observed make the difference, that is told and nobody is refused.
    """
    if not isinstance(event, ClientListed):
        return None
    if says_enough(event.listings, facts, observed=False):
        return Verdict(Action.REJECT, Reason.DNS_LISTED)
    if says_enough(event.listings, facts, observed=True):
        return Verdict(Action.REJECT, Reason.DNS_LISTED, watched=True)
    return None


def says_enough(listings: Iterable[Listing], facts: Facts, *, observed: bool) -> bool:
    """Whether the weights reach `dnsbl_reject_score`, those of lists that are only observed among
    them or not."""
    counted = (one for one in listings if observed or not one.observed)
    return listed_score(counted) >= facts.settings.dnsbl_reject_score - ROUNDING


def listed_score(listings: Iterable[Listing]) -> float:
    """The weights of all listings together."""
    return sum(listing.weight for listing in listings)
