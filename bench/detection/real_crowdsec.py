"""Debian's own CrowdSec on a log of the past, until no line is left that a ban would have stopped.

Theory of operation: CrowdSec reads a finished log by the log's own clock (its "time machine"), with
the parsers, scenarios and the profile of the hub copy that Debian ships, and its local interface
writes the decisions into a database; both run in a network namespace that has nothing but a
loopback. A log that is read at once knows of no bouncer, so lines go on after a ban. Therefore it
is read again: of each address, the lines within its first ban that has any are taken out, which
cannot change what came before, until there are none. All its buckets are per address, so the
addresses that are done need not be read again.

CrowdSec works on the time stamps of lines, a little of it on the wall clock: buckets that have
leaked empty are swept by it. That changes nothing: an empty bucket and none are the same.
"""

import json
import secrets
import shutil
import sqlite3
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from bench.detection.real_log import START

_HUB: Final = (
    *("collections/crowdsecurity/postfix", "collections/crowdsecurity/dovecot"),
    "parsers/s00-raw/crowdsecurity/syslog-logs",
    "parsers/s01-parse/crowdsecurity/postfix-logs",
    "parsers/s01-parse/crowdsecurity/postscreen-logs",
    "parsers/s01-parse/crowdsecurity/dovecot-logs",
    "parsers/s02-enrich/crowdsecurity/dateparse-enrich",
    "parsers/s02-enrich/crowdsecurity/whitelists",
    *("scenarios/crowdsecurity/postfix-spam", "scenarios/crowdsecurity/dovecot-spam"),
)
_RUN_S: Final = 900.0
_ROUNDS_MAX: Final = 200
_TICK_S: Final = 2e-6  # a log has microseconds
_MACHINE: Final = "bench"


class FailedError(Exception):
    """CrowdSec ended with an error, or has not written down all that it found."""


@dataclass(frozen=True, slots=True)
class Logged:
    """The lines of one event."""

    t: float
    ip: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True, order=True)
class Ban:
    """A decision: from when to when, in the seconds of the world."""

    start: float
    end: float

    def stops(self, t: float) -> bool:
        """Whether it stops what comes at `t`: not the line that brought it, whose time went through
        the log and the database."""
        return self.start + _TICK_S < t < self.end


class RealCrowdSec:
    """CrowdSec from the unpacked package `tree`, with all it writes below `home`."""

    def __init__(self, tree: Path, home: Path) -> None:
        self._tree = tree
        self._home = home.resolve()

    def bans(self, log: Sequence[Logged]) -> dict[str, list[Ban]]:
        """The bans of each address, as they come when each stops the address's packets.

        `log` is in the order of its time. Raises FailedError.
        """
        return closed_loop(log, self._read)

    def _read(self, log: Sequence[Logged]) -> dict[str, list[Ban]]:
        config = self._configured()
        mail_log = self._home / "mail.log"
        mail_log.write_text("".join(f"{line}\n" for one in log for line in one.lines))
        said = self._run(
            *("crowdsec", "-c", config, "-dsn", f"file://{mail_log}", "-type", "syslog"),
            "-no-capi",
        )
        overflows = sum("performed 'crowdsecurity/" in line for line in said.splitlines())
        return decisions(self._home / "data/crowdsec.db", overflows)

    def _configured(self) -> Path:
        """A configuration and an empty database."""
        shutil.rmtree(self._home, ignore_errors=True)
        for name in ("etc/notifications", "data", "plugins"):
            (self._home / name).mkdir(parents=True)
        hub, etc = self._home / "hub", self._home / "etc"
        shutil.copytree(self._tree / "usr/share/crowdsec/hub", hub)
        shutil.copytree(self._tree / "etc/crowdsec/patterns", etc / "patterns")
        for name in ("simulation.yaml", "profiles.yaml"):
            shutil.copy(self._tree / "etc/crowdsec" / name, etc)
        for item in _HUB:
            enabled = etc / Path(item).parent.parent
            enabled.mkdir(parents=True, exist_ok=True)
            (enabled / f"{Path(item).name}.yaml").symlink_to(hub / f"{item}.yaml")
        (etc / "acquis.yaml").touch()
        (etc / "local_api_credentials.yaml").touch(mode=0o600)
        config = self._home / "config.yaml"
        config.write_text(json.dumps(_settings(self._home)))  # JSON is YAML
        password = secrets.token_hex(16)
        self._run(
            "cscli", "-c", config, *f"machines add {_MACHINE} --force".split(), "-p", password
        )
        return config

    def _run(self, program: str, *arguments: str | Path) -> str:
        """What `program` says, in a namespace of its own."""
        script = 'ip link set lo up && exec "$@"'
        done = subprocess.run(
            [
                "unshare",
                "-n",
                "sh",
                "-c",
                script,
                "sh",
                self._tree / "usr/bin" / program,
                *arguments,
            ],
            capture_output=True,
            text=True,
            timeout=_RUN_S,
            check=False,
        )
        if done.returncode != 0:
            raise FailedError(f"{program}: {(done.stderr or done.stdout)[-2000:]}")
        return done.stdout + done.stderr


def closed_loop(
    log: Sequence[Logged], read: Callable[[Sequence[Logged]], Mapping[str, list[Ban]]]
) -> dict[str, list[Ban]]:
    """The bans that `read`, which does not know that they stop anything, finds when they do."""
    found: dict[str, list[Ban]] = {}
    left = list(log)
    for _ in range(_ROUNDS_MAX):
        if not left:
            return found
        bans = read(left)
        found |= bans
        left = _without_banned(left, bans)
    raise FailedError(f"bans still stop lines after {_ROUNDS_MAX} rounds")


def decisions(database: Path, expected: int) -> dict[str, list[Ban]]:
    """The bans in CrowdSec's database, by address and in order.

    Raises FailedError unless there are as many as overflows were logged.
    """
    query = (
        "SELECT d.value, a.stopped_at, d.until"
        " FROM decisions d JOIN alerts a ON a.id = d.alert_decisions"
    )
    bans: dict[str, list[Ban]] = defaultdict(list)
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        rows = connection.execute(query).fetchall()
    finally:
        connection.close()
    if len(rows) != expected:
        raise FailedError(f"{expected} overflows, but {len(rows)} decisions")
    for ip, start, end in rows:
        bans[ip].append(Ban(_seconds(start), _seconds(end)))
    return {ip: sorted(found) for ip, found in bans.items()}


def _seconds(text: str) -> float:
    """Go's nanoseconds are more than Python reads; the log has microseconds."""
    whole, _, zone = text.partition("+")
    day, _, fraction = whole.partition(".")
    instant = datetime.fromisoformat(f"{day}+{zone}")
    return (instant - START).total_seconds() + float(f"0.{fraction or 0}")


def _without_banned(log: Iterable[Logged], bans: Mapping[str, Sequence[Ban]]) -> list[Logged]:
    """The lines of the addresses that were not silent during a ban, without those of the first
    such ban."""
    first: dict[str, Ban] = {}
    for one in log:
        for ban in bans.get(one.ip, ()):
            if ban.stops(one.t):
                first[one.ip] = min(ban, first.get(one.ip, ban))
    return [one for one in log if one.ip in first and not first[one.ip].stops(one.t)]


def _settings(home: Path) -> dict[str, object]:
    etc = home / "etc"
    return {
        "common": {"log_media": "stdout", "log_level": "info", "working_dir": "."},
        "config_paths": {
            "config_dir": f"{etc}/",
            "data_dir": f"{home}/data/",
            "simulation_path": f"{etc}/simulation.yaml",
            "hub_dir": f"{home}/hub/",
            "index_path": f"{home}/hub/.index.json",
            "notification_dir": f"{etc}/notifications/",
            "plugin_dir": f"{home}/plugins/",
        },
        "crowdsec_service": {"acquisition_path": f"{etc}/acquis.yaml", "parser_routines": 1},
        "db_config": {"type": "sqlite", "db_path": f"{home}/data/crowdsec.db", "use_wal": True},
        "api": {
            "client": {"credentials_path": f"{etc}/local_api_credentials.yaml"},
            "server": {"listen_uri": "127.0.0.1:8080", "profiles_path": f"{etc}/profiles.yaml"},
        },
        "prometheus": {"enabled": False},
    }
