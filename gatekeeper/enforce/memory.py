"""An Enforcer without a kernel: for tests, for hosts without rights, for observe mode.

It holds bans exactly as the kernel would and drops nothing; the guard's own ban lookup at accept
is what refuses.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from gatekeeper.abc import BanChange, HeldBan
from gatekeeper.ban import End, Scope
from gatekeeper.enforce.shape import Key, final_seconds, seconds_left
from gatekeeper.errors import EnforcerError
from gatekeeper.prefix import Prefix

HELD_MAX: Final = 1_000_000  # as many as one kernel set; some 250 MB here


class MemoryEnforcer:
    """Implements `gatekeeper.abc.Enforcer`. `clock` gives monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._ends: dict[Key, float] = {}

    async def apply(self, changes: Sequence[BanChange], now: float) -> None:
        """See `Enforcer.apply`. Raises `EnforcerError` where more than `HELD_MAX` would be held."""
        final = final_seconds(changes, now)
        instant = self._clock()
        if len(self._ends) + len(final) > HELD_MAX:
            self._forget_ended(instant)
            if len(self._ends.keys() | final.keys()) > HELD_MAX:
                raise EnforcerError("more bans than are held in memory")
        for key, seconds in final.items():
            if seconds is None:
                self._ends.pop(key, None)
            else:
                self._ends[key] = instant + seconds

    async def fill(self, ends: Iterable[End], now: float) -> None:
        """See `Enforcer.fill`. Raises `EnforcerError` as `apply` does."""
        instant = self._clock()
        self._forget_ended(instant)
        for key, seconds in seconds_left(ends, now).items():
            if len(self._ends) >= HELD_MAX and key not in self._ends:
                raise EnforcerError("more bans than are held in memory")
            self._ends.setdefault(key, instant + (seconds or 0))

    async def held(self) -> list[HeldBan]:
        """See `Enforcer.held`."""
        instant = self._clock()
        self._forget_ended(instant)
        return [HeldBan(*key, remaining_s=end - instant) for key, end in self._ends.items()]

    async def walk(self, take: Callable[[Sequence[HeldBan]], None]) -> None:
        """See `Enforcer.walk`."""
        take(await self.held())

    async def remaining_s(self, prefix: Prefix, scope: Scope) -> float | None:
        """See `Enforcer.remaining_s`."""
        left = self._ends.get((prefix, scope), 0.0) - self._clock()
        return left if left > 0 else None

    async def dropped(self) -> dict[str, int]:
        """No kernel, no dropped packets."""
        return {}

    async def suspend(self, *, on: bool) -> None:
        """Nobody is dropped in either case."""

    async def aclose(self) -> None:
        """Nothing outside was held."""

    def _forget_ended(self, instant: float) -> None:
        self._ends = {key: end for key, end in self._ends.items() if end > instant}
