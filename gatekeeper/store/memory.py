"""A Store that lasts as long as the process."""

from collections.abc import Sequence
from typing import Final

from gatekeeper.abc import BanChange
from gatekeeper.ban import Ban, Scope
from gatekeeper.prefix import Prefix

PRUNE_FLOOR: Final = 1_000  # below this many bans pruning is not worth a walk


class MemoryStore:
    """Bans in a dictionary; see `gatekeeper.abc.Store`.

    Bans ended more than `memory_s` ago are dropped, each time their number has doubled.
    """

    def __init__(self, memory_s: float) -> None:
        self._memory_s = memory_s
        self._bans: dict[tuple[Prefix, Scope], Ban] = {}
        self._prune_at = PRUNE_FLOOR

    async def load(self, now: float) -> list[Ban]:
        """See `gatekeeper.abc.Store.load`; never raises."""
        return [ban for ban in self._bans.values() if self._of_interest(ban, now)]

    async def record(self, changes: Sequence[BanChange], now: float) -> None:
        """See `gatekeeper.abc.Store.record`; never raises."""
        for change in changes:
            key = (change.prefix, change.scope)
            if isinstance(change, Ban):
                self._bans[key] = change
            else:
                self._bans.pop(key, None)
        if len(self._bans) >= self._prune_at:
            self._prune(now)

    async def aclose(self) -> None:
        """Nothing to let go of."""

    def _prune(self, now: float) -> None:
        self._bans = {key: ban for key, ban in self._bans.items() if self._of_interest(ban, now)}
        self._prune_at = max(PRUNE_FLOOR, 2 * len(self._bans))

    def _of_interest(self, ban: Ban, now: float) -> bool:
        return ban.until + self._memory_s > now
