"""The closed verb table between the guard and the privileged process.

One JSON object a packet, over a SOCK_SEQPACKET socket, so that a packet is a message and nothing
needs framing. The guard asks, the kernel process answers once; `id` ties the answer to its
question, so that an asker who gave up can tell a late answer from his own.

    verb      fields                              answer, besides `id`
    hello                                         version
    ban       entries, and perhaps lift           refused, if the never list forbade some
    lift      entries
    put       scope, length, records, replace     refused
    get       entry                               remaining_ms, null where it is not held
    list      start                               scope, length, records, more
    counters                                      counters: {name: [packets, octets]}
    kill      entries                             killed
    reload    allow, block
    suspend   on
    dial      target, source, port                and a descriptor: see `dial`

    entries of `ban`     [[ADDRESS, LENGTH, SCOPE, SECONDS], ...]
    entries else, entry  [ADDRESS, LENGTH, SCOPE]
    records              in hexadecimal, for each ban its key of 4 or 8 octets and 4 of seconds, or
                         of milliseconds in the answer to `list`

Any answer may be `{"id": …, "error": TEXT}`: then nothing was done.

`list` reads one page at a time: `start` true begins, then false until `more` is false. One packet
of `ban` or `put` is one kernel transaction: all of it, or none. `put` is `ban` for thousands, of
one set; without `replace` what is held keeps its time, and the kernel has a third of the work.

The process speaks unasked, too, in packets without an id:

    {"event": "started"}                 it is new: a question under way when it came has no answer
    {"event": "rebuilt"}                 the table was gone and is back, without its bans
    {"event": "lifted", "entries": []}   somebody else took these bans out of the kernel
    {"event": "added", "entries": []}    and put these in, each with its milliseconds
    {"event": "flood", "sources": []}    addresses that the kernel drops for their new connections
    {"event": "missed"}                  there was more than could be told: compare everything

The guard faces the network and may be taken over; nothing it sends is believed: `parsing`.
"""

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gatekeeper.kernel.element import Element, Network

VERSION: Final = 2
PACKET_MAX_OCTETS: Final = 65_536  # fits the default send buffer of a Unix socket three times
ENTRIES_MAX: Final = 1_000  # of 64 octets at most each, so a full request is one packet
SECONDS_MAX: Final = 8 * 86_400  # the longest ban of the policy is a week; all bans end
LIST_MAX: Final = 1_000  # an operator's list; a longer one is for the configuration at start
# A record of `put` by its prefix length: the key, of IPv6 what is not always zero, and seconds.
SHORT, LONG = struct.Struct(">4sI"), struct.Struct(">8sI")
RECORDS: Final = {32: SHORT, 24: SHORT, 64: LONG, 48: LONG}
RECORDS_MAX: Final = 2_500  # of 24 digits at most each, so a full request is one packet
SET_IS_FULL: Final = "set is full"  # the one error that a caller tells from others
ID_MAX: Final = 2**53  # what every JSON reader takes for an integer


@dataclass(frozen=True, slots=True)
class Hello:
    """Is the table there? Builds it anew where it is not."""


@dataclass(frozen=True, slots=True)
class Ban:
    """Hold `seconds` of each element from now, and let go of `lifts`, in one transaction."""

    seconds: Mapping[Element, int]
    lifts: tuple[Element, ...] = ()


@dataclass(frozen=True, slots=True)
class Put:
    """Hold `records`, packed keys of one set with their seconds. No key comes twice."""

    scope: str
    length: int
    records: Sequence[tuple[bytes, int]]
    replace: bool


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
    """Reset the open connections of these networks to their scopes' guarded ports."""

    elements: tuple[Element, ...]


@dataclass(frozen=True, slots=True)
class Reload:
    """Load the rules again, with these lists; bans stay.

    Ports and the never list are not in here: a guard that was taken over must not be able to
    ban anybody from ports it was not given, such as the administrator's own.
    """

    allow: tuple[Network, ...]
    block: tuple[Network, ...]


@dataclass(frozen=True, slots=True)
class Suspend:
    """Let everybody through and keep what is held, or end that."""

    on: bool


@dataclass(frozen=True, slots=True)
class Dial:
    """Connect to backend `target` of the command line from a client's own address and port."""

    target: int
    source: bytes
    port: int


TableRequest = Hello | Ban | Put | Get | List | Counters | Kill | Reload | Suspend
Request = TableRequest | Dial


@dataclass(frozen=True, slots=True)
class Invalid:
    """A packet that is no request; `text` says why, in our words only."""

    text: str


def encode(fields: Mapping[str, object]) -> bytes:
    """One packet."""
    return json.dumps(fields, separators=(",", ":")).encode("ascii")
