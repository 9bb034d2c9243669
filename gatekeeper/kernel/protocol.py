"""The closed verb table between the guard and the privileged process.

One JSON object a packet, over a SOCK_SEQPACKET socket, so that a packet is a message and nothing
needs framing. The guard asks, the kernel process answers once; `id` ties the answer to its
question, so that an asker who gave up can tell a late answer from his own.

    verb      fields                              answer, besides `id`
    hello                                         version
    ban       entries, and perhaps lift           refused, if the never list forbade some
    lift      entries
    get       entry                               remaining_ms, null where it is not held
    list      start                               entries, more
    counters                                      counters: {name: [packets, octets]}
    kill      entry                               killed
    reload    allow

    entries of `ban`     [[ADDRESS, LENGTH, SCOPE, SECONDS], ...]
    entries else, entry  [ADDRESS, LENGTH, SCOPE]

Any answer may be `{"id": …, "error": TEXT}`: then nothing was done. Any may carry
`"rebuilt": true`: somebody had removed the table and all bans with it; it is back and empty but
for what this very request put there, and the guard applies its bans anew.

`list` reads one page at a time: `start` true begins, then false until `more` is false. One packet
of `ban` is one kernel transaction: all of its entries and lifts, or none.

The guard faces the network and may be taken over; nothing it sends is believed. This module is
pure: a packet in, a checked request or an `Invalid` out.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gatekeeper.kernel.element import Element, Network, element, network

VERSION: Final = 1
PACKET_MAX_OCTETS: Final = 65_536  # fits the default send buffer of a Unix socket three times
ENTRIES_MAX: Final = 1_000  # of 64 octets at most each, so a full request is one packet
SECONDS_MAX: Final = 8 * 86_400  # the longest ban of the policy is a week; all bans end
ALLOW_MAX: Final = 1_000  # an operator's list; it is also a walk for each ban
_ID_MAX: Final = 2**53  # what every JSON reader takes for an integer


@dataclass(frozen=True, slots=True)
class Hello:
    """Is the table there? Builds it anew where it is not."""


@dataclass(frozen=True, slots=True)
class Ban:
    """Hold `seconds` of each element from now, and let go of `lifts`, in one transaction."""

    seconds: Mapping[Element, int]
    lifts: tuple[Element, ...] = ()


@dataclass(frozen=True, slots=True)
class Get:
    """How long is this element still held?"""

    element: Element


@dataclass(frozen=True, slots=True)
class List:
    """The first page of all that is held, or the next one."""

    start: bool


@dataclass(frozen=True, slots=True)
class Counters:
    """The named counters."""


@dataclass(frozen=True, slots=True)
class Kill:
    """Reset the open connections of this network to its scope's guarded ports."""

    element: Element


@dataclass(frozen=True, slots=True)
class Reload:
    """Load the rules again, with this allow list; bans stay.

    Ports and the never list are not in here: a guard that was taken over must not be able to
    ban anybody from ports it was not given, such as the administrator's own.
    """

    allow: tuple[Network, ...]


Request = Hello | Ban | Get | List | Counters | Kill | Reload


@dataclass(frozen=True, slots=True)
class Invalid:
    """A packet that is no request; `text` says why, in our words only."""

    text: str


def parse(packet: bytes) -> tuple[int, Request | Invalid]:
    """The id of a packet (0 where it has none) and what it asks. Never raises."""
    if len(packet) > PACKET_MAX_OCTETS:
        return 0, Invalid("packet too large")
    try:
        fields = json.loads(packet)
    except (ValueError, RecursionError):
        return 0, Invalid("not JSON")
    if not isinstance(fields, dict):
        return 0, Invalid("not an object")
    ident = fields.pop("id", 0)
    if type(ident) is not int or not 0 <= ident <= _ID_MAX:
        return 0, Invalid("bad id")
    verb = fields.pop("verb", None)
    reader = _READERS.get(verb) if isinstance(verb, str) else None
    if reader is None:
        return ident, Invalid("unknown verb")
    try:
        request = reader(fields)
    except ValueError as error:
        return ident, Invalid(str(error))
    if fields:
        return ident, Invalid("unknown field")
    return ident, request


def encode(fields: Mapping[str, object]) -> bytes:
    """One packet."""
    return json.dumps(fields, separators=(",", ":")).encode("ascii")


# Readers take what they know out of the fields; `parse` refuses what is left.


def _read_hello(_fields: dict[str, Any]) -> Request:
    return Hello()


def _read_ban(fields: dict[str, Any]) -> Request:
    rows = _rows(fields.pop("entries", None))
    lifted = _rows(fields.pop("lift", []))
    if len(rows) + len(lifted) > ENTRIES_MAX:
        raise ValueError("too many entries")
    bans: dict[Element, int] = {}
    for row in rows:
        if not isinstance(row, list) or len(row) != 4:
            raise ValueError("a ban is [address, length, scope, seconds]")
        seconds = row[3]
        if type(seconds) is not int or not 1 <= seconds <= SECONDS_MAX:
            raise ValueError("seconds out of range")
        bans[_element(row[:3])] = seconds  # the last of one key wins
    lifts = tuple(dict.fromkeys(map(_element, lifted)))
    if not bans.keys().isdisjoint(lifts):
        raise ValueError("banned and lifted at once")
    return Ban(bans, lifts)


def _read_lift(fields: dict[str, Any]) -> Request:
    return Ban({}, tuple(dict.fromkeys(map(_element, _rows(fields.pop("entries", None))))))


def _read_get(fields: dict[str, Any]) -> Request:
    return Get(_element(fields.pop("entry", None)))


def _read_list(fields: dict[str, Any]) -> Request:
    start = fields.pop("start", None)
    if not isinstance(start, bool):
        raise ValueError("start is true or false")
    return List(start)


def _read_counters(_fields: dict[str, Any]) -> Request:
    return Counters()


def _read_kill(fields: dict[str, Any]) -> Request:
    return Kill(_element(fields.pop("entry", None)))


def _read_reload(fields: dict[str, Any]) -> Request:
    allow = fields.pop("allow", None)
    if not isinstance(allow, list) or len(allow) > ALLOW_MAX:
        raise ValueError("allow is a list, and not a long one")
    return Reload(tuple(network(_text(text)) for text in allow))


_READERS: Final[dict[str, Callable[[dict[str, Any]], Request]]] = {
    "hello": _read_hello,
    "ban": _read_ban,
    "lift": _read_lift,
    "get": _read_get,
    "list": _read_list,
    "counters": _read_counters,
    "kill": _read_kill,
    "reload": _read_reload,
}


def _rows(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError("entries is a list")
    if len(value) > ENTRIES_MAX:
        raise ValueError("too many entries")
    return value


def _element(row: object) -> Element:
    if not isinstance(row, list) or len(row) != 3:
        raise ValueError("an entry is [address, length, scope]")
    address, length, scope = row
    if type(length) is not int:
        raise ValueError("length is not a number")
    return element(_text(address), length, _text(scope))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("not a string")
    return value
