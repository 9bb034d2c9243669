"""What happens, counted: a few dictionaries that `gatekeeper.metrics` reads when somebody asks.

Counting is on every session's path, so it is an addition to a number and nothing else; what a
scraper wants to see is made when it comes. Keys are the listeners, backends and zones of the
configuration and members of enumerations, never anything a client says: no table here can grow by
what strangers do.
"""

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

import trio

from gatekeeper.abc import BanChange
from gatekeeper.ban import Ban, Scope
from gatekeeper.events import (
    AuthAttempt,
    AuthOutcome,
    AuthResult,
    Client,
    ConnectionOpened,
    JudgedEvent,
    MailProtocol,
    RcptAttempt,
    RcptOutcome,
    RcptResult,
    Violation,
    ViolationKind,
)
from gatekeeper.sessions import End, Session
from gatekeeper.verdict import Action, Reason, Verdict

# Seconds. The tarpit doubles from one second; a backend on this host connects within a millisecond.
DELAY_BOUNDS_S: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
CONNECT_BOUNDS_S: Final = (0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 5.0)
AWAY_S: Final = 30.0  # a backend that failed is thought to be away for so long: see `away`


class LoginResult(Enum):
    """What became of a credential: the backend's word, or ours before it."""

    SUCCESS = "success"
    FAILURE = "failure"  # the backend refused it
    UNAVAILABLE = "unavailable"  # the backend could not say
    PROTOCOL = "protocol"  # the exchange was not understood, or was cancelled
    PUT_OFF = "put-off"  # by the guard, with "not now"
    REFUSED_HERE = "refused-here"  # by the guard: answered as the backend refuses
    CLOSED = "closed"  # by the guard, and the session with it


class RecipientResult(Enum):
    """What became of a recipient: the backend's word, or ours before it."""

    ACCEPTED = "accepted"
    UNKNOWN = "unknown"
    RELAY_DENIED = "relay-denied"
    DEFERRED = "deferred"
    REFUSED = "refused"
    PUT_OFF = "put-off"
    REFUSED_HERE = "refused-here"
    CLOSED = "closed"


_LOGIN: Final = {
    AuthResult.SUCCESS: LoginResult.SUCCESS,
    AuthResult.FAILURE: LoginResult.FAILURE,
    AuthResult.UNAVAILABLE: LoginResult.UNAVAILABLE,
    AuthResult.PROTOCOL: LoginResult.PROTOCOL,
}
_LOGIN_HERE: Final = {
    Action.DEFER: LoginResult.PUT_OFF,
    Action.DECOY: LoginResult.REFUSED_HERE,
    Action.REJECT: LoginResult.REFUSED_HERE,
    Action.CLOSE: LoginResult.CLOSED,
}
_RECIPIENT: Final = {
    RcptResult.ACCEPTED: RecipientResult.ACCEPTED,
    RcptResult.UNKNOWN: RecipientResult.UNKNOWN,
    RcptResult.RELAY_DENIED: RecipientResult.RELAY_DENIED,
    RcptResult.DEFERRED: RecipientResult.DEFERRED,
    RcptResult.REFUSED: RecipientResult.REFUSED,
}
_RECIPIENT_HERE: Final = {
    Action.DEFER: RecipientResult.PUT_OFF,
    Action.DECOY: RecipientResult.REFUSED_HERE,
    Action.REJECT: RecipientResult.REFUSED_HERE,
    Action.CLOSE: RecipientResult.CLOSED,
}


class Histogram:
    """How many of the values seen lie at or below each bound, and their sum."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)  # the last is of what is above all bounds
        self.total = 0.0

    def add(self, value: float) -> None:
        """One more value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class BackendTally:
    """How connections to one backend went."""

    __slots__ = ("connects", "failed_at", "failures", "why")

    def __init__(self) -> None:
        self.connects = Histogram(CONNECT_BOUNDS_S)
        self.failures = 0
        self.why = ""  # of the last attempt, empty where it went well
        self.failed_at = 0.0  # by Trio's clock

    @property
    def tried(self) -> bool:
        """Whether anything is known of it."""
        return bool(self.failures or any(self.connects.counts))


@dataclass(slots=True)
class Reloads:
    """How often the configuration was read again, when last, in Unix time, and whether the last one
    was taken."""

    ok: bool = True
    done: int = 0
    failed: int = 0
    done_at: float = 0.0
    failed_at: float = 0.0


class Tally:
    """The counts of one guard since its start. `clock` gives Unix time in seconds."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.begun: Counter[str] = Counter()  # sessions, by listener
        self.logins: Counter[tuple[MailProtocol, str, LoginResult]] = Counter()
        self.recipients: Counter[tuple[MailProtocol, str, RecipientResult]] = Counter()
        self.violations: Counter[tuple[str, ViolationKind]] = Counter()
        self.verdicts: Counter[tuple[Reason, Action, bool]] = Counter()  # the last: carried out
        self.ends: Counter[tuple[str, End]] = Counter()
        self.bans: Counter[tuple[Reason, Scope]] = Counter()
        self.lifts: Counter[Scope] = Counter()
        self.delays = Histogram(DELAY_BOUNDS_S)
        self._backends: dict[str, BackendTally] = {}
        self.reloads = Reloads()
        self._clock = clock

    def judged(self, client: Client, event: JudgedEvent, verdict: Verdict) -> None:
        """See `guard.OnJudged`."""
        if verdict.delay_s:
            self.delays.add(verdict.delay_s)
        kind = type(event)
        if kind is ConnectionOpened:
            self.begun[client.listener] += 1
        elif isinstance(event, AuthOutcome):
            said = _LOGIN_HERE.get(verdict.action) or _LOGIN[event.result]
            self.logins[client.protocol, client.listener, said] += 1
        elif isinstance(event, RcptOutcome):
            told = _RECIPIENT_HERE.get(verdict.action) or _RECIPIENT[event.result]
            self.recipients[client.protocol, client.listener, told] += 1
        elif isinstance(event, Violation):
            self.violations[client.listener, event.kind] += 1
        elif verdict.action > Action.DELAY:
            self._refused(client, kind, verdict.action)

    def _refused(self, client: Client, kind: type[JudgedEvent], action: Action) -> None:
        """The backend is not asked."""
        if kind is AuthAttempt:
            self.logins[client.protocol, client.listener, _LOGIN_HERE[action]] += 1
        elif kind is RcptAttempt:
            self.recipients[client.protocol, client.listener, _RECIPIENT_HERE[action]] += 1

    def verdict(self, verdict: Verdict, enforced: bool) -> None:
        """A verdict other than to pass, carried out or only watched."""
        self.verdicts[verdict.reason, verdict.action, enforced] += 1

    def session(self, session: Session) -> None:
        """A session is over."""
        self.ends[session.client.listener, session.end or End.SHUTDOWN] += 1

    def ban(self, change: BanChange) -> None:
        """A ban was made or lifted."""
        if isinstance(change, Ban):
            self.bans[change.reason, change.scope] += 1
        else:
            self.lifts[change.scope] += 1

    def backend(self, name: str, seconds: float, why: str) -> None:
        """A backend was connected in so many seconds; or was not, and why."""
        tally = self.backend_of(name)
        tally.why = why
        if why:
            tally.failures += 1
            tally.failed_at = trio.current_time()
        else:
            tally.connects.add(seconds)

    def backend_of(self, name: str) -> BackendTally:
        """The counts of one backend of the configuration."""
        tally = self._backends.get(name)
        if tally is None:
            tally = self._backends[name] = BackendTally()
        return tally

    def away(self, name: str) -> str:
        """Why the backend of this name is thought to be away; empty where it is not.

        What is known comes from clients alone, and none may come while it is thought to be away:
        so a failure counts for `AWAY_S` and no longer.
        """
        tally = self.backend_of(name)
        if not tally.why:
            return ""
        return tally.why if trio.current_time() - tally.failed_at < AWAY_S else ""

    def reloaded(self, problems: str) -> None:
        """The configuration was read again, and taken where there were no `problems`."""
        self.reloads.ok = not problems
        if problems:
            self.reloads.failed += 1
            self.reloads.failed_at = self._clock()
        else:
            self.reloads.done += 1
            self.reloads.done_at = self._clock()
