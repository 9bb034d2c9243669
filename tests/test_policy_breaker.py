"""When the breaker opens: bans beyond any attack's, or bans that meet people."""

from dataclasses import replace

import pytest

from gatekeeper.ban import Scope
from gatekeeper.policy.breaker import (
    MAX_NOTED,
    MIN_ACCOUNTS,
    MIN_BANS,
    MINUTE_S,
    WINDOW_S,
    Breaker,
    Cause,
    People,
)
from gatekeeper.prefix import Prefix
from gatekeeper.settings import PolicySettings

POLICY = PolicySettings()
NOW = 1_700_000_000.0
NOBODY = People(0, 0)
HOLD_S = POLICY.breaker_hold_s


@pytest.fixture
def breaker() -> Breaker:
    return Breaker(POLICY)


def host(number: int) -> Prefix:
    return Prefix((0x0A000000 + number).to_bytes(4, "big"), 32)


def key(number: int, scope: Scope = Scope.AUTH) -> tuple[Prefix, Scope]:
    return host(number), scope


def office(number: int) -> People:
    """Three accounts at home, of sixty."""
    bits = 0b111 << number % 60
    return People(bits, bits)


def beside(number: int) -> People:
    """Somebody's network, but nobody's address."""
    return People(0, office(number).around)


# -- the rate ---------------------------------------------------------------------------------


def test_as_many_bans_a_minute_as_are_set_are_made_and_no_more(breaker: Breaker) -> None:
    most = POLICY.breaker_bans_minute
    made = [breaker.admits(key(n), NOBODY, NOW + n / most) for n in range(most + 1)]
    assert made == [True] * most + [False]
    trip = breaker.trip(NOW + 1)
    assert trip is not None
    assert (trip.cause, trip.figures.minute, trip.until) == (Cause.RATE, most + 1, NOW + 1 + HOLD_S)


def test_as_many_over_more_than_a_minute_are_made(breaker: Breaker) -> None:
    most = POLICY.breaker_bans_minute
    gap_s = MINUTE_S / most
    assert all(breaker.admits(key(n), NOBODY, NOW + n * gap_s) for n in range(3 * most))


def test_port_25_counts_for_the_rate_and_an_address_once_for_each_scope() -> None:
    breaker = Breaker(replace(POLICY, breaker_bans_minute=3))
    assert breaker.admits(key(1), NOBODY, NOW)
    assert breaker.admits(key(1, Scope.MX), NOBODY, NOW)
    assert all(breaker.admits(key(1), NOBODY, NOW) for _ in range(9)), "wanted already"
    assert breaker.admits(key(2, Scope.MX), NOBODY, NOW)
    assert not breaker.admits(key(3, Scope.MX), NOBODY, NOW)


def test_nought_switches_each_cause_off() -> None:
    breaker = Breaker(replace(POLICY, breaker_bans_minute=0, breaker_people_share=0.0))
    assert all(breaker.admits(key(n), office(n), NOW) for n in range(5000))


# -- the share --------------------------------------------------------------------------------


def test_bans_that_meet_people_open_it_as_soon_as_there_are_enough(breaker: Breaker) -> None:
    made = [breaker.admits(key(n), office(n), NOW + n) for n in range(MIN_BANS)]
    assert made == [True] * (MIN_BANS - 1) + [False]
    trip = breaker.trip(NOW + MIN_BANS)
    assert trip is not None
    assert (trip.cause, trip.figures.met, trip.figures.bans) == (Cause.PEOPLE, MIN_BANS, MIN_BANS)
    assert breaker.recent() == [key(n) for n in range(MIN_BANS)]


@pytest.mark.parametrize(("met", "opens"), [(5, False), (6, True)])
def test_of_a_hundred_bans_five_may_meet_people(breaker: Breaker, met: int, opens: bool) -> None:
    for n in range(100 - met):
        assert breaker.admits(key(n), NOBODY, NOW)
    made = [breaker.admits(key(100 + n), office(3 * n), NOW) for n in range(met)]
    assert made[-1] is not opens


@pytest.mark.parametrize(("around", "opens"), [(50, False), (51, True)])
def test_of_a_hundred_bans_fifty_may_be_beside_people(
    breaker: Breaker, around: int, opens: bool
) -> None:
    """A botnet sits in the same providers' networks as people do."""
    for n in range(100 - around):
        assert breaker.admits(key(n), NOBODY, NOW)
    made = [breaker.admits(key(100 + n), beside(n), NOW) for n in range(around)]
    assert made[-1] is not opens


def test_few_accounts_do_not_open_it_wherever_they_logged_in(breaker: Breaker) -> None:
    """Else one mailbox would keep a whole botnet from being banned."""
    few = People((1 << (MIN_ACCOUNTS - 1)) - 1, (1 << (MIN_ACCOUNTS - 1)) - 1)
    assert all(breaker.admits(key(n), few, NOW) for n in range(1000))
    assert not breaker.admits(key(1001), office(20), NOW)


def test_bans_from_port_25_say_nothing_of_people(breaker: Breaker) -> None:
    """A home network's infected machine sends to port 25; its people log in elsewhere."""
    assert all(breaker.admits(key(n, Scope.MX), office(n), NOW) for n in range(1000))
    assert breaker.recent() == []


def test_what_is_older_than_the_window_is_forgotten(breaker: Breaker) -> None:
    for n in range(MIN_BANS - 1):
        assert breaker.admits(key(n), office(n), NOW)
    assert breaker.admits(key(99), office(9), NOW + WINDOW_S)
    assert breaker.figures(NOW + WINDOW_S)[:4] == (1, 1, 1, 1)
    assert breaker.figures(NOW + 2 * WINDOW_S) == (0, 0, 0, 0, 0)


# -- open, and closed again -------------------------------------------------------------------


def opened(breaker: Breaker) -> float:
    """An open breaker; the instant."""
    for n in range(MIN_BANS):
        breaker.admits(key(n), office(n), NOW)
    assert breaker.trip(NOW) is not None
    return NOW


def test_it_closes_when_no_cause_was_seen_for_its_time(breaker: Breaker) -> None:
    now = opened(breaker)
    assert breaker.trip(now + HOLD_S - 1) is not None
    assert breaker.trip(now + HOLD_S) is None
    assert breaker.admits(key(1000), NOBODY, now + HOLD_S)


def test_it_stays_open_as_long_as_the_cause_lasts(breaker: Breaker) -> None:
    now = opened(breaker)
    since = now
    for n in range(100):
        now += 60.0
        for each in range(3):
            assert not breaker.admits(key(1000 + 3 * n + each), office(n), now)
    trip = breaker.trip(now)
    assert trip is not None
    assert (trip.since, trip.until) == (since, now + HOLD_S)
    assert breaker.withheld == 301


def test_bans_of_others_do_not_hold_it_open(breaker: Breaker) -> None:
    now = opened(breaker)
    for n in range(int(HOLD_S)):
        assert not breaker.admits(key(1000 + n), NOBODY, now + n), "they thin the share, no more"
    assert breaker.trip(now + 2 * HOLD_S) is None


def test_a_reset_closes_it_and_counts_from_nothing(breaker: Breaker) -> None:
    now = opened(breaker)
    trip = breaker.reset(now)
    assert trip is not None
    assert trip.cause is Cause.PEOPLE
    assert breaker.reset(now) is None
    assert breaker.figures(now) == (0, 0, 0, 0, 0)
    assert all(breaker.admits(key(n), office(n), now) for n in range(MIN_BANS - 1))


def test_its_memory_is_bounded_and_its_counts_stay_true() -> None:
    breaker = Breaker(replace(POLICY, breaker_bans_minute=0))
    for n in range(MAX_NOTED + 100):
        breaker.admits(key(n), office(n) if n < 100 else NOBODY, NOW)
    figures = breaker.figures(NOW)
    assert figures.minute == figures.bans == MAX_NOTED
    assert (figures.met, figures.around, figures.accounts) == (0, 0, 0)
