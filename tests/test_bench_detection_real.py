"""What is written for and read from the real programs that the baselines are checked against."""

import re
import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import pytest

from bench.detection import real_world
from bench.detection.real_compare import Ban, Seen, agreement
from bench.detection.real_crowdsec import Ban as Decided
from bench.detection.real_crowdsec import FailedError, Logged, closed_loop, decisions
from bench.detection.real_fail2ban import configured
from bench.detection.real_log import lines
from bench.detection.seam import Event

# As Dovecot 2.3.19.1 and Postfix 3.7.11 of Debian 12 logged them when they were asked.
LOGGED = {
    ("imap", "fail", True): (
        "dovecot: imap-login: Disconnected: Connection closed (auth failed, 1 attempts in 2 secs):"
        " user=<alice@example.test>, method=PLAIN, rip=203.0.113.1, lip=192.0.2.1,"
        " TLS: Connection closed, session=<SFVsKxphoA/LAHEB>",
    ),
    ("imap", "fail", False): (
        "dovecot: imap-login: Disconnected: Aborted login by logging out (auth failed, 1 attempts"
        " in 2 secs): user=<alice@example.test>, method=PLAIN, rip=203.0.113.1, lip=192.0.2.1,"
        " TLS, session=<XFKDKxphoA/LAHEC>",
    ),
    ("imap", "unavailable", False): (
        "dovecot: imap-login: Disconnected: Aborted login by logging out (auth service reported"
        " temporary failure): user=<alice@example.test>, method=PLAIN, rip=203.0.113.1,"
        " lip=192.0.2.1, TLS, session=<6IKBOhphoA/LAHEz>",
    ),
    ("imap", "ok", False): (
        "dovecot: imap-login: Login: user=<alice@example.test>, method=PLAIN, rip=203.0.113.1,"
        " lip=192.0.2.1, mpid=15096, TLS, session=<bG7AKxphoA/LAHEE>",
        "dovecot: imap(alice@example.test)<15096><bG7AKxphoA/LAHEE>: Disconnected: Logged out in=8"
        " out=468 deleted=0 expunged=0 trashed=0 hdr_count=0 hdr_bytes=0 body_count=0 body_bytes=0",
    ),
    ("submission", "fail", False): (
        "postfix/submission/smtpd[15096]: connect from unknown[203.0.113.1]",
        "postfix/submission/smtpd[15096]: warning: unknown[203.0.113.1]: SASL PLAIN authentication"
        " failed: (reason unavailable), sasl_username=alice@example.test",
        "postfix/submission/smtpd[15096]: disconnect from unknown[203.0.113.1] ehlo=2 starttls=1"
        " auth=0/1 quit=1 commands=4/5",
    ),
    ("submission", "fail", True): (
        "postfix/submission/smtpd[15096]: connect from unknown[203.0.113.1]",
        "postfix/submission/smtpd[15096]: warning: unknown[203.0.113.1]: SASL PLAIN authentication"
        " failed: (reason unavailable), sasl_username=alice@example.test",
        "postfix/submission/smtpd[15096]: lost connection after AUTH from unknown[203.0.113.1]",
        "postfix/submission/smtpd[15096]: disconnect from unknown[203.0.113.1] ehlo=2 starttls=1"
        " auth=0/1 commands=3/4",
    ),
    ("submission", "ok", False): (
        "postfix/submission/smtpd[15096]: connect from unknown[203.0.113.1]",
        "postfix/submission/smtpd[15096]: 5B01820E59: client=unknown[203.0.113.1],"
        " sasl_method=PLAIN, sasl_username=alice@example.test",
        "postfix/submission/smtpd[15096]: disconnect from unknown[203.0.113.1] ehlo=2 starttls=1"
        " auth=1 mail=1 rcpt=1 rset=1 quit=1 commands=8",
    ),
    ("smtp", "fail", False): (
        "postfix/smtpd[15096]: connect from unknown[203.0.113.1]",
        "postfix/smtpd[15096]: NOQUEUE: reject: RCPT from unknown[203.0.113.1]: 550 5.1.1"
        " <ghost@example.test>: Recipient address rejected: User unknown in virtual mailbox table;"
        " from=<news@sender.example> to=<ghost@example.test> proto=ESMTP helo=<client.example>",
        "postfix/smtpd[15096]: disconnect from unknown[203.0.113.1] ehlo=1 mail=1 rcpt=0/1 quit=1"
        " commands=3/4",
    ),
    ("connect", None, True): (
        "postfix/smtpd[15096]: connect from unknown[203.0.113.1]",
        "postfix/smtpd[15096]: lost connection after CONNECT from unknown[203.0.113.1]",
        "postfix/smtpd[15096]: disconnect from unknown[203.0.113.1] commands=0/0",
    ),
    ("connect", None, False): (
        "postfix/smtpd[15096]: connect from unknown[203.0.113.1]",
        "postfix/smtpd[15096]: disconnect from unknown[203.0.113.1] quit=1 commands=1",
    ),
}


def _event(what: str) -> Event:
    event: Event = {"t": 3661.25, "ip": "203.0.113.1", "account": "alice@example.test"}
    match what:
        case "smtp":
            return event | {"kind": "rcpt", "account": None, "recipient": "ghost@example.test"}
        case "connect":
            return event | {"kind": "connect"}
        case _:
            return event | {"kind": "auth", "protocol": what}


def _without_random(line: str) -> str:
    line = re.sub(r"session=<[\w/+]{16}>|(?<=15096>)<[\w/+]{16}>", "<session>", line)
    return re.sub(r"(?<=: )[0-9A-F]{10}(?=: client)", "QUEUED", line)


@pytest.mark.parametrize(("what", "outcome", "rude"), LOGGED)
def test_lines_are_those_the_servers_write(what: str, outcome: str | None, rude: bool) -> None:
    written = lines(_event(what), outcome, rude=rude)
    prefix = "2026-03-02T01:01:01.250000+00:00 mx "
    assert all(line.startswith(prefix) for line in written)
    assert [_without_random(line.removeprefix(prefix)) for line in written] == [
        _without_random(line) for line in LOGGED[what, outcome, rude]
    ]


def test_postfix_does_not_tell_an_outage_from_a_wrong_password() -> None:
    assert lines(_event("submission"), "unavailable") == lines(_event("submission"), "fail")


def test_addresses_are_written_short() -> None:
    (line,) = lines(_event("imap") | {"ip": "2001:DB8:0::9"}, "fail")
    assert "rip=2001:db8::9," in line


def test_a_name_makes_no_line_of_its_own() -> None:
    account = "a\nMar 1 dovecot: <b>\u00e9" + "x" * 70_000
    for what in ("imap", "submission"):
        for line in lines(_event(what) | {"account": account}, "fail"):
            assert len(line) < 700
            assert line.isascii()
            assert line.isprintable()


# ---- what CrowdSec is read from ----


def _database(path: Path, rows: Sequence[tuple[str, str, str]]) -> Path:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE alerts (id INTEGER PRIMARY KEY, stopped_at)")
        connection.execute("CREATE TABLE decisions (value, until, alert_decisions)")
        for number, (ip, start, end) in enumerate(rows):
            connection.execute("INSERT INTO alerts VALUES (?, ?)", (number, start))
            connection.execute("INSERT INTO decisions VALUES (?, ?, ?)", (ip, end, number))
    connection.close()
    return path


def test_decisions_are_read_in_order_and_with_their_fractions(tmp_path: Path) -> None:
    rows = [
        ("81.0.0.4", "2026-03-02 05:00:00+00:00", "2026-03-02 09:00:00+00:00"),
        ("81.0.0.4", "2026-03-02 00:00:07.5+00:00", "2026-03-02 04:00:07.5+00:00"),
        ("2001:db8::9", "2026-03-02 00:00:01.123456+00:00", "2026-03-02 04:00:01.123456+00:00"),
    ]
    assert decisions(_database(tmp_path / "db", rows), 3) == {
        "81.0.0.4": [Decided(7.5, 14_407.5), Decided(18_000.0, 32_400.0)],
        "2001:db8::9": [Decided(1.123456, 14_401.123456)],
    }


def test_a_decision_that_is_missing_is_an_error(tmp_path: Path) -> None:
    rows = [("81.0.0.4", "2026-03-02 00:00:07.5+00:00", "2026-03-02 04:00:07.5+00:00")]
    with pytest.raises(FailedError, match="2 overflows, but 1 decisions"):
        decisions(_database(tmp_path / "db", rows), 2)


def _every_third(log: Sequence[Logged]) -> dict[str, list[Decided]]:
    """A program that bans for 10 s at each third line, and does not know that it stops any."""
    counts: dict[str, int] = defaultdict(int)
    bans: dict[str, list[Decided]] = defaultdict(list)
    for one in log:
        counts[one.ip] += 1
        if counts[one.ip] % 3 == 0:
            bans[one.ip].append(Decided(one.t, one.t + 10))
    return bans


def test_a_log_is_read_again_until_no_ban_stops_a_line() -> None:
    """One line a second: the third is banned for ten, then the third of those that come."""
    log = [Logged(float(t), ip, ("x",)) for t in range(40) for ip in ("busy", "other")]
    log += [Logged(100.0, "quiet", ("x",))]
    bans = closed_loop(log, _every_third)
    assert [ban.start for ban in bans["busy"]] == [2.0, 14.0, 26.0, 38.0]
    assert bans["busy"] == bans["other"]
    assert "quiet" not in bans


@pytest.mark.parametrize(
    ("t", "stopped"), [(7.0, False), (7.5000004, False), (7.6, True), (19.0, True), (20.0, False)]
)
def test_a_ban_does_not_stop_the_line_that_brought_it(t: float, stopped: bool) -> None:
    """The log cuts the time of that line to microseconds."""
    assert Decided(7.5, 20.0).stops(t) is stopped


# ---- fail2ban's configuration ----


def test_fail2bans_jails_are_switched_on_and_no_more(tmp_path: Path) -> None:
    shipped = tmp_path / "tree/etc/fail2ban"
    shipped.mkdir(parents=True)
    (shipped / "jail.conf").write_text("shipped")
    config = configured(tmp_path / "tree", tmp_path / "home", ("dovecot",), increment=True)
    assert (config / "jail.conf").read_text() == "shipped"
    assert (config / "jail.local").read_text() == (
        "[DEFAULT]\nbantime.increment = true\n[sshd]\nenabled = false\n[dovecot]\nenabled = true\n"
    )


# ---- the comparison and its world ----


def test_agreement_counts_who_is_banned_when_and_what_is_dropped() -> None:
    real = Seen({"a": [Ban(1.0, 600)], "b": [Ban(5.0, 600), Ban(700.0, 600)]}, frozenset({1, 2}))
    ours = Seen({"b": [Ban(5.9, 600), Ban(702.0, 600)], "c": [Ban(1.0, 60)]}, frozenset({2, 3}))
    result = agreement("x", 10, real, ours)
    assert result.real == {"a", "b"}
    assert result.baseline == {"b", "c"}
    assert result.both == {"b"}
    assert (result.real_bans, result.baseline_bans, result.same_bans) == (3, 3, 1)
    assert result.apart_s == pytest.approx((0.9,))
    assert result.alike == 8
    assert result.row() == "| x | 2 / 2 / 1 | 3 / 3 / 1 | 0.9 / 0.9 | 2 of 10 (80.000% alike) |"


def test_a_ban_of_another_length_is_another() -> None:
    seen = [Seen({"a": [Ban(1.0, seconds)]}, frozenset()) for seconds in (600, 1200)]
    assert agreement("x", 1, *seen).same_bans == 0


def test_the_world_is_the_seeds_and_in_order() -> None:
    world = real_world.events(3)
    assert world == real_world.events(3) != real_world.events(4)
    assert [event["t"] for event in world] == sorted(event["t"] for event in world)
    assert {event["kind"] for event in world} == {"auth", "rcpt", "connect", "outage"}
    assert 20_000 < len(world) < 50_000
