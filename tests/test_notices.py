"""The words of notices, and the JSON they are handed over as."""

import json
from typing import Any

import pytest

from gatekeeper import notices
from gatekeeper.notices import Notice, NoticeKind, encoded
from gatekeeper.policy.breaker import Cause, Figures, Trip
from gatekeeper.remembered import AccountLock, LockKind

HOLD = AccountLock(1, LockKind.HELD, 100.0, 100.0 + 86400, "new-networks")
LANE = AccountLock(1, LockKind.LANE, 100.0, 100.0 + 3600)


def decoded(notice: Notice, *others: Notice, more: int = 0) -> dict[str, Any]:
    body = encoded(notice, "mail.example.org", 1_700_000_000.25, others, more)
    assert body.endswith(b"\n")
    assert body.count(b"\n") == 1
    assert body.isascii()
    record: dict[str, Any] = json.loads(body)
    return record


@pytest.mark.parametrize(
    ("notice", "kind", "text", "over"),
    [
        (
            notices.account_locked(HOLD, "ann@example.org", enforced=True),
            "account-held",
            "ann@example.org behaves like a stolen account (new-networks): it may not send for 1"
            " day",
            False,
        ),
        (
            notices.account_locked(LANE, "ann@example.org", enforced=True),
            "account-lane-locked",
            "strangers guess at ann@example.org without end: they are kept off for 1 hour",
            False,
        ),
        (
            notices.account_locked(LANE, "ann", enforced=False),
            "account-lane-locked",
            "strangers guess at ann without end: the rule only watches, so nothing is done",
            False,
        ),
        (notices.zone("zen.example", "refused"), "zone",
         "the list zen.example is switched off: refused", False),
        (notices.zone("zen.example", ""), "zone", "the list zen.example is asked again", True),
        (notices.part("store", "disk full"), "part", "the store fails: disk full", False),
        (notices.part("store", ""), "part", "the store works again", True),
        (notices.backend("dovecot", "refused"), "backend",
         "the backend dovecot is away: refused", False),
        (notices.backend("dovecot", ""), "backend", "the backend dovecot is back", True),
        (
            notices.certificate("/etc/c.pem", 6.5 * 86400),
            "certificate",
            "the certificate /etc/c.pem expires in 6 days: it was not renewed, or not taken in"
            " (SIGHUP)",
            False,
        ),
        (notices.certificate("/etc/c.pem", -5), "certificate",
         "the certificate /etc/c.pem has expired: clients refuse it", False),
        (notices.certificate_renewed("/etc/c.pem", 80 * 86400), "certificate",
         "the certificate /etc/c.pem was renewed: 80 days left", True),
        (notices.breaker_closed(7), "breaker",
         "rules ban again; 7 bans were not made since the start", True),
        (notices.test(), "test", "a test: notices of this guard arrive", False),
    ],
)  # fmt: skip
def test_words(notice: Notice, kind: str, text: str, over: bool) -> None:
    record = decoded(notice)
    assert (record["kind"], record["text"], record["over"]) == (kind, text, over)
    assert (record["host"], record["at"]) == ("mail.example.org", 1_700_000_000.25)
    assert (record["more"], record["others"]) == (0, [])


def test_breaker_tells_what_opened_it() -> None:
    trip = Trip(Cause.PEOPLE, 100.0, 700.0, Figures(5, 90, 9, 12, 4))
    record = decoded(notices.breaker_opened(trip))
    assert record["details"] == {"cause": "people", "bans": 90, "met": 9}
    assert record["over"] is False


def test_a_summary_says_how_many_more_and_names_some() -> None:
    record = decoded(notices.zone("a", ""), notices.zone("b", "x"), more=37)
    assert record["text"] == "the list a is asked again (and 37 more)"
    assert record["others"] == ["the list b is switched off: x"]
    assert record["more"] == 37


def test_a_hostile_name_forges_nothing_and_does_not_grow() -> None:
    name = 'x\r\n"},{"kind":"breaker\x1b[2J' + "\u202e" + "y" * 10_000
    record = decoded(notices.account_locked(LANE, name, enforced=False))
    assert record["kind"] == "account-lane-locked"
    assert len(record["subject"]) == notices.MAX_NAME_CHARACTERS
    assert record["text"].isprintable()


def test_the_longest_is_short_enough_for_a_pipe() -> None:
    long = Notice(
        NoticeKind.ZONE, "\u20ac" * 5000, "\u20ac" * 5000, details={"why": "\u20ac" * 5000}
    )
    body = encoded(long, "h" * 255, 0.0, [long] * 19, 10**6)
    assert len(body) < 64 * 1024  # pipe(7): what a hook that reads nothing takes all the same
