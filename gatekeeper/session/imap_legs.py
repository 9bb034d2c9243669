"""Both legs of an IMAP session before its login: Segments from the client, responses from the
backend, and the preparation of the backend (greeting, STARTTLS, trusted ID)."""

from typing import Final

from gatekeeper.channel import Channel
from gatekeeper.errors import BackendUnavailable
from gatekeeper.readiness import Waiter
from gatekeeper.session.dialogue import Dialogue, LastWords, Service
from gatekeeper.sessions import Session
from gatekeeper.settings import Announce, TlsMode
from gatekeeper.wire.framing import Segment
from gatekeeper.wire.imap import ImapCommands
from gatekeeper.wire.imap_capabilities import non_sync_octets, read_capabilities, rewrite
from gatekeeper.wire.imap_id import trusted_id
from gatekeeper.wire.imap_responses import ImapResponses, Response, Status
from gatekeeper.wire.imap_syntax import synchronised

PREPARE_S: Final = 30.0
LOGIN_REPLY_S: Final = 60.0  # a backend's own failure delay is seconds; a slow directory a minute
MAX_ANSWER_OCTETS: Final = 256 * 1024  # of a backend's answer to one command before login

_LAST_WORDS: Final = LastWords(
    closing=b"* BYE Connection closed\r\n",
    too_many_errors=b"* BYE Too many errors\r\n",
    unavailable=b"* BYE [UNAVAILABLE] Service not available, try again later\r\n",
    timeout=b"* BYE Disconnected for inactivity\r\n",
)

_TLS_TAG: Final = b"gk1"
_ID_TAG: Final = b"gk2"


class ImapLegs(Dialogue):
    """A dialogue that reads IMAP commands on one leg and IMAP responses on the other."""

    last_words = _LAST_WORDS

    def __init__(self, service: Service, session: Session, client: Channel, waiter: Waiter) -> None:
        super().__init__(service, session, client, waiter)
        self.commands = ImapCommands(refuse_login=client.tls is None)
        self.responses = ImapResponses()
        self.sent_whole = True
        self._listing: Response | None = None  # the last response that listed capabilities

    @property
    def non_sync_octets(self) -> int:
        """The longest non-synchronising literal the backend takes."""
        capabilities = frozenset() if self._listing is None else read_capabilities(self._listing)
        return non_sync_octets(capabilities)

    def secured(self) -> None:
        """TLS is up on the client's leg: nothing read before it survives, and LOGIN is open."""
        self.commands = ImapCommands(refuse_login=False)

    # -- the client's leg -------------------------------------------------------------------

    async def next_segment(self) -> Segment:
        """The client's next Segment. The login as a whole has one deadline.

        Raises `ChannelError`, or `BackendUnavailable` when the backend ends the session meanwhile.
        """
        deadline = self.session.since + self.limits.imap_login_timeout_s
        while (segment := self.commands.next_segment()) is None:
            octets = await self.from_client(deadline)
            if octets is None:
                await self._listen_to_backend()
            else:
                self.commands.feed(octets)
        return segment

    async def _listen_to_backend(self) -> None:
        """Before login a backend speaks unasked only to say BYE, or that it is still there."""
        octets = self.overheard()
        if octets is None:
            return
        if not octets:
            raise BackendUnavailable("the backend ended the session")
        self.responses.feed(octets)
        while (response := self.responses.next_response()) is not None:
            if not isinstance(response, Response) or response.tag != b"*":
                raise BackendUnavailable("the backend's response is broken")
            if response.status is Status.BYE:
                raise BackendUnavailable("the backend said BYE", farewell=response.raw)
            await self.to_client(self.rewritten(response))

    # -- the backend's leg ------------------------------------------------------------------

    async def prepare(self) -> Response:
        """Open and prepare the backend; its greeting. Raises `BackendUnavailable`."""
        await self.open_backend()
        self.responses = ImapResponses()
        greeting = await self.response(PREPARE_S)
        if greeting.status is Status.BYE:
            raise BackendUnavailable("the backend greeted with BYE", farewell=greeting.raw)
        # PREAUTH would let everybody in unjudged.
        if greeting.status is not Status.OK or greeting.tag != b"*":
            raise BackendUnavailable("the backend's greeting is not OK")
        settings = self.service.backend.settings
        if settings.tls is TlsMode.STARTTLS:
            await self._start_backend_tls()
        if settings.announce is Announce.IMAP_ID:
            await self._announce()
        return greeting

    async def response(self, within_s: float) -> Response:
        """The backend's next response. Raises `BackendUnavailable`, also for a broken one."""
        while True:
            response = self.responses.next_response()
            if isinstance(response, Response):
                return response
            if response is not None:
                raise BackendUnavailable("the backend's response is broken")
            self.responses.feed(await self.from_backend(within_s))

    async def answer(self, tag: bytes, within_s: float) -> tuple[bytes, Response]:
        """What comes until a continuation or the tagged response: the untagged responses before
        it, rewritten for the client, and it itself. Raises `BackendUnavailable`."""
        untagged: list[bytes] = []
        gathered = 0
        while True:
            response = await self.response(within_s)
            if response.tag in {tag, b"+"}:
                return b"".join(untagged), response
            if response.tag != b"*":
                raise BackendUnavailable("the backend answers what was not asked")
            if response.status is Status.BYE:
                untagged.append(response.raw)
                return b"".join(untagged), response
            untagged.append(self.rewritten(response))
            gathered += len(untagged[-1])
            if gathered > MAX_ANSWER_OCTETS:
                raise BackendUnavailable("the backend's answer has no end")

    async def submit(self, segment: Segment, tag: bytes, within_s: float) -> tuple[bytes, Response]:
        """Send a whole command, awaiting the backend's `+` before each further piece, and give its
        answer. A backend that refuses a literal answers with its tag, and gets no more.

        Every literal is sent as a synchronising one: a backend that does not know the others would
        read their octets as commands, which nobody judged (RFC 7888 3). Afterwards `sent_whole`
        tells whether the answer is about the whole command."""
        self.sent_whole = False
        first, *further = synchronised(segment.raw)
        await self.to_backend(first)
        for piece in further:
            untagged, response = await self.answer(tag, within_s)
            if response.tag != b"+":
                return untagged, response
            await self.to_backend(piece)
        self.sent_whole = True
        return await self.answer(tag, within_s)

    def rewritten(self, response: Response) -> bytes:
        """A response as the client is to see it: capabilities are the guard's."""
        secured = self.client.tls is not None
        rewritten = rewrite(
            response,
            offer_starttls=self.service.listener.tls is TlsMode.STARTTLS and not secured,
            login_disabled=not secured,
        )
        if rewritten is not response.raw:
            self._listing = response
        return rewritten

    async def _start_backend_tls(self) -> None:
        await self.to_backend(_TLS_TAG + b" STARTTLS\r\n")
        _, response = await self.answer(_TLS_TAG, PREPARE_S)
        if response.status is not Status.OK:
            raise BackendUnavailable("the backend refused STARTTLS")
        if self.responses.buffered:
            raise BackendUnavailable("the backend talked between STARTTLS and TLS")
        await self.backend_tls()
        self.responses = ImapResponses()

    async def _announce(self) -> None:
        client = self.session.client
        await self.to_backend(
            trusted_id(
                _ID_TAG,
                address=client.address,
                port=client.port,
                local_address=client.local_address,
                local_port=client.local_port,
                session_id=self.session.id,
                tls=self.client.tls is not None,
            )
        )
        _, response = await self.answer(_ID_TAG, PREPARE_S)
        if response.status is not Status.OK:
            raise BackendUnavailable("the backend refused ID")
