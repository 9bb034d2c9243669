"""What the SMTP and the IMAP dialogue share: two legs, the judge between them, and time limits.

A fault of the backend's leg is raised as `BackendUnavailable`, so that whoever catches a
`ChannelError` knows that it was the client.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import inf
from typing import ClassVar, Final

import trio

from gatekeeper.abc import Judge, Screen
from gatekeeper.channel import DIALOGUE_READ_OCTETS, Channel, deadline_in
from gatekeeper.errors import BackendUnavailable, ChannelError, DeadlineExceeded, PeerClosed
from gatekeeper.events import JudgedEvent, MailProtocol, Violation
from gatekeeper.readiness import GONE, IN, Readiness, Waiter
from gatekeeper.relay import Relay
from gatekeeper.session.entrance import Entrance
from gatekeeper.session.likeness import Likeness
from gatekeeper.sessions import End, Session
from gatekeeper.settings import ListenerSettings, Settings
from gatekeeper.tls import Certificates
from gatekeeper.upstream import Backend
from gatekeeper.verdict import Action, Verdict
from gatekeeper.wire.client_hello import ClientHello
from gatekeeper.wire.own_words import imap_words, smtp_words
from gatekeeper.wire.proxy_header import TlsFacts
from gatekeeper.wire.ticket import with_ticket

CLIENT_WRITE_S: Final = 60.0  # a client that takes no reply for this long is gone
BACKEND_COMMAND_S: Final = 30.0  # how long a backend may take to accept what it is sent


@dataclass(frozen=True, slots=True)
class Service:
    """One listener and all that its sessions need; a reload makes a new one for new sessions."""

    listener: ListenerSettings
    settings: Settings
    judge: Judge
    backend: Backend
    likeness: Likeness  # of the backend's refusals on this protocol
    certificates: Certificates
    readiness: Readiness
    relay: Relay
    screen: Screen | None = None
    entrance: Entrance | None = None  # clients of port 25 are put to no test where it is None


@dataclass(frozen=True, slots=True)
class LastWords:
    """What a protocol says before it hangs up."""

    closing: bytes
    too_many_errors: bytes
    unavailable: bytes
    timeout: bytes


class Dialogue(ABC):
    """The base of both dialogues: one task, two channels, one waiter."""

    last_words: ClassVar[LastWords]

    def __init__(self, service: Service, session: Session, client: Channel, waiter: Waiter) -> None:
        self.service = service
        self.session = session
        self.client = client
        self.waiter = waiter
        self.readiness = service.readiness  # its clock is read for each deadline: it costs nothing
        self.limits = service.settings.limits
        self.errors = 0
        self._ticket = self._text = ""  # of the last verdict
        self._backend: Channel | None = None

    async def run(self) -> End | None:
        """Hold the session; how it ended, or None when the relay has it now.

        Raises `ChannelError` for the client's leg.
        """
        try:
            return await self.converse()
        except BackendUnavailable as error:
            self.session.detail = str(error)
            await self.to_client(error.farewell or self.last_words.unavailable)
            return End.UNAVAILABLE
        except DeadlineExceeded:
            await self.to_client(self.last_words.timeout)
            return End.TIMEOUT

    @abstractmethod
    async def converse(self) -> End | None:
        """The conversation itself. Raises `ChannelError` or `BackendUnavailable`."""

    async def violated(self, violation: Violation) -> End | None:
        """Answer bytes that are refused; the session's end where they, or the judge, end it."""
        self.errors += 1
        verdict = await self.judge(violation)
        if violation.reply:
            await self.to_client(violation.reply)
        if violation.fatal:
            return End.VIOLATION
        if verdict.action is Action.CLOSE:
            return await self.hang_up()
        if self.errors >= self.limits.errors_per_session:
            await self.to_client(self.last_words.too_many_errors)
            return End.VIOLATION
        return None

    async def hang_up(self) -> End:
        """End the session for the last verdict, with a word that tells nothing of it."""
        await self.refuse(self.last_words.closing)
        return End.REFUSED

    async def refuse(self, reply: bytes) -> None:
        """Say no in the guard's own words, one line, with the ticket of the last verdict, or in the
        words of the hook that made it. What the backend would have said is not said here: no ticket
        may tell the two apart."""
        if self._text:
            imap = self.session.client.protocol is MailProtocol.IMAP
            reply = (imap_words if imap else smtp_words)(reply, self._text)
        await self.to_client(with_ticket(reply, self._ticket))

    # -- the legs ---------------------------------------------------------------------------

    @property
    def backend(self) -> Channel:
        """The backend's leg, once open."""
        assert self._backend is not None, "the backend's leg is not open"
        return self._backend

    async def open_backend(self) -> None:
        """Connect the backend's leg, closing an earlier one. Raises `BackendUnavailable`."""
        self.close_backend()
        session, backend = self.session, self.service.backend
        tells = backend.announces_tls(session.client)
        self._backend = await backend.open(
            session.client,
            self.service.readiness,
            self.waiter,
            tls=self._tls_facts() if tells else None,
            server_name=session.server_name,
        )

    def _tls_facts(self) -> TlsFacts | None:
        tls = self.client.tls
        if tls is None:
            return None
        cipher = tls.cipher()
        return TlsFacts(self.session.tls_version, cipher[0] if cipher else "")

    def close_backend(self) -> None:
        """Let the backend's leg go, if it is open."""
        if self._backend is not None:
            self._backend.close()
            self._backend = None

    def hand_over(self) -> Channel:
        """The backend's leg, which is no longer this dialogue's to close."""
        backend = self.backend
        self._backend = None
        return backend

    async def to_client(self, octets: bytes) -> None:
        """Send to the client. Raises `ChannelError`."""
        await self.client.send(octets, self.readiness.now + CLIENT_WRITE_S)

    async def to_backend(self, octets: bytes, within_s: float = BACKEND_COMMAND_S) -> None:
        """Send to the backend. Raises `BackendUnavailable`."""
        try:
            await self.backend.send(octets, self.readiness.now + within_s)
        except ChannelError as error:
            raise BackendUnavailable(f"while sending: {error}") from error

    async def from_backend(self, within_s: float) -> bytes:
        """Some octets from the backend. Raises `BackendUnavailable`."""
        try:
            return await self.backend.receive(self.readiness.now + within_s)
        except ChannelError as error:
            raise BackendUnavailable(f"while waiting for its reply: {error}") from error

    async def backend_tls(self) -> None:
        """Turn the backend's leg into verified TLS. Raises `BackendUnavailable`."""
        try:
            await self.service.backend.start_tls(self.backend)
        except ChannelError as error:
            raise BackendUnavailable(f"TLS: {error}") from error

    async def from_client(self, deadline: float) -> bytes | None:
        """Some octets from the client; None when the backend spoke first.

        What the backend said is then in `overheard`. Raises `ChannelError` for the client's leg.
        """
        client, backend = self.client, self.backend
        client.wants = IN
        while True:
            if not client.more:
                backend.ready = False
                backend.arm(IN)
                client.arm(client.wants)
                await self.waiter.wait(deadline)
                if backend.ready:
                    return None
            octets = client.receive_nowait(DIALOGUE_READ_OCTETS)
            if octets:
                return octets
            if octets is not None:
                raise PeerClosed("the client ended the stream")

    def overheard(self) -> bytes | None:
        """What the backend said unasked; `b""` when it hung up, None for a false alarm."""
        try:
            return self.backend.receive_nowait(DIALOGUE_READ_OCTETS)
        except ChannelError:
            return b""

    # -- TLS on the client's leg ------------------------------------------------------------

    async def client_tls(self, hello: ClientHello) -> None:
        """Shake hands with a client whose ClientHello was peeked at. Raises `ChannelError`."""
        session = self.session
        context = self.service.certificates.context_for(hello.server_name)
        assert context is not None, "a listener with TLS has certificates: config checks it"
        session.server_name = hello.server_name
        await self.client.handshake(context, deadline_in(self.limits.handshake_timeout_s))
        tls = self.client.tls
        session.tls_version = (tls.version() or "") if tls is not None else ""

    # -- the judge --------------------------------------------------------------------------

    async def judge(self, event: JudgedEvent) -> Verdict:
        """The verdict on `event`, after its delay was waited for."""
        session = self.session
        session.judging = True
        try:
            verdict = await self.service.judge.judge(event, session.client)
        finally:
            session.judging = False
        self._ticket, self._text = verdict.ticket, verdict.text
        if verdict.delay_s > 0:
            await trio.sleep(verdict.delay_s)
        return verdict

    async def hold_until(self, moment: float) -> None:
        """Wait until Trio time `moment`, or until the client's connection is broken.

        A client that only says that nothing more comes is still answered, as it is by a backend;
        so a mere FIN ends no wait: it could be either.
        """
        with trio.move_on_at(moment):
            await self.client.own_event(GONE, inf)

    async def permits(self, event: JudgedEvent) -> Verdict | None:
        """None when `event` may go on, else the verdict that says how it is refused."""
        screen = self.service.screen
        if screen is not None:
            event = await screen.complete(event, self.session.client)
        verdict = await self.judge(event)
        return None if verdict.action <= Action.DELAY else verdict
