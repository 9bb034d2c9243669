"""Looks at the certificates in use and tells before clients do that one ends."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import trio

LOOK_S: Final = 3600.0
DAY_S: Final = 86400.0
# ACME clients renew 30 days ahead: at 14 something has failed, at 1 somebody has to get up.
TOLD_AT_S: Final = (14 * DAY_S, 7 * DAY_S, DAY_S, 0.0)


class CertificateWatch:
    """Tells of each certificate once at each of `TOLD_AT_S`, and once when it was renewed.

    `ends` gives those in use, each with its end in Unix time; `clock` is Unix time; `on_stage(path,
    left_s, good)` hears the seconds that are left, and whether all is well again. It must be quick
    and must not raise.
    """

    def __init__(
        self,
        ends: Callable[[], Mapping[Path, float]],
        clock: Callable[[], float],
        on_stage: Callable[[Path, float, bool], None],
    ) -> None:
        self._ends = ends
        self._clock = clock
        self._on_stage = on_stage
        self._told: dict[Path, int] = {}  # how many of the stages

    async def run(self) -> None:
        """Look now and every hour, until cancelled."""
        while True:
            self.look()
            await trio.sleep(LOOK_S)

    def look(self) -> None:
        """Tell what has changed since the last look."""
        now = self._clock()
        ends = self._ends()
        for path in self._told.keys() - ends.keys():  # no longer in use
            del self._told[path]
        for path, end in ends.items():
            left_s = end - now
            stage = sum(left_s <= each for each in TOLD_AT_S)
            before = self._told.get(path, 0)
            if stage > before or (before and not stage):
                self._on_stage(path, left_s, not stage)
            self._told[path] = stage
