"""Rules for connections to port 25, before the client is greeted."""

from collections.abc import Iterable
from typing import Final

from gatekeeper.events import ClientListed, JudgedEvent, Listing
from gatekeeper.policy.facts import Facts
from gatekeeper.verdict import Action, Reason, Verdict

ROUNDING: Final = 1e-6  # three weights of a third are a whole one


def dns_listed(event: JudgedEvent, facts: Facts) -> Verdict | None:
    """Refuse a client whose listings add up to `dnsbl_reject_score`; allow lists take off.

    Where only lists that are observed make the difference, that is told and nobody is refused.
    """
    if not isinstance(event, ClientListed):
        return None
    enough = facts.settings.dnsbl_reject_score - ROUNDING
    if listed_score(one for one in event.listings if not one.observed) >= enough:
        return Verdict(Action.REJECT, Reason.DNS_LISTED)
    if listed_score(event.listings) >= enough:
        return Verdict(Action.REJECT, Reason.DNS_LISTED, watched=True)
    return None


def listed_score(listings: Iterable[Listing]) -> float:
    """The weights of all listings together."""
    return sum(listing.weight for listing in listings)
