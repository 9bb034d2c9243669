"""What happens, as lines of the log: one for each session, verdict and ban.

The address a line is about stands last and the log escapes the user name, so a name that holds
`rip=` or a line break forges nothing. No line holds a secret: none of these records has one in
clear.
"""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

import trio

from gatekeeper import notices
from gatekeeper.abc import BanChange
from gatekeeper.backend_watch import BackendWatch
from gatekeeper.ban import Ban, Scope
from gatekeeper.errors import GatekeeperError
from gatekeeper.events import (
    AuthAttempt,
    AuthOutcome,
    Client,
    ClientListed,
    ConnectionOpened,
    EarlyTalk,
    HelloAttempt,
    JudgedEvent,
    MailAttempt,
    RcptAttempt,
    ReverseDns,
    Violation,
)
from gatekeeper.hooks.health import State
from gatekeeper.log import Log
from gatekeeper.notices import Notice
from gatekeeper.policy.breaker import Trip
from gatekeeper.prefix import Prefix
from gatekeeper.reconciling import Repair
from gatekeeper.remembered import AccountLock, LockKind
from gatekeeper.sessions import End, Session
from gatekeeper.tally import Tally
from gatekeeper.verdict import PASS, Reason, Verdict

# What the operator wrote in his files refused it: he wants to know whom.
_BY_ITS_DOMAIN: Final = frozenset(
    {Reason.UNKNOWN_USER, Reason.SENDER_BLACKLISTED, Reason.CLIENT_BLACKLISTED}
)


def _nobody(_notice: Notice) -> None:
    """Nobody is told."""


class Chronicle:
    """Turns what happened into log events, and has `tally` count what there is too much of."""

    def __init__(
        self, log: Log, tally: Tally | None = None, tell: Callable[[Notice], None] = _nobody
    ) -> None:
        """`tell` hears what an operator should know at once; each has its line of the log, too."""
        self._log = log
        self._tally = tally or Tally()
        self._tell = tell
        self._backends = BackendWatch(self._backend)

    def session(self, session: Session) -> None:
        """A session is over."""
        self._tally.session(session)
        client = session.client
        self._log.event(
            "session",
            id=session.id,
            listener=client.listener,
            user=session.authcid,
            secs=round(trio.current_time() - session.since, 3),
            tls=session.tls_version,
            **({"name": client.reverse_name} if client.reverse_name else {}),
            **_of_hooks(client),
            end=session.end,
            detail=session.detail,
            rip=client.address,
            rport=client.port,
        )

    def would_end(self, session: Session, end: End) -> None:
        """In observe mode: a session that would have been ended, and why."""
        client = session.client
        self._log.event(
            "would-end",
            id=session.id,
            listener=client.listener,
            user=session.authcid,
            end=end,
            rip=client.address,
        )

    def fault(self, session: Session, error: Exception) -> None:
        """A fault of this program ended a session. Where, but not what it worked on: the text of
        an exception may hold a client's octets."""
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        place = f"{trace.tb_frame.f_code.co_qualname}:{trace.tb_lineno}" if trace else ""
        self._log.error("session-fault", id=session.id, error=type(error).__name__, at=place)

    def verdict(self, client: Client, event: JudgedEvent, verdict: Verdict, enforced: bool) -> None:
        """A verdict other than to pass; in observe mode what it would have been."""
        self._tally.verdict(verdict, enforced)
        attempt = event.attempt if isinstance(event, AuthOutcome) else event
        self._log.event(
            "verdict" if enforced else "would-verdict",
            action=verdict.action.name.lower(),
            reason=verdict.reason,
            listener=client.listener,
            user=attempt.authcid if isinstance(attempt, AuthAttempt) else "",
            violation=event.kind if isinstance(event, Violation) else "",
            delay_s=round(verdict.delay_s, 1),
            ban=verdict.ban,
            **({"ref": verdict.ticket} if verdict.ticket else {}),
            **_particulars(event, verdict.reason),
            **_of_hooks(client, verdict),
            rip=client.address,
        )

    def lock(self, lock: AccountLock, account: str, enforced: bool) -> None:
        """An account is held back, because of how it behaves, or strangers are kept off it; or it
        would be, if the rule did not only watch."""
        for_s = None if lock.until is None else round(lock.until - lock.since)
        watched = {} if enforced else {"watched": True}
        if lock.kind is LockKind.LANE:
            self._log.warning("account-lane-locked", for_s=for_s, **watched, user=account)
        else:
            self._log.warning("account-held", why=lock.note, for_s=for_s, **watched, user=account)
        self._tell(notices.account_locked(lock, account, enforced=enforced))

    def ban(self, change: BanChange, sessions_ended: int) -> None:
        """A ban was made or lifted. Imported ones come by ten thousands, and what is asked on the
        control socket has a line of its own."""
        self._tally.ban(change)
        if not isinstance(change, Ban):
            self._log.event("ban-lifted", scope=change.scope, prefix=change.prefix)
            return
        if change.reason is Reason.IMPORTED and not sessions_ended:
            return
        self._log.warning(
            "ban",
            reason=change.reason,
            level=change.level,
            for_s=round(change.until - change.since),
            origin=change.origin,
            sessions_ended=sessions_ended,
            scope=change.scope,
            prefix=change.prefix,
        )

    def breaker(self, trip: Trip) -> None:
        """Rules ban no more: their bans look like a mistake."""
        figures = trip.figures
        self._log.warning(
            "breaker",
            state="open",
            cause=trip.cause,
            for_s=round(trip.until - trip.since),
            wanted_minute=figures.minute,
            wanted_10m=figures.bans,
            met=figures.met,
            around=figures.around,
            accounts=figures.accounts,
        )
        self._tell(notices.breaker_opened(trip))

    def breaker_closed(self, withheld: int) -> None:
        """Rules ban again; how many bans were not made since the start."""
        self._log.event("breaker", state="closed", withheld=withheld)
        self._tell(notices.breaker_closed(withheld))

    def paused(self, seconds: float, note: str) -> None:
        """Nothing is enforced for a time."""
        self._log.warning("paused", for_s=round(seconds), note=note)

    def resumed(self, why: str) -> None:
        """All is enforced again."""
        self._log.warning("resumed", why=why)

    def refused(self, prefix: Prefix, scope: Scope) -> None:
        """The kernel process would not have a ban: its never list is not ours."""
        self._log.warning("ban-refused-by-kernel", scope=scope, prefix=prefix)

    def repaired(self, repairs: Counter[Repair]) -> None:
        """Ledger and kernel differed."""
        counts = {repair.value: count for repair, count in repairs.items()}
        self._log.warning("repaired", **counts)

    def lifted_by_hand(self, prefix: Prefix, scope: Scope) -> None:
        """Somebody deleted an element: that lifts the ban."""
        self._log.event("lifted-by-hand", scope=scope, prefix=prefix)

    def flood(self, prefix: Prefix) -> None:
        """The kernel drops an address that opens connections too fast."""
        self._log.warning("syn-flood", prefix=prefix)

    def reset_elsewhere(self, count: int) -> None:
        """Connections of banned addresses that were no sessions of this guard."""
        self._log.event("reset", connections=count)

    def zone(self, zone: str, why: str) -> None:
        """A blocklist was switched off, and why; or it is asked again, where `why` is empty."""
        if why:
            self._log.warning("zone-off", zone=zone, why=why)
        else:
            self._log.event("zone-on", zone=zone)
        self._tell(notices.zone(zone, why))

    def clock(self, by_s: float, ahead_s: float) -> None:
        """The system's clock was set. What the guard counts by goes on evenly."""
        self._log.warning("clock", jumped_s=round(by_s), ahead_s=round(ahead_s))

    def domains(self, path: str, why: str) -> None:
        """A part of the domains' files is of no use, or is again, where `why` is empty."""
        if why:
            self._log.warning("domains", why=why, path=path)
        else:
            self._log.event("domains", why="mended", path=path)

    def hook(self, label: str, state: State, why: str) -> None:
        """A hook of the operator's fails, is off, or is well again."""
        if state is State.OK and not why:
            self._log.event("hook", state=state, hook=label)
        else:
            self._log.warning("hook", state=state, why=why, hook=label)

    def overload(self, what: str) -> None:
        """Accepting is suspended for a moment."""
        self._log.warning("overload", error=what)

    def health(self, part: str, error: GatekeeperError | None) -> None:
        """A part began to fail, or works again."""
        if error is None:
            self._log.event("health", part=part, state="ok")
        else:
            self._log.warning("health", part=part, state=str(error))
        why = "" if error is None else str(error) or type(error).__name__
        self._tell(notices.part(part, why))

    def backend(self, name: str, seconds: float, why: str) -> None:
        """A connection to a backend was made, or not, and why (`upstream.OnOpen`)."""
        self._tally.backend(name, seconds, why)
        self._backends.opened(name, why)

    def _backend(self, name: str, why: str) -> None:
        if why:
            self._log.warning("backend", state="away", name=name, why=why)
        else:
            self._log.event("backend", state="back", name=name)
        self._tell(notices.backend(name, why))

    def certificate(self, path: Path, left_s: float, good: bool) -> None:
        """A certificate in use ends soon or has ended; or it is good again."""
        days = int(left_s // 86400.0)
        if good:
            self._log.event("certificate", state="renewed", left_days=days, path=path)
            self._tell(notices.certificate_renewed(str(path), left_s))
        else:
            state = "expires" if left_s > 0 else "expired"
            self._log.warning("certificate", state=state, left_days=days, path=path)
            self._tell(notices.certificate(str(path), left_s))


def _of_hooks(client: Client, verdict: Verdict = PASS) -> dict[str, object]:
    """What hooks have to do with a line, if anything."""
    more: dict[str, object] = {}
    if verdict.source:
        more = {"hook": verdict.source, "text": verdict.text}
    if client.marks.tags:
        more["tags"] = ",".join(sorted(client.marks.tags))
    return more


def _particulars(event: JudgedEvent, reason: Reason) -> dict[str, object]:
    """What a line tells of one kind of Event alone."""
    match event:
        case ConnectionOpened(of_address=here, of_network=around) if here:
            return {"of_address": here, "of_network": around}
        case EarlyTalk(after_s=after_s, octets=octets):
            return {"octets": octets, "after_s": round(after_s, 1)}
        case ReverseDns(state=state, name=name):
            return {"reverse": state, "name": name}
        case ClientListed(listings=listings) | AuthAttempt(listings=listings) if listings:
            return {"listed": " ".join(map(str, listings))}
        case HelloAttempt(domain=domain, fault=fault):
            return {"fault": fault, "hello": domain}
        case MailAttempt(domain=domain, spf=spf):
            return {"domain": domain, "spf": spf, "sender": event.reverse_path}
        case RcptAttempt() if reason in _BY_ITS_DOMAIN:
            return {"sender": event.reverse_path or "", "recipient": event.forward_path}
        case _:
            return {}
