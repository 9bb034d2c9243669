"""Bans."""

import pytest

from gatekeeper.ban import Ban, Scope
from gatekeeper.prefix import Prefix
from gatekeeper.verdict import Reason

BAN = Ban(Prefix.parse("192.0.2.7"), Scope.AUTH, Reason.AUTH_FAILURES, 1, 1_000.0, 1_600.0)


@pytest.mark.parametrize(
    ("now", "remaining_s"),
    [(1_000.0, 600.0), (1_599.5, 0.5), (1_600.0, 0.0), (9_999.0, 0.0)],
)
def test_the_time_left_runs_out_and_is_never_negative(now: float, remaining_s: float) -> None:
    assert BAN.remaining_s(now) == remaining_s


def test_equal_bans_are_equal_and_may_be_keys() -> None:
    again = Ban(Prefix.parse("192.0.2.7/32"), Scope.AUTH, Reason.AUTH_FAILURES, 1, 1_000.0, 1_600.0)
    assert len({BAN, again}) == 1
