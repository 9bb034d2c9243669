"""Tells when the system's clock was set.

The guard goes by a clock of its own, which is set once and then goes on evenly, so that nobody's
ban or score ends or lasts for a clock that jumps. What is written for people, and what a
certificate lives by, is the system's time all the same: the operator should know that it jumped.
"""

from collections.abc import Callable
from typing import Final

import trio

LOOK_S: Final = 10.0
JUMP_S: Final = 2.0  # within one look; who steers a clock slowly moves it by milliseconds


class ClockWatch:
    """One for the process. `system` and `steady` give Unix time in seconds; `on_jump(by_s,
    ahead_s)` hears by how much the system's clock jumped, and how far ahead of the guard's it now
    is; both are negative where it was set back."""

    def __init__(
        self,
        system: Callable[[], float],
        steady: Callable[[], float],
        on_jump: Callable[[float, float], None],
    ) -> None:
        self._system = system
        self._steady = steady
        self._on_jump = on_jump
        self._ahead_s = system() - steady()

    async def run(self) -> None:
        """Look every `LOOK_S` until cancelled."""
        while True:
            await trio.sleep(LOOK_S)
            self.look()

    def look(self) -> None:
        """Compare both clocks now."""
        before, self._ahead_s = self._ahead_s, self._system() - self._steady()
        if abs(self._ahead_s - before) > JUMP_S:
            self._on_jump(self._ahead_s - before, self._ahead_s)
