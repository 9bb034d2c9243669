"""The Ledger: the bans in force and their history, in memory, ahead of every disk and kernel.

Theory of operation. A ban takes effect when `ban` has put it in a dictionary: from then on the
guard refuses. Everything slower follows as a subscriber's work. A ban ends by its own clock: `find`
compares instants and needs no timer. Ended bans move to a second dictionary, from which escalation
learns the level of the next one, and leave it after `ban_memory_s`; two heaps say when, so that no
call walks a table.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import islice
from math import isfinite
from typing import Final

from gatekeeper.abc import BanChange, Lift
from gatekeeper.ban import Ban, Origin, Scope
from gatekeeper.policy.escalation import ban_seconds, next_level
from gatekeeper.policy.expiry import Expiry
from gatekeeper.policy.prefix_set import BANNABLE_BITS, PrefixSet
from gatekeeper.prefix import Prefix
from gatekeeper.settings import PolicySettings
from gatekeeper.verdict import Reason

MAX_BANS: Final = 1_000_000  # in force; the kernel's sets are made for as many
MAX_PAST_BANS: Final = 1_000_000  # ended, remembered for escalation
MAX_NOTE_CHARACTERS: Final = 200
_WIDE_BITS: Final = {4: 24, 16: 48}  # by octets of the address

_Key = tuple[Prefix, Scope]


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

    `never` is exempt from every ban, whoever asks. `clock` gives Unix time in seconds.
    Overflow: beyond `capacity` bans in force, the one that would end first is lifted.
    """

    def __init__(
        self,
        settings: PolicySettings,
        never: Iterable[Prefix],
        clock: Callable[[], float],
        capacity: int = MAX_BANS,
    ) -> None:
        self._settings = settings
        self._never = PrefixSet(never)
        self._clock = clock
        self._capacity = capacity
        self._in_force: dict[Scope, dict[Prefix, Ban]] = {scope: {} for scope in Scope}
        self._auth = self._in_force[Scope.AUTH]  # `find` is on every event's path, and an Enum's
        self._mx = self._in_force[Scope.MX]  # hash is slow
        self._wide = 0  # bans of a /24 or /48 among those in force
        self._past: dict[_Key, Ban] = {}
        self._ends: Expiry[_Key] = Expiry()
        self._forgotten: Expiry[_Key] = Expiry()
        self._subscribers: list[Callable[[BanChange], None]] = []

    @property
    def now(self) -> float:
        """Unix time as bans go by it."""
        return self._clock()

    def __len__(self) -> int:
        """The number of bans in force."""
        self.prune()
        return len(self._ends)

    def exempt(self, prefix: Prefix) -> bool:
        """Whether `prefix` lies in, or covers, a prefix that is never banned."""
        return self._never.overlaps(prefix)

    def spare(self, never: Iterable[Prefix]) -> list[Ban]:
        """Replace the prefixes never banned, and lift the bans that now hit one; those."""
        self._never = PrefixSet(never)
        freed = [ban for ban in self.bans() if self.exempt(ban.prefix)]
        for ban in freed:
            self.lift(ban.prefix, ban.scope)
        return freed

    def find(self, entity: Prefix, scope: Scope) -> Ban | None:
        """The ban in force that keeps `entity` (a /32 or /64) out of `scope`, if any."""
        bans = self._auth if scope is Scope.AUTH else self._mx
        ban = bans.get(entity)
        if ban is not None and ban.until > self._clock():
            return ban
        if not self._wide:
            return None
        ban = bans.get(entity.widen(_WIDE_BITS[len(entity.packed)]))
        return ban if ban is not None and ban.until > self._clock() else None

    def latest(self, prefix: Prefix, scope: Scope) -> Ban | None:
        """The last ban of just this prefix, in force or remembered; None where none is known."""
        self.prune()
        return self._in_force[scope].get(prefix) or self._past.get((prefix, scope))

    def remaining_s(self, prefix: Prefix, scope: Scope) -> float | None:
        """Seconds left of the ban of just this prefix, None where none is in force."""
        ban = self._in_force[scope].get(prefix)
        left = 0.0 if ban is None else ban.until - self._clock()
        return left if left > 0 else None

    def slices(self, size: int) -> Iterator[list[tuple[Prefix, Scope, float]]]:
        """Prefix, scope and end of the bans in force, so many at a time. The Ledger may change
        between two; what is in force throughout is among them once."""
        for scope, bans in self._in_force.items():
            prefixes = iter(tuple(bans))
            while page := list(islice(prefixes, size)):
                now = self._clock()
                held = (bans.get(prefix) for prefix in page)
                yield [(it.prefix, scope, it.until) for it in held if it and it.until > now]

    def bans(self) -> list[Ban]:
        """Every ban in force, in no particular order."""
        self.prune()
        return [ban for bans in self._in_force.values() for ban in bans.values()]

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
        held = self._in_force[scope].get(prefix)
        if held is not None and origin is Origin.RULE:
            return held
        last = held or self._past.get((prefix, scope))
        level = next_level(last, now, self._settings) if escalate else last.level if last else 0
        until = now + (ban_seconds(level, self._settings, first_s) if seconds is None else seconds)
        ban = Ban(prefix, scope, reason, level, now, until, origin, _storable(note))
        self._make_room(ban)
        self._put(ban)
        self._tell(ban)
        return ban

    def lift(self, prefix: Prefix, scope: Scope, *, forget: bool = True) -> Ban | None:
        """Take back the ban of `prefix` and forget its history; the ban, None where none was.

        Subscribers are told of the `Lift` even where there was history only: stores keep it too.
        Without `forget` the ban becomes history, as one that ends now.
        Raises `ValueError` for a prefix no ban can be made for.
        """
        prefix = bannable(prefix)
        now = self._clock()
        self._advance(now)
        key = (prefix, scope)
        ban = self._take(key)
        if forget:
            if self._forget(key) or ban is not None:
                self._tell(Lift(prefix, scope))
        elif ban is not None:
            self._remember(key, replace(ban, until=now))
            self._tell(Lift(prefix, scope, forget=False))
        return ban

    def restore(self, bans: Iterable[Ban]) -> None:
        """Take in bans from a Store or another node; subscribers are not told.

        Ended ones become history. What is exempt by now, or no ban can be made for, is left out;
        of two for the same prefix and scope the one made later stays.
        """
        now = self._clock()
        self._advance(now)
        for ban in bans:
            if self._restorable(ban):
                self._take((ban.prefix, ban.scope))
                self._make_room(ban)
                self._put(ban)
        self._advance(now)

    def prune(self) -> None:
        """Move ended bans to the history and forget what is past memory.

        Costs what has ended since the last call of any method that changes the Ledger.
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

    def _put(self, ban: Ban) -> None:
        key = (ban.prefix, ban.scope)
        bans = self._in_force[ban.scope]
        self._wide += ban.prefix not in bans and _is_wide(ban.prefix)
        bans[ban.prefix] = ban
        self._ends.put(key, ban.until)

    def _take(self, key: _Key) -> Ban | None:
        prefix, scope = key
        ban = self._in_force[scope].pop(prefix, None)
        if ban is not None:
            self._wide -= _is_wide(prefix)
            self._ends.discard(key)
        return ban

    def _forget(self, key: _Key) -> bool:
        self._forgotten.discard(key)
        return self._past.pop(key, None) is not None

    def _remember(self, key: _Key, ban: Ban) -> None:
        self._past[key] = ban
        self._forgotten.put(key, ban.until + self._settings.ban_memory_s)

    def _advance(self, now: float) -> None:
        for key in self._ends.pop_due(now):
            ban = self._take(key)
            if ban is not None:
                self._remember(key, ban)
        for key in self._forgotten.pop_due(now):
            del self._past[key]
        while len(self._past) > MAX_PAST_BANS:
            soonest = self._forgotten.pop_soonest()
            if soonest is not None:
                del self._past[soonest]

    def _make_room(self, ban: Ban) -> None:
        if ban.prefix in self._in_force[ban.scope] or len(self._ends) < self._capacity:
            return
        soonest = self._ends.pop_soonest()
        if soonest is not None and self._take(soonest) is not None:
            self._tell(Lift(*soonest))

    def _restorable(self, ban: Ban) -> bool:
        known = self._in_force[ban.scope].get(ban.prefix) or self._past.get((ban.prefix, ban.scope))
        if known is not None and known.since >= ban.since:
            return False
        return ban.prefix.length in BANNABLE_BITS[ban.prefix.version] and not self.exempt(
            ban.prefix
        )


def _is_wide(prefix: Prefix) -> bool:
    return prefix.length == _WIDE_BITS[len(prefix.packed)]


def _storable(note: str) -> str:
    """A note any Store can write: bounded, and without what a terminal gave that is not UTF-8."""
    return note[:MAX_NOTE_CHARACTERS].encode("utf-8", "replace").decode()
