"""Finds bans for somebody who looks, among a million, without holding the loop up.

Theory of operation. An address, or a network of some hundred, is looked up. Everything else is a
walk over the Ledger's table, and one request walks over `LOOK` rows of it at most, in slices
between which the sessions have their turn; the answer says where the next request goes on. In a
small Ledger that is all of it, and what is found is in order: the newest first. In a large one
order cannot be had so cheaply, so who asks for nothing in particular is shown the latest bans that
were made, which are noted as they come.
"""

import re
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import trio

from gatekeeper.abc import BanChange
from gatekeeper.ban import Ban, Origin, Scope
from gatekeeper.control_verbs import ban_row
from gatekeeper.ledger import Ledger
from gatekeeper.policy.prefix_set import BANNABLE_BITS
from gatekeeper.prefix import ENTITY_V4_BITS, ENTITY_V6_BITS, Prefix
from gatekeeper.verdict import Reason

LOOK: Final = 10_000  # rows of a request's walk: less than a tenth of a second in all
SLICE: Final = 250  # of them at a time: a millisecond or so
PAGE: Final = 50  # bans of an answer
LATEST: Final = 500  # that are noted
MAX_TEXT_CHARACTERS: Final = 100  # of what is searched for
_LOOKED_UP_V4_BITS: Final = 24  # of this length or longer: each address of it is looked up
_OCTETS: Final = re.compile(r"(?:\d{1,3}\.){1,3}(?:\d{1,3})?")
_GROUPS: Final = re.compile(r"(?:[0-9a-f]{1,4}:){1,7}(?:[0-9a-f]{1,4})?", re.IGNORECASE)

Row = dict[str, object]
Key = tuple[Prefix, Scope]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is searched for; None, or an empty word, is all. `word` is in lower case, and stands
    in a ban's reason, origin or note."""

    place: Prefix | None = None
    word: str = ""
    scope: Scope | None = None
    reason: Reason | None = None
    origin: Origin | None = None

    @classmethod
    def of(cls, text: str, scope: str = "", reason: str = "", origin: str = "") -> "Wanted":
        """From what somebody typed and chose. Raises `ValueError`."""
        text = text.strip()
        if len(text) > MAX_TEXT_CHARACTERS:
            raise ValueError(f"what is searched for has at most {MAX_TEXT_CHARACTERS} characters")
        place = read_place(text)
        return cls(
            place,
            text.lower() if place is None else "",
            Scope(scope) if scope else None,
            Reason(reason) if reason else None,
            Origin(origin) if origin else None,
        )

    def admits(self, ban: Ban) -> bool:
        """Whether `ban` is among what is wanted."""
        return (
            self.scope in {None, ban.scope}
            and self.reason in {None, ban.reason}
            and self.origin in {None, ban.origin}
            and (self.place is None or _overlap(self.place, ban.prefix))
            and self._has_word(ban)
        )

    def _has_word(self, ban: Ban) -> bool:
        return not self.word or any(
            self.word in text for text in (ban.reason.value, ban.origin.value, ban.note.lower())
        )

    def keys(self) -> Iterator[Key] | None:
        """All that could be banned of a place that is small enough; None where it is not."""
        place = self.place
        if place is None:
            return None
        if place.version == 4 and place.length >= _LOOKED_UP_V4_BITS:
            return _in_each_scope(_addresses(place))
        if place.version == 6 and place.length >= ENTITY_V6_BITS:
            bits = BANNABLE_BITS[place.version]
            return _in_each_scope(place.widen(length) for length in bits)
        return None


def read_place(text: str) -> Prefix | None:
    """An address, a network, or how one begins (`203.0.`, `2001:db8:`); None for other words."""
    try:
        return Prefix.parse(text)
    except ValueError:
        pass
    try:
        if _OCTETS.fullmatch(text):
            octets = bytes(map(int, text.rstrip(".").split(".")))
            return Prefix(octets.ljust(4, b"\0"), 8 * len(octets))
        if _GROUPS.fullmatch(text):
            groups = text.rstrip(":").split(":")
            return Prefix.parse(f"{':'.join(groups)}::/{16 * len(groups)}")
    except ValueError:
        pass
    return None


class BanSearch:
    """Searches one Ledger. One walk at a time: who comes meanwhile waits. `clock` gives the
    system's Unix time, by which people read instants."""

    def __init__(self, ledger: Ledger, clock: Callable[[], float] = time.time) -> None:
        self._ledger = ledger
        self._clock = clock
        self._turn = trio.Lock()
        self._latest: deque[Key] = deque(maxlen=LATEST)
        ledger.subscribe(self._note)

    async def find(self, wanted: Wanted, begin: int | None, skip: int) -> Row:
        """A page of bans, behind the first `skip` of those that a walk from `begin` finds; where
        `begin` is None from the start, or the latest ones.

        `matching` is how many were found there, `passed` of `known` how far it went, `next` where
        the walk goes on, None at its end.
        """
        keys = wanted.keys()
        known = self._ledger.known
        latest = keys is None and begin is None and wanted == Wanted() and known > LOOK
        passed, following = 0, None
        if latest:
            found = self._those(iter(set(self._latest)), wanted)
            following = 0
        elif keys is not None:
            found = self._those(keys, wanted)
        else:
            passed, found = await self._walk(wanted, begin or 0)
            following = passed if passed < known else None
        found.sort(key=lambda ban: ban.since, reverse=True)
        now = self._ledger.now
        ahead_s = self._clock() - now
        return {
            "now": round(now, 3),
            "bans": [ban_row(ban, now, None, ahead_s) for ban in found[skip : skip + PAGE]],
            "skip": skip,
            "page": PAGE,
            "matching": len(found),
            "latest": latest,
            "passed": passed,
            "known": known,
            "in_force": len(self._ledger),
            "next": following,
        }

    def _note(self, change: BanChange) -> None:
        if isinstance(change, Ban):
            self._latest.append((change.prefix, change.scope))

    def _those(self, keys: Iterator[Key], wanted: Wanted) -> list[Ban]:
        """Of `keys` the bans that are in force and wanted."""
        return [
            ban
            for key in keys
            if self._ledger.remaining_s(*key) is not None
            and (ban := self._ledger.latest(*key)) is not None
            and wanted.admits(ban)
        ]

    async def _walk(self, wanted: Wanted, begin: int) -> tuple[int, list[Ban]]:
        """How far a walk came, and what is wanted of the bans on its way."""
        found: list[Ban] = []
        passed = begin
        async with self._turn:
            for passed, bans in self._ledger.walk(begin, SLICE):
                found += filter(wanted.admits, bans)
                if passed - begin >= LOOK:
                    break
                await trio.lowlevel.checkpoint()
        return passed, found


def _overlap(one: Prefix, other: Prefix) -> bool:
    return one.covers(other) or other.covers(one)


def _addresses(place: Prefix) -> Iterator[Prefix]:
    """The /24 of an IPv4 network that is no wider, and each address of the network."""
    yield place.widen(_LOOKED_UP_V4_BITS)
    first = int.from_bytes(place.packed, "big")
    for number in range(first, first + (1 << (ENTITY_V4_BITS - place.length))):
        yield Prefix(number.to_bytes(4, "big"), ENTITY_V4_BITS)


def _in_each_scope(prefixes: Iterator[Prefix]) -> Iterator[Key]:
    return ((prefix, scope) for prefix in prefixes for scope in Scope)
