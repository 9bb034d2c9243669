"""fail2ban 1.0 with the jails of a mail server switched on and nothing else changed.

Jails postfix, postfix-sasl and dovecot of `jail.conf`: 5 failures in 10 minutes, 10 minutes of ban.
An interval longer than `findtime` is not forgotten but scaled: its count becomes the one that its
rate gives in `findtime`. It knows whole seconds only, so a ban starts with the second of its last
failure. The second variant has `bantime.increment = true`, with which the time of a ban doubles and
failures of a known address count more, and the jail recidive: five bans in a day are a week. Its
database is purged each hour, of what was banned a day and three times the ban ago.

Dovecot says when it could not ask; Postfix logs the same line as for a wrong password, and the jail
postfix-sasl counts it.
"""

from dataclasses import dataclass, field
from math import floor
from typing import Final

from bench.detection.baselines.log_reader import Bans, LogReader, Service
from bench.detection.seam import Event

MAX_RETRY: Final = 5
FIND_TIME_S: Final = 600.0
BAN_TIME_S: Final = 600.0
RECIDIVE_FIND_TIME_S: Final = 86_400.0
RECIDIVE_BAN_TIME_S: Final = 7 * 86_400.0
PURGE_AGE_S: Final = 86_400.0  # dbpurgeage
PURGE_EVERY_S: Final = 3600.0
OUTDATED_BANS: Final = 3  # times the length of a ban that is added to that age
_DOUBLINGS_MAX: Final = 20

_PORTS: Final[dict[str, frozenset[Service]]] = {
    "postfix": frozenset({"smtp", "submission"}),
    "postfix-sasl": frozenset({"smtp", "submission", "imap"}),
    "dovecot": frozenset({"imap", "submission"}),
    "recidive": frozenset({"smtp", "submission", "imap"}),
}


@dataclass(slots=True)
class _Ticket:
    """The failures of one address in one jail."""

    first: float
    last: float
    retry: int = 0

    def count(self, now: float, find_time_s: float, weight: int) -> int:
        if now > self.last:
            if self.first < now - find_time_s:
                self.retry = round(self.retry / (now - self.first) * find_time_s)
                self.first = now - find_time_s
            self.last = now
        self.retry += weight
        return self.retry


@dataclass(slots=True)
class _Known:
    """An address in the database: how often it was banned, when last, and for how long."""

    bans: int
    at: float
    seconds: float

    def forgotten(self, now: float) -> bool:
        """Whether the last purge before `now` took it."""
        purged = now // PURGE_EVERY_S * PURGE_EVERY_S
        return self.at + OUTDATED_BANS * self.seconds + PURGE_AGE_S < purged


@dataclass(slots=True)
class _Jail:
    find_time_s: float
    ban_time_s: float
    increment: bool
    tickets: dict[str, _Ticket] = field(default_factory=dict)
    bans: Bans = field(default_factory=Bans)
    known: dict[str, _Known] = field(default_factory=dict)

    def failed(self, now: float, ip: str) -> float | None:
        """Count a failure; the seconds of the ban, or None."""
        now = floor(now)
        ticket = self.tickets.get(ip)
        if ticket is None or ticket.last <= now - self.find_time_s:
            ticket = self.tickets[ip] = _Ticket(now, now)
        bans = self._bans_before(now, ip)
        weight = min((1 << min(bans, _DOUBLINGS_MAX)) // 2 + 1, MAX_RETRY) if bans else 1
        if ticket.count(now, self.find_time_s, weight) < MAX_RETRY:
            return None
        del self.tickets[ip]
        seconds = self.ban_time_s * (1 << min(bans, _DOUBLINGS_MAX))
        self.bans.ban(ip, now + seconds)
        if self.increment:
            self.known[ip] = _Known(bans + 1, now, seconds)
        return seconds

    def _bans_before(self, now: float, ip: str) -> int:
        known = self.known.get(ip)
        if known is None:
            return 0
        if known.forgotten(now):
            del self.known[ip]
            return 0
        return known.bans


class Fail2ban(LogReader):
    """The three jails; with `increment` also growing bans and the jail recidive."""

    def __init__(self, *, increment: bool = False) -> None:
        super().__init__()
        self._jails = {
            name: _Jail(FIND_TIME_S, BAN_TIME_S, increment)
            for name in ("postfix", "postfix-sasl", "dovecot")
        }
        if increment:
            self._jails["recidive"] = _Jail(RECIDIVE_FIND_TIME_S, RECIDIVE_BAN_TIME_S, True)

    def banned(self, now: float, ip: str, service: Service) -> bool:
        """Each jail bans on the ports that `jail.conf` gives it."""
        return any(
            service in _PORTS[name] and jail.bans.holds(now, ip)
            for name, jail in self._jails.items()
        )

    def failed(self, now: float, ip: str, service: Service, event: Event) -> float | None:
        """An unknown recipient is a line of the jail postfix, on port 25 and on submission."""
        if event["kind"] == "rcpt":
            jail = "postfix"
        else:
            jail = "dovecot" if service == "imap" else "postfix-sasl"
        seconds = self._jails[jail].failed(now, ip)
        return self._recidive(now, ip, seconds)

    def unavailable(self, now: float, ip: str, service: Service, event: Event) -> float | None:
        """Only Postfix's line about a login looks like a wrong password."""
        if event["kind"] == "rcpt" or service == "imap":
            return None
        return self._recidive(now, ip, self._jails["postfix-sasl"].failed(now, ip))

    def _recidive(self, now: float, ip: str, seconds: float | None) -> float | None:
        recidive = self._jails.get("recidive")
        if seconds is None or recidive is None:
            return seconds
        return max(seconds, recidive.failed(now, ip) or 0.0)
