"""mailcow's netfilter container: ten failures with gaps of ten minutes at most.

The ban is half an hour, doubled for each ban before, up to 10,000 seconds; the count of bans is
never forgotten while the container runs. Unknown recipients match none of its expressions.
"""

from dataclasses import dataclass
from typing import Final

from bench.detection.baselines.log_reader import LogReader, Service
from bench.detection.seam import Event

MAX_ATTEMPTS: Final = 10
RETRY_WINDOW_S: Final = 600.0
BAN_TIME_S: Final = 1800.0
MAX_BAN_TIME_S: Final = 10_000.0


@dataclass(slots=True)
class _Address:
    attempts: int = 0
    last: float = 0.0
    bans: int = 0
    until: float | None = None


class Mailcow(LogReader):
    """One count per address over IMAP and SMTP."""

    def __init__(self) -> None:
        super().__init__()
        self._addresses: dict[str, _Address] = {}

    def banned(self, now: float, ip: str, service: Service) -> bool:
        """All ports of the host."""
        address = self._addresses.get(ip)
        if address is None or address.until is None:
            return False
        if now < address.until:
            return True
        address.until = None
        address.attempts = 0
        address.bans += 1
        return False

    def failed(self, now: float, ip: str, service: Service, event: Event) -> float | None:
        """Logins count, recipients do not."""
        if event["kind"] == "rcpt":
            return None
        address = self._addresses.setdefault(ip, _Address())
        if now - address.last > RETRY_WINDOW_S:
            address.attempts = 0
        address.attempts += 1
        address.last = now
        if address.attempts < MAX_ATTEMPTS:
            return None
        seconds = min(BAN_TIME_S * float(2**address.bans), MAX_BAN_TIME_S)
        address.until = now + seconds
        return seconds
