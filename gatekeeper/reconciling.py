"""Ledger and kernel agree: at the start, after anything doubtful, and looked at every few minutes.

Theory of operation. The Ledger is the truth of what the guard knows; the kernel is asked page by
page what it holds. Four differences are repaired, each counted:

* in the Ledger only: put into the kernel (`missing`);
* in both, with ends apart: put anew (`end`);
* in the kernel only, and the Ledger remembers its end: a clock was set; lifted (`ended`);
* in the kernel only, and unknown: a ban of a run without a Store, or somebody's own. It is in
  force, so it becomes a ban like others, listed and explained (`unknown`), unless its prefix is
  never banned: then it is lifted (`exempt`).

Sessions go on meanwhile, and so do bans and lifts. What changes while a page is on its way to the
kernel may be overtaken by it; so every change of that time is applied once more behind the page.
And what seems unknown may have been lifted while the kernel was read: it is asked again, one by
one, when no change is under way.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

import trio

from gatekeeper.abc import BanChange, Enforcer, HeldBan, Lift
from gatekeeper.ban import End, Origin, Scope
from gatekeeper.errors import EnforcerError
from gatekeeper.ledger import Ledger
from gatekeeper.prefix import Prefix
from gatekeeper.propagation import ChangeFeed
from gatekeeper.verdict import Reason

LOOK_S: Final = 600.0  # between two comparisons that nothing asked for, at least
# And so many times as long as one took. The kernel walks a set from its beginning for each page of
# a dump, so many bans cost the square: 400,000 take it some 6 s, beside which bans go on.
REST: Final = 100
PAGE: Final = 10_000  # bans in one go to the kernel: some 50 ms there, beside which others wait
SLACK_S: Final = 3.0  # seconds are rounded up, and reading the kernel takes its time
FIRST_PAUSE_S: Final = 0.2
MAX_PAUSE_S: Final = 5.0
_BETWEEN_PAGES: Final = 2_000  # keys looked at before others have their turn

Key = tuple[Prefix, Scope]


class Repair(Enum):
    """What was different; see above."""

    MISSING = "missing"
    END = "end"
    ENDED = "ended"
    UNKNOWN = "unknown"
    EXEMPT = "exempt"


def _ignore(*_: object) -> None:
    """Nobody asked to be told."""


async def _nothing(_anew: bool) -> None:
    await trio.lowlevel.checkpoint()


@dataclass(frozen=True, slots=True)
class Hooks:
    """Who takes part. None of the `on_` may raise or call the Enforcer."""

    prepare: Callable[[bool], Awaitable[None]] = _nothing
    """Awaited before each comparison, to tell the Enforcer what it cannot know; True says that it
    may have forgotten what it was told. Raises `EnforcerError`."""
    on_repair: Callable[[Counter[Repair]], None] = _ignore
    """A comparison has repaired so much."""
    on_lifted: Callable[[Prefix, Scope], None] = _ignore
    """Somebody took this ban out of the kernel, and the Ledger has lifted it."""
    on_refused: Callable[[Prefix, Scope], None] = _ignore
    """The Enforcer will never hold this ban."""
    on_flood: Callable[[Prefix], None] = _ignore
    """The kernel drops this address for its new connections."""


class Reconciler:
    """Implements `gatekeeper.abc.EnforcerNews`.

    `feed` is the one that applies the Ledger's changes to `enforcer`. `clock` gives Unix time.
    """

    def __init__(
        self,
        ledger: Ledger,
        enforcer: Enforcer,
        feed: ChangeFeed,
        *,
        clock: Callable[[], float],
        hooks: Hooks,
    ) -> None:
        self.repaired: Counter[Repair] = Counter()
        self._ledger = ledger
        self._enforcer = enforcer
        self._feed = feed
        self._clock = clock
        self._hooks = hooks
        self._wanted = trio.Event()
        self._anew = True

    # -- news ---------------------------------------------------------------------------------

    def rebuilt(self) -> None:
        """The kernel holds no ban: all are put in again."""
        self.compare()

    def doubtful(self) -> None:
        """Compare, and tell the Enforcer everything."""
        self._anew = True
        self.compare()

    def refused(self, prefix: Prefix, scope: Scope) -> None:
        """The ban stays with the guard alone."""
        self._hooks.on_refused(prefix, scope)

    def lifted(self, prefix: Prefix, scope: Scope) -> None:
        """Somebody deleted an element by hand: that is an unban, and recorded."""
        if self._ledger.lift(prefix, scope) is not None:
            self._hooks.on_lifted(prefix, scope)

    def added(self, held: HeldBan) -> None:
        """Somebody added an element by hand: that is the operator's ban, and recorded."""
        if self._ledger.remaining_s(held.prefix, held.scope) is None:
            self._adopt(held, Reason.OPERATOR, Origin.OPERATOR)

    def flooding(self, prefix: Prefix) -> None:
        """See `Hooks.on_flood`."""
        self._hooks.on_flood(prefix)

    # -- comparing ----------------------------------------------------------------------------

    def compare(self) -> None:
        """Have it compared soon, by `run`."""
        self._wanted.set()

    async def run(self) -> None:
        """Compare at once, whenever asked, and every `LOOK_S` or more, until cancelled."""
        pause_s = FIRST_PAUSE_S
        while True:
            self._wanted = trio.Event()
            begun_s = trio.current_time()
            try:
                await self.once()
                pause_s = FIRST_PAUSE_S
            except EnforcerError:  # the feed tells of its health
                await trio.sleep(pause_s)
                pause_s = min(2 * pause_s, MAX_PAUSE_S)
                continue
            took_s = trio.current_time() - begun_s
            with trio.move_on_after(max(LOOK_S, REST * took_s)):
                await self._wanted.wait()

    async def once(self) -> Counter[Repair]:
        """Compare and repair; what was repaired. Raises `EnforcerError`: it may be half done."""
        anew, self._anew = self._anew, False
        try:
            await self._hooks.prepare(anew)
            found = _Found(self._ledger)
            await self._enforcer.walk(found.take)
            repairs = await self._put_missing(found)
            repairs[Repair.END] = self._again(found.apart)
            repairs += await self._settle(found.strange)
        except BaseException:
            self._anew = self._anew or anew
            raise
        repairs = +repairs
        self.repaired += repairs
        if repairs:
            self._hooks.on_repair(repairs)
        return repairs

    async def fill(self, ends: Sequence[End]) -> None:
        """Have the kernel hold these bans of the Ledger's, or of a Store's that come into it soon,
        as far as they still are. Raises `EnforcerError`; then some may be held."""
        overtaken: list[BanChange] = []
        unsubscribe = self._ledger.subscribe(overtaken.append)
        try:
            await self._enforcer.fill(ends, self._clock())
        finally:
            unsubscribe()
            for change in overtaken:
                self._feed.again(change)

    async def _put_missing(self, found: "_Found") -> Counter[Repair]:
        missing: list[End] = []
        count = 0
        for ends in self._ledger.slices(_BETWEEN_PAGES):
            missing += [end for end in ends if _number(end[0], end[1]) not in found.numbers]
            await trio.lowlevel.checkpoint()
            while len(missing) >= PAGE:
                page, missing = missing[:PAGE], missing[PAGE:]
                await self.fill(page)
                count += len(page)
        if missing:
            await self.fill(missing)
        return Counter({Repair.MISSING: count + len(missing)})

    def _again(self, keys: Iterable[Key]) -> int:
        count = 0
        for prefix, scope in keys:
            ban = self._ledger.latest(prefix, scope)
            if ban is not None and ban.until > self._clock():
                self._feed.again(ban)
                count += 1
        return count

    async def _settle(self, strange: Iterable[HeldBan]) -> Counter[Repair]:
        repairs: Counter[Repair] = Counter()
        for held in strange:
            await self._feed.applied()
            left_s = await self._enforcer.remaining_s(held.prefix, held.scope)
            if left_s is not None and self._ledger.remaining_s(held.prefix, held.scope) is None:
                repairs[self._settle_one(HeldBan(held.prefix, held.scope, left_s))] += 1
        return repairs

    def _settle_one(self, held: HeldBan) -> Repair:
        if self._ledger.latest(held.prefix, held.scope) is not None:
            self._feed.again(Lift(held.prefix, held.scope))
            return Repair.ENDED
        return self._adopt(held, Reason.HELD_BY_KERNEL, Origin.IMPORT)

    def _adopt(self, held: HeldBan, reason: Reason, origin: Origin) -> Repair:
        seconds = max(held.remaining_s, 1.0)
        ban = self._ledger.ban(held.prefix, held.scope, reason, seconds=seconds, origin=origin)
        if ban is not None:
            return Repair.UNKNOWN
        self._feed.again(Lift(held.prefix, held.scope))
        return Repair.EXEMPT


class _Found:
    """What the kernel holds, page by page, held against the Ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self.numbers: set[int] = set()  # some 80 octets a ban while it is compared; a key has 200
        self.apart: list[Key] = []
        self.strange: list[HeldBan] = []
        self._ledger = ledger

    def take(self, page: Sequence[HeldBan]) -> None:
        """One page."""
        for held in page:
            self.numbers.add(_number(held.prefix, held.scope))
            ours_s = self._ledger.remaining_s(held.prefix, held.scope)
            if ours_s is None:
                if held.remaining_s > SLACK_S:
                    self.strange.append(held)
            elif abs(ours_s - held.remaining_s) > SLACK_S:
                self.apart.append((held.prefix, held.scope))


def _number(prefix: Prefix, scope: Scope) -> int:
    """A prefix in a scope as one integer, which is small and its own hash."""
    return int.from_bytes(prefix.packed) << 10 | prefix.length << 2 | (scope is Scope.MX) << 1 | 1
