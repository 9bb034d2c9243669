"""Escalation: doubling, the cap, forgetting."""

import pytest

from gatekeeper.ban import Ban, Scope
from gatekeeper.policy.escalation import ban_seconds, next_level
from gatekeeper.prefix import Prefix
from gatekeeper.settings import PolicySettings
from gatekeeper.verdict import Reason

SETTINGS = PolicySettings()
DAY_S = 86_400.0


def previous(level: int, until: float) -> Ban:
    return Ban(Prefix.parse("192.0.2.1"), Scope.AUTH, Reason.AUTH_FAILURES, level, 0.0, until)


@pytest.mark.parametrize(
    ("level", "seconds"),
    [(1, 600), (2, 1200), (3, 2400), (10, 307_200), (11, 7 * DAY_S), (10_000, 7 * DAY_S)],
)
def test_time_doubles_from_ten_minutes_up_to_seven_days(level: int, seconds: float) -> None:
    assert ban_seconds(level, SETTINGS) == seconds


def test_first_ban_is_level_one() -> None:
    assert next_level(None, 0.0, SETTINGS) == 1


def test_ban_in_force_or_ended_lately_raises_the_level() -> None:
    assert next_level(previous(1, until=100.0), 50.0, SETTINGS) == 2
    assert next_level(previous(4, until=100.0), 100.0 + 29 * DAY_S, SETTINGS) == 5


def test_thirty_clean_days_are_forgotten() -> None:
    assert next_level(previous(9, until=100.0), 100.0 + 30 * DAY_S, SETTINGS) == 1
