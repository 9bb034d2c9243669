"""The Rule on listed clients."""

import pytest
from facts import facts

from gatekeeper.ban import Scope
from gatekeeper.events import ClientListed, ConnectionOpened, Listing
from gatekeeper.policy.connection_rules import dns_listed
from gatekeeper.settings import PolicySettings
from gatekeeper.verdict import Action, Reason, Verdict

REFUSED = Verdict(Action.REJECT, Reason.DNS_LISTED)
WATCHED = Verdict(Action.REJECT, Reason.DNS_LISTED, watched=True)
MX = facts(scope=Scope.MX)


def listed(*weights: float, observed: float = 0.0) -> ClientListed:
    """Listings of these weights, and one of a list that is only observed."""
    listings = [Listing("bl.example", ("127.0.0.2",), weight) for weight in weights]
    if observed:
        listings.append(Listing("new.example", ("127.0.0.2",), observed, observed=True))
    return ClientListed(tuple(listings))


@pytest.mark.parametrize("weights", [(1.0,), (0.5, 0.5), (1 / 3, 1 / 3, 1 / 3), (3.0, -2.0)])
def test_weights_that_reach_the_score_refuse(weights: tuple[float, ...]) -> None:
    assert dns_listed(listed(*weights), MX) == REFUSED


@pytest.mark.parametrize("weights", [(0.5,), (0.4, 0.59), (1.0, -1.0), (2.0, -1.5), (-1.0,)])
def test_less_refuses_nobody(weights: tuple[float, ...]) -> None:
    assert dns_listed(listed(*weights), MX) is None


def test_the_score_is_the_operators() -> None:
    strict = MX._replace(settings=PolicySettings(dnsbl_reject_score=2.5))
    assert dns_listed(listed(1.0, 1.0), strict) is None
    assert dns_listed(listed(1.0, 1.0, 0.5), strict) == REFUSED


def test_what_is_only_observed_is_only_told() -> None:
    assert dns_listed(listed(observed=1.0), MX) == WATCHED
    assert dns_listed(listed(0.5, observed=0.5), MX) == WATCHED
    assert dns_listed(listed(0.5, observed=0.4), MX) is None


def test_an_observed_allow_list_spares_nobody() -> None:
    assert dns_listed(listed(1.0, observed=-1.0), MX) == REFUSED


def test_other_events_are_none_of_its_business() -> None:
    assert dns_listed(ConnectionOpened(), MX) is None


def test_a_listing_in_words() -> None:
    codes = ("127.0.0.2", "127.0.0.9")
    named = Listing("KEY.zen.dq.spamhaus.net", codes, 1.0, name="SBL+DROP")
    assert str(named) == "KEY.zen.dq.spamhaus.net=127.0.0.2,127.0.0.9(SBL+DROP)"
    assert str(Listing("bl.example", ("127.0.0.2",), 1.0)) == "bl.example=127.0.0.2"
