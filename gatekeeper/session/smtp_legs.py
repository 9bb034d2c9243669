"""Both legs of an SMTP session: Segments from the client, replies from the backend, and the
preparation of the backend (greeting, STARTTLS, XCLIENT), which the guard speaks itself.

After `prepare` the backend is where a fresh client would find it.
"""

from typing import Final

from gatekeeper.channel import Channel
from gatekeeper.errors import BackendUnavailable
from gatekeeper.readiness import Waiter
from gatekeeper.session.dialogue import Dialogue, LastWords, Service
from gatekeeper.sessions import Session
from gatekeeper.settings import Announce, TlsMode
from gatekeeper.wire.framing import Segment
from gatekeeper.wire.smtp import SmtpCommands
from gatekeeper.wire.smtp_capabilities import EhloFacts, read_ehlo
from gatekeeper.wire.smtp_replies import Reply, SmtpReplies, format_reply
from gatekeeper.wire.xclient import xclient_commands

PREPARE_S: Final = 30.0  # greeting and each step of the preparation; a greeting may be held back

_LAST_WORDS: Final = LastWords(
    closing=format_reply(421, "4.7.0", "Service closing transmission channel"),
    too_many_errors=format_reply(421, "4.7.0", "Too many errors"),
    unavailable=format_reply(421, "4.3.2", "Service not available, try again later"),
    timeout=format_reply(421, "4.4.2", "Timeout exceeded"),
)


class SmtpLegs(Dialogue):
    """A dialogue that reads SMTP commands on one leg and SMTP replies on the other."""

    last_words = _LAST_WORDS

    def __init__(self, service: Service, session: Session, client: Channel, waiter: Waiter) -> None:
        super().__init__(service, session, client, waiter)
        self.commands = SmtpCommands()
        self.replies = SmtpReplies()
        self.logged_in = False  # an OAUTHBEARER login may name nobody

    def secured(self) -> None:
        """TLS is up on the client's leg: nothing read before it survives."""
        self.commands = SmtpCommands()

    # -- the client's leg -------------------------------------------------------------------

    async def next_segment(self) -> Segment:
        """The client's next Segment; the whole of it must come within the idle limit.

        Raises `ChannelError`, or `BackendUnavailable` when the backend ends the session meanwhile.
        """
        deadline = self.readiness.now + self.limits.smtp_idle_s
        while (segment := self.commands.next_segment()) is None:
            octets = await self.from_client(deadline)
            if octets is None:
                self._listen_to_backend()
            else:
                self.commands.feed(octets)
        return segment

    def _listen_to_backend(self) -> None:
        """The backend speaks, or hangs up, where it is the client's turn."""
        octets = self.overheard()
        if octets is None:
            return
        if not octets:
            raise BackendUnavailable("the backend ended the session")
        self.replies.feed(octets)
        reply = self.replies.next_reply()
        if isinstance(reply, Reply):
            raise _unasked(reply)
        if reply is not None:
            raise BackendUnavailable(f"the backend's reply is broken: {reply.kind.value}")

    # -- the backend's leg ------------------------------------------------------------------

    async def prepare(self) -> Reply:
        """Open and prepare the backend; the greeting for the client, which may be a refusal.

        Raises `BackendUnavailable`.
        """
        await self.open_backend()
        self.replies = SmtpReplies()
        greeting = await self.reply(PREPARE_S)
        if greeting.code != 220:
            return greeting
        settings = self.service.backend.settings
        if settings.tls is TlsMode.STARTTLS:
            await self._start_backend_tls()
        if settings.announce is Announce.XCLIENT:
            await self._announce()
        return greeting

    async def reply(self, within_s: float) -> Reply:
        """The backend's next reply. Raises `BackendUnavailable`, also for a broken reply."""
        while True:
            reply = self.replies.next_reply()
            if isinstance(reply, Reply):
                return reply
            if reply is not None:
                raise BackendUnavailable(f"the backend's reply is broken: {reply.kind.value}")
            self.replies.feed(await self.from_backend(within_s))

    async def ask(self, command: bytes, within_s: float = PREPARE_S) -> Reply:
        """Send `command`, which holds one command line, and await its reply."""
        await self.tell(command)
        return await self.reply(within_s)

    async def tell(self, command: bytes) -> None:
        """Send one command line. A reply left over would be taken for its own: raises
        `BackendUnavailable` where there is one."""
        if self.replies.buffered:
            raise _unasked(await self.reply(PREPARE_S))
        await self.to_backend(command)

    async def _start_backend_tls(self) -> None:
        facts = await self._ehlo()
        if not facts.starttls:
            raise BackendUnavailable("the backend offers no STARTTLS")
        if (await self.ask(b"STARTTLS\r\n")).code != 220:
            raise BackendUnavailable("the backend refused STARTTLS")
        if self.replies.buffered:  # RFC 3207 5 from the other side: injected replies
            raise BackendUnavailable("the backend talked between STARTTLS and TLS")
        await self.backend_tls()
        self.replies = SmtpReplies()

    async def _announce(self) -> None:
        client = self.session.client
        facts = await self._ehlo()
        if not facts.xclient:
            raise BackendUnavailable("the backend offers no XCLIENT to this host")
        for command in xclient_commands(
            frozenset(facts.xclient),
            address=client.address,
            port=client.port,
            local_address=client.local_address,
            local_port=client.local_port,
        ):
            if not (await self.ask(command)).positive:
                raise BackendUnavailable("the backend refused XCLIENT")

    async def _ehlo(self) -> EhloFacts:
        name = self.service.settings.hostname.encode("ascii", "replace")
        reply = await self.ask(b"EHLO " + name + b"\r\n")
        if not reply.positive:
            raise BackendUnavailable("the backend refused EHLO")
        return read_ehlo(reply)


def _unasked(reply: Reply) -> BackendUnavailable:
    """A backend may say 421 at any moment (RFC 5321 3.8); all else unasked is a fault."""
    if reply.code == 421:
        return BackendUnavailable("the backend said 421", farewell=reply.raw)
    return BackendUnavailable("the backend spoke unasked")
