"""The SMTP dialogue: one gated command at a time between a client and its backend.

The client may pipeline; the backend gets the next command when the last is answered. So replies
stay in order, a local refusal needs no queue, and every command is judged in the state the backend
is really in. Content passes through the filter in constant memory.
"""

from typing import Final

from gatekeeper.errors import BackendUnavailable
from gatekeeper.events import (
    AuthCommand,
    Bdat,
    Command,
    Data,
    Hello,
    HelloAttempt,
    Mail,
    MailAttempt,
    MailProtocol,
    Rcpt,
    RcptAttempt,
    RcptOutcome,
    StartTls,
    Violation,
    ViolationKind,
)
from gatekeeper.session.handshake import read_hello, send_alert
from gatekeeper.session.smtp_auth import SmtpAuth, refusal
from gatekeeper.session.smtp_content import SmtpContent
from gatekeeper.session.smtp_refusals import hello_refusal, mail_refusal, rcpt_refusal
from gatekeeper.sessions import End
from gatekeeper.settings import TlsMode
from gatekeeper.verdict import Action, Verdict
from gatekeeper.wire.framing import Segment
from gatekeeper.wire.smtp_capabilities import read_ehlo, rewrite_ehlo
from gatekeeper.wire.smtp_content import ChunkContent, DataContent
from gatekeeper.wire.smtp_replies import Reply, format_reply, rcpt_result

ALPN: Final = b"smtp"  # de facto; not in IANA's registry

# They tell whether an address exists, as RCPT does (RFC 5321 7.3), and are judged as RCPT is.
_ASK_FOR_A_RECIPIENT: Final = frozenset({"VRFY", "EXPN"})

_READY: Final = format_reply(220, "2.0.0", "Ready to start TLS")
_HELLO_FIRST: Final = Violation(
    ViolationKind.BAD_SEQUENCE, format_reply(503, "5.5.1", "Send HELO/EHLO first")
)
_NO_STARTTLS: Final = Violation(
    ViolationKind.BAD_SEQUENCE, format_reply(503, "5.5.1", "STARTTLS not available")
)
# Fatal, because the chunk follows whatever the answer is, and a backend that never offered to count
# octets would take it for commands that nobody judged.
_NO_CHUNKING: Final = Violation(
    ViolationKind.BAD_BDAT, format_reply(521, "5.5.1", "BDAT not available"), fatal=True
)
_INJECTED: Final = Violation(
    ViolationKind.STARTTLS_INJECTION,
    format_reply(554, "5.5.0", "SMTP protocol synchronization"),
    fatal=True,
)
EARLY: Final = Violation(
    ViolationKind.EARLY_TALKER,
    format_reply(554, "5.5.0", "SMTP protocol synchronization"),
    fatal=True,
)


class SmtpDialogue(SmtpContent):
    """One SMTP or submission session, from the greeting to its end."""

    _must_greet = False  # after STARTTLS nothing the client said before counts (RFC 3207 4.2)
    _in_transaction = False
    _hello_domain = ""  # of the last EHLO or HELO the backend took
    _chunking = False  # offered by the backend's last EHLO reply

    async def converse(self) -> End:
        """See `Dialogue.converse`."""
        greeting = await self.prepare()
        await self.to_client(greeting.raw)
        if greeting.code != 220:
            return End.UNAVAILABLE
        while (end := await self._handle(await self.next_segment())) is None:
            self.session.busy = self._in_transaction
        return end

    async def _handle(  # noqa: C901, PLR0911  # a table: one arm for each event
        self, segment: Segment
    ) -> End | None:
        event = segment.event
        self.session.busy = True
        if self._must_greet and isinstance(event, Mail | Rcpt | Data | Bdat | AuthCommand):
            return await self._refuse_early(event)
        match event:
            case Violation():
                return await self.violated(event)
            case Hello():
                return await self._hello(segment, event)
            case Mail():
                return await self._mail(segment, event.reverse_path)
            case Rcpt(forward_path=path):
                return await self._rcpt(segment, path)
            case Data():
                return await self._data(segment)
            case Bdat():
                return await self._bdat(segment, event)
            case AuthCommand():
                return await self._auth(segment, event)
            case StartTls():
                return await self._start_tls()
            case Command(verb=verb) if verb in _ASK_FOR_A_RECIPIENT:
                return await self._rcpt(segment, _argument(segment))
            case Command():
                return await self._command(segment, event)
            case _:
                raise AssertionError("not an event of the SMTP observer")

    # -- plain commands ---------------------------------------------------------------------

    async def _exchange(self, segment: Segment) -> Reply:
        """Forward a command and pass its reply on."""
        reply = await self.ask(segment.raw, self.limits.backend_reply_s)
        await self.to_client(reply.raw)
        return reply

    async def _command(self, segment: Segment, event: Command) -> End | None:
        reply = await self._exchange(segment)
        if event.verb == "QUIT":
            return End.LOGOUT
        if event.verb == "RSET":
            self._in_transaction = False
        return End.BACKEND if reply.code == 421 else None

    async def _hello(self, segment: Segment, event: Hello) -> End | None:
        refused = await self.permits(HelloAttempt(event.domain, event.extended))
        if refused is not None:
            return await self._refuse(refused, hello_refusal(refused))
        reply = await self.ask(segment.raw, self.limits.backend_reply_s)
        raw = reply.raw
        if reply.positive:
            self._must_greet = self._in_transaction = False
            self._hello_domain = event.domain
            self._chunking = event.extended and read_ehlo(reply).chunking
            if event.extended:
                raw = self._rewrite(reply)
        await self.to_client(raw)
        return End.BACKEND if reply.code == 421 else None

    def _rewrite(self, reply: Reply) -> bytes:
        service = self.service
        secured = self.client.tls is not None
        backend_secured = service.backend.settings.tls is not TlsMode.NONE
        return rewrite_ehlo(
            reply,
            hostname=service.settings.hostname,
            offer_starttls=service.listener.tls is TlsMode.STARTTLS and not secured,
            offer_auth=secured and self.session.client.protocol is MailProtocol.SUBMISSION,
            requiretls=secured and backend_secured,
        )

    async def _mail(self, segment: Segment, reverse_path: str) -> End | None:
        attempt = MailAttempt(reverse_path, self._hello_domain, self.session.authcid)
        refused = await self.permits(attempt)
        if refused is not None:
            return await self._refuse(refused, mail_refusal(refused))
        reply = await self._exchange(segment)
        if reply.positive:
            self.begin(reverse_path)
            self._in_transaction = True
        return End.BACKEND if reply.code == 421 else None

    async def _refuse(self, refused: Verdict, reply: bytes) -> End | None:
        """Answer a command in the backend's stead."""
        if refused.action is Action.CLOSE:
            return await self.hang_up()
        await self.refuse(reply)
        return None

    async def _rcpt(self, segment: Segment, forward_path: str) -> End | None:
        sender = self.reverse_path if self._in_transaction else None
        attempt = RcptAttempt(forward_path, self.session.authcid, sender)
        refused = await self.permits(attempt)
        if refused is not None:
            return await self._refuse(refused, rcpt_refusal(refused, logged_in=self.logged_in))
        reply = await self.ask(segment.raw, self.limits.backend_reply_s)
        self.recipients += reply.positive and isinstance(segment.event, Rcpt)
        verdict = await self.judge(RcptOutcome(attempt, rcpt_result(reply)))
        await self.to_client(reply.raw)
        if verdict.action is Action.CLOSE:
            return await self.hang_up()
        return End.BACKEND if reply.code == 421 else None

    async def _refuse_early(self, event: Mail | Rcpt | Data | Bdat | AuthCommand) -> End | None:
        if isinstance(event, Bdat):  # its octets follow whatever the answer is (RFC 3030 2)
            await self.discard(ChunkContent(event.size_octets))
        return await self.violated(_HELLO_FIRST)

    async def _auth(self, segment: Segment, event: AuthCommand) -> End | None:
        violation = refusal(self, event)
        if violation is not None:
            return await self.violated(violation)
        return await SmtpAuth(self, event).run(segment, event.initial_response)

    # -- content ----------------------------------------------------------------------------

    async def _data(self, segment: Segment) -> End | None:
        if self.commands.buffered and not self.logged_in:
            # RFC 2920 3.1: DATA ends a group. What comes early is content to one and commands to
            # another server, if DATA is refused.
            return await self.violated(EARLY)
        reply = await self._exchange(segment)
        if reply.code != 354:
            return End.BACKEND if reply.code == 421 else None
        end = await self.pass_content(DataContent(self.service.settings.bare_newlines))
        self._in_transaction = False
        return end

    async def _bdat(self, segment: Segment, event: Bdat) -> End | None:
        if not self._chunking:
            return await self.violated(_NO_CHUNKING)
        if event.last and (end := await self.refuses_message(event.size_octets)) is not None:
            return end
        await self.tell(segment.raw)
        end = await self.pass_content(ChunkContent(event.size_octets))
        self._in_transaction = self._in_transaction and not event.last
        return end

    # -- STARTTLS ---------------------------------------------------------------------------

    async def _start_tls(self) -> End | None:
        offered = self.service.listener.tls is TlsMode.STARTTLS and self.client.tls is None
        if not offered or self._in_transaction:
            return await self.violated(_NO_STARTTLS)
        if self.commands.buffered or self.client.receive_nowait(1):
            return await self.violated(_INJECTED)
        await self.to_client(_READY)
        hello = await read_hello(self.client, ALPN, self.limits.handshake_timeout_s)
        if isinstance(hello, Violation):
            await send_alert(self, hello)
            return End.TLS
        await self.client_tls(hello)
        self.secured()
        self._must_greet = True
        if self.service.backend.announces_tls(self.session.client):
            greeting = await self.prepare()
            if greeting.code != 220:  # the client was greeted before and awaits no second greeting
                raise BackendUnavailable("the backend refuses the session after STARTTLS")
        return None


def _argument(segment: Segment) -> str:
    """What stands behind the verb of a command line."""
    argument = segment.raw.partition(b" ")[2]
    return argument.strip().decode("utf-8", "surrogateescape")
