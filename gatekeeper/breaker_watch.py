"""What follows the breaker's opening at leisure: the rest of the lifts, a word when it closes."""

from collections.abc import Callable
from typing import Final

import trio

from gatekeeper.banning import Banning
from gatekeeper.policy.breaker import Trip

LOOK_S: Final = 5.0  # its end is told of within this: it may be put off, and be reset


class BreakerWatch:
    """The one task that waits for `banning` to trip. `clock` is the guard's; `on_open(trip)` and
    `on_closed(withheld)` are for the log."""

    def __init__(
        self,
        banning: Banning,
        clock: Callable[[], float],
        on_open: Callable[[Trip], None],
        on_closed: Callable[[int], None],
    ) -> None:
        self._banning = banning
        self._clock = clock
        self._on_open = on_open
        self._on_closed = on_closed
        self._tripped = trio.Event()
        banning.on_trip = self._on_trip

    async def run(self) -> None:
        """Wait for trips until cancelled."""
        breaker = self._banning.breaker
        while True:
            await self._tripped.wait()
            self._tripped = trio.Event()
            await self._lift()
            await self._closed()
            self._on_closed(breaker.withheld)

    async def _lift(self) -> None:
        """Take back what it condemns; others have their turn between two slices."""
        more = True
        while more:
            more = self._banning.lift_some()
            await trio.lowlevel.checkpoint()

    async def _closed(self) -> None:
        while True:
            trip = self._banning.breaker.trip(self._clock())
            if trip is None:
                return
            await trio.sleep(min(LOOK_S, trip.until - self._clock()))

    def _on_trip(self, trip: Trip) -> None:
        self._on_open(trip)
        self._tripped.set()
