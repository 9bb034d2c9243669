"""CrowdSec with the collections postfix and dovecot of its hub and the default profile.

Two leaky buckets per address, a decision of four hours for all ports. Neither the community's list
nor third-party scenarios. Postfix's line about a login that its backend could not answer is the one
about a wrong password, and counts.
"""

from dataclasses import dataclass, field
from typing import Final

from bench.detection.baselines.log_reader import Bans, LogReader, Service
from bench.detection.seam import Event

DOVECOT_CAPACITY: Final = 3
DOVECOT_LEAK_S: Final = 360.0
POSTFIX_CAPACITY: Final = 5
POSTFIX_LEAK_S: Final = 10.0
BAN_S: Final = 4 * 3600.0

_ROUNDING: Final = 1e-6  # of a level: a bucket that is just full has not overflown


@dataclass(slots=True)
class _Bucket:
    """A scenario of type leaky: one more than its capacity overflows it."""

    capacity: int
    leak_s: float
    levels: dict[str, tuple[float, float]] = field(default_factory=dict)  # level, when

    def pour(self, now: float, ip: str) -> bool:
        level, then = self.levels.get(ip, (0.0, now))
        level = max(0.0, level - (now - then) / self.leak_s) + 1.0
        if level > self.capacity + _ROUNDING:
            self.levels.pop(ip, None)
            return True
        self.levels[ip] = (level, now)
        return False


class CrowdSec(LogReader):
    """dovecot-spam for IMAP; postfix-spam for SASL failures and refused recipients."""

    def __init__(self) -> None:
        super().__init__()
        self._bans = Bans()
        self._dovecot = _Bucket(DOVECOT_CAPACITY, DOVECOT_LEAK_S)
        self._postfix = _Bucket(POSTFIX_CAPACITY, POSTFIX_LEAK_S)

    def banned(self, now: float, ip: str, service: Service) -> bool:
        """The bouncer drops the address on every port."""
        return self._bans.holds(now, ip)

    def failed(self, now: float, ip: str, service: Service, event: Event) -> float | None:
        """One line, one drop in its bucket."""
        return self._poured(self._dovecot if service == "imap" else self._postfix, now, ip)

    def unavailable(self, now: float, ip: str, service: Service, event: Event) -> float | None:
        """Only Postfix's line about a login looks like a wrong password."""
        if event["kind"] == "rcpt" or service == "imap":
            return None
        return self._poured(self._postfix, now, ip)

    def _poured(self, bucket: _Bucket, now: float, ip: str) -> float | None:
        if not bucket.pour(now, ip):
            return None
        self._bans.ban(ip, now + BAN_S)
        return BAN_S
