"""Every connection the guard holds, for `who`, `kick`, limits and bans."""

import itertools
import secrets
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol

import trio

from gatekeeper.ban import Ban, Scope
from gatekeeper.events import Client
from gatekeeper.prefix import Prefix

_BOOT: Final = secrets.token_hex(2)  # tells the session ids of two runs apart
_counter = itertools.count(1)
NETWORK_BITS: Final = {4: 24, 6: 48}  # by IP version: whose connections are counted together


class Phase(Enum):
    """How far a session is."""

    HANDSHAKE = "handshake"
    GREETING = "greeting"  # port 25: what is asked before the greeting
    DIALOGUE = "dialogue"
    RELAY = "relay"


class End(Enum):
    """Why a session ended; stable words for the log."""

    CLIENT = "client-closed"
    BACKEND = "backend-closed"
    LOGOUT = "logout"
    TIMEOUT = "timeout"
    BROKEN = "connection-broken"
    TLS = "tls-failed"
    REFUSED = "refused"
    VIOLATION = "violation"
    UNAVAILABLE = "backend-unavailable"
    BANNED = "banned"
    KICKED = "kicked"
    LOCKED = "account-locked"
    IDLE_LIMIT = "idle-limit"  # one IDLE too many of its account
    IDLE_TOO_LONG = "idle-too-long"
    SHUTDOWN = "shutdown"
    FAULT = "fault"  # of this program; the log says where


class Relayed(Protocol):
    """What a session without a task is held by."""

    def abort(self) -> None:
        """Reset both legs at once."""
        ...

    def finish(self, end: End) -> None:
        """Close both legs in order."""
        ...

    def dismiss(self, end: End, bye: bytes) -> None:
        """Close both legs in order, after a last line to the client where it is sure to be one."""
        ...

    @property
    def quiet(self) -> bool:
        """Whether nothing is under way that an end now would cut."""
        ...


@dataclass(frozen=True, slots=True)
class SessionView:
    """A session as `who` shows it."""

    id: str
    listener: str
    protocol: str
    address: str
    port: int
    account: str
    phase: str
    since_s: float
    idle: bool
    idle_s: float | None  # how long the client has been in IMAP IDLE, if it is


class Session:
    """One connection from accept to its end, whichever part of the guard holds it now."""

    __slots__ = (
        "authcid",
        "busy",
        "cancel_scope",
        "client",
        "detail",
        "end",
        "id",
        "idle_since",
        "judging",
        "link",
        "phase",
        "server_name",
        "since",
        "tls_version",
    )

    def __init__(self, client: Client) -> None:
        self.id = f"{_BOOT}{next(_counter):x}"
        self.client = client
        self.since = trio.current_time()
        self.phase = Phase.HANDSHAKE
        self.authcid = ""
        self.tls_version = ""
        self.server_name: str | None = None
        self.end: End | None = None
        self.detail = (
            ""  # what the log adds to `end`: why a backend failed; never a client's octets
        )
        self.idle_since: float | None = None  # Trio's clock; what `Idlers` knows
        self.busy = False  # in the middle of a command or a mail transaction
        # While its own event is judged a session is not ended from outside: it hears the verdict.
        self.judging = False
        self.cancel_scope: trio.CancelScope | None = trio.CancelScope()
        self.link: Relayed | None = None

    def stop(self, end: End) -> None:
        """End the session from outside, at once and without a word."""
        if self.end is None:
            self.end = end
        if self.link is not None:
            if end is End.SHUTDOWN:
                self.link.finish(end)
            else:
                self.link.abort()
        elif self.cancel_scope is not None:
            self.cancel_scope.cancel()

    @property
    def hears_verdict(self) -> bool:
        """Whether its own event is judged right now, not only shown to hooks."""
        return self.judging and not self.client.marks.asking

    @property
    def quiet(self) -> bool:
        """Whether nothing is under way that an end now would cut."""
        return not self.busy if self.link is None else self.link.quiet

    def view(self) -> SessionView:
        """What `who` shows."""
        client = self.client
        now = trio.current_time()
        return SessionView(
            id=self.id,
            listener=client.listener,
            protocol=client.protocol.value,
            address=client.address,
            port=client.port,
            account=self.authcid,
            phase=self.phase.value,
            since_s=now - self.since,
            idle=self.idle_since is not None,
            idle_s=None if self.idle_since is None else now - self.idle_since,
        )


class SessionTable:
    """All sessions, found by entity. Bounded by the server, which counts before it accepts."""

    __slots__ = (
        "_by_entity",
        "_crowds",
        "_emptied",
        "_handshaking",
        "_on_end",
        "_on_fault",
        "_sessions",
        "_strangers",
    )

    def __init__(
        self,
        on_end: Callable[[Session], None],
        on_fault: Callable[[Session, Exception], None],
    ) -> None:
        """`on_end` is called once for each session when it leaves the table; `on_fault` for an
        exception that only a fault of this program explains."""
        self._sessions: dict[str, Session] = {}
        self._by_entity: dict[Prefix, set[Session]] = {}
        self._crowds: Counter[Prefix] = Counter()  # on port 25, of entities and their networks
        self._handshaking: dict[Session, None] = {}  # in order of arrival
        # The same of all that had not logged in when they were last looked at.
        self._strangers: dict[Session, None] = {}
        self._on_end = on_end
        self._on_fault = on_fault
        self._emptied = trio.Event()

    def __len__(self) -> int:
        return len(self._sessions)

    def count_of(self, entity: Prefix) -> int:
        """Sessions of one entity."""
        return len(self._by_entity.get(entity, ()))

    def crowd_of(self, entity: Prefix) -> tuple[int, int]:
        """Sessions on port 25 of one entity, and of the network around it."""
        return self._crowds[entity], self._crowds[_network(entity)]

    def add(self, session: Session) -> None:
        """Enter `session`."""
        if session.client.scope is Scope.MX:
            self._crowds.update((session.client.entity, _network(session.client.entity)))
        self._sessions[session.id] = session
        self._by_entity.setdefault(session.client.entity, set()).add(session)
        self._handshaking[session] = None
        self._strangers[session] = None

    def greeting(self, session: Session) -> None:
        """The session is not greeted yet, and its handshake, if it has one, comes later: it takes
        none of the room of those who shake hands."""
        session.phase = Phase.GREETING
        self._handshaking.pop(session, None)

    def established(self, session: Session) -> None:
        """The session's handshake is done, or it needs none."""
        session.phase = Phase.DIALOGUE
        self._handshaking.pop(session, None)

    @property
    def handshaking(self) -> int:
        """How many sessions have not shaken hands yet."""
        return len(self._handshaking)

    def drop_oldest_handshake(self) -> None:
        """Make room: who has waited longest with a handshake is the least likely to end it."""
        oldest = next(iter(self._handshaking), None)
        if oldest is not None:
            del self._handshaking[oldest]
            oldest.stop(End.TIMEOUT)

    def drop_oldest_stranger(self) -> bool:
        """Make room where the table is full: end the oldest session without a login, for a login
        takes seconds and who holds many sessions open holds them long. False where all have one."""
        while (oldest := next(iter(self._strangers), None)) is not None:
            del self._strangers[oldest]
            if oldest.link is None and not oldest.authcid:
                oldest.stop(End.TIMEOUT)
                return True
        return False

    def remove(self, session: Session) -> None:
        """Take `session` out and report its end; a second call does nothing."""
        if self._sessions.pop(session.id, None) is None:
            return
        self._handshaking.pop(session, None)
        self._strangers.pop(session, None)
        entity = session.client.entity
        siblings = self._by_entity[entity]
        siblings.discard(session)
        if not siblings:
            del self._by_entity[entity]
        if session.client.scope is Scope.MX:
            self._leave(entity)
        self._on_end(session)
        if not self._sessions:
            self._emptied.set()

    def _leave(self, entity: Prefix) -> None:
        for crowd in (entity, _network(entity)):
            self._crowds[crowd] -= 1
            if not self._crowds[crowd]:
                del self._crowds[crowd]

    async def wait_empty(self) -> None:
        """Return when no session is left."""
        while self._sessions:
            if self._emptied.is_set():
                self._emptied = trio.Event()
            await self._emptied.wait()

    def fault(self, session: Session, error: Exception) -> None:
        """A fault of ours ends this session and no other."""
        session.end = End.FAULT
        self._on_fault(session, error)

    def census(self) -> Counter[tuple[str, Phase]]:
        """How many sessions each listener has in each phase."""
        return Counter((one.client.listener, one.phase) for one in self._sessions.values())

    def list(self) -> list[SessionView]:
        """All sessions as `who` shows them, oldest first."""
        return [session.view() for session in self._sessions.values()]

    def kick(self, selector: str) -> int:
        """End the sessions whose id, account or address is `selector`, or whose address lies in the
        prefix it names; the count."""
        chosen = [session for session in self._sessions.values() if _selects(selector, session)]
        return _stop_all(chosen, End.KICKED)

    def end_account(self, authcid: str, end: End) -> int:
        """End the sessions that are logged in as `authcid`, in whatever case, but one that is being
        judged; the count."""
        name = authcid.lower()
        found = (s for s in self._sessions.values() if name == s.authcid.lower() != "")
        return _stop_all([s for s in found if not s.hears_verdict], end)

    def end_banned(self, ban: Ban) -> int:
        """End every session `ban` keeps out, but the one being judged; the count."""
        scope, prefix = ban.scope, ban.prefix
        if prefix in self._by_entity:
            found: Iterable[Session] = self._by_entity[prefix]
        else:
            found = (s for s in self._sessions.values() if prefix.covers(s.client.entity))
        chosen = [s for s in found if s.client.scope is scope and not s.hears_verdict]
        return _stop_all(chosen, End.BANNED)

    def end_quiet(self, end: End) -> int:
        """End the sessions in which nothing is under way; the count."""
        return _stop_all([each for each in self._sessions.values() if each.quiet], end)

    def end_all(self, end: End) -> int:
        """End every session; the count."""
        return _stop_all(list(self._sessions.values()), end)


def _network(entity: Prefix) -> Prefix:
    return entity.widen(NETWORK_BITS[entity.version])


def _stop_all(sessions: list[Session], end: End) -> int:
    for session in sessions:
        session.stop(end)
    return len(sessions)


def _selects(selector: str, session: Session) -> bool:
    client = session.client
    if selector == session.id or selector.lower() == session.authcid.lower() != "":
        return True
    try:
        return Prefix.parse(selector).covers(Prefix.parse(client.address))
    except ValueError:
        return False
