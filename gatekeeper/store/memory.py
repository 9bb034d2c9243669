"""A Store that lasts as long as the process."""

from collections.abc import Sequence
from typing import Final

from gatekeeper.abc import BanChange
from gatekeeper.ban import Ban, End, Scope
from gatekeeper.prefix import Prefix
from gatekeeper.remembered import FamiliarPair, Learned, Memory, SourceScore, Unlocked
from gatekeeper.store.keeping import MAX_PAIRS, MAX_SCORES, Kept, Key, is_of_interest, key_of

PRUNE_FLOOR: Final = 1_000  # below this many bans, or records, pruning is not worth a walk


class MemoryStore:
    """Bans and remembered records in dictionaries; see `gatekeeper.abc.Store`.

    Bans ended more than `memory_s` ago, and records of no more interest, are dropped each time
    their number has doubled.
    """

    def __init__(self, memory_s: float) -> None:
        self._memory_s = memory_s
        self._bans: dict[tuple[Prefix, Scope], Ban] = {}
        self._prune_at = PRUNE_FLOOR
        self._memories: dict[Key, Kept] = {}
        self._prune_memories_at = PRUNE_FLOOR

    async def load(self, now: float, after: Ban | None = None) -> list[Ban]:
        """See `gatekeeper.abc.Store.load`; all in one page. Never raises."""
        if after is not None:
            return []
        return [ban for ban in self._bans.values() if self._of_interest(ban, now)]

    async def ends(self, now: float, after: End | None = None) -> list[End]:
        """See `gatekeeper.abc.Store.ends`; all in one page. Never raises."""
        if after is not None:
            return []
        bans = self._bans.values()
        return [(ban.prefix, ban.scope, ban.until) for ban in bans if ban.until > now]

    async def record(self, changes: Sequence[BanChange], now: float) -> None:
        """See `gatekeeper.abc.Store.record`; never raises."""
        for change in changes:
            key = (change.prefix, change.scope)
            if isinstance(change, Ban):
                self._bans[key] = change
            elif not change.forget:
                if (ban := self._bans.get(key)) is not None:
                    self._bans[key] = ban._replace(until=min(ban.until, now))
            else:
                self._bans.pop(key, None)
        if len(self._bans) >= self._prune_at:
            self._prune(now)

    async def recall(self, now: float) -> list[Memory]:
        """See `gatekeeper.abc.Store.recall`; never raises."""
        return [*_ordered(self._memories, now)]

    async def remember(self, memories: Sequence[Memory], now: float) -> None:
        """See `gatekeeper.abc.Store.remember`; never raises."""
        for memory in memories:
            if isinstance(memory, Unlocked):
                self._memories.pop(key_of(memory), None)
            else:
                self._memories[key_of(memory)] = memory
        if len(self._memories) >= self._prune_memories_at:
            self._memories = {key_of(memory): memory for memory in _ordered(self._memories, now)}
            self._prune_memories_at = max(PRUNE_FLOOR, 2 * len(self._memories))

    async def aclose(self) -> None:
        """Nothing to let go of."""

    def _prune(self, now: float) -> None:
        self._bans = {key: ban for key, ban in self._bans.items() if self._of_interest(ban, now)}
        self._prune_at = max(PRUNE_FLOOR, 2 * len(self._bans))

    def _of_interest(self, ban: Ban, now: float) -> bool:
        return ban.until + self._memory_s > now


def _ordered(memories: dict[Key, Kept], now: float) -> list[Kept]:
    """What is of interest, in the order of `recall`: pairs, scores, locks, what was learned."""
    pairs: list[FamiliarPair] = []
    scores: list[SourceScore] = []
    locks: list[Kept] = []
    learned: list[Kept] = []
    for memory in memories.values():
        if not is_of_interest(memory, now):
            continue
        match memory:
            case FamiliarPair():
                pairs.append(memory)
            case SourceScore():
                scores.append(memory)
            case Learned():
                learned.append(memory)
            case _:
                locks.append(memory)
    pairs.sort(key=lambda pair: pair.last_at)
    scores.sort(key=lambda score: score.at)
    return [*pairs[-MAX_PAIRS:], *scores[-MAX_SCORES:], *locks, *learned]
