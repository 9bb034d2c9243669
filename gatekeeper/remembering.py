"""From the policy's memory to the Store, every half minute and at the end.

Theory of operation. The policy notes what has changed; the values are read when they are written,
so a score that rose a hundred times since the last round is one row. What could not be written
counts as changed again and is read anew in a later round. Records are absolute: writing one twice,
after a failure or a cancelled write that did get through, changes nothing.

Bans do not wait for this: they have a feed of their own (`gatekeeper.propagation`).
"""

from collections.abc import Callable, Sequence
from typing import Final, Protocol

import trio

from gatekeeper.abc import Store
from gatekeeper.errors import GatekeeperError, StoreError
from gatekeeper.policy import recollection
from gatekeeper.policy.evidence import Evidence
from gatekeeper.remembered import Memory

INTERVAL_S: Final = 30.0  # what a crash may forget: half a minute of guesses
MAX_BATCH: Final = 2_000  # about 15 ms of a thread; a smaller one costs more fsyncs, each is one
MAX_BATCHES: Final = 200  # of a round: all that the policy notes at most, twice over

OnHealth = Callable[[GatekeeperError | None], None]


class Source(Protocol):
    """Something with a memory worth keeping."""

    def drain(self, limit: int) -> list[Memory]:
        """What has changed and was not drained yet, about `limit` records at most. Fewer than
        `limit` are all there are."""
        ...

    def put_back(self, memories: Sequence[Memory]) -> None:
        """These were drained and may not have been written: they count as changed."""
        ...


class PolicyMemory:
    """The evidence of a guard as a `Source`; `clock` is the guard's."""

    def __init__(self, evidence: Evidence, clock: Callable[[], float]) -> None:
        self._evidence = evidence
        self._clock = clock

    def drain(self, limit: int) -> list[Memory]:
        """See `Source.drain`."""
        return recollection.drain(self._evidence, limit, self._clock())

    def put_back(self, memories: Sequence[Memory]) -> None:
        """See `Source.put_back`."""
        recollection.put_back(self._evidence, memories)


class Remembering:
    """What of a Source a Store has not been told yet.

    `clock` gives Unix time. `on_health` hears the error when writing begins to fail, and None when
    it works again: once each, however long it takes.
    """

    def __init__(
        self, source: Source, store: Store, *, clock: Callable[[], float], on_health: OnHealth
    ) -> None:
        self._source = source
        self._store = store
        self._clock = clock
        self._on_health = on_health
        self._limit = MAX_BATCH
        self._healthy = True

    async def run(self) -> None:
        """Write what has changed every `INTERVAL_S` until cancelled. A batch under way when
        cancelled may or may not have been written; `flush` writes it again, which does no harm."""
        while True:
            await trio.sleep(INTERVAL_S)
            await self.flush()

    async def flush(self) -> None:
        """Write all that has changed, giving up at the first failure: the last act of a shutdown
        too. A batch that `run` has under way is not waited for; the Store does that when it closes.
        """
        for _ in range(MAX_BATCHES):
            if not await self._write_batch():
                return

    async def _write_batch(self) -> bool:
        """Write what changed first; whether there may be more that can be written."""
        limit = self._limit
        batch = self._source.drain(limit)
        if not batch:
            return False
        try:
            await self._store.remember(batch, self._clock())
        except StoreError as error:
            self._source.put_back(batch)
            # A record that is refused for itself ends up alone, behind all others.
            self._limit = max(1, limit // 2)
            self._say(error)
            return False
        except BaseException:  # cancelled: `flush` may still want them
            self._source.put_back(batch)
            raise
        self._limit = min(MAX_BATCH, limit * 2)
        self._say(None)
        return len(batch) >= limit

    def _say(self, error: GatekeeperError | None) -> None:
        if self._healthy != (error is None):
            self._healthy = error is None
            self._on_health(error)
