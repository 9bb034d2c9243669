"""The operator's pause: for a time nothing is enforced, whatever the rules and the bans say.

Theory of operation. Within the guard a pause is in force when `begin` returns to the loop: whoever
refuses somebody is told (`followers`) and only watches from then on. The kernel follows, by the one
task that runs here: it says what is wanted to the Enforcer, again after a failure, and now and then
all the same, since a kernel process may have been made anew meanwhile. A pause ends by its time, by
the operator, or with the process: nothing of it is written down.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import trio

from gatekeeper.abc import Enforcer
from gatekeeper.errors import EnforcerError

ASSURE_S: Final = 10.0  # how often the Enforcer is told again, and tried again

Follower = Callable[[bool], None]


@dataclass(frozen=True, slots=True)
class Paused:
    """A pause in force until `until` (Unix time), with the operator's own words."""

    until: float
    note: str


class Pause:
    """The pause of one guard. `followers` are told True when one begins, False when it ends; they
    must be quick and must not raise. `on_begin(seconds, note)` and `on_end(why)` are for the log.
    `clock` gives Unix time, to be shown; times are measured by Trio's.
    """

    def __init__(
        self,
        enforcer: Enforcer,
        followers: Iterable[Follower],
        *,
        clock: Callable[[], float],
        on_begin: Callable[[float, str], None],
        on_end: Callable[[str], None],
    ) -> None:
        self._enforcer = enforcer
        self._followers = tuple(followers)
        self._clock = clock
        self._on_begin = on_begin
        self._on_end = on_end
        self._paused: Paused | None = None
        self._deadline = 0.0  # of the pause, by Trio's clock
        self._changed = trio.Event()
        self.kernel = "ok"  # or why the Enforcer does not follow

    @property
    def paused(self) -> Paused | None:
        """The pause in force, None where there is none."""
        return self._paused

    @property
    def active(self) -> bool:
        """Whether nothing is to be enforced."""
        return self._paused is not None

    def report(self) -> dict[str, object]:
        """The pause in a few words and numbers, for `status`."""
        if self._paused is None:
            return {"paused": False}
        left_s = max(0.0, self._deadline - trio.current_time())
        return {
            "paused": True,
            "paused_for_s": round(left_s, 1),
            "paused_until": round(self._paused.until, 3),
            "paused_note": self._paused.note,
            "paused_kernel": self.kernel,
        }

    async def begin(self, seconds: float, note: str) -> Paused:
        """Enforce nothing for `seconds` from now; one in force gets this time and these words.

        Returns when the Enforcer knows, or has failed: `kernel` says which.
        """
        self._deadline = trio.current_time() + seconds
        self._paused = Paused(self._clock() + seconds, note)
        self._tell(on=True)
        self._on_begin(seconds, note)
        await self._say()
        return self._paused

    async def end(self, why: str = "operator") -> bool:
        """Enforce all again; whether there was a pause. Returns as `begin` does."""
        if self._paused is None:
            return False
        self._paused = None
        self._tell(on=False)
        self._on_end(why)
        await self._say()
        return True

    async def run(self) -> None:
        """End pauses in time and keep the Enforcer to what is wanted, until cancelled."""
        while True:
            await self._say()
            wake = trio.current_time() + ASSURE_S
            if self._paused is not None:
                wake = min(wake, self._deadline)
            with trio.move_on_at(wake):
                await self._changed.wait()
                continue
            if self._paused is not None and trio.current_time() >= self._deadline:
                await self.end("its time is over")

    def _tell(self, *, on: bool) -> None:
        for follower in self._followers:
            follower(on)
        self._changed.set()
        self._changed = trio.Event()

    async def _say(self) -> None:
        """Tell the Enforcer what is wanted now."""
        try:
            await self._enforcer.suspend(on=self.active)
        except EnforcerError as error:
            self.kernel = str(error) or type(error).__name__
        else:
            self.kernel = "ok"
