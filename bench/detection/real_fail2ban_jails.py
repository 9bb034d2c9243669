"""The jails of Debian's fail2ban, run by hand at a time that is set.

Theory of operation: fail2ban's own reader turns its configuration into commands, its own command
interpreter builds the jails from them. Its threads are not started; what each does in a loop is
called here: the filter's and the ban manager's housekeeping in `Jail.tick`, a line in `Jail.read`.
Its observer, a thread that counts more for an address it knows, is asked at once instead of
through a queue. `MyTime.setTime` is fail2ban's hook for its tests. An action that remembers takes
the place of iptables.
"""

import importlib
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, TypeAlias

_Foreign: TypeAlias = Any  # what fail2ban, which has no types, gives or takes

_NOTICE: Final = 25  # a level of fail2ban's own, between info and warning
_WITHOUT: Final = frozenset({"addaction", "action", "addlogpath"})
_OF_DAEMON: Final = frozenset({"syslogsocket", "loglevel", "logtarget"})


class UnexpectedError(Exception):
    """fail2ban refused a command or logged an error."""


class Jails:
    """All jails that `config` (a copy of /etc/fail2ban) switches on, made at the Unix time `now`.

    `tree` is the unpacked package, `database` a file to be made, or None to do without. fail2ban's
    clock and logging are global: one at a time in a process.
    """

    def __init__(self, tree: Path, config: Path, now: float, *, database: Path | None) -> None:
        sys.path.insert(0, str(tree / "usr/lib/python3/dist-packages"))
        try:
            self._time: _Foreign = importlib.import_module("fail2ban.server.mytime").MyTime
            self._server: _Foreign = importlib.import_module("fail2ban.server.server").Server()
            self._observer: _Foreign = importlib.import_module("fail2ban.server.observer")
            configurator = importlib.import_module("fail2ban.client.configurator").Configurator
            format_of = importlib.import_module("fail2ban.helpers").getVerbosityFormat
        finally:
            sys.path.pop(0)
        self._log = _OwnLog(self._time, format_of(1))
        self.set_time(now)
        self.by_name = self._build(_commands(configurator, config), database)
        self._database: _Foreign = self._server.getDatabase()
        self._observer.Observers.Main = _AtOnce(self._observer.ObserverThread())

    def set_time(self, now: float) -> None:
        """What fail2ban takes for the Unix time."""
        self._time.setTime(now)

    def purge(self) -> None:
        """What its observer does each hour."""
        if self._database is not None:
            self._database.purge()

    def log(self) -> list[str]:
        """The lines of /var/log/fail2ban.log since the last call. Raises UnexpectedError."""
        return self._log.taken()

    def close(self) -> None:
        """Give clock and logging back."""
        self._time.setTime(None)
        self._observer.Observers.Main = None
        self._log.close()

    def _build(
        self, commands: Iterator[list[_Foreign]], database: Path | None
    ) -> dict[str, "Jail"]:
        interpreter = self._server._Server__transm  # what its socket leads to
        made: dict[str, Jail] = {}
        for given in commands:
            match given:
                case ["set", "dbfile", _]:
                    command = ["set", "dbfile", "None" if database is None else str(database)]
                case ["add", name, _]:
                    command = ["add", name, "polling"]
                case ["multi-set", name, "action", action, options]:
                    made[name] = Jail(self._server._Server__jails[name], _ports(action, options))
                    continue
                case ["set", what, *_] if what in _OF_DAEMON or (not database and what[:2] == "db"):
                    continue
                case ["start", *_] | ["set" | "multi-set", _, "addaction" | "addlogpath", *_]:
                    continue
                case _:
                    command = given
            failed, answer = interpreter.proceed(command)
            if failed:
                raise UnexpectedError(f"{command}: {answer!r}")
        return made


class Jail:
    """One jail. `ports` are those its ban closes, as jail.conf names them; empty: all."""

    def __init__(self, jail: _Foreign, ports: frozenset[str]) -> None:
        self.ports = ports
        self.banned: set[str] = set()
        self._jail = jail
        self._fresh: list[str] = []
        jail.isAlive = lambda: True  # its observer asks whether the threads run
        jail.actions._actions["remember"] = _Remember(self.banned, self._fresh)

    def read(self, line: str) -> float | None:
        """Seconds of the ban that `line` brings."""
        self._jail.filter.processLineAndAdd(line)
        self._jail.actions._Actions__checkBan()
        if not self._fresh:
            return None
        # The public getter takes the ticket out of the list: it is there to lift the ban.
        ticket = self._jail.actions.banManager._BanManager__banList[self._fresh.pop()]
        return float(ticket.getBanTime(self._jail.actions.getBanTime()))

    def tick(self) -> None:
        """What its threads do now and then."""
        self._jail.filter.performSvc()
        actions = self._jail.actions
        while actions._Actions__checkUnBan(actions.unbanMaxCount):
            pass


class _Remember:
    """A Python action, as fail2ban allows them."""

    _prolongable = False

    def __init__(self, banned: set[str], fresh: list[str]) -> None:
        self._banned = banned
        self._fresh = fresh

    def ban(self, about: _Foreign) -> None:
        self._banned.add(str(about["ip"]))
        self._fresh.append(str(about["ip"]))

    def reban(self, about: _Foreign) -> None:
        self.ban(about)

    def unban(self, about: _Foreign) -> None:
        self._banned.discard(str(about["ip"]))


class _AtOnce:
    """In the place of the observer's queue: its own methods, without its thread."""

    def __init__(self, observer: _Foreign) -> None:
        self._observer = observer
        # Its timers only tell actions that a ban became longer, and they tell by the wall clock.
        observer.add_timer = lambda *_: None

    def add(self, *event: _Foreign) -> None:
        name, *arguments = event
        getattr(self._observer, name)(*arguments)


class _OwnLog(logging.Handler):
    """fail2ban's log in its own format, with the time that is set."""

    def __init__(self, time: _Foreign, form: str) -> None:
        super().__init__(_NOTICE)
        self.setFormatter(logging.Formatter(form))
        self._time = time
        self._lines: list[str] = []
        self._errors: list[str] = []
        self._logger = logging.getLogger("fail2ban")
        self._logger.handlers[:] = [self]
        self._logger.setLevel(_NOTICE)
        self._logger.propagate = False

    def emit(self, record: logging.LogRecord) -> None:
        now = self._time.time()
        record.created, record.msecs = now, now % 1 * 1000
        self._lines.append(self.format(record))
        if record.levelno >= logging.ERROR:
            self._errors.append(record.getMessage())

    def taken(self) -> list[str]:
        if self._errors:
            raise UnexpectedError("; ".join(self._errors))
        lines = self._lines[:]
        self._lines.clear()
        return lines

    def close(self) -> None:
        self._logger.removeHandler(self)
        super().close()


def _commands(configurator: _Foreign, config: Path) -> Iterator[list[_Foreign]]:
    reader = configurator()
    reader.setBaseDir(str(config))
    reader.readAll()
    if not reader.getOptions():
        raise UnexpectedError(f"{config} cannot be read")
    reader.convertToProtocol(allow_no_files=True)
    yield from reader.getConfigStream()


def _ports(action: str, options: list[tuple[str, str]]) -> frozenset[str]:
    """iptables-allports is given ports too, and does not look at them."""
    if action == "iptables-allports":
        return frozenset()
    return frozenset(dict(options)["port"].split(","))
