"""People at a keyboard: they mistype, mix passwords up, retype, and come back later."""

from random import Random
from typing import Final, assert_never

from bench.detection.accounts import Account, Backend
from bench.detection.actors import Answer, Meter, answer
from bench.detection.addresses import DAY_S, Place
from bench.detection.devices import GIVE_UP_S, RETYPE_S, RETYPES
from bench.detection.people import Person, next_awake
from bench.detection.seam import Decision, Event

TYPO_SHARE: Final = 0.02
_TYPO_AGAIN: Final = 2 / 3
OTHER_SHARE: Final = 0.02  # the password of another service
_OTHER_AGAIN: Final = 1 / 3
_OLD_SHARE: Final = 0.15  # the password from before, in the week after a change
_SOON_S: Final = (10.0, 40.0)  # to see that it was wrong and type again


class Typist:
    """One person who types the password some times a day, at home, at work or at a webmail host
    (`host`), whose address is then all that the server sees."""

    def __init__(
        self,
        person: Person,
        backend: Backend,
        rng: Random,
        meter: Meter,
        a_day: float,
        host: Place | None,
    ) -> None:
        self.meter: Meter | None = meter
        self._person = person
        self._account: Account = person.account
        self._backend = backend
        self._rng = rng
        self._rate = a_day / DAY_S
        self._host = host
        self._number = rng.getrandbits(32)
        self._typed = ""
        self._again = 0.0  # the chance that what was wrong is typed once more
        self._tries = 0

    def first(self) -> float:
        """When this person logs in for the first time."""
        return self._person.starts_at + self._next(0.0)

    def speak(self, now: float) -> Event | None:
        """A login with whatever the fingers found."""
        if not self._typed:
            self._typed, self._again = self._think(now)
        place = self._host or self._person.sits(now)
        return {
            "t": now,
            "kind": "auth",
            "ip": place.address(now, self._number),
            "account": self._account.name,
            "password": self._typed,
            "protocol": "imap",
            "valid": self._backend.accepts(now, self._account.name, self._typed),
        }

    def hear(self, now: float, decision: Decision | None) -> float:
        """Retype what was wrong; retry what was not; leave after some times and come back."""
        assert decision is not None
        match answer(decision):
            case Answer.OK:
                self._tries = 0
                self._typed = ""
                return self._next(now)
            case Answer.REFUSED if self._typed != self._account.password(now):
                if self._rng.random() >= self._again:
                    self._typed, self._again = self._account.password(now), 0.0
                return now + self._rng.uniform(*_SOON_S)
            case Answer.REFUSED | Answer.BUSY | Answer.GONE:
                return now + self._patience()
            case never:
                assert_never(never)

    def _think(self, now: float) -> tuple[str, float]:
        """What is typed, and the chance to type it again when it is wrong."""
        dice = self._rng.random()
        if dice < TYPO_SHARE:
            return f"typo-{self._rng.getrandbits(40):x}", _TYPO_AGAIN
        if dice < TYPO_SHARE + OTHER_SHARE:
            return f"other-{self._number:x}", _OTHER_AGAIN
        account = self._account
        if account.changed_at <= now < account.changed_at + 7 * DAY_S and (
            self._rng.random() < _OLD_SHARE
        ):
            return account.first_password, _OTHER_AGAIN
        return account.password(now), 0.0

    def _patience(self) -> float:
        self._tries += 1
        if self._tries < RETYPES:
            return self._rng.uniform(*RETYPE_S)
        self._tries = 0
        return self._rng.uniform(*GIVE_UP_S)

    def _next(self, now: float) -> float:
        return next_awake(now + self._rng.expovariate(self._rate))
