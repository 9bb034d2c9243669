"""Stalwart's default auto-ban: 100 failed logins a day, 35 unknown recipients a day.

Days are fixed windows of the clock. Failures are counted per address and per login name, but what
is banned is the address that fails, whichever count was full; the ban has no end.
"""

from collections import Counter
from math import inf
from typing import Final

from bench.detection.baselines.log_reader import Bans, LogReader, Service
from bench.detection.seam import Event

LOGINS_A_DAY: Final = 100
RECIPIENTS_A_DAY: Final = 35
DAY_S: Final = 86_400.0


class Stalwart(LogReader):
    """Counts of today only."""

    def __init__(self) -> None:
        super().__init__()
        self._bans = Bans()
        self._day = -1
        self._today: Counter[tuple[str, str]] = Counter()

    def banned(self, now: float, ip: str, service: Service) -> bool:
        """Every listener of the server."""
        return self._bans.holds(now, ip)

    def failed(self, now: float, ip: str, service: Service, event: Event) -> float | None:
        """The name's count is looked at only where the address's own is not full."""
        if event["kind"] == "rcpt":
            full = self._full(now, ("rcpt", ip), RECIPIENTS_A_DAY)
        else:
            full = self._full(now, ("ip", ip), LOGINS_A_DAY) or self._full(
                now, ("login", event["account"]), LOGINS_A_DAY
            )
        if not full:
            return None
        self._bans.ban(ip, inf)
        return inf

    def _full(self, now: float, key: tuple[str, str], allowed: int) -> bool:
        day = int(now // DAY_S)
        if day != self._day:
            self._day = day
            self._today.clear()
        self._today[key] += 1
        return self._today[key] > allowed
