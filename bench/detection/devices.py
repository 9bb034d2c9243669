"""Mail programs: they log in by themselves, with the password they were told once.

What they do with an answer is what the protocols ask for and people report: after "not now" or no
connection they try again in one to ten minutes with the same password; after "wrong password" they
ask their owner, who types the same one or the new one, and gives up for some minutes after three
times; nobody asked, they go on with the dead password every few minutes, for days if need be.
"""

from math import inf
from random import Random
from typing import Final

from bench.detection.accounts import Account, Backend
from bench.detection.actors import Answer, Meter, answer
from bench.detection.addresses import Fixed, Place
from bench.detection.people import Person, next_awake
from bench.detection.seam import Decision, Event

RETRY_S: Final = (60.0, 600.0)
RETYPE_S: Final = (20.0, 90.0)
GIVE_UP_S: Final = (300.0, 1200.0)
STALE_S: Final = (60.0, 900.0)
RETYPES: Final = 3
_SUBMISSION_SHARE: Final = 0.1
_UNKNOWN_RECIPIENT_SHARE: Final = 0.01


class Device:
    """A mail program of one person. `phone` is carried along and works at night."""

    __slots__ = (
        *("_account", "_backend", "_failures", "_night", "_number", "_password", "_person"),
        *("_phone", "_protocol", "_rate", "_recipients", "_rng", "_stale_s", "_updates_at"),
        "meter",
    )

    def __init__(
        self, person: Person, backend: Backend, rng: Random, meter: Meter, a_day: float, phone: bool
    ) -> None:
        self.meter: Meter | None = meter
        self._person = person
        self._account: Account = person.account
        self._backend = backend
        self._rng = rng
        self._number = rng.getrandbits(32)
        self._phone = phone
        self._rate = a_day / 61_200.0  # of the 17 hours from seven to midnight
        self._password = person.account.first_password
        self._updates_at = _update_time(person.account, rng)
        self._stale_s = STALE_S[0] * float((STALE_S[1] / STALE_S[0]) ** rng.random())
        self._failures = 0
        self._recipients = 0
        self._protocol = "imap"
        self._night = phone and rng.random() < 0.5

    def first(self) -> float:
        """When it logs in for the first time."""
        if self._person.starts_at:
            return self._person.starts_at + self._rng.uniform(0, 600)
        return self._next(0.0)

    def speak(self, now: float) -> Event | None:
        """A login, or a recipient of the message being sent."""
        if now >= self._updates_at:
            self._password = self._account.second_password
            self._updates_at = inf
        person = self._person
        place = person.carries(now) if self._phone else person.sits(now)
        ip = place.address(now, self._number)
        if self._recipients:
            return _recipient(now, ip, self._account.name, self._rng)
        name, password = self._account.name, self._password
        return {
            "t": now,
            "kind": "auth",
            "ip": ip,
            "account": name,
            "password": password,
            "protocol": self._protocol,
            "valid": self._backend.accepts(now, name, password),
        }

    def hear(self, now: float, decision: Decision | None) -> float:
        """See the head of this file."""
        assert decision is not None
        heard = answer(decision)
        if self._recipients:
            self._recipients -= 1
            return now + 1.0 if self._recipients and heard is Answer.OK else self._idle(now)
        match heard:
            case Answer.OK:
                self._failures = 0
                if self._protocol == "submission":
                    self._recipients = self._rng.randint(1, 3)
                    return now + 1.0
                return self._idle(now)
            case Answer.REFUSED:
                return now + self._refused(now)
            case Answer.BUSY | Answer.GONE:
                return now + self._rng.uniform(*RETRY_S)

    def _refused(self, now: float) -> float:
        if self._password != self._account.password(now):
            until_told = max(self._updates_at - now, 20.0)
            return min(self._stale_s * self._rng.uniform(0.8, 1.2), until_told)
        self._failures += 1
        if self._failures < RETYPES:
            return self._rng.uniform(*RETYPE_S)
        self._failures = 0
        return self._rng.uniform(*GIVE_UP_S)

    def _idle(self, now: float) -> float:
        self._recipients = 0
        self._protocol = "submission" if self._rng.random() < _SUBMISSION_SHARE else "imap"
        return self._next(now)

    def _next(self, now: float) -> float:
        later = now + self._rng.expovariate(self._rate)
        return later if self._night else next_awake(later)


class Robot:
    """A machine that logs in at even intervals from one address: a probe, a scanner, a phone in a
    drawer. Its password is what it was given, right or not."""

    def __init__(
        self, account: Account, password: str, place: Place, backend: Backend, rng: Random
    ) -> None:
        self.meter: Meter | None = None
        self.interval_s = STALE_S
        self.protocol = "imap"
        self._account = account
        self._password = password
        self._place = place
        self._backend = backend
        self._rng = rng
        self._number = rng.getrandbits(32)

    def speak(self, now: float) -> Event | None:
        """The same login each time."""
        name, password = self._account.name, self._password
        return {
            "t": now,
            "kind": "auth",
            "ip": self._place.address(now, self._number),
            "account": name,
            "password": password,
            "protocol": self.protocol,
            "valid": self._backend.accepts(now, name, password),
        }

    def hear(self, now: float, decision: Decision | None) -> float:
        """No answer changes anything."""
        return now + self._rng.uniform(*self.interval_s)


class MailServer:
    """A sender on port 25, with a list of recipients of which some are gone."""

    def __init__(self, ip: str, unknown_share: float, mean_s: float, rng: Random) -> None:
        self.meter: Meter | None = None
        self._place = Fixed(ip)
        self._unknown_share = unknown_share
        self._rate = 1.0 / mean_s
        self._rng = rng

    def speak(self, now: float) -> Event | None:
        """One recipient of one message."""
        ip = self._place.address(now, 0)
        return _recipient(now, ip, None, self._rng, self._unknown_share)

    def hear(self, now: float, decision: Decision | None) -> float:
        """Another message, whatever became of this one."""
        return now + self._rng.expovariate(self._rate)


def _recipient(
    now: float,
    ip: str,
    account: str | None,
    rng: Random,
    unknown_share: float = _UNKNOWN_RECIPIENT_SHARE,
) -> Event:
    exists = rng.random() >= unknown_share
    name = f"{'r' if exists else 'gone'}{rng.randrange(3000)}@example.net"
    return {
        "t": now,
        "kind": "rcpt",
        "ip": ip,
        "account": account,
        "recipient": name,
        "exists": exists,
    }


def _update_time(account: Account, rng: Random) -> float:
    """When a device hears of its account's new password: one in ten never does."""
    lag, never = rng.expovariate(1 / 36_000.0), rng.random() < 0.1
    return inf if never else account.changed_at + 60.0 + lag
