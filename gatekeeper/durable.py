"""What outlives the process: the Store of the configuration, opened and taken in.

A Store that cannot be used costs the guard its memory and nothing else: it starts without, says so
once, and goes on in memory.
"""

import time
from collections.abc import Callable

from gatekeeper.abc import Store
from gatekeeper.account_secret import account_secret
from gatekeeper.errors import GatekeeperError, StoreError
from gatekeeper.guard import Guard
from gatekeeper.ledger import Ledger
from gatekeeper.policy.recollection import recall
from gatekeeper.settings import Settings
from gatekeeper.store.memory import MemoryStore
from gatekeeper.store.sqlite import SqliteStore

OnHealth = Callable[[GatekeeperError | None], None]


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
) -> Store:
    """Open the Store and take in what it kept of bans and of the policy's memory. Never raises."""
    memory_s = settings.policy.ban_memory_s
    path = settings.store.path
    if path is None:
        return MemoryStore(memory_s)
    opened = None
    try:
        opened = await SqliteStore.open(path, memory_s)
        ledger.restore(await opened.load(time.time()))
        recall(guard.evidence, await opened.recall(time.time()), guard.now)
    except GatekeeperError as error:  # protection goes on without its memory
        on_health(error)
        if opened is not None:
            await opened.aclose()
        return MemoryStore(memory_s)
    return opened
