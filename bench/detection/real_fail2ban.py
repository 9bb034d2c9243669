"""Debian's own fail2ban as a policy of this bench.

Each event's lines go to the real filter of each jail, and the real ban manager says who is banned;
how two days pass in a minute is told in `real_fail2ban_jails`. A ban drops what comes from the
address, so the log falls silent about it: the loop is closed, as in life. What is missing is the
second or two that fail2ban takes to look into a file.
"""

import shutil
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from bench.detection.baselines.log_reader import LogReader, Service
from bench.detection.real_fail2ban_jails import Jails
from bench.detection.real_log import START, lines
from bench.detection.seam import Decision, Event

JAILS: Final = ("postfix", "postfix-sasl", "dovecot")
RECIDIVE: Final = "recidive"

_PORT_OF: Final[dict[Service, str]] = {"imap": "imaps", "submission": "submission", "smtp": "smtp"}
_PURGE_S: Final = 3600.0
_JAIL_LOCAL: Final = """\
[DEFAULT]
bantime.increment = {increment}
[sshd]
enabled = false
"""


class RealFail2ban(LogReader):
    """The three jails of a mail server; with `increment` also growing bans and recidive.

    `tree` is the unpacked package; its configuration and database are made in the empty directory
    `home`. Only one at a time can live in a process. `rude` clients hang up without a goodbye.
    """

    def __init__(
        self, tree: Path, home: Path, *, increment: bool = False, rude: bool = False
    ) -> None:
        super().__init__()
        self._names = (*JAILS, RECIDIVE) if increment else JAILS
        self._rude = rude
        self._start = self._purged = START.timestamp()
        config = configured(tree, home, self._names, increment=increment)
        database = home / "fail2ban.sqlite3" if increment else None
        self._real = Jails(tree, config, self._start, database=database)
        self._jails = self._real.by_name

    def feed(self, event: Event, /) -> Decision:
        """See `seam.Policy`. What is no failure is logged too."""
        decision = super().feed(event)
        if decision["action"] == "pass" and decision["outcome"] in {"ok", None}:
            self._read(event, decision["outcome"])
        return decision

    def banned(self, now: float, ip: str, service: Service) -> bool:
        """Whether a jail that closes this service's port holds a ban."""
        self._advance(self._start + now)
        port, address = _PORT_OF[service], str(ip_address(ip))
        return any(
            address in jail.banned and (not jail.ports or port in jail.ports)
            for jail in self._jails.values()
        )

    def failed(self, now: float, ip: str, service: Service, event: Event) -> float | None:
        """The longest of the bans that the event's lines bring."""
        return self._read(event, "fail")

    def unavailable(self, now: float, ip: str, service: Service, event: Event) -> float | None:
        """Logged as the servers log it."""
        return self._read(event, "unavailable")

    def close(self) -> None:
        """Let another one be made."""
        self._real.close()

    def _read(self, event: Event, outcome: str | None) -> float | None:
        bans: list[float | None] = []
        for line in lines(event, outcome, rude=self._rude):
            bans += [self._jails[name].read(line) for name in JAILS]
        for line in self._real.log():
            if RECIDIVE in self._jails:
                bans.append(self._jails[RECIDIVE].read(line))
        self._real.log()  # recidive does not read what it says itself
        return max((ban for ban in bans if ban is not None), default=None)

    def _advance(self, instant: float) -> None:
        self._real.set_time(instant)
        for jail in self._jails.values():
            jail.tick()
        if instant >= self._purged + _PURGE_S:
            self._purged = instant
            self._real.purge()


def configured(tree: Path, home: Path, jails: tuple[str, ...], *, increment: bool) -> Path:
    """A copy of the package's /etc/fail2ban in which `jails` are switched on, no more."""
    config = home / "fail2ban"
    shutil.copytree(tree / "etc/fail2ban", config)
    switches = "".join(f"[{name}]\nenabled = true\n" for name in jails)
    (config / "jail.local").write_text(
        _JAIL_LOCAL.format(increment=str(increment).lower()) + switches
    )
    return config
