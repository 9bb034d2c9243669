"""What outlives the process: the Store of the configuration, opened and taken in.

A Store that cannot be used costs the guard its memory and nothing else: it starts without, says so
once, and goes on in memory. One that can only be read is read.

Half a million bans take seconds to read, in which sessions are served already: the first page is
taken in before, the others beside them, each in slices short enough for a session's answer to wait
behind. Until its page has come a ban is kept by the kernel, which outlives the guard.
"""

from collections.abc import Awaitable, Callable
from typing import Final

import trio

from gatekeeper.abc import Store
from gatekeeper.account_secret import account_secret
from gatekeeper.ban import Ban, End, Scope
from gatekeeper.errors import GatekeeperError, StoreError
from gatekeeper.guard import Guard
from gatekeeper.ledger import Ledger
from gatekeeper.policy.recollection import recall
from gatekeeper.prefix import Prefix
from gatekeeper.settings import Settings
from gatekeeper.store.memory import MemoryStore
from gatekeeper.store.sqlite import SqliteStore

SLICE: Final = 500  # bans taken in before others have their turn, some 2 ms

OnHealth = Callable[[GatekeeperError | None], None]
Follow = Callable[[list[End]], Awaitable[None]]
Key = tuple[Prefix, Scope]


class Restore:
    """The bans of a Store on their way into the Ledger."""

    def __init__(self, store: Store, ledger: Ledger, on_health: OnHealth) -> None:
        self._store = store
        self._ledger = ledger
        self._on_health = on_health
        self._last: Ban | None = None  # that was read
        self._first: frozenset[Key] = frozenset()  # taken in by `begin`
        self._scope = trio.CancelScope()

    async def begin(self) -> None:
        """Take in the first page. Raises `StoreError`."""
        self._first = frozenset((ban.prefix, ban.scope) for ban in await self._take_page())

    async def run(self, follow: Follow | None = None) -> int:
        """Take in the rest; how many bans it was. Never raises: where the Store fails, `on_health`
        hears why, and what came until then stays.

        Before that the ends of all bans are read, for they alone are read quickly, and `follow` is
        awaited with each page of them: the kernel has them seconds before the Ledger.
        What is lifted from the moment this is called is not brought back by a later page. If
        cancelled, the pages until then are in.
        """
        count = 0
        try:
            with self._scope, self._ledger.restoring():
                if follow is not None:
                    await self._lead(follow)
                while self._last is not None:
                    count += len(await self._take_page())
        except StoreError as error:
            self._on_health(error)
        return count

    def stop(self) -> None:
        """Let `run` end: the Store is about to be closed."""
        self._scope.cancel()

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called: the Ledger may lack what the Store has."""
        return self._scope.cancel_called

    async def _lead(self, follow: Follow) -> None:
        last = None
        while page := await self._store.ends(self._ledger.now, last):
            last = page[-1]
            await follow([end for end in page if self._still_is(end)])

    def _still_is(self, end: End) -> bool:
        prefix, scope, _ = end
        if self._ledger.lifted_meanwhile(prefix, scope):
            return False
        known = (prefix, scope) in self._first
        return not known or self._ledger.remaining_s(prefix, scope) is not None

    async def _take_page(self) -> list[Ban]:
        page = await self._store.load(self._ledger.now, self._last)
        for start in range(0, len(page), SLICE):
            self._ledger.restore(page[start : start + SLICE])
            await trio.lowlevel.checkpoint()
        self._last = page[-1] if page else None
        return page


def load_account_secret(settings: Settings, on_health: OnHealth) -> bytes:
    """The key accounts are hashed with: kept in the state directory where a Store is.

    Without it nothing that was remembered of accounts can be used; a key of this process takes its
    place, and `on_health` hears why.
    """
    try:
        return account_secret(settings.state_dir if settings.store.path is not None else None)
    except StoreError as error:
        on_health(error)
        return account_secret(None)


async def open_store(
    settings: Settings, ledger: Ledger, guard: Guard, on_health: OnHealth
) -> tuple[Store, Restore]:
    """Open the Store and take in what it kept of the policy's memory and a first page of its bans;
    `Restore.run` takes in the others. Never raises."""
    memory_s = settings.policy.ban_memory_s
    path = settings.store.path
    opened = None
    if path is not None:
        try:
            opened = await SqliteStore.open(path, memory_s, on_health)
            restore = Restore(opened, ledger, on_health)
            await restore.begin()
            recall(guard.evidence, await opened.recall(guard.now), guard.now)
            return opened, restore
        except GatekeeperError as error:  # protection goes on without its memory
            on_health(error)
            if opened is not None:
                await opened.aclose()
    empty = MemoryStore(memory_s)
    return empty, Restore(empty, ledger, on_health)
