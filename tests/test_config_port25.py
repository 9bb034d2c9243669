"""What is asked and waited for before the greeting of port 25."""

from pathlib import Path

import pytest
from test_config import GOOD, problems, write

from gatekeeper.config import load
from gatekeeper.policy.rules import treatment
from gatekeeper.settings import PolicySettings, Treatment
from gatekeeper.verdict import Reason


@pytest.mark.parametrize(
    ("written", "wait_s", "passed_s"),
    [
        ("", PolicySettings().greet_wait_s, PolicySettings().greet_passed_s),
        ('greet_wait = "2s"\ngreet_passed = "1h"', 2.0, 3600.0),
        ("greet_wait = 0\ngreet_passed = 0", 0.0, 0.0),
        ('greet_wait = "1m"', 60.0, PolicySettings().greet_passed_s),
    ],
)
def test_the_wait_may_be_short_or_none(
    tmp_path: Path, written: str, wait_s: float, passed_s: float
) -> None:
    policy = load(write(tmp_path, f"{GOOD}\n[policy]\n{written}\n")).policy
    assert (policy.greet_wait_s, policy.greet_passed_s) == (wait_s, passed_s)


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ('greet_wait = "2m"', "[policy] greet_wait: out of range: 120 (at most 60)"),
        (
            "mx_connections_per_address = 200",
            "[policy] mx_connections_per_address: mx_connections_per_address is above"
            " mx_connections_per_network (200 and 150)",
        ),
        ("mx_connections_per_network = 0", "[policy] mx_connections_per_network: out of range"),
    ],
)
def test_what_could_not_work_is_told(tmp_path: Path, written: str, problem: str) -> None:
    assert problem in "\n".join(problems(tmp_path, f"{GOOD}\n[policy]\n{written}\n"))


def test_each_test_is_ignored_observed_or_enforced(tmp_path: Path) -> None:
    rules = '[rules]\nearly-talker = "ignore"\nreverse-dns = "enforce"\n'
    settings = load(write(tmp_path, f"{GOOD}\n{rules}"))
    assert treatment(Reason.EARLY_TALKER, settings) is Treatment.IGNORE
    assert treatment(Reason.REVERSE_DNS, settings) is Treatment.ENFORCE
    settings = load(write(tmp_path, GOOD))
    assert treatment(Reason.EARLY_TALKER, settings) is Treatment.ENFORCE
    assert treatment(Reason.REVERSE_DNS, settings) is Treatment.OBSERVE, "some people have none"
    settings = load(write(tmp_path, f'mode = "observe"\n{GOOD}'))
    assert treatment(Reason.EARLY_TALKER, settings) is Treatment.OBSERVE
