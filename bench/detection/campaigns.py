"""Attackers at work: from where, how often, and what they do when they are put off.

An attack that does not adapt goes through its list whatever it hears, at a pace of its own: a
refused guess is a guess lost, as with the tools that are for sale. One that adapts tries a deferred
guess again from the same address after a minute or two, as a mail program would.
"""

import heapq
from collections.abc import Iterator, Sequence
from math import inf
from random import Random
from typing import Final

from bench.detection.accounts import Account, Backend
from bench.detection.actors import Meter
from bench.detection.addresses import Place
from bench.detection.guesses import Guess
from bench.detection.scoring import AttackTally
from bench.detection.seam import Decision, Event

RETRY_S: Final = (60.0, 120.0)
_OWN_EVERY: Final = 10
_BURST_LOGINS: Final = 7500  # what one stolen account was once seen to be used for
_BURST_RECIPIENTS: Final = 10


class Campaign:
    """Guesses from a stream of addresses. `gap_s` is the mean time between two; `left` how many
    are made."""

    def __init__(
        self,
        tally: AttackTally,
        backend: Backend,
        rng: Random,
        source: Place,
        guesses: Iterator[Guess],
        gap_s: float,
        left: int,
    ) -> None:
        self.meter: Meter | None = tally
        self.adaptive = False
        self._tally = tally
        self._backend = backend
        self._rng = rng
        self._source = source
        self._guesses = guesses
        self._gap_s = gap_s
        self._left = left
        self._next_at = 0.0
        self._retries: list[tuple[float, str, str, str]] = []
        self._current = ("", "", "")

    def speak(self, now: float) -> Event | None:
        """A guess from the list, or one that was put off."""
        if self._retries and self._retries[0][0] <= now:
            _, ip, name, password = heapq.heappop(self._retries)
        else:
            ip = self._source.address(now, 0)
            name, password = next(self._guesses)
            self._tally.guesses += 1
            self._left -= 1
            self._next_at = now + self._rng.uniform(0.5, 1.5) * self._gap_s if self._left else inf
        self._current = (ip, name, password)
        event = _login(now, ip, name, password, self._backend)
        if self._rng.random() < 0.5:
            event["protocol"] = "imap"
        return event

    def hear(self, now: float, decision: Decision | None) -> float:
        """Remember it for later where it was put off and the attack adapts."""
        assert decision is not None
        if self.adaptive and decision["action"] == "defer":
            heapq.heappush(self._retries, (now + self._rng.uniform(*RETRY_S), *self._current))
        return min(self._next_at, self._retries[0][0]) if self._retries else self._next_at


class OwnMailbox:
    """Logs in to a mailbox of its own before every tenth guess, to look like a customer."""

    def __init__(self, campaign: Campaign, backend: Backend, own: Account, source: Place) -> None:
        self.meter: Meter | None = None
        self._campaign = campaign
        self._backend = backend
        self._own = own
        self._source = source
        self._turn = 0

    def speak(self, now: float) -> Event | None:
        """The login that is no guess has no meter."""
        self._turn += 1
        if self._turn % _OWN_EVERY:
            self.meter = self._campaign.meter
            return self._campaign.speak(now)
        self.meter = None
        return _login(
            now,
            self._source.address(now, 0),
            self._own.name,
            self._own.password(now),
            self._backend,
        )

    def hear(self, now: float, decision: Decision | None) -> float:
        """The guess comes right behind the own login."""
        if self._turn % _OWN_EVERY:
            return self._campaign.hear(now, decision)
        return now + 1.0


class Dictionary:
    """Recipients tried on port 25 to learn which exist."""

    def __init__(
        self,
        tally: AttackTally,
        rng: Random,
        source: Place,
        gap_s: float,
        left: int,
        real_share: float,
    ) -> None:
        self.meter: Meter | None = tally
        self._tally = tally
        self._rng = rng
        self._source = source
        self._gap_s = gap_s
        self._left = left
        self._real_share = real_share

    def speak(self, now: float) -> Event | None:
        """One recipient."""
        self._tally.guesses += 1
        self._left -= 1
        exists = self._rng.random() < self._real_share
        name = f"{'r' if exists else 'word'}{self._rng.randrange(100_000)}@example.net"
        return _recipient(now, self._source.address(now, 0), None, name, exists=exists)

    def hear(self, now: float, decision: Decision | None) -> float:
        """Goes on."""
        return now + self._rng.uniform(0.5, 1.5) * self._gap_s if self._left else inf


class Burst:
    """Spam through an account whose password is known: a login from another address each time,
    then ten recipients elsewhere."""

    def __init__(
        self,
        logins: AttackTally,
        recipients: AttackTally,
        backend: Backend,
        rng: Random,
        account: Account,
        sources: Sequence[str],
    ) -> None:
        self.meter: Meter | None = logins
        self._logins = logins
        self._recipients = recipients
        self._backend = backend
        self._rng = rng
        self._account = account
        self._sources = sources
        self._ip = ""
        self._to_send = 0
        self._left = _BURST_LOGINS

    def speak(self, now: float) -> Event | None:
        """A login, or a recipient in the session of the last."""
        if self._to_send:
            self._to_send -= 1
            self.meter = self._recipients
            self._recipients.guesses += 1
            name = f"{self._rng.getrandbits(40):x}@example.com"
            return _recipient(now, self._ip, self._account.name, name, exists=True)
        self._left -= 1
        self.meter = self._logins
        self._logins.guesses += 1
        self._ip = self._rng.choice(self._sources)
        name = self._account.name
        return _login(now, self._ip, name, self._account.password(now), self._backend)

    def hear(self, now: float, decision: Decision | None) -> float:
        """Recipients follow a login that worked."""
        assert decision is not None
        if self.meter is self._logins and decision["outcome"] == "ok":
            self._to_send = _BURST_RECIPIENTS
        if self._to_send:
            return now + 0.2
        return now + self._rng.uniform(2.0, 8.0) if self._left else inf


def _login(now: float, ip: str, name: str, password: str, backend: Backend) -> Event:
    return {
        "t": now,
        "kind": "auth",
        "ip": ip,
        "account": name,
        "password": password,
        "protocol": "submission",
        "valid": backend.accepts(now, name, password),
    }


def _recipient(now: float, ip: str, account: str | None, name: str, *, exists: bool) -> Event:
    return {
        "t": now,
        "kind": "rcpt",
        "ip": ip,
        "account": account,
        "recipient": name,
        "exists": exists,
    }
