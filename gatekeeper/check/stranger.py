"""A stranger's session with a backend, held by the guard's own code without a listener.

Theory of operation. Between a client and its backend stands the dialogue of `session`: it connects,
announces the client, begins TLS and passes on what it could parse. Here it is that very dialogue,
with one end of a pair of sockets for a client and a judge who passes everything and counts nothing.
A running guard's listener would show less: its lists, bans and Rules answer before the backend
does, and what was asked for a test would be counted against an address.

The stranger has an address for documentation (RFC 5737, RFC 3849): nobody's, and in no network that
anybody should trust.
"""

import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace
from random import SystemRandom
from typing import Final, TypeVar

import trio

from gatekeeper.abc import Dialler
from gatekeeper.channel import Channel
from gatekeeper.errors import BackendUnavailable, ChannelError
from gatekeeper.events import Client, JudgedEvent
from gatekeeper.idling import Idlers
from gatekeeper.prefix import entity
from gatekeeper.readiness import Readiness, Waiter
from gatekeeper.relay import Relay
from gatekeeper.session.dialogue import Dialogue, Service
from gatekeeper.session.imap import ImapDialogue
from gatekeeper.session.likeness import Likeness
from gatekeeper.session.smtp import SmtpDialogue
from gatekeeper.session.smtp_legs import PREPARE_S
from gatekeeper.sessions import Session
from gatekeeper.settings import ListenerSettings, Settings, TlsMode, TlsSettings
from gatekeeper.tls import Certificates
from gatekeeper.upstream import Backend
from gatekeeper.verdict import PASS, Verdict
from gatekeeper.wire.imap_responses import Response
from gatekeeper.wire.smtp_replies import Reply

STRANGERS: Final = {4: "203.0.113.77", 6: "2001:db8:203:113::77"}
_HERE: Final = {4: "192.0.2.25", 6: "2001:db8:192::25"}  # whom a stranger may have called
_PORT: Final = 40_077

D = TypeVar("D", bound=Dialogue)


class Passing:
    """Implements `gatekeeper.abc.Judge`: whoever asks may, and nothing is counted."""

    async def judge(self, event: JudgedEvent, client: Client) -> Verdict:
        """See `Judge.judge`."""
        return PASS


class SmtpStranger(SmtpDialogue):
    """The SMTP dialogue; `heard` is what the backend said, as it said it, and `hello` what it last
    answered to EHLO."""

    def __init__(self, service: Service, session: Session, client: Channel, waiter: Waiter) -> None:
        super().__init__(service, session, client, waiter)
        self.heard: list[Reply] = []
        self.hello: Reply | None = None
        self.called_from = ""

    async def open_backend(self) -> None:
        """See `Dialogue.open_backend`; `called_from` is then this host's end of the connection."""
        await super().open_backend()
        self.called_from = _own_end(self.backend)

    async def reply(self, within_s: float) -> Reply:
        """See `SmtpLegs.reply`."""
        reply = await super().reply(within_s)
        self.heard.append(reply)
        return reply

    async def ask(self, command: bytes, within_s: float = PREPARE_S) -> Reply:
        """See `SmtpLegs.ask`."""
        reply = await super().ask(command, within_s)
        if command.startswith(b"EHLO "):
            self.hello = reply
        return reply


class ImapStranger(ImapDialogue):
    """The IMAP dialogue; `heard` is what the backend said, as it said it."""

    def __init__(self, service: Service, session: Session, client: Channel, waiter: Waiter) -> None:
        super().__init__(service, session, client, waiter)
        self.heard: list[Response] = []
        self.called_from = ""

    async def open_backend(self) -> None:
        """See `Dialogue.open_backend`; `called_from` is then this host's end of the connection."""
        await super().open_backend()
        self.called_from = _own_end(self.backend)

    async def response(self, within_s: float) -> Response:
        """See `ImapLegs.response`."""
        response = await super().response(within_s)
        self.heard.append(response)
        return response


def _own_end(backend: Channel) -> str:
    return str(backend.sock.getsockname()[0])


def stranger(listener: ListenerSettings, version: int) -> Client:
    """A stranger of this IP version at `listener`."""
    address = STRANGERS[version]
    return Client(
        address=address,
        port=_PORT,
        local_address=_HERE[version],
        local_port=listener.bind[0].port,
        entity=entity(address),
        listener=listener.name,
        protocol=listener.protocol,
    )


async def converse(
    settings: Settings,
    listener: ListenerSettings,
    client: Client,
    kind: type[D],
    talk: Callable[[trio.SocketStream], Awaitable[None]],
    dialler: Dialler | None = None,
) -> D:
    """Hold a session of `client` with the backend of `listener` and let `talk` be its client.

    The dialogue, when both have ended; `session.detail` says why the backend failed, if it did.
    `talk` hears the end of its stream when the session is over, and the session ends with `talk`.
    `dialler` is needed where the backend is transparent. Raises `ConfigError` where the CA file of
    the backend cannot be used. Has no deadline of its own.
    """
    readiness = Readiness()
    readiness.now = trio.current_time()  # deadlines are made of it before it has run
    service = _service(settings, listener, readiness, dialler)
    near, far = socket.socketpair()
    waiter = Waiter(readiness)
    dialogue = kind(service, Session(client), Channel(near, readiness, waiter), waiter)
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(far))
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(readiness.run)
            async with trio.open_nursery() as both:
                both.start_soon(_hold, dialogue)
                both.start_soon(_talk, talk, stream)
            nursery.cancel_scope.cancel()
    finally:
        dialogue.close_backend()
        dialogue.client.abort()
        waiter.close()
        stream.socket.close()
        readiness.close()
    return dialogue


async def _hold(dialogue: Dialogue) -> None:
    try:
        await dialogue.run()
    except ChannelError:  # the client's end is closed: `talk` is over
        pass
    except BackendUnavailable as error:  # it failed while its last words were passed on
        dialogue.session.detail = str(error)
    dialogue.client.close()


async def _talk(
    talk: Callable[[trio.SocketStream], Awaitable[None]], stream: trio.SocketStream
) -> None:
    async with stream:
        await talk(stream)


def _service(
    settings: Settings,
    listener: ListenerSettings,
    readiness: Readiness,
    dialler: Dialler | None,
) -> Service:
    """What a session of `listener` needs, but that its client speaks in the clear."""
    backend = Backend(settings.backends[listener.backend])
    backend.dialler = dialler
    relay = Relay(
        readiness,
        settings.limits.relay_idle_s,
        Idlers(settings, lambda _session, _end: None),
        on_end=lambda _session: None,
        on_fault=lambda _session, _error: None,
    )
    return Service(
        listener=replace(listener, tls=TlsMode.NONE),
        settings=settings,
        judge=Passing(),
        backend=backend,
        likeness=Likeness(SystemRandom()),
        certificates=Certificates(TlsSettings(), listener.protocol.value),
        readiness=readiness,
        relay=relay,
    )
