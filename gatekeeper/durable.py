"""What outlives the process: the Store of the configuration, opened and taken in.

A Store that cannot be used costs the guard its memory and nothing else: it starts without, says so
once, and goes on in memory.

Half a million bans take seconds to read, in which sessions are served already: the first page is
taken in before, the others beside them, each in slices short enough for a session's answer to wait
behind. Until its page has come a ban is kept by the kernel, which outlives the guard.
"""

import time
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from gatekeeper.abc import Store
from gatekeeper.account_secret import account_secret
from gatekeeper.ban import Ban
from gatekeeper.errors import GatekeeperError, StoreError
from gatekeeper.guard import Guard
from gatekeeper.ledger import Ledger
from gatekeeper.policy.recollection import recall
from gatekeeper.settings import Settings
from gatekeeper.store.memory import MemoryStore
from gatekeeper.store.sqlite import SqliteStore

SLICE: Final = 500  # bans taken in before others have their turn, some 2 ms

OnHealth = Callable[[GatekeeperError | None], None]
Follow = Callable[[list[Ban]], Awaitable[None]]


async def _nobody(_page: list[Ban]) -> None:
    """Nobody follows the reading."""


class Restore:
    """The bans of a Store on their way into the Ledger."""

    def __init__(self, store: Store, ledger: Ledger, on_health: OnHealth) -> None:
        self._store = store
        self._ledger = ledger
        self._on_health = on_health
        self._last: Ban | None = None  # that was read
        self._first: list[Ban] = []  # taken in by `begin`, and not followed yet
        self._scope = trio.CancelScope()

    async def begin(self) -> None:
        """Take in the first page. Raises `StoreError`."""
        self._first = await self._take_page()

    async def run(self, follow: Follow = _nobody) -> int:
        """Take in the rest; how many bans it was. Never raises: where the Store fails, `on_health`
        hears why, and what came until then stays. `follow` is awaited with each page taken in, the
        first one too, as far as its bans still are.

        What is lifted from the moment this is called is not brought back by a later page. If
        cancelled, the pages until then are in.
        """
        count = 0
        try:
            with self._scope, self._ledger.restoring():
                if first := self._still_in_force():
                    await follow(first)
                while self._last is not None:
                    page = await self._take_page()
                    count += len(page)
                    await follow(page)
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

    def _still_in_force(self) -> list[Ban]:
        first, self._first = self._first, []
        remaining_s = self._ledger.remaining_s
        return [ban for ban in first if remaining_s(ban.prefix, ban.scope) is not None]

    async def _take_page(self) -> list[Ban]:
        page = await self._store.load(time.time(), self._last)
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
            opened = await SqliteStore.open(path, memory_s)
            restore = Restore(opened, ledger, on_health)
            await restore.begin()
            recall(guard.evidence, await opened.recall(time.time()), guard.now)
            return opened, restore
        except GatekeeperError as error:  # protection goes on without its memory
            on_health(error)
            if opened is not None:
                await opened.aclose()
    empty = MemoryStore(memory_s)
    return empty, Restore(empty, ledger, on_health)
