"""CrowdSec's decisions, in the three shapes it gives them.

* `cscli decisions list -o json`: a list of alerts, each with its `decisions`;
* `GET /v1/decisions`: a list of decisions;
* `GET /v1/decisions/stream`: an object with decisions that are `new` and such that are `deleted`.

An empty result is `null`. A decision is wanted here if it is a ban of an Ip or a Range, not merely
simulated, and still in force. Its `duration`, a Go duration, is what is left of it.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from gatekeeper.prefix import Prefix
from gatekeeper.wire.ban_lists import Listed

MAX_DURATION_CHARACTERS: Final = 64
_UNITS_S: Final = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_MICRO: Final = re.compile("[\u00b5\u03bc]s")  # Go writes the first and reads both
_PART: Final = re.compile(r"(\d{1,18}(?:\.\d{0,18})?|\.\d{1,18})(ns|us|ms|s|m|h)", re.ASCII)
_SCOPES: Final = frozenset({"ip", "range"})


class Left(Enum):
    """Why a decision is left out; the words operators see."""

    DELETED = "deleted"
    OTHER_TYPE = "no ban"
    OTHER_SCOPE = "neither Ip nor Range"
    SIMULATED = "simulated"
    ENDED = "ended"
    UNREADABLE = "unreadable"


@dataclass(slots=True)
class Decisions:
    """Decisions that are bans, and the number of the others by why they are left out."""

    listed: list[Listed] = field(default_factory=list)
    left: Counter[Left] = field(default_factory=Counter)


def read_decisions(octets: bytes, old_s: float = 0.0) -> Decisions | None:
    """Sort the decisions of an answer that is `old_s` old; None where it is none of the three
    shapes. Never raises."""
    try:
        answer = json.loads(octets)
    except (ValueError, RecursionError):
        return None
    found = Decisions()
    match answer:
        case None:
            return found
        case list():
            new = answer
        case {"new": list() | None as some, **rest}:
            new = some or []
            deleted = rest.get("deleted")
            found.left[Left.DELETED] += len(deleted) if isinstance(deleted, list) else 0
        case _:
            return None
    for decision in _decisions(new):
        judged = _judge(decision, old_s)
        if isinstance(judged, Left):
            found.left[judged] += 1
        else:
            found.listed.append(judged)
    return found


def _decisions(entries: list[object]) -> Iterator[object]:
    """Decisions themselves, and those inside alerts."""
    for entry in entries:
        match entry:
            case {"decisions": list() as inner}:
                yield from inner
            case {"decisions": None}:
                pass
            case _:
                yield entry


def _judge(decision: object, old_s: float) -> Listed | Left:
    match decision:
        case {"type": str() as kind, "scope": str() as scope, "value": str() as value}:
            assert isinstance(decision, dict), "what a mapping from JSON is"
        case _:
            return Left.UNREADABLE
    if kind.lower() != "ban":
        return Left.OTHER_TYPE
    if scope.lower() not in _SCOPES:
        return Left.OTHER_SCOPE
    if decision.get("simulated") is True:
        return Left.SIMULATED
    seconds = go_duration(decision.get("duration"))
    if seconds is None:
        return Left.UNREADABLE
    if seconds <= old_s:
        return Left.ENDED
    try:
        return Listed(Prefix.parse(value), seconds - old_s)
    except ValueError:
        return Left.UNREADABLE


def go_duration(value: object) -> float | None:
    """Seconds of `3h59m58.123s` as Go's `Duration.String` writes it, perhaps negative; None where
    it is none."""
    if not isinstance(value, str) or len(value) > MAX_DURATION_CHARACTERS:
        return None
    text = _MICRO.sub("us", value.removeprefix("-"))
    if text == "0":
        return 0.0
    seconds, end = 0.0, 0
    while match := _PART.match(text, end):
        seconds += float(match[1]) * _UNITS_S[match[2]]
        end = match.end()
    if end == 0 or end != len(text):
        return None
    return -seconds if value.startswith("-") else seconds
