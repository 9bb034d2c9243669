"""Neighbourhood: what speaks for a place, and what against it."""

from dataclasses import replace

import pytest

from gatekeeper.policy import neighbourhood as module
from gatekeeper.policy.keys import Place, place
from gatekeeper.policy.neighbourhood import Neighbourhood
from gatekeeper.policy.places import MOST_ACCOUNTS, WINDOW_S
from gatekeeper.prefix import entity
from gatekeeper.settings import PolicySettings

NOW = 1_700_000_000.0
POLICY = PolicySettings()
ROUNDING = 1e-6  # scores are kept as logarithms


def at(address: str) -> Place:
    return place(entity(address))


HOME = at("203.0.113.9")
NEXT_DOOR = at("203.0.113.200")
ELSEWHERE = at("198.51.100.7")
CUSTOMER = at("2001:db8:7:1::1")


@pytest.fixture
def near() -> Neighbourhood:
    return Neighbourhood(POLICY)


def move_in(near: Neighbourhood, where: Place, accounts: int, now: float = NOW) -> None:
    for account in range(accounts):
        near.enter(where, account, now)


# -- for a place ---------------------------------------------------------------------------------


def test_nobody_is_at_home_at_first(near: Neighbourhood) -> None:
    assert near.accounts(HOME, NOW) == 0
    assert not near.spared(HOME, NOW)
    assert not near.is_crowd(HOME, NOW)
    assert near.is_clean(HOME, NOW)
    assert near.ban_score(HOME, NOW) == POLICY.auth_ban_score


def test_accounts_are_at_home_at_their_address_and_not_next_door(near: Neighbourhood) -> None:
    move_in(near, HOME, 3)
    assert near.accounts(HOME, NOW) == 3
    assert near.accounts(NEXT_DOOR, NOW) == 0
    assert near.accounts(HOME, NOW + WINDOW_S + 1) == 0


def test_the_same_account_again_is_one(near: Neighbourhood) -> None:
    for _ in range(10):
        near.enter(HOME, 7, NOW)
    assert near.accounts(HOME, NOW) == 1


def test_ban_score_grows_with_accounts_up_to_a_crowd(near: Neighbourhood) -> None:
    per_account = POLICY.auth_ban_score_per_account
    move_in(near, HOME, 5)
    assert near.ban_score(HOME, NOW) == POLICY.auth_ban_score + 5 * per_account
    move_in(near, HOME, 1000)
    assert near.ban_score(HOME, NOW) == POLICY.auth_ban_score + MOST_ACCOUNTS * per_account


def test_address_is_spared_since_its_last_login(near: Neighbourhood) -> None:
    near.enter(HOME, 1, NOW)
    near.enter(HOME, 2, NOW + 10_000)
    assert near.spared(HOME, NOW + 10_000 + POLICY.ban_spares_s)
    assert not near.spared(HOME, NOW + 10_001 + POLICY.ban_spares_s)
    assert not near.spared(NEXT_DOOR, NOW)


def test_after_a_start_a_net_stands_for_its_addresses(near: Neighbourhood) -> None:
    """The Store knows nets alone. An address that speaks for itself needs its net no more."""
    for account in range(4):
        near.recalled.add(HOME.net, account, NOW)
    assert near.accounts(HOME, NOW) == near.accounts(NEXT_DOOR, NOW) == 4
    assert near.spared(NEXT_DOOR, NOW + POLICY.ban_spares_s)
    assert not near.spared(NEXT_DOOR, NOW + POLICY.ban_spares_s + 1)
    assert not near.spared(ELSEWHERE, NOW)
    near.enter(HOME, 1, NOW)
    assert near.accounts(HOME, NOW) == 1
    assert near.accounts(NEXT_DOOR, NOW) == 4
    later = NOW + POLICY.ban_spares_s + 1
    assert near.accounts(NEXT_DOOR, later) == 0, "people have shown where they are by then"
    assert near.accounts(HOME, later) == 1


def test_crowd_is_where_several_log_in_from_a_net(near: Neighbourhood) -> None:
    move_in(near, HOME, module.CROWD - 1)
    assert not near.is_crowd(HOME, NOW)
    near.enter(NEXT_DOOR, 99, NOW)
    assert near.is_crowd(HOME, NOW)
    assert near.is_crowd(NEXT_DOOR, NOW)
    assert not near.is_crowd(ELSEWHERE, NOW)


# -- against it ----------------------------------------------------------------------------------


def test_one_guess_is_a_stain_for_a_day_or_so(near: Neighbourhood) -> None:
    near.scores.sources.add(HOME.source, 1.0, NOW)
    assert not near.is_clean(HOME, NOW)
    assert near.is_clean(NEXT_DOOR, NOW)
    assert not near.is_clean(HOME, NOW + 86_400)
    assert near.is_clean(HOME, NOW + 2 * 86_400)


def test_network_is_suspect_at_its_score(near: Neighbourhood) -> None:
    near.scores.add_to_networks(HOME, POLICY.network_suspect_score - 0.5, NOW)
    assert 0.9 < near.network_share(NEXT_DOOR, NOW) < 1.0
    near.scores.add_to_networks(HOME, 0.5 + ROUNDING, NOW)
    assert near.network_share(NEXT_DOOR, NOW) >= 1.0
    assert near.network_share(ELSEWHERE, NOW) == 0.0


def test_customers_network_is_suspect_at_half_of_a_providers(near: Neighbourhood) -> None:
    near.scores.add_to_networks(CUSTOMER, POLICY.network_suspect_score / 2 + ROUNDING, NOW)
    assert near.network_share(at("2001:db8:7:2::1"), NOW) >= 1.0, "the same /56"
    assert near.network_share(at("2001:db8:7:ff00::1"), NOW) == pytest.approx(0.5), "the same /48"
    assert near.network_share(at("2001:db8:8:1::1"), NOW) == 0.0


def test_accounts_at_home_in_a_net_speak_for_the_networks_around_it(near: Neighbourhood) -> None:
    near.scores.add_to_networks(HOME, POLICY.network_suspect_score, NOW)
    move_in(near, NEXT_DOOR, 10)
    bonus = 10 * POLICY.auth_ban_score_per_account
    expected = POLICY.network_suspect_score / (POLICY.network_suspect_score + bonus)
    assert near.network_share(HOME, NOW) == pytest.approx(expected)


def test_crowd_whose_address_or_network_guesses_is_none(near: Neighbourhood) -> None:
    move_in(near, HOME, module.CROWD)
    near.scores.sources.add(HOME.source, module.CROWD_SHARE * near.ban_score(HOME, NOW), NOW)
    assert not near.is_crowd(HOME, NOW)
    assert near.is_crowd(NEXT_DOOR, NOW), "one bad address is not the whole net"
    needed = module.CROWD_SHARE * near.suspect_score(HOME, HOME.parents[0], NOW)
    near.scores.add_to_networks(HOME, needed, NOW)
    assert not near.is_crowd(NEXT_DOOR, NOW)


def test_settings_may_be_replaced(near: Neighbourhood) -> None:
    move_in(near, HOME, 2)
    near.settings = replace(POLICY, auth_ban_score=50.0, auth_ban_score_per_account=1.0)
    assert near.ban_score(HOME, NOW) == 52.0
