"""The stated thresholds of the programs the guard is compared with, at and just below each."""

from math import inf

import pytest

from bench.detection.baselines import crowdsec, fail2ban, mailcow, stalwart, weakforced
from bench.detection.policies import GUARD, PIPED, POLICIES
from bench.detection.seam import Decision, Event, Policy

IP = "81.2.3.4"
BASELINES = [name for name in POLICIES if name not in {GUARD, PIPED}]


def _auth(
    t: float, ip: str = IP, *, valid: bool = False, password: str = "p", protocol: str = "imap"
) -> Event:
    event: Event = {"t": t, "kind": "auth", "ip": ip, "account": "a@example.org"}
    return event | {"password": password, "protocol": protocol, "valid": valid}


def _rcpt(t: float, *, exists: bool = False, account: str | None = None) -> Event:
    event = {"t": t, "kind": "rcpt", "ip": IP, "account": account, "recipient": f"r{t}@example.org"}
    return event | {"exists": exists}


def _failing(policy: Policy, times: list[float], protocol: str = "imap") -> Decision:
    decision: Decision = {}
    for t in times:
        decision = policy.feed(_auth(t, protocol=protocol))
    return decision


def _every(seconds: float, count: int, start: float = 0.0) -> list[float]:
    return [start + index * seconds for index in range(count)]


# ---- all of them ----


@pytest.mark.parametrize("name", BASELINES)
def test_a_right_password_passes_and_unknown_keys_are_carried(name: str) -> None:
    decision = POLICIES[name]().feed(_auth(7.0, valid=True) | {"who": 3})
    assert (decision["action"], decision["outcome"], decision["forwarded"]) == ("pass", "ok", True)
    assert (decision["t"], decision["who"], decision["ban"]) == (7.0, 3, None)


@pytest.mark.parametrize("name", BASELINES)
def test_nothing_is_counted_while_the_backend_says_unavailable(name: str) -> None:
    policy = POLICIES[name]()
    policy.feed({"t": 0.0, "kind": "outage", "on": True})
    for t in _every(1, 300):
        decision = policy.feed(_auth(t))
        assert (decision["outcome"], decision["ban"]) == ("unavailable", None)
    policy.feed({"t": 301.0, "kind": "outage", "on": False})
    assert policy.feed(_auth(302, valid=True))["outcome"] == "ok"


@pytest.mark.parametrize("name", BASELINES)
def test_an_unknown_kind_is_an_error(name: str) -> None:
    with pytest.raises(ValueError, match="quota"):
        POLICIES[name]().feed({"t": 0.0, "kind": "quota"})


# ---- fail2ban ----


def test_fail2ban_bans_for_ten_minutes_at_the_fifth_failure_in_ten() -> None:
    policy = fail2ban.Fail2ban()
    assert _failing(policy, _every(100, 4))["ban"] is None
    assert policy.feed(_auth(400))["ban"] == {"prefix": IP, "seconds": 600.0}
    assert policy.feed(_auth(999, valid=True))["action"] == "drop"
    assert policy.feed(_auth(1000, valid=True))["outcome"] == "ok"


@pytest.mark.parametrize(("gap_s", "banned"), [(170, True), (172, False)])
def test_fail2ban_scales_an_interval_that_is_longer_than_its_own(
    gap_s: float, banned: bool
) -> None:
    """4 in 688 s are 3.49 in 600 s, which is 3; 4 in 680 s are 4, and the next is the fifth."""
    policy = fail2ban.Fail2ban()
    assert any(policy.feed(_auth(t))["ban"] for t in _every(gap_s, 500)) is banned


def test_fail2ban_counts_each_service_in_a_jail_of_its_own() -> None:
    policy = fail2ban.Fail2ban()
    assert _failing(policy, _every(1, 4))["ban"] is None
    assert _failing(policy, _every(1, 4, 4), protocol="submission")["ban"] is None
    assert policy.feed(_auth(8, protocol="submission"))["ban"] is not None
    assert policy.feed(_auth(9))["action"] == "drop"


def test_fail2ban_leaves_imap_open_to_who_harvests_recipients() -> None:
    policy = fail2ban.Fail2ban()
    decisions = [policy.feed(_rcpt(t)) for t in _every(1, 6)]
    assert [one["action"] for one in decisions] == ["pass"] * 5 + ["drop"]
    assert policy.feed(_auth(7, valid=True))["outcome"] == "ok"
    assert policy.feed(_auth(8, protocol="submission"))["action"] == "drop"


def test_fail2ban_with_increment_doubles_and_needs_fewer_failures() -> None:
    policy = fail2ban.Fail2ban(increment=True)
    seconds: list[tuple[float, int]] = []
    failures, t = 0, 0.0
    while len(seconds) < 4:
        t += 1
        decision = policy.feed(_auth(t))
        failures += decision["action"] == "pass"
        if decision["ban"]:
            seconds.append((decision["ban"]["seconds"], failures))
            failures, t = 0, t + decision["ban"]["seconds"]
    assert seconds == [(600.0, 5), (1200.0, 3), (2400.0, 2), (4800.0, 1)]


def test_fail2ban_counts_from_the_whole_second() -> None:
    """A log line's fraction is not read: the ban of 400.9 ends at 1000."""
    policy = fail2ban.Fail2ban()
    assert _failing(policy, [0.9, 100.9, 200.9, 300.9, 400.9])["ban"] is not None
    assert policy.feed(_auth(999.9, valid=True))["action"] == "drop"
    assert policy.feed(_auth(1000.1, valid=True))["outcome"] == "ok"


@pytest.mark.parametrize(("later", "failures"), [(89_900.0, 3), (90_100.0, 5)])
def test_fail2ban_forgets_a_ban_after_a_day_and_three_times_its_length(
    later: float, failures: int
) -> None:
    """The ban at 4 s is out of date at 88,204 s; the hourly purge takes it at 90,000 s."""
    policy = fail2ban.Fail2ban(increment=True)
    _failing(policy, _every(1, 5))
    bans = [policy.feed(_auth(t))["ban"] for t in _every(1, failures, later)]
    assert [ban is not None for ban in bans] == [False] * (failures - 1) + [True]


@pytest.mark.parametrize(("name", "failures"), [("fail2ban", 5), ("crowdsec", 6)])
def test_an_outage_looks_like_wrong_passwords_in_the_log_of_postfix(
    name: str, failures: int
) -> None:
    policy = POLICIES[name]()
    policy.feed({"t": 0.0, "kind": "outage", "on": True})
    decisions = [policy.feed(_auth(t, protocol="submission")) for t in _every(1, failures, 1)]
    assert [one["outcome"] for one in decisions] == ["unavailable"] * failures
    assert [one["ban"] is not None for one in decisions] == [False] * (failures - 1) + [True]


def test_fail2ban_recidive_bans_for_a_week_at_the_fifth_ban_of_a_day() -> None:
    policy = fail2ban.Fail2ban(increment=True)
    bans: list[float] = []
    t = 0.0
    while len(bans) < 5:
        t += 60
        ban = policy.feed(_auth(t))["ban"]
        if ban:
            bans.append(ban["seconds"])
    assert bans[-1] == 7 * 86_400


# ---- CrowdSec ----


def test_crowdsec_bans_for_four_hours_at_the_fourth_dovecot_failure() -> None:
    policy = crowdsec.CrowdSec()
    assert _failing(policy, _every(100, 3))["ban"] is None
    assert policy.feed(_auth(300))["ban"] == {"prefix": IP, "seconds": 14_400.0}
    assert policy.feed(_auth(300 + 14_399, valid=True))["action"] == "drop"
    assert policy.feed(_auth(300 + 14_400, valid=True))["outcome"] == "ok"


def test_crowdsec_never_bans_one_dovecot_failure_in_six_minutes() -> None:
    policy = crowdsec.CrowdSec()
    assert all(policy.feed(_auth(t))["ban"] is None for t in _every(360, 300))


@pytest.mark.parametrize(("gap_s", "failures"), [(240.0, 8), (180.0, 6), (120.0, 5)])
def test_crowdsec_bucket_that_is_just_full_has_not_overflown(gap_s: float, failures: int) -> None:
    """After 240 s two thirds have leaked: the seventh fills it, the eighth is too much."""
    policy = crowdsec.CrowdSec()
    bans = [policy.feed(_auth(t))["ban"] for t in _every(gap_s, failures, 26_000.653)]
    assert [ban is not None for ban in bans] == [False] * (failures - 1) + [True]


@pytest.mark.parametrize(("gap_s", "banned"), [(10.0, False), (1.5, True)])
def test_crowdsec_postfix_bucket_leaks_a_failure_in_ten_seconds(gap_s: float, banned: bool) -> None:
    policy = crowdsec.CrowdSec()
    bans = [policy.feed(_auth(t, protocol="submission"))["ban"] for t in _every(gap_s, 7)]
    assert any(bans) is banned


# ---- mailcow ----


def test_mailcow_bans_at_the_tenth_failure_whose_gaps_are_ten_minutes() -> None:
    policy = mailcow.Mailcow()
    assert _failing(policy, _every(600, 9))["ban"] is None
    assert policy.feed(_auth(5400))["ban"] == {"prefix": IP, "seconds": 1800.0}
    assert policy.feed(_auth(7199, valid=True))["action"] == "drop"


def test_mailcow_starts_anew_after_a_longer_gap() -> None:
    policy = mailcow.Mailcow()
    assert all(policy.feed(_auth(t))["ban"] is None for t in _every(601, 100))


def test_mailcow_bans_grow_to_ten_thousand_seconds() -> None:
    policy = mailcow.Mailcow()
    seconds: list[float] = []
    t = 0.0
    while len(seconds) < 5:
        t += 1
        ban = policy.feed(_auth(t))["ban"]
        if ban:
            seconds.append(ban["seconds"])
            t += ban["seconds"]
    assert seconds == [1800, 3600, 7200, 10_000, 10_000]


# ---- Stalwart ----


def test_stalwart_bans_for_ever_at_the_101st_failure_of_a_day() -> None:
    policy = stalwart.Stalwart()
    assert _failing(policy, _every(860, 100))["ban"] is None
    assert policy.feed(_auth(86_350))["ban"] == {"prefix": IP, "seconds": inf}
    assert policy.feed(_auth(864_000_000, valid=True))["action"] == "drop"


def test_stalwart_forgets_at_midnight() -> None:
    policy = stalwart.Stalwart()
    assert _failing(policy, _every(1, 100, 86_000))["ban"] is None
    assert _failing(policy, _every(1, 100, 86_400))["ban"] is None


def test_stalwart_bans_the_owners_address_when_others_filled_his_count() -> None:
    policy = stalwart.Stalwart()
    for t in range(100):
        assert policy.feed(_auth(t, f"11.0.0.{t}"))["ban"] is None
    assert policy.feed(_auth(100, "81.9.9.9"))["ban"] == {"prefix": "81.9.9.9", "seconds": inf}


def test_stalwart_bans_at_the_36th_unknown_recipient() -> None:
    policy = stalwart.Stalwart()
    bans = [policy.feed(_rcpt(t))["ban"] for t in _every(1, 36)]
    assert bans[34:] == [None, {"prefix": IP, "seconds": inf}]


# ---- weakforced ----


def test_weakforced_refuses_after_fifty_distinct_passwords_in_an_hour() -> None:
    policy = weakforced.Weakforced()
    decisions = [policy.feed(_auth(t, password=f"p{t}")) for t in _every(10, 100)]
    refused = [one["action"] for one in decisions].index("reject")
    assert 51 <= refused <= 55  # 12 bits of hash: two passwords may look like one
    assert policy.feed(_auth(1001, valid=True))["forwarded"] is False
    assert policy.feed(_auth(3600 + 1200, valid=True))["outcome"] == "ok"


def test_weakforced_delays_a_login_after_three_distinct_passwords() -> None:
    policy = weakforced.Weakforced()
    decisions = [policy.feed(_auth(t, password=f"p{t}")) for t in _every(10, 5)]
    assert [one["delay_s"] for one in decisions] == [0, 0, 0, 0, 3.0]


def test_weakforced_does_not_mind_one_wrong_password_for_ever() -> None:
    policy = weakforced.Weakforced()
    assert {policy.feed(_auth(t))["action"] for t in _every(30, 500)} == {"pass"}
