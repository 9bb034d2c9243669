"""Connections of a banned address that are not this guard's own sessions are reset, too.

A ban stops the address's packets; what it had open at another process on a guarded port, or not yet
accepted, would wait there for its time-out. Looking for them walks every TCP socket of the host,
some 10 ms in which the kernel process does nothing else: so the first ban is followed at once, and
a flood of them once a second, by one walk for all.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import trio

from gatekeeper.abc import BanChange
from gatekeeper.ban import Ban, Scope
from gatekeeper.errors import EnforcerError
from gatekeeper.ledger import Ledger
from gatekeeper.prefix import Prefix

MAX_WAITING: Final = 1_000  # one packet to the kernel process; beyond, their sockets time out
REST_S: Final = 1.0

Kill = Callable[[Sequence[tuple[Prefix, Scope]]], Awaitable[int]]


class Resets:
    """`kill` resets the connections of prefixes; `on_reset(count)` hears how many there were."""

    def __init__(self, ledger: Ledger, kill: Kill, on_reset: Callable[[int], None]) -> None:
        self._kill = kill
        self._on_reset = on_reset
        self._waiting: dict[tuple[Prefix, Scope], None] = {}
        self._wake = trio.Event()
        ledger.subscribe(self._note)

    async def run(self) -> None:
        """Follow bans until cancelled. A failure is nobody's business: the feed tells of it."""
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            keys, self._waiting = list(self._waiting), {}
            try:
                count = await self._kill(keys)
            except EnforcerError:
                count = 0
            if count:
                self._on_reset(count)
            await trio.sleep(REST_S)

    def _note(self, change: BanChange) -> None:
        if isinstance(change, Ban) and len(self._waiting) < MAX_WAITING:
            self._waiting[change.prefix, change.scope] = None
            self._wake.set()
