"""The guard in virtual time: events in, decisions out, the same Guard and Ledger as in a real one.

Theory of operation. Time is what the events say. An attempt is judged; if it is let through, the
event's own `valid` is the backend's word, and that is judged in turn. What the guard is not told in
reality it is not told here: `valid` of an attempt that was refused stays unseen.
"""

from collections.abc import Mapping
from typing import Any, Final

from gatekeeper.ban import Ban
from gatekeeper.events import (
    AuthAttempt,
    AuthOutcome,
    AuthResult,
    Client,
    ConnectionOpened,
    MailProtocol,
    RcptAttempt,
    RcptOutcome,
    RcptResult,
)
from gatekeeper.guard import Guard
from gatekeeper.ledger import Ledger
from gatekeeper.opinions import OnVerdict
from gatekeeper.prefix import Prefix, entity
from gatekeeper.secret import Secret
from gatekeeper.settings import Settings, TlsSettings
from gatekeeper.verdict import PASS, Action, Reason, Verdict

START: Final = 1_700_000_000.0  # what an event's second 0 is in Unix time
MAX_CLIENTS: Final = 10_000  # kept made, since most events come from addresses seen before
DEFAULTS: Final = Settings("simulated.invalid", TlsSettings(), (), {})
_LOOPBACK: Final = (Prefix.parse("127.0.0.0/8"), Prefix.parse("::1"))
_PROTOCOLS: Final = {
    "imap": MailProtocol.IMAP,
    "submission": MailProtocol.SUBMISSION,
    "smtp": MailProtocol.SMTP,
}
_LOGIN_PROTOCOLS: Final = ("imap", "submission")
_FIRST_S, _LAST_S = -1e9, 1e11  # of t: instants after 1970, which a float holds to the microsecond

Event = Mapping[str, Any]  # JSON at the edge
Decision = dict[str, Any]


class BadEvent(ValueError):
    """An event that cannot be read; nothing has changed."""


def _ignore(*_: object) -> None:
    """What a guard nobody listens to calls."""


class Simulation:
    """A guard fed with events. Secrets are fixed: the same events give the same decisions.

    `on_verdict` is the guard's own: it hears of verdicts that are not carried out, too.
    """

    def __init__(self, settings: Settings = DEFAULTS, on_verdict: OnVerdict = _ignore) -> None:
        self.settings = settings
        self.now = START
        self._last_t = float("-inf")
        self._outage = False
        self._made: Ban | None = None
        self._clients: dict[tuple[str, str], Client] = {}
        self._judges = {
            "auth": self._auth,
            "rcpt": self._rcpt,
            "connect": self._connect,
            "outage": self._switch,
        }
        self.ledger = Ledger(settings.policy, (*_LOOPBACK, *settings.allow), lambda: self.now)
        self.ledger.subscribe(self._on_change)
        self.guard = Guard(
            settings,
            self.ledger,
            clock=lambda: self.now,
            account_secret=b"simulated account",
            password_secret=b"simulated password",
            on_verdict=on_verdict,
        )

    def feed(self, event: Event) -> Decision:
        """The decision on `event`, with the event's other keys carried through.

        Raises `BadEvent` for one that is out of order, of no known kind or not complete.
        """
        kind = event.get("kind")
        judge = self._judges.get(kind) if isinstance(kind, str) else None
        if judge is None:
            raise BadEvent(f"unknown kind {kind!r:.60}: it is one of {', '.join(self._judges)}")
        t = _seconds(event)
        if t < self._last_t:
            raise BadEvent(f"t goes back from {self._last_t} to {t}")
        decision = judge(event, t)
        for key in event:
            if key not in _OWN:
                decision.setdefault(key, event[key])
        return decision

    # -- one for each kind ------------------------------------------------------------------

    def _auth(self, event: Event, t: float) -> Decision:
        protocol = _text(event, "protocol")
        if protocol not in _LOGIN_PROTOCOLS:
            raise BadEvent(f"protocol is one of {', '.join(_LOGIN_PROTOCOLS)}")
        client = self._client(_text(event, "ip"), protocol)
        password = event.get("password")
        if not isinstance(password, str):
            raise BadEvent("password is a string")
        valid = _truth(event, "valid")
        attempt = AuthAttempt("PLAIN", _text(event, "account"), secret=_secret(password))
        self._advance(t)
        verdict = self.guard.decide(attempt, client)
        if verdict.action > Action.DELAY:
            return self._decision(t, verdict, forwarded=False)
        result = AuthResult.SUCCESS if valid else AuthResult.FAILURE
        if self._outage:
            result = AuthResult.UNAVAILABLE
        after = self.guard.decide(AuthOutcome(attempt, result), client)
        if result is AuthResult.SUCCESS and after.action >= Action.REJECT:
            return self._decision(t, after, forwarded=True)
        return self._decision(t, after, forwarded=True, outcome=_WORDS[result])

    def _rcpt(self, event: Event, t: float) -> Decision:
        account = None if event.get("account") is None else _text(event, "account")
        client = self._client(_text(event, "ip"), "submission" if account else "smtp")
        exists = _truth(event, "exists")
        attempt = RcptAttempt(_text(event, "recipient"), account or "")
        self._advance(t)
        verdict = self.guard.decide(attempt, client)
        if verdict.action > Action.DELAY:
            return self._decision(t, verdict, forwarded=False)
        if self._outage:
            self.guard.decide(RcptOutcome(attempt, RcptResult.DEFERRED), client)
            return self._decision(t, verdict, forwarded=True, outcome="unavailable")
        result = RcptResult.ACCEPTED if exists else RcptResult.UNKNOWN
        after = self.guard.decide(RcptOutcome(attempt, result), client)
        return self._decision(t, after, forwarded=True, outcome="ok" if exists else "fail")

    def _connect(self, event: Event, t: float) -> Decision:
        client = self._client(_text(event, "ip"), "imap")
        self._advance(t)
        return self._decision(t, self.guard.decide(ConnectionOpened(), client), forwarded=False)

    def _switch(self, event: Event, t: float) -> Decision:
        on = _truth(event, "on")
        self._advance(t)
        self._outage = on
        return self._decision(t, PASS, forwarded=False)

    # -- the parts --------------------------------------------------------------------------

    def _advance(self, t: float) -> None:
        self._last_t = t
        self.now = START + t
        self._made = None

    def _client(self, ip: str, protocol: str) -> Client:
        client = self._clients.get((ip, protocol))
        if client is None:
            try:
                where = entity(ip)
            except ValueError as error:
                raise BadEvent(f"not an IP address: {ip!r:.60}") from error
            client = Client(ip, 0, "127.0.0.1", 0, where, "simulated", _PROTOCOLS[protocol])
            if len(self._clients) >= MAX_CLIENTS:
                self._clients.clear()
            self._clients[ip, protocol] = client
        return client

    def _decision(
        self, t: float, verdict: Verdict, *, forwarded: bool, outcome: str | None = None
    ) -> Decision:
        made = self._made
        action = _action(verdict)
        if forwarded and action in {"reject", "drop"}:
            action = "pass"  # the backend's own refusal goes to the client, whatever follows it
        return {
            "t": t,
            "action": action,
            "forwarded": forwarded,
            "outcome": outcome,
            "reason": verdict.reason.value,
            "delay_s": verdict.delay_s,
            "ban": None
            if made is None
            else {"prefix": str(made.prefix), "seconds": made.until - made.since},
        }

    def _on_change(self, change: object) -> None:
        if isinstance(change, Ban):
            self._made = change


_OWN: Final = frozenset(
    {"t", "kind", "ip", "account", "password", "protocol", "valid", "recipient", "exists", "on"}
)
_WORDS: Final = {
    AuthResult.SUCCESS: "ok",
    AuthResult.FAILURE: "fail",
    AuthResult.UNAVAILABLE: "unavailable",
}


def _action(verdict: Verdict) -> str:
    match verdict.action:
        case Action.PASS | Action.DELAY:
            return "delay" if verdict.delay_s > 0 else "pass"
        case Action.DEFER:
            return "defer"
        case Action.DECOY:
            return "decoy"
        case Action.REJECT:
            return "reject"
        case Action.CLOSE:
            return "drop" if verdict.reason is Reason.BANNED else "reject"


def _text(event: Event, key: str) -> str:
    value = event.get(key)
    if not isinstance(value, str) or not value:
        raise BadEvent(f"{key} is a string that is not empty")
    return value


def _secret(password: str) -> Secret:
    return Secret(password.encode("utf-8", "surrogatepass"))


def _truth(event: Event, key: str) -> bool:
    value = event.get(key)
    if not isinstance(value, bool):
        raise BadEvent(f"{key} is true or false")
    return value


def _seconds(event: Event) -> float:
    t = event.get("t")
    if isinstance(t, bool) or not isinstance(t, int | float) or not _FIRST_S <= t <= _LAST_S:
        raise BadEvent(f"t is a number of seconds from {_FIRST_S:.0e} to {_LAST_S:.0e}")
    return float(t)
