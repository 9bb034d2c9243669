"""From log files to familiar pairs: lines read within bounds, logins put together."""

import gzip
import os
import time
import zlib
from calendar import isleap, timegm
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol, assert_never

from gatekeeper.errors import GatekeeperError
from gatekeeper.policy.accounts import FAMILIAR_S
from gatekeeper.policy.keys import familiar_net
from gatekeeper.prefix import Prefix, entity
from gatekeeper.wire.log_stamps import Stamp
from gatekeeper.wire.login_lines import MAX_LINE_OCTETS, Login, Skipped, read_login

MAX_PAIRS: Final = 500_000  # about 300 MB; what a guard keeps of 100,000 accounts is less
SLACK_S: Final = 86_400.0  # what clocks and time zones may differ by before a year is another one
_YEARS: Final = 10  # looked at: back to a 29 February, over a century without one


class Stream(Protocol):
    """An open log."""

    def readline(self, size: int, /) -> bytes:
        """A line, or `size` octets of it; empty at the end."""
        ...


@dataclass(slots=True)
class Pair:
    """An account and one of its nets: an address of it, and when it logged in, in Unix time."""

    authcid: str
    address: str
    net: Prefix
    first_at: float
    last_at: float


@dataclass(slots=True)
class Logins:
    """What was found, and what was left out, in lines or logins."""

    lines: int = 0
    logins: int = 0
    unreadable: int = 0
    our_own: int = 0  # from `never_familiar`
    too_old: int = 0
    left_out: int = 0  # over MAX_PAIRS
    pairs: dict[tuple[str, Prefix], Pair] = field(default_factory=dict)

    @property
    def accounts(self) -> int:
        """The number of accounts among the pairs."""
        return len({name for name, _ in self.pairs})

    @property
    def networks(self) -> int:
        """The number of networks among the pairs."""
        return len({net for _, net in self.pairs})


class Reading:
    """Reads log files and keeps their familiar pairs.

    Logins from `never_familiar` (the guard itself, backends, proxies) tell nothing of a person's
    whereabouts. `now` is Unix time.
    """

    def __init__(self, never_familiar: Collection[Prefix], now: float) -> None:
        self.found = Logins()
        self._never = tuple(never_familiar)
        self._now = now
        self._verdicts: dict[str, Prefix | None] = {}  # by address: its net, None for our own

    def read(self, stream: Stream, latest: float) -> None:
        """Read all lines of a log that was last written at Unix time `latest`.

        Raises what `stream` raises; what came before that is kept.
        """
        latest = min(latest, self._now)
        for line in _lines(stream):
            self.found.lines += 1
            login = Skipped.UNREADABLE if len(line) > MAX_LINE_OCTETS else read_login(line)
            match login:
                case Login():
                    self._take(login, latest)
                case Skipped.UNREADABLE:
                    self.found.unreadable += 1
                case Skipped.OTHER:
                    pass
                case _:
                    assert_never(login)

    def _take(self, login: Login, latest: float) -> None:
        found = self.found
        at = unix_time(login.stamp, latest)
        if at is None:
            found.unreadable += 1
            return
        found.logins += 1
        net = self._net(login.address)
        if net is None:
            found.our_own += 1
        elif self._now - at > FAMILIAR_S:
            found.too_old += 1
        else:
            self._keep(login, net, min(at, self._now))

    def _keep(self, login: Login, net: Prefix, at: float) -> None:
        key = login.authcid.lower(), net
        pair = self.found.pairs.get(key)
        if pair is None:
            if len(self.found.pairs) >= MAX_PAIRS:
                self.found.left_out += 1
                return
            self.found.pairs[key] = Pair(login.authcid, login.address, net, at, at)
            return
        pair.first_at, pair.last_at = min(pair.first_at, at), max(pair.last_at, at)

    def _net(self, address: str) -> Prefix | None:
        """The net of a person's address; None where it is one of our own."""
        if address not in self._verdicts:
            if len(self._verdicts) >= MAX_PAIRS:
                self._verdicts.clear()
            whole = Prefix.parse(address)
            own = any(prefix.covers(whole) for prefix in self._never)
            self._verdicts[address] = None if own else familiar_net(entity(address))
        return self._verdicts[address]


@contextmanager
def opened(file: str, stdin: Stream, now: float) -> Iterator[tuple[Stream, float]]:
    """A log file, gzipped where it is called `*.gz`, or standard input for `-`; and when it was
    last written, in Unix time.

    Raises `OSError`. A compressed file that turns out damaged within is a `GatekeeperError`.
    """
    if file == "-":
        yield stdin, now
        return
    with Path(file).open("rb") as stream:
        latest = os.fstat(stream.fileno()).st_mtime
        if not file.endswith(".gz"):
            yield stream, latest
            return
        try:
            with gzip.open(stream) as plain:
                yield plain, latest
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise GatekeeperError(f"{file}: damaged, or not compressed: {error}") from error


def unix_time(stamp: Stamp, latest: float) -> float | None:
    """Unix time of `stamp`, local time being this host's; None where that day does not exist.

    A stamp without a year is of the last year that keeps it before `latest`, give or take a day.
    """
    if stamp.year is not None:
        return _in_year(stamp, stamp.year)
    newest = time.gmtime(latest).tm_year + 1  # it may be next year already where it was written
    for year in range(newest, newest - _YEARS, -1):
        at = _in_year(stamp, year)
        if at is not None and at <= latest + SLACK_S:
            return at
    return None


def _in_year(stamp: Stamp, year: int) -> float | None:
    if (stamp.month, stamp.day) == (2, 29) and not isleap(year):
        return None
    civil = (year, *stamp[1:6], 0, 1, -1)
    if stamp.offset_s is not None:
        return float(timegm(civil) - stamp.offset_s)
    try:
        return time.mktime(civil)
    except OverflowError:
        return None


def _lines(stream: Stream) -> Iterator[bytes]:
    """Each line. Of one over its bound just so much that this can be seen, and then the next."""
    while line := stream.readline(MAX_LINE_OCTETS + 2):
        yield line
        while not line.endswith(b"\n") and line:
            line = stream.readline(MAX_LINE_OCTETS)
