"""When a list is switched off, and how it comes back."""

import pytest

from gatekeeper.policy.zone_health import (
    FAILURES,
    FIRST_OFF_S,
    MAX_DOUBLINGS,
    TRIAL_S,
    ZoneHealth,
)
from gatekeeper.prefix import Prefix

CLIENTS = [Prefix.parse(f"192.0.2.{number}") for number in range(FAILURES)]
TOO_MUCH = "too many queries"
SLOW = "no answer in time"


@pytest.fixture
def health() -> ZoneHealth:
    return ZoneHealth()


def test_an_error_switches_off_at_once_and_is_told_once(health: ZoneHealth) -> None:
    assert health.admits(0.0)
    assert health.erred(TOO_MUCH, 0.0)
    assert not health.erred(TOO_MUCH, 0.1)  # asked before it was off
    assert health.off
    assert health.why == TOO_MUCH
    assert not health.admits(FIRST_OFF_S - 0.1)
    assert health.off_for_s(20.0) == FIRST_OFF_S - 20.0


def test_one_question_is_the_trial_and_a_good_answer_ends_it(health: ZoneHealth) -> None:
    health.erred(TOO_MUCH, 0.0)
    assert health.admits(FIRST_OFF_S)
    assert not health.admits(FIRST_OFF_S + 1.0)
    assert health.answered()
    assert not health.off
    assert health.off_for_s(FIRST_OFF_S) == 0.0
    assert health.admits(FIRST_OFF_S + 1.0)
    assert not health.answered()  # told once


def test_a_good_answer_asked_for_before_does_not_end_it(health: ZoneHealth) -> None:
    health.erred(TOO_MUCH, 0.0)
    assert not health.answered()
    assert health.off


def test_each_trial_that_fails_doubles_the_time_up_to_a_bound(health: ZoneHealth) -> None:
    health.erred(TOO_MUCH, 0.0)
    now, waits = 0.0, []
    for _ in range(MAX_DOUBLINGS + 2):
        waits.append(health.off_for_s(now))
        now += waits[-1]
        assert health.admits(now)
        assert not health.erred(TOO_MUCH, now)
    assert waits == [60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 1920.0]
    assert health.admits(now + 1920.0)
    assert health.answered()
    assert health.erred(TOO_MUCH, now)
    assert health.off_for_s(now) == FIRST_OFF_S


def test_a_trial_that_nobody_waited_for_is_followed_by_another(health: ZoneHealth) -> None:
    health.erred(TOO_MUCH, 0.0)
    assert health.admits(FIRST_OFF_S)
    assert not health.admits(FIRST_OFF_S + TRIAL_S - 0.1)
    assert health.admits(FIRST_OFF_S + TRIAL_S)


def test_so_many_clients_in_a_row_without_an_answer_switch_off(health: ZoneHealth) -> None:
    told = [health.failed(client, SLOW, 0.0) for client in CLIENTS]
    assert told == [False] * (FAILURES - 1) + [True]
    assert health.why == SLOW


def test_an_answer_between_begins_the_row_anew(health: ZoneHealth) -> None:
    for client in CLIENTS[:-1]:
        health.failed(client, SLOW, 0.0)
    health.answered()
    assert not any(health.failed(client, SLOW, 1.0) for client in CLIENTS[1:])
    assert not health.off


def test_one_client_alone_switches_nothing_off(health: ZoneHealth) -> None:
    assert not any(health.failed(CLIENTS[0], SLOW, 0.0) for _ in range(10 * FAILURES))


def test_a_trial_without_an_answer_fails(health: ZoneHealth) -> None:
    health.erred(TOO_MUCH, 0.0)
    assert health.admits(FIRST_OFF_S)
    assert not health.failed(CLIENTS[0], SLOW, FIRST_OFF_S + 2.0)
    assert health.why == SLOW
    assert health.off_for_s(FIRST_OFF_S + 2.0) == 2 * FIRST_OFF_S
