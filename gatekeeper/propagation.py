"""From the Ledger to what applies and keeps its bans, at once and in batches.

Theory of operation. A feed subscribes to the Ledger and keeps the last change of each prefix and
scope that is not applied yet. Its one task sleeps on an event, not on a timer: the first change
wakes it, it takes what is there and applies it; what comes meanwhile makes the next batch. So one
ban goes out alone and at once, and a flood of them in a few large transactions.

When applying fails, the changes stay (newer ones of the same key win) and are tried again after a
growing pause. The batch is halved at each failure: a change that is refused for itself, and not
because nobody answers, ends up alone, at the end of the queue, and no longer holds up the others.
Where a set is full the batch is halved without a pause, and what is refused alone is set aside for
a while: the other sets have room.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from math import inf
from typing import Final

import trio

from gatekeeper.abc import BanChange, Store
from gatekeeper.ban import Ban, Scope
from gatekeeper.errors import EnforcerError, EnforcerFull, GatekeeperError, StoreError
from gatekeeper.ledger import Ledger
from gatekeeper.prefix import Prefix

MAX_BATCH: Final = 2_000  # a netlink transaction of about 200 KiB, a few ms in the kernel
MAX_WAITING: Final = 1_000_000  # as many as the Ledger holds; the oldest change goes first
FIRST_PAUSE_S: Final = 0.1
MAX_PAUSE_S: Final = 5.0  # a restarted kernel process should not be without bans for long

Apply = Callable[[Sequence[BanChange], float], Awaitable[None]]
OnHealth = Callable[[GatekeeperError | None], None]
_Key = tuple[Prefix, Scope]


class ChangeFeed:
    """The changes of a Ledger that one follower has not applied yet.

    `apply(changes, now)` is all or none and raises an error of class `failure` for none.
    `clock` gives Unix time. `on_health` hears the error when applying begins to fail, and None
    when it works again: once each, however long it takes.

    Overflow, after a long outage: the oldest change is dropped. A ban dropped is still refused by
    the guard itself; a lift dropped leaves a kernel element that ends by its own timeout.
    """

    def __init__(
        self,
        ledger: Ledger,
        apply: Apply,
        failure: type[GatekeeperError],
        *,
        clock: Callable[[], float],
        on_health: OnHealth,
        capacity: int = MAX_WAITING,
    ) -> None:
        self._ledger = ledger
        self._apply = apply
        self._failure = failure
        self._clock = clock
        self._on_health = on_health
        self._capacity = capacity
        self._waiting: OrderedDict[_Key, BanChange] = OrderedDict()
        self._aside: dict[_Key, BanChange] = {}  # there was no room for these
        self._retry_at = inf  # when there may be room again, by Trio's clock; inf: there is room
        self._wake = trio.Event()
        self._idle = trio.Event()
        self._idle.set()
        self._limit = MAX_BATCH
        self._healthy = True
        ledger.subscribe(self._put)

    def __len__(self) -> int:
        """The number of changes not applied yet."""
        return len(self._waiting) + len(self._aside)

    def again(self, change: BanChange) -> None:
        """Apply `change` once more, after all that waits."""
        self._put(change)

    async def run(self) -> None:
        """Apply changes until cancelled. A batch under way when cancelled may or may not have been
        applied; `flush` applies it again, which does no harm."""
        pause_s = FIRST_PAUSE_S
        while True:
            await self._wait()
            if await self._apply_batch():
                pause_s = FIRST_PAUSE_S
            else:
                await trio.sleep(pause_s)
                pause_s = min(2 * pause_s, MAX_PAUSE_S)

    async def _wait(self) -> None:
        """Wait for a change; and now and then try those again for which there was no room."""
        with trio.move_on_at(self._retry_at):
            await self._wake.wait()
        if trio.current_time() < self._retry_at:
            return
        self._retry_at = inf
        if self._aside:
            aside, self._aside = self._aside, {}
            self._put_back(aside.values())
        else:
            self._say(None)

    async def applied(self) -> None:
        """Wait until no change waits or is under way, but for those there is no room for."""
        await self._idle.wait()

    async def flush(self) -> None:
        """Apply what waits, giving up at the first failure: the last act of a shutdown."""
        while self._waiting and await self._apply_batch():
            pass

    async def _apply_batch(self) -> bool:
        """Apply the oldest changes that wait; whether it worked."""
        now = self._clock()
        batch = self._take(now)
        try:
            if batch:
                await self._apply(batch, now)
        except EnforcerFull as error:
            self._retry_at = min(self._retry_at, trio.current_time() + MAX_PAUSE_S)
            self._say(error)
            self._limit = max(1, len(batch) // 2)
            if len(batch) == 1:
                self._aside[batch[0].prefix, batch[0].scope] = batch[0]
            else:
                self._put_back(batch)
            self._rest()
            return True
        except self._failure as error:
            self._put_back(batch)
            self._limit = max(1, self._limit // 2)
            self._say(error)
            return False
        except BaseException:  # cancelled: `flush` may still want them
            self._put_back(batch)
            raise
        self._limit = min(MAX_BATCH, self._limit * 2)
        self._rest()
        if self._retry_at == inf:
            self._say(None)
        return True

    def _take(self, now: float) -> list[BanChange]:
        """At most one batch, without bans that have ended while they waited."""
        batch: list[BanChange] = []
        while self._waiting and len(batch) < self._limit:
            _, change = self._waiting.popitem(last=False)
            if not (isinstance(change, Ban) and change.until <= now):
                batch.append(change)
        if not self._waiting:
            self._wake = trio.Event()
        return batch

    def _rest(self) -> None:
        if not self._waiting:
            self._idle.set()

    def _put(self, change: BanChange) -> None:
        if self._idle.is_set():
            self._idle = trio.Event()
        self._aside.pop((change.prefix, change.scope), None)
        self._waiting[change.prefix, change.scope] = change
        if len(self._waiting) > self._capacity:
            self._waiting.popitem(last=False)
        self._wake.set()

    def _put_back(self, batch: Iterable[BanChange]) -> None:
        for change in batch:
            if (change.prefix, change.scope) not in self._waiting:
                self._put(change)

    def _say(self, error: GatekeeperError | None) -> None:
        if self._healthy != (error is None):
            self._healthy = error is None
            self._on_health(error)


def enforcer_feed(
    ledger: Ledger, apply: Apply, *, clock: Callable[[], float], on_health: OnHealth
) -> ChangeFeed:
    """A feed for `Enforcer.apply`, from the next change on; `reconciling` sees to the rest."""
    return ChangeFeed(ledger, apply, EnforcerError, clock=clock, on_health=on_health)


def store_feed(
    ledger: Ledger, store: Store, *, clock: Callable[[], float], on_health: OnHealth
) -> ChangeFeed:
    """A feed for a Store, from the next change on: what is in force came out of it."""
    return ChangeFeed(ledger, store.record, StoreError, clock=clock, on_health=on_health)
