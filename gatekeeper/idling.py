"""Sessions in IMAP IDLE (RFC 2177): how many at once, for how long, and whose has to go.

Theory of operation
-------------------
An idle session costs the backend a process or a mailbox held open, and a client that has lost its
network leaves one behind that nobody hears. `Idlers` counts them by account and by entity (an IPv4
address or an IPv6 /64).

Over a cap the session to go is always one of the account that went over it, and of those the one
whose IDLE is the oldest: a living client renews its IDLE, so the oldest is the likeliest to be
dead. Neighbours behind the same NAT never pay: over an entity's cap the account's oldest there
goes, which is the newcomer itself where the account has no other. A session whose account is not
known is an account of its own.

In observe mode nothing is closed. What would have been is told, and no longer counted, so that the
counts stay what they would be.

Sessions in which the tap has lost sight of IDLE (`wire.imap_tap`, *wary*) are not counted; the
limits on sessions and on silence still hold for them.
"""

from collections.abc import Callable
from itertools import takewhile
from typing import Final

from gatekeeper.prefix import Prefix
from gatekeeper.sessions import End, Session
from gatekeeper.settings import Mode, Settings

# What the client is told on a line of its own (RFC 9051 7.1.5; LIMIT: RFC 5530).
_BYE: Final = {
    End.IDLE_LIMIT: b"* BYE [LIMIT] Too many sessions in IDLE\r\n",
    End.IDLE_TOO_LONG: b"* BYE Too long in one IDLE\r\n",
}


class Idlers:
    """The sessions in IDLE. Bounded by the sessions there are, and each holds one place."""

    __slots__ = (
        *("_accounts", "_counted", "_entities", "_limits", "_mode", "_on_would_end", "_suspended"),
    )

    def __init__(self, settings: Settings, on_would_end: Callable[[Session, End], None]) -> None:
        """`on_would_end` hears, in observe mode, of each session that enforcing would have closed,
        once for each IDLE."""
        # Session and account, in order of the IDLEs' beginnings.
        self._counted: dict[Session, str | Session] = {}
        # Lists are short, for the cap is; and small, for most accounts idle once.
        self._accounts: dict[str | Session, list[Session]] = {}
        self._entities: dict[Prefix, int] = {}
        self._on_would_end = on_would_end
        self._suspended = False
        self.reconfigure(settings)

    def __len__(self) -> int:
        return len(self._counted)

    def reconfigure(self, settings: Settings) -> None:
        """Go by other limits, from the next IDLE on."""
        self._limits = settings.limits
        self._mode = settings.mode

    def suspend(self, on: bool) -> None:
        """Only watch, whatever the settings say, or go by them again."""
        self._suspended = on

    def begin(self, session: Session, now: float) -> None:
        """`session` is in IDLE since `now` (Trio's clock), perhaps not for the first time. Where
        that is one too many a session of its account is closed: this one, perhaps."""
        self._forget(session)
        session.idle_since = now
        account: str | Session = session.authcid.lower() or session  # backends lower-case, too
        entity = session.client.entity
        own = self._accounts.setdefault(account, [])
        own.append(session)
        self._counted[session] = account
        self._entities[entity] = self._entities.get(entity, 0) + 1
        while len(own) > self._limits.idle_per_account:
            self._close(own[0], End.IDLE_LIMIT)
        if self._entities[entity] > self._limits.idle_per_address:
            self._close(next(one for one in own if one.client.entity == entity), End.IDLE_LIMIT)

    def end(self, session: Session) -> None:
        """`session` is in IDLE no more, or over. Harmless where it never was."""
        session.idle_since = None
        self._forget(session)

    def expire(self, now: float) -> None:
        """Close the sessions that have been in one IDLE for too long at `now`."""
        begun = now - self._limits.idle_longest_s

        def too_old(session: Session) -> bool:
            return session.idle_since is not None and session.idle_since < begun

        for session in list(takewhile(too_old, self._counted)):
            self._close(session, End.IDLE_TOO_LONG)

    def _close(self, session: Session, end: End) -> None:
        self._forget(session)
        if self._suspended or self._mode is Mode.OBSERVE:
            self._on_would_end(session, end)
        elif session.link is not None:  # as it is for whoever got as far as IDLE
            session.link.dismiss(end, _BYE[end])

    def _forget(self, session: Session) -> None:
        account = self._counted.pop(session, None)
        if account is None:
            return
        own = self._accounts[account]
        own.remove(session)
        if not own:
            del self._accounts[account]
        entity = session.client.entity
        self._entities[entity] -= 1
        if not self._entities[entity]:
            del self._entities[entity]
