"""The Ledger: the bans in force and their history, in memory, ahead of every disk and kernel.

Theory of operation. A ban takes effect when `ban` has put it in a table: from then on the guard
refuses. Everything slower follows as a subscriber's work. A ban ends by its own clock: `find`
compares instants and needs no timer. An ended ban stays in the table as history, from which
escalation learns the level of the next one, and leaves it after `ban_memory_s`.

At a start the Store's bans come in while sessions are served already (`restoring`). What was made
or lifted meanwhile is newer than what the Store said, whenever its page arrives.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from math import inf, isfinite
from typing import Final

from gatekeeper.abc import BanChange, Lift
from gatekeeper.ban import Ban, End, Origin, Scope
from gatekeeper.policy.ban_table import BanTable
from gatekeeper.policy.escalation import ban_seconds, next_level
from gatekeeper.policy.prefix_set import BANNABLE_BITS, PrefixSet
from gatekeeper.prefix import Prefix
from gatekeeper.settings import PolicySettings
from gatekeeper.verdict import Reason

MAX_BANS: Final = 1_000_000  # in force; the kernel's sets are made for as many
MAX_PAST_BANS: Final = 1_000_000  # ended, remembered for escalation
CLOCKS_APART_S: Final = 60.0  # of two nodes, or of two runs, without one being wrong
MAX_NOTE_CHARACTERS: Final = 200
_NO_END: Final = float("inf")

_AUTH: Final = Scope.AUTH
_TABLES: Final = frozenset({(4, 24), (4, 32), (16, 48), (16, 64)})  # octets and bits


def bannable(prefix: Prefix) -> Prefix:
    """The prefix a ban of `prefix` is made for: IPv6 longer than /64 becomes its /64.

    Raises `ValueError` for lengths other than 24 and 32 (IPv4), 48 and 64 or more (IPv6).
    """
    allowed = BANNABLE_BITS[prefix.version]
    if prefix.version == 6 and prefix.length > max(allowed):
        return prefix.widen(max(allowed))
    if prefix.length not in allowed:
        lengths = " or ".join(f"/{bits}" for bits in sorted(allowed, reverse=True))
        raise ValueError(f"an IPv{prefix.version} ban is for a {lengths}, not a /{prefix.length}")
    return prefix


class Ledger:
    """The bans of one guard. Synchronous; to be used from one thread, the one that runs Trio.

    `never` is exempt from every ban, whoever asks; `block` is never let in. `clock` gives Unix time
    in seconds.
    Overflow: beyond `capacity` bans in force, the one that would end first is lifted.
    """

    def __init__(
        self,
        settings: PolicySettings,
        never: Iterable[Prefix],
        clock: Callable[[], float],
        capacity: int = MAX_BANS,
        block: Iterable[Prefix] = (),
    ) -> None:
        self._settings = settings
        self._never = PrefixSet(never)
        self._block: PrefixSet | None = None  # None: the usual case, and asked on every event
        self.block(block)
        self._clock = clock
        self._capacity = capacity
        self._table = BanTable()
        self._auth = self._table.shards(Scope.AUTH)  # `find` is on every event's path
        self._mx = self._table.shards(Scope.MX)
        self._ends = self._table.ends
        self._lifted: dict[tuple[Prefix, Scope], float | None] | None = None  # see `restoring`
        self._subscribers: list[Callable[[BanChange], None]] = []

    @property
    def now(self) -> float:
        """Unix time as bans go by it."""
        return self._clock()

    def __len__(self) -> int:
        """The number of bans in force."""
        return self._table.in_force(self._clock())

    def exempt(self, prefix: Prefix) -> bool:
        """Whether `prefix` lies in, or covers, a prefix that is never banned."""
        return self._never.overlaps(prefix)

    def block(self, prefixes: Iterable[Prefix]) -> None:
        """Replace the prefixes that the configuration never lets in. They are no bans: nothing
        lists, counts or lifts them."""
        self._block = PrefixSet(prefixes) or None

    def blocked(self, entity: Prefix) -> bool:
        """Whether the configuration keeps `entity` (a /32 or /64) out; who is never banned is not
        blocked either."""
        return self._block is not None and self._block.overlaps(entity) and not self.exempt(entity)

    def spare(self, never: Iterable[Prefix]) -> list[Ban]:
        """Replace the prefixes never banned, and lift the bans that now hit one; those."""
        self._never = PrefixSet(never)
        hit = [
            (prefix, scope)
            for page in self.slices(MAX_BANS)
            for prefix, scope, _ in page
            if self.exempt(prefix)
        ]
        return [ban for key in hit if (ban := self.lift(*key)) is not None]

    def find(self, entity: Prefix, scope: Scope) -> Ban | None:
        """The ban in force that keeps `entity` (a /32 or /64) out of `scope`, if any; one without
        end where the configuration blocks it."""
        packed = entity.packed
        key = packed if len(packed) == 4 else packed[:8]
        shards = self._auth if scope is _AUTH else self._mx
        if key in shards[key[-1]] or self._ends.wide:
            ban = self._table.covering(entity, scope, self._clock())
            if ban is not None:
                return ban
        if self._block is not None and self.blocked(entity):
            return Ban(entity, scope, Reason.BLOCKED, 0, 0.0, _NO_END, Origin.OPERATOR)
        return None

    def latest(self, prefix: Prefix, scope: Scope) -> Ban | None:
        """The last ban of just this prefix, in force or remembered; None where none is known."""
        if not _has_table(prefix):
            return None
        ban = self._table.latest(prefix, scope)
        if ban is None or ban.until + self._settings.ban_memory_s <= self._clock():
            return None
        return ban

    def remaining_s(self, prefix: Prefix, scope: Scope) -> float | None:
        """Seconds left of the ban of just this prefix, None where none is in force."""
        if not _has_table(prefix):
            return None
        left_s = self._table.until(prefix, scope) - self._clock()
        return left_s if left_s > 0 else None

    def slices(self, size: int) -> Iterator[list[End]]:
        """Prefix, scope and end of the bans in force, at most so many at a time. The Ledger may
        change between two; what is in force throughout is among them once."""
        for side, keys in self._table.keys(size):
            if ends := self._table.ends_at(side, keys, self._clock()):
                yield ends

    def census(self, size: int) -> Iterator[Counter[tuple[Origin, int, Scope]]]:
        """The bans in force by origin, IP version and scope, at most `size` at a time, to be added
        up. The Ledger may change between two; what is in force throughout is counted once."""
        for side, keys in self._table.keys(size):
            yield self._table.kinds_at(side, keys, self._clock())

    def walk(self, begin: int, size: int) -> Iterator[tuple[int, list[Ban]]]:
        """The bans in force among what is known behind the first `begin` of it, at most `size` at a
        time, each with how much was passed by then. A walk may end anywhere and another go on from
        there later; where the Ledger has changed between the two, some come twice or not at all."""
        for side, keys in self._table.keys(size, begin):
            begin += len(keys)
            yield begin, self._table.bans_at(side, keys, self._clock())

    @property
    def known(self) -> int:
        """How much there is to `walk`: bans in force, and ended ones that are remembered."""
        return len(self._table)

    def bans(self) -> list[Ban]:
        """Every ban in force, in no particular order."""
        return list(self._table.bans(self._clock()))

    def ban(
        self,
        prefix: Prefix,
        scope: Scope,
        reason: Reason,
        *,
        seconds: float | None = None,
        first_s: float | None = None,
        escalate: bool = True,
        origin: Origin = Origin.RULE,
        note: str = "",
    ) -> Ban | None:
        """Ban `prefix` from `scope` from now, and tell the subscribers.

        Lasts `seconds`, or where None as long as the escalation says (from `first_s`). A ban in
        force is not made twice: a Rule gets it back as it is, so that parallel connections do not
        escalate; an operator's or an imported ban replaces it. Without `escalate` it counts as no
        ban when the next one is made. Returns None where `prefix` is never banned.
        Raises `ValueError` for a prefix no ban can be made for, and for `seconds` that are not
        above 0 and finite.
        """
        prefix = bannable(prefix)
        if seconds is not None and not (isfinite(seconds) and seconds > 0):
            raise ValueError(f"a ban needs a time above 0 seconds, not {seconds}")
        if self.exempt(prefix):
            return None
        now = self._clock()
        self._advance(now)
        last = self.latest(prefix, scope)
        if origin is Origin.RULE and self._table.until(prefix, scope) > now:
            return last
        level = next_level(last, now, self._settings) if escalate else last.level if last else 0
        until = now + (ban_seconds(level, self._settings, first_s) if seconds is None else seconds)
        ban = Ban(prefix, scope, reason, level, now, until, origin, _storable(note))
        self._put(ban, now)
        self._tell(ban)
        return ban

    def lift(self, prefix: Prefix, scope: Scope, *, forget: bool = True) -> Ban | None:
        """Take back the ban of `prefix` and forget its history; the ban, None where none was.

        Subscribers are told of the `Lift` even where there was history only: stores keep it too;
        and while a Store is being restored whatever is known, for it may be in a later page.
        Without `forget` the ban becomes history, as one that ends now.
        Raises `ValueError` for a prefix no ban can be made for.
        """
        prefix = bannable(prefix)
        now = self._clock()
        self._advance(now)
        last = self.latest(prefix, scope)
        ban = last if self._table.until(prefix, scope) > now else None
        known = ban if not forget else last
        if forget:
            self._table.take(prefix, scope)
        elif ban is not None:
            self._table.put(ban._replace(until=now), now)
        if known is not None or self._lifted is not None:
            self._tell_lift(Lift(prefix, scope, forget), now)
        return ban

    @contextmanager
    def restoring(self) -> Iterator[None]:
        """While a Store's bans come in by several calls of `restore`: what is lifted meanwhile is
        not brought back by a later one. Not to be entered twice at once."""
        self._lifted = {}
        try:
            yield
        finally:
            self._lifted = None

    def restore(self, bans: Iterable[Ban]) -> None:
        """Take in bans from a Store or another node; subscribers are not told.

        Ended ones become history; one made after now, for the clock was set back, is taken for made
        now. What is exempt by now, or no ban can be made for, is left out;
        of two for the same prefix and scope the one made later stays.
        Costs some microseconds a ban: where there are many, one slice at a time; see `restoring`.
        """
        now = self._clock()
        self._advance(now)
        oldest = now - self._settings.ban_memory_s
        for each in bans:
            ban = self._as_lifted(each) if self._lifted else each
            if ban is None or not oldest < ban.until < inf:
                continue
            if ban.since > now + CLOCKS_APART_S:
                ban = ban._replace(since=now, until=now + ban.until - ban.since)
            if _has_table(ban.prefix) and not self._never.overlaps(ban.prefix):
                self._put(ban, now, if_later=True)

    def lifted_meanwhile(self, prefix: Prefix, scope: Scope) -> bool:
        """Whether this was lifted since `restoring` began: whatever a Store says, it is no ban."""
        return self._lifted is not None and (prefix, scope) in self._lifted

    def prune(self) -> None:
        """Forget what is past memory, a bounded part of it: to be called now and then.

        Methods that change the Ledger do so too.
        """
        self._advance(self._clock())

    def subscribe(self, callback: Callable[[BanChange], None]) -> Callable[[], None]:
        """Call `callback` with each change, after it is in force here. Returns the way out.

        Callbacks must be quick and must not raise: they run inside `ban` and `lift`.
        """
        self._subscribers.append(callback)
        return lambda: self._subscribers.remove(callback)

    def _tell(self, change: BanChange) -> None:
        for callback in tuple(self._subscribers):
            callback(change)

    def _tell_lift(self, lift: Lift, now: float) -> None:
        if self._lifted is not None:
            self._lifted[lift.prefix, lift.scope] = None if lift.forget else now
        self._tell(lift)

    def _put(self, ban: Ban, now: float, *, if_later: bool = False) -> None:
        """Put `ban` into the table as `BanTable.put` does, and make room for it there."""
        if self._ends.coming >= self._capacity and ban.until > now:
            known = self._table.latest(ban.prefix, ban.scope)
            if if_later and known is not None and known.since >= ban.since:
                return
            if self._table.until(ban.prefix, ban.scope) <= now:  # else it takes the place of one
                self._make_room(now)
        self._table.put(ban, now, if_later=if_later)

    def _make_room(self, now: float) -> None:
        while self._ends.coming >= self._capacity:
            # Those that ended a moment ago may be counted still; being soonest, they go first.
            soonest = self._table.take_soonest()
            if soonest is None:
                return
            if soonest.until > now:
                self._tell_lift(Lift(soonest.prefix, soonest.scope), now)

    def _advance(self, now: float) -> None:
        self._table.advance(now)
        self._table.forget(now - self._settings.ban_memory_s, MAX_PAST_BANS)

    def _as_lifted(self, ban: Ban) -> Ban | None:
        """`ban` of a Store after what was lifted since; None where it is to be forgotten."""
        lifted = self._lifted or {}
        key = (ban.prefix, ban.scope)
        if key not in lifted:
            return ban
        ended_at = lifted[key]
        return None if ended_at is None else ban._replace(until=min(ban.until, ended_at))


def _has_table(prefix: Prefix) -> bool:
    """Whether a ban of just this prefix can be."""
    return (len(prefix.packed), prefix.length) in _TABLES


def _storable(note: str) -> str:
    """A note any Store can write: bounded, and without what a terminal gave that is not UTF-8."""
    return note[:MAX_NOTE_CHARACTERS].encode("utf-8", "replace").decode()
