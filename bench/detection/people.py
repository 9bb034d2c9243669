"""A person: an account, and where the person is at each hour of the week."""

from dataclasses import dataclass, field
from typing import Final

from bench.detection.accounts import Account
from bench.detection.addresses import DAY_S, Place

HOUR_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Trip:
    """Some days in a place that is not the usual one."""

    start: float
    end: float
    place: Place


@dataclass(slots=True)
class Person:
    """`places` has 24 for a working day and 24 for a day off; `mobile` is the phone's own way into
    the network."""

    account: Account
    label: str
    home: Place
    workplace: Place
    mobile: Place
    trips: list[Trip] = field(default_factory=list)
    starts_at: float = 0.0  # a new account's first login

    def sits(self, now: float) -> Place:
        """Where a laptop of this person is."""
        trip = self.trip(now)
        if trip is not None:
            return trip.place
        return self.workplace if at_work(now) else self.home

    def carries(self, now: float) -> Place:
        """Where the phone of this person is: on the way and at noon it is in the mobile net."""
        hour = hour_of(now)
        if hour in {8, 12, 17} or (hour in {10, 15, 20} and day_off(now)):
            return self.mobile
        return self.sits(now)

    def trip(self, now: float) -> Trip | None:
        """The trip that the person is on."""
        for trip in self.trips:
            if trip.start <= now < trip.end:
                return trip
        return None


def hour_of(now: float) -> int:
    """0 to 23; a world begins on a Monday at midnight."""
    return int(now % DAY_S // HOUR_S)


def day_off(now: float) -> bool:
    """Saturday and Sunday."""
    return int(now // DAY_S) % 7 >= 5


def at_work(now: float) -> bool:
    """Nine to five."""
    return 9 <= hour_of(now) < 17 and not day_off(now)


def next_awake(now: float) -> float:
    """`now`, or in the hour from seven in the morning where it is night: who would be earliest at
    night is so in the morning."""
    if hour_of(now) >= 7:
        return now
    into_night = now % DAY_S
    return now - into_night + 7 * HOUR_S + into_night / 7
