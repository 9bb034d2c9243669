"""What all programs that ban addresses for failures have in common.

Theory of operation: a log line is written when the backend has refused something. It has the time,
the address, the service and the name, never the password. A ban drops every later packet of that
address, and so the log falls silent about it.
"""

from typing import Literal, TypeAlias

from bench.detection.seam import Decision, Event, decided

Service: TypeAlias = Literal["imap", "submission", "smtp"]
"""Where a client is: IMAP, the submission ports, or port 25."""


class LogReader:
    """Passes everything that is not banned, and tells `failed` what the backend refused."""

    def __init__(self) -> None:
        self._outage = False

    def feed(self, event: Event, /) -> Decision:
        """See `seam.Policy`. A connection that says nothing writes no line."""
        match kind := event["kind"]:
            case "outage":
                self._outage = event["on"]
                return decided(event, "pass")
            case "connect":
                dropped = self.banned(event["t"], event["ip"], "smtp")
                return decided(event, "drop" if dropped else "pass")
            case "auth":
                return self._judged(event, event["protocol"], event["valid"])
            case "rcpt":
                service: Service = "smtp" if event["account"] is None else "submission"
                return self._judged(event, service, event["exists"])
            case _:
                raise ValueError(f"unknown kind of event: {kind!r}")

    def banned(self, now: float, ip: str, service: Service) -> bool:
        """Whether a ban in force drops what this address sends to this service."""
        raise NotImplementedError

    def failed(self, now: float, ip: str, service: Service, event: Event) -> float | None:
        """Count a failure; the seconds of the ban it brings, or None."""
        raise NotImplementedError

    def unavailable(self, now: float, ip: str, service: Service, event: Event) -> float | None:
        """As `failed`, about what the backend could not answer. Dovecot's "temporary failure" is
        matched by no rule of any of them."""
        return None

    def _judged(self, event: Event, service: Service, right: bool) -> Decision:
        now, ip = event["t"], event["ip"]
        if self.banned(now, ip, service):
            return decided(event, "drop", reason="banned")
        if self._outage:
            seconds = self.unavailable(now, ip, service, event)
            return _passed(event, "unavailable", seconds)
        if right:
            return decided(event, "pass", "ok")
        return _passed(event, "fail", self.failed(now, ip, service, event))


def _passed(event: Event, outcome: str, seconds: float | None) -> Decision:
    return decided(event, "pass", outcome, ban=None if seconds is None else (event["ip"], seconds))


class Bans:
    """Addresses and until when each is banned."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def ban(self, ip: str, until: float) -> None:
        """Ban `ip`, or move the end of its ban."""
        self._until[ip] = until

    def holds(self, now: float, ip: str) -> bool:
        """Whether `ip` is banned; at the end of its time it is not."""
        until = self._until.get(ip)
        if until is None:
            return False
        if now < until:
            return True
        del self._until[ip]
        return False
