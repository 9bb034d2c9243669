"""The circuit breaker: Rules ban no more when what they ban looks like a mistake.

Theory of operation. Every ban a Rule wants is noted in two windows. In one minute there may be as
many as the worst botnet would earn; more is a fault, or an attack at which bans help no more. And
of the bans from the login ports within ten minutes few may meet people: addresses from which
somebody logged in lately, or, in far greater part, networks around such. Attackers are elsewhere,
or beside people by chance; a Rule that is wrong meets people nearly always.

The breaker then stays open until no cause was seen for `breaker_hold_s`. What Rules want meanwhile
is noted all the same, each prefix once in a window, since a client that is not banned comes again.

One mailbox must not open it: who owns one could log in from each address that is to be banned.
So people are counted by their accounts, too.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

from gatekeeper.ban import Scope
from gatekeeper.prefix import Prefix
from gatekeeper.settings import PolicySettings

MINUTE_S: Final = 60.0
WINDOW_S: Final = 600.0  # as long as a first ban: what is lifted has not ended by itself
MIN_BANS: Final = 20  # fewer say nothing of a share
MIN_ACCOUNTS: Final = 5  # different ones behind the addresses that were met
AROUND: Final = 10.0  # so many times the share of those met is allowed beside them
ACCOUNT_BITS: Final = 64  # as `places` has them
MAX_NOTED: Final = 65_536  # in each window, about 15 MB; beyond it the oldest goes

Key = tuple[Prefix, Scope]


class Cause(Enum):
    """Why the breaker opened; stable words."""

    RATE = "rate"  # too many bans a minute
    PEOPLE = "people"  # too many of them meet people


class People(NamedTuple):
    """Who logged in lately at a place."""

    here: int  # accounts at the very address, as a set of 64 bits
    around: int  # accounts in the networks around it, those at the address included


class Figures(NamedTuple):
    """What was wanted lately."""

    minute: int  # bans within a minute, in both scopes
    bans: int  # bans from the login ports within `WINDOW_S`
    met: int  # of them, where somebody logged in lately
    around: int  # of them, in networks where somebody did; those met are among them
    accounts: int  # different ones of those met, or around; at most 64


@dataclass(frozen=True, slots=True)
class Trip:
    """The breaker opened at `since`, and is open until `until`; `figures` are of `since`."""

    cause: Cause
    since: float
    until: float
    figures: Figures


class Breaker:
    """The breaker of one guard. `settings` may be replaced at any time."""

    __slots__ = ("_minute", "_trip", "_window", "settings", "withheld")

    def __init__(self, settings: PolicySettings) -> None:
        self.settings = settings
        self.withheld = 0  # bans not made since the start, each time a Rule wanted one
        self._minute = _Window(MINUTE_S)
        self._window = _Window(WINDOW_S)
        self._trip: Trip | None = None

    def admits(self, key: Key, people: People, now: float) -> bool:
        """A Rule wants this ban: whether it may be made. It is counted either way."""
        self._minute.add(key, people, now)
        if key[1] is Scope.AUTH:  # on port 25 nobody logs in
            self._window.add(key, people, now)
        trip, cause = self.trip(now), self._cause(now)
        until = now + self.settings.breaker_hold_s
        if trip is not None and cause is not None:
            self._trip = Trip(trip.cause, trip.since, until, trip.figures)
        elif cause is not None:
            self._trip = Trip(cause, now, until, self.figures(now))
        self.withheld += self._trip is not None
        return self._trip is None

    def trip(self, now: float) -> Trip | None:
        """Why the breaker is open; None while it is closed."""
        if self._trip is not None and now >= self._trip.until:
            self._trip = None
        return self._trip

    def reset(self, now: float) -> Trip | None:
        """Close the breaker and forget what led to it; the trip that ends so, if there was one."""
        trip, self._trip = self.trip(now), None
        self._minute.clear()
        self._window.clear()
        return trip

    def figures(self, now: float) -> Figures:
        """What was wanted lately."""
        self._minute.turn(now)
        window = self._window
        window.turn(now)
        return Figures(len(self._minute), len(window), window.met, window.around, window.accounts())

    def recent(self) -> list[Key]:
        """What Rules wanted banned from the login ports within `WINDOW_S`, oldest first."""
        return self._window.keys()

    def _cause(self, now: float) -> Cause | None:
        settings = self.settings
        self._minute.turn(now)
        if 0 < settings.breaker_bans_minute < len(self._minute):
            return Cause.RATE
        self._window.turn(now)
        if self._meets_people(settings.breaker_people_share):
            return Cause.PEOPLE
        return None

    def _meets_people(self, share: float) -> bool:
        window = self._window
        bans = len(window)
        if share <= 0 or bans < MIN_BANS:
            return False
        beside = min(1.0, share * AROUND)
        if window.met <= share * bans and window.around <= beside * bans:
            return False
        return window.accounts() >= MIN_ACCOUNTS


class _Window:
    """What was wanted within `window_s`, each key once from when it was first wanted.

    Overflow: beyond `MAX_NOTED` keys the oldest goes, so that the window is shorter.
    """

    __slots__ = ("_accounts", "_noted", "_window_s", "around", "met")

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self.clear()

    def __len__(self) -> int:
        return len(self._noted)

    def clear(self) -> None:
        """Forget all."""
        self._noted: dict[Key, tuple[float, People]] = {}  # oldest first
        self._accounts = [0] * ACCOUNT_BITS  # by bit: how many of the keys have it
        self.met = 0
        self.around = 0

    def add(self, key: Key, people: People, now: float) -> None:
        """Note `key`, unless it is noted."""
        self.turn(now)
        if key in self._noted:
            return
        if len(self._noted) >= MAX_NOTED:
            self._drop_oldest()
        self._noted[key] = now, people
        self._count(people, 1)

    def turn(self, now: float) -> None:
        """Drop what is older than the window."""
        while self._noted and now - next(iter(self._noted.values()))[0] >= self._window_s:
            self._drop_oldest()

    def accounts(self) -> int:
        """How many different accounts were met, or are around."""
        return sum(map(bool, self._accounts))

    def keys(self) -> list[Key]:
        """All, oldest first."""
        return list(self._noted)

    def _drop_oldest(self) -> None:
        _, people = self._noted.pop(next(iter(self._noted)))
        self._count(people, -1)

    def _count(self, people: People, by: int) -> None:
        self.met += by * (people.here != 0)
        self.around += by * (people.around != 0)
        left = people.around
        while left:
            self._accounts[(left & -left).bit_length() - 1] += by
            left &= left - 1
