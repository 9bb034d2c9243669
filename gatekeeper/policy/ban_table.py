"""The last ban of every prefix and scope, in force or remembered, in some 165 octets each.

Theory of operation. A row is packed octets in a dictionary, by the octets of its prefix; `Ban`
records are made when one is asked for. A ban in force and one that is history are the same row:
which it is, its end says to whoever reads it, exactly and at once. The counts and the order of
ends come from `EndBuckets`, so nothing is moved when a ban ends, however many end together.

The dictionaries are split by the last octet of the key: one of a million entries would hold the
loop for 30 ms whenever it grows, and could not be walked in pieces while it changes.
"""

from bisect import insort
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from heapq import nsmallest
from itertools import islice
from math import inf
from typing import Final

from gatekeeper.ban import Ban, End, Origin, Scope
from gatekeeper.policy.ban_rows import (
    key_of,
    origin_of,
    pack,
    place_of,
    prefix_of,
    read_place,
    scope_of,
    side_of,
    since_of,
    unpack,
    unpack_end,
    version_of,
)
from gatekeeper.policy.end_buckets import EndBuckets, bucket_number
from gatekeeper.prefix import Prefix

FORGET_STEP: Final = 2_000  # rows dropped in one call, some 2 ms
LOOK_AHEAD: Final = 10_000  # how many of the next ends are sorted when a full table needs them
_WIDE_OCTETS: Final = frozenset({3, 6})


class BanTable:
    """Bans by prefix (/24, /32, /48, /64) and scope; `now` is Unix time in seconds throughout."""

    def __init__(self) -> None:
        self._shards: tuple[list[dict[bytes, bytes]], ...] = tuple(
            [{} for _ in range(256)] for _ in Scope
        )
        self._notes: dict[bytes, str] = {}  # by place; few bans have one
        self._last_note = ""
        self._soonest: list[tuple[float, bytes]] = []  # ends and places, the soonest last
        self._ends: Final = EndBuckets(self._is_live)

    def in_force(self, now: float) -> int:
        """The number of bans in force. Costs a look at those that end within `SPAN_S`."""
        self.advance(now)
        ended = sum(self._end_at(place) <= now for place in self._ends.current())
        return self._ends.coming - ended

    def shards(self, scope: Scope) -> Sequence[Mapping[bytes, bytes]]:
        """The rows of a scope by key (`ban_rows.key_of`), in the dictionary of its last octet.
        They stay the same objects: for a quick look whether anything is known of a key."""
        return self._shards[side_of(scope)]

    @property
    def ends(self) -> EndBuckets:
        """The counts: `coming` are in force, or were within the last `SPAN_S`; `over` is the rest;
        `wide` is 0 where no ban of a /24 or /48 is in force."""
        return self._ends

    def until(self, prefix: Prefix, scope: Scope) -> float:
        """When the ban in force of just this prefix ends; what lies behind where there is none."""
        key = key_of(prefix)
        row = self._shards[side_of(scope)][key[-1]].get(key)
        return 0.0 if row is None else unpack_end(row)[0]

    def covering(self, prefix: Prefix, scope: Scope, now: float) -> Ban | None:
        """The ban in force of `prefix`, a /32 or /64, or of the wide one it lies in."""
        packed = prefix.packed
        key = packed if len(packed) == 4 else packed[:8]
        shards = self._shards[0 if scope is Scope.AUTH else 1]
        row = shards[key[-1]].get(key)
        if row is not None and unpack_end(row)[0] > now:
            return self._unpacked(side_of(scope), key, row)
        if not self._ends.wide:
            return None
        key = packed[:3] if len(packed) == 4 else packed[:6]
        row = shards[key[-1]].get(key)
        if row is None or unpack_end(row)[0] <= now:
            return None
        return self._unpacked(side_of(scope), key, row)

    def latest(self, prefix: Prefix, scope: Scope) -> Ban | None:
        """The last ban of just this prefix."""
        side, key = side_of(scope), key_of(prefix)
        row = self._shards[side][key[-1]].get(key)
        return None if row is None else self._unpacked(side, key, row)

    def bans(self, now: float) -> Iterator[Ban]:
        """Every ban in force, in no particular order; not to be changed meanwhile."""
        for side, shards in enumerate(self._shards):
            for rows in shards:
                for key, row in rows.items():
                    if unpack_end(row)[0] > now:
                        yield self._unpacked(side, key, row)

    def __len__(self) -> int:
        """How much is known: bans in force and ended ones."""
        return sum(len(rows) for shards in self._shards for rows in shards)

    def keys(self, most: int, begin: int = 0) -> Iterator[tuple[int, tuple[bytes, ...]]]:
        """Where anything is known, for `ends_at` and `bans_at`, at most so many at a time, the
        first `begin` left out. The table may change meanwhile: what is there throughout comes
        once."""
        for side, shards in enumerate(self._shards):
            for rows in shards:
                if begin >= len(rows):
                    begin -= len(rows)
                    continue
                keys = tuple(islice(rows, begin, None))
                begin = 0
                for start in range(0, len(keys), most):
                    yield side, keys[start : start + most]

    def ends_at(self, side: int, keys: Sequence[bytes], now: float) -> list[End]:
        """Those of `keys`, of one portion, where a ban is in force."""
        scope, rows = scope_of(side), self._shards[side][keys[0][-1]]
        ends = []
        for key in keys:
            row = rows.get(key)
            if row is not None and (until := unpack_end(row)[0]) > now:
                ends.append((prefix_of(key), scope, until))
        return ends

    def bans_at(self, side: int, keys: Sequence[bytes], now: float) -> list[Ban]:
        """As `ends_at`, but whole bans."""
        rows = self._shards[side][keys[0][-1]]
        return [
            self._unpacked(side, key, row)
            for key in keys
            if (row := rows.get(key)) is not None and unpack_end(row)[0] > now
        ]

    def kinds_at(
        self, side: int, keys: Sequence[bytes], now: float
    ) -> Counter[tuple[Origin, int, Scope]]:
        """Origin, IP version and scope of the bans in force at `keys`, of one portion, counted."""
        scope, rows = scope_of(side), self._shards[side][keys[0][-1]]
        kinds = Counter(
            (origin_of(row), version_of(key))
            for key in keys
            if (row := rows.get(key)) is not None and unpack_end(row)[0] > now
        )
        return Counter({(*kind, scope): count for kind, count in kinds.items()})

    def put(self, ban: Ban, now: float, *, if_later: bool = False) -> None:
        """Keep `ban` in place of what is known of its prefix and scope; `if_later`: unless that was
        made at the same time or later."""
        side, key = side_of(ban.scope), key_of(ban.prefix)
        rows = self._shards[side][key[-1]]
        wide = len(key) in _WIDE_OCTETS
        old = rows.get(key)
        if old is not None:
            if if_later and since_of(old) >= ban.since:
                return
            self._ends.remove(_bucket(old), wide=wide)
        until = ban.until
        place = place_of(side, key)
        rows[key] = row = pack(ban, ended=until <= now)
        self._ends.add(_bucket(row), place, wide=wide)
        if ban.note or self._notes:
            self._put_note(place, ban.note)
        if self._soonest and until < self._soonest[0][0]:
            insort(self._soonest, (until, place), key=lambda one: -one[0])
            if len(self._soonest) > 2 * LOOK_AHEAD:
                self._soonest.clear()

    def take(self, prefix: Prefix, scope: Scope) -> Ban | None:
        """Forget the last ban of just this prefix; that ban."""
        ban = self.latest(prefix, scope)
        if ban is not None:
            self._drop(place_of(side_of(scope), key_of(prefix)))
        return ban

    def take_soonest(self) -> Ban | None:
        """Forget the counted ban that ends first; that ban, which may have ended already."""
        while True:
            if not self._soonest:
                ends = ((self._end_at(place), place) for place in set(self._ends.first()))
                self._soonest = nsmallest(LOOK_AHEAD, ends)[::-1]
                if not self._soonest:
                    return None
            until, place = self._soonest.pop()
            side, key = read_place(place)
            row = self._shards[side][key[-1]].get(key)
            if (
                row is not None
                and unpack_end(row)[0] == until
                and self._ends.is_coming(_bucket(row))
            ):
                ban = self._unpacked(side, key, row)
                self._drop(place)
                return ban

    def advance(self, now: float) -> None:
        """Count what has ended by now as past. Costs nothing by the ban."""
        self._ends.advance(now)

    def forget(self, ended_by: float, most_past: int) -> None:
        """Drop what had ended by this instant, and the oldest of the past beyond `most_past`.

        It goes by whole spans of `SPAN_S`, so some is dropped a little later; and at most
        `FORGET_STEP` rows go in one call, so call it again.
        """
        dropped = self._ends.oldest(ended_by, FORGET_STEP)
        for place in dropped:
            self._drop(place)
        excess = min(self._ends.over - most_past, FORGET_STEP - len(dropped))
        while excess > 0 and (oldest := self._ends.oldest(inf, excess)):
            for place in oldest:
                self._drop(place)
            excess -= len(oldest)

    def _is_live(self, place: bytes, bucket: int) -> bool:
        side, key = read_place(place)
        row = self._shards[side][key[-1]].get(key)
        return row is not None and _bucket(row) == bucket

    def _end_at(self, place: bytes) -> float:
        side, key = read_place(place)
        return float(unpack_end(self._shards[side][key[-1]][key])[0])

    def _unpacked(self, side: int, key: bytes, row: bytes) -> Ban:
        note = self._notes.get(place_of(side, key), "") if self._notes else ""
        return unpack(side, key, row, note)

    def _put_note(self, place: bytes, note: str) -> None:
        if not note:
            self._notes.pop(place, None)
            return
        if note == self._last_note:
            note = self._last_note  # one import gives all its bans the same words: keep them once
        self._last_note = self._notes[place] = note

    def _drop(self, place: bytes) -> None:
        """Forget the row of `place`, if it has one."""
        side, key = read_place(place)
        row = self._shards[side][key[-1]].pop(key, None)
        if row is not None:
            self._ends.remove(_bucket(row), wide=len(key) in _WIDE_OCTETS)
            self._notes.pop(place, None)


def _bucket(row: bytes) -> int:
    """Where a row is counted: what had ended when it was put in counts as past from then on."""
    end: float = unpack_end(row)[0]
    return bucket_number(abs(end), ended=end < 0)
