"""A ban in 26 octets, and its key in 3 to 8: what a million of them are kept as.

A key is the octets its prefix fixes, so its size says which length it is of: 3 for /24 and 4 for
/32 (IPv4), 6 for /48 and 8 for /64 (IPv6). A place is a key with its scope, in one fixed size.
Neither keys nor rows are anything the garbage collector looks into.
"""

from struct import Struct
from typing import Final

from gatekeeper.ban import Ban, Origin, Scope
from gatekeeper.prefix import Prefix
from gatekeeper.verdict import Reason

PLACE_OCTETS: Final = 9
_KEY_OCTETS: Final = 8
_TAIL: Final = bytes(8)

_ROW: Final = Struct("<ddqBB")  # end, since, level, reason, origin
_END: Final = Struct("<d")  # so is `since`, right behind

_SCOPES: Final = tuple(Scope)
_REASONS: Final = tuple(Reason)
_ORIGINS: Final = tuple(Origin)
# By identity: an Enum's own hash is a function in Python, and a member is there once.
_REASON_NUMBERS: Final = {id(reason): number for number, reason in enumerate(_REASONS)}
_ORIGIN_NUMBERS: Final = {id(origin): number for number, origin in enumerate(_ORIGINS)}
_TAGS: Final = tuple(
    tuple(bytes([side << 4 | octets]) for octets in range(_KEY_OCTETS + 1))
    for side in range(len(_SCOPES))
)

unpack_end: Final = _END.unpack_from
"""The end of a row as the only one of a tuple; it is in force while that lies ahead. Where the ban
had ended when it was put in, the end is negated: it stays ended if the clock is put back."""


def side_of(scope: Scope) -> int:
    """The number of a scope."""
    return 0 if scope is _SCOPES[0] else 1


def scope_of(side: int) -> Scope:
    """The scope of a number."""
    return _SCOPES[side]


def key_of(prefix: Prefix) -> bytes:
    """The key of a /24, /32, /48 or /64."""
    packed, length = prefix
    return packed[: length >> 3]


def prefix_of(key: bytes) -> Prefix:
    """The prefix of a key."""
    octets = len(key)
    if octets == 8:
        return Prefix(key + _TAIL, 64)
    return Prefix(key.ljust(4 if octets <= 4 else 16, b"\0"), octets << 3)


def place_of(side: int, key: bytes) -> bytes:
    """A key in a scope, `PLACE_OCTETS` long."""
    return _TAGS[side][len(key)] + key.ljust(_KEY_OCTETS, b"\0")


def read_place(place: bytes) -> tuple[int, bytes]:
    """The number of the scope and the key."""
    tag = place[0]
    return tag >> 4, place[1 : 1 + (tag & 15)]


def pack(ban: Ban, *, ended: bool) -> bytes:
    """All of `ban` but its key and note; its end is not negative. `ended`: see `unpack_end`."""
    return _ROW.pack(
        -ban.until if ended else ban.until,
        ban.since,
        ban.level,
        _REASON_NUMBERS[id(ban.reason)],
        _ORIGIN_NUMBERS[id(ban.origin)],
    )


def unpack(side: int, key: bytes, row: bytes, note: str) -> Ban:
    """The ban again, equal to the one that was packed."""
    end, since, level, reason, origin = _ROW.unpack(row)
    return Ban(
        prefix_of(key),
        _SCOPES[side],
        _REASONS[reason],
        level,
        since,
        abs(end),
        _ORIGINS[origin],
        note,
    )


def origin_of(row: bytes) -> Origin:
    """Who made the ban of a row."""
    return _ORIGINS[row[-1]]


def version_of(key: bytes) -> int:
    """The IP version of a key's prefix."""
    return 4 if len(key) <= 4 else 6


def since_of(row: bytes) -> float:
    """When the ban of a row was made."""
    return float(_END.unpack_from(row, _END.size)[0])
