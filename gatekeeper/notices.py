"""Notices: what an operator is woken for, in stable words.

`kind` and `subject` are for programs, `text` is for people. A notice names accounts, addresses,
zones and files of the operator's own server, as the log does, and nothing else of them: no
password, no mail, no key of a list. Account names are what clients typed: escaped and cut.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from gatekeeper.policy.breaker import Trip
from gatekeeper.remembered import AccountLock, LockKind

MAX_NAME_CHARACTERS: Final = 80
MAX_TEXT_CHARACTERS: Final = 400
DAY_S: Final = 86400.0

_WATCHED: Final = "the rule only watches, so nothing is done"

Details = Mapping[str, str | int | float]


class NoticeKind(Enum):
    """What has happened; never renamed."""

    ACCOUNT_LANE_LOCKED = "account-lane-locked"
    ACCOUNT_HELD = "account-held"
    BREAKER = "breaker"
    CERTIFICATE = "certificate"
    ZONE = "zone"
    PART = "part"  # of the guard: store, enforcer, http
    BACKEND = "backend"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing to know. `over` says that what an earlier one of this kind and subject told is no
    more."""

    kind: NoticeKind
    subject: str
    text: str
    over: bool = False
    details: Details = field(default_factory=dict)


def account_locked(lock: AccountLock, account: str, *, enforced: bool) -> Notice:
    """An account is held, or strangers are kept off it for the first time in this siege; or would
    be, if the rule did not only watch."""
    name = _shown(account)
    for_s = 0.0 if lock.until is None else round(lock.until - lock.since)
    details: Details = {"for_s": for_s, "enforced": enforced}
    if lock.kind is LockKind.LANE:
        done = f"they are kept off for {_span(for_s)}" if enforced else _WATCHED
        text = f"strangers guess at {name} without end: {done}"
        return Notice(NoticeKind.ACCOUNT_LANE_LOCKED, name, text, details=details)
    done = f"it may not send for {_span(for_s)}" if enforced else _WATCHED
    text = f"{name} behaves like a stolen account ({lock.note}): {done}"
    return Notice(NoticeKind.ACCOUNT_HELD, name, text, details={**details, "why": lock.note})


def breaker_opened(trip: Trip) -> Notice:
    """Rules ban no more."""
    text = f"the bans that rules want look like a mistake ({trip.cause.value}): they make none now"
    details = {"cause": trip.cause.value, "bans": trip.figures.bans, "met": trip.figures.met}
    return Notice(NoticeKind.BREAKER, "breaker", text, details=details)


def breaker_closed(withheld: int) -> Notice:
    """Rules ban again."""
    text = f"rules ban again; {withheld} bans were not made since the start"
    return Notice(NoticeKind.BREAKER, "breaker", text, over=True, details={"withheld": withheld})


def certificate(path: str, left_s: float) -> Notice:
    """A certificate that is served ends soon, or has ended; negative seconds are since then."""
    if left_s <= 0:
        text = f"the certificate {path} has expired: clients refuse it"
    else:
        text = f"the certificate {path} expires in {_span(left_s)}: it was not renewed, or not"
        text += " taken in (SIGHUP)"
    details = {"left_s": round(left_s)}
    return Notice(NoticeKind.CERTIFICATE, path, text, details=details)


def certificate_renewed(path: str, left_s: float) -> Notice:
    """One that was told of is good again."""
    text = f"the certificate {path} was renewed: {_span(left_s)} left"
    return Notice(NoticeKind.CERTIFICATE, path, text, over=True, details={"left_s": round(left_s)})


def zone(name: str, why: str) -> Notice:
    """A DNS list is off, and why; or on again, where `why` is empty."""
    text = f"the list {name} is switched off: {why}" if why else f"the list {name} is asked again"
    return Notice(NoticeKind.ZONE, name, text, over=not why, details={"why": why} if why else {})


def part(name: str, why: str) -> Notice:
    """A part of the guard fails, and why; or works again, where `why` is empty."""
    text = f"the {name} fails: {why}" if why else f"the {name} works again"
    return Notice(NoticeKind.PART, name, text, over=not why, details={"why": why} if why else {})


def backend(name: str, why: str) -> Notice:
    """A backend cannot be reached, and why; or can again, where `why` is empty."""
    text = f"the backend {name} is away: {why}" if why else f"the backend {name} is back"
    return Notice(NoticeKind.BACKEND, name, text, over=not why, details={"why": why} if why else {})


def test() -> Notice:
    """What `gatekeeper notify test` sends."""
    return Notice(NoticeKind.TEST, "test", "a test: notices of this guard arrive")


def encoded(
    notice: Notice, host: str, at: float, others: Sequence[Notice] = (), more: int = 0
) -> bytes:
    """A notice as it is handed over: one JSON object and a line end, ASCII, below 64 KB, so that it
    fits into a pipe. With
    `more` it stands for as many besides itself, of which `others` are told by their texts."""
    text = f"{_cut(notice.text)} (and {more} more)" if more else _cut(notice.text)
    record = {
        "kind": notice.kind.value,
        "subject": _cut(notice.subject),
        "text": text,
        "over": notice.over,
        "host": host,
        "at": round(at, 3),
        "details": {name: _cut(value) for name, value in notice.details.items()},
        "more": more,
        "others": [_cut(one.text) for one in others],
    }
    return json.dumps(record).encode() + b"\n"


def _cut(value: object) -> object:
    if not isinstance(value, str) or len(value) <= MAX_TEXT_CHARACTERS:
        return value
    return value[: MAX_TEXT_CHARACTERS - 1] + "…"


def _shown(name: str) -> str:
    """A name a client gave: printable, and not too long."""
    cut = name[:MAX_NAME_CHARACTERS]
    return "".join(each if each.isprintable() else "?" for each in cut)


def _span(seconds: float) -> str:
    """`13 days`, `20 hours`, `5 minutes`: rounded down, at least one minute."""
    for unit_s, name in ((DAY_S, "day"), (3600.0, "hour")):
        if seconds >= unit_s:
            return f"{int(seconds // unit_s)} {name}{'' if seconds < 2 * unit_s else 's'}"
    minutes = max(1, int(seconds // 60))
    return f"{minutes} minute{'' if minutes == 1 else 's'}"
