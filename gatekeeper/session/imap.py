"""The IMAP dialogue: from the greeting to the login, then the pair goes to the relay."""

from typing import Final

from gatekeeper.errors import BackendUnavailable
from gatekeeper.events import (
    AuthCommand,
    Command,
    ContinuationNeeded,
    Login,
    StartTls,
    Violation,
    ViolationKind,
)
from gatekeeper.session.handshake import read_hello, send_alert
from gatekeeper.session.imap_auth import ImapAuth
from gatekeeper.session.imap_legs import LOGIN_REPLY_S, ImapLegs
from gatekeeper.sessions import End
from gatekeeper.settings import TlsMode
from gatekeeper.wire.framing import Segment
from gatekeeper.wire.imap_id import strip_originating
from gatekeeper.wire.imap_responses import Status
from gatekeeper.wire.imap_tap import ImapTap

ALPN: Final = b"imap"  # IANA

_CONTINUE: Final = b"+ OK\r\n"


class ImapDialogue(ImapLegs):
    """One IMAP session before its login."""

    async def converse(self) -> End | None:
        """See `Dialogue.converse`."""
        greeting = await self.prepare()
        await self.to_client(self.rewritten(greeting))
        while (end := await self._handle(await self.next_segment())) is None:
            self.session.busy = False
            if self.session.link is not None:
                return None
        return end

    async def _handle(self, segment: Segment) -> End | None:
        event = segment.event
        self.session.busy = True
        match event:
            case Violation():
                return await self.violated(event)
            case ContinuationNeeded():
                await self.to_client(_CONTINUE)
                return None
            case Login():
                auth = ImapAuth(self, event.tag)
                return self._logged_in(auth, await auth.login(segment, event))
            case AuthCommand():
                auth = ImapAuth(self, event.tag)
                return self._logged_in(auth, await auth.authenticate(segment, event))
            case StartTls():
                return await self._start_tls(event)
            case Command():
                return await self._command(segment, event)
            case _:
                raise AssertionError("not an event of the IMAP observer")

    def _logged_in(self, auth: ImapAuth, end: End | None) -> End | None:
        """After a login there is nothing left to await: the relay takes the pair."""
        if end is None and auth.logged_in:
            if self.session.end is not None:  # ended from outside, and nothing was awaited since
                return self.session.end
            up, down = self.commands.take_buffered(), self.responses.take_buffered()
            tap = ImapTap(self.non_sync_octets)
            self.service.relay.adopt(
                self.session, self.client, self.hand_over(), tap, up=up, down=down
            )
        return end

    async def _command(self, segment: Segment, event: Command) -> End | None:
        if event.verb == "ID":
            segment = Segment(strip_originating(segment.raw), event)
        untagged, response = await self.submit(segment, event.tag, LOGIN_REPLY_S)
        if response.tag == b"+":
            raise BackendUnavailable("the backend asks for more than the command")
        raw = b"" if response.tag == b"*" else self.rewritten(response)
        if event.verb == "LOGOUT" and response.tag == b"*":  # its BYE; the tagged OK follows
            _, response = await self.answer(event.tag, LOGIN_REPLY_S)
            raw = response.raw
        await self.to_client(untagged + raw)
        if event.verb == "LOGOUT":
            return End.LOGOUT
        return End.BACKEND if response.status is Status.BYE else None

    async def _start_tls(self, event: StartTls) -> End | None:
        if self.service.listener.tls is not TlsMode.STARTTLS or self.client.tls is not None:
            reply = event.tag + b" BAD STARTTLS not available\r\n"
            return await self.violated(Violation(ViolationKind.BAD_SEQUENCE, reply))
        if self.commands.buffered or self.client.receive_nowait(1):
            reply = b"* BYE Protocol synchronization\r\n"
            return await self.violated(
                Violation(ViolationKind.STARTTLS_INJECTION, reply, fatal=True)
            )
        await self.to_client(event.tag + b" OK Begin TLS negotiation now\r\n")
        hello = await read_hello(self.client, ALPN, self.limits.handshake_timeout_s)
        if isinstance(hello, Violation):
            await send_alert(self, hello)
            return End.TLS
        await self.client_tls(hello)
        self.secured()
        if self.service.backend.announces_tls(self.session.client):
            await self.prepare()
        return None
