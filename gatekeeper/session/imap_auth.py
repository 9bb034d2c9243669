"""LOGIN and AUTHENTICATE in an IMAP session (RFC 9051 6.2): the credential is judged before the
backend sees it, the backend's word is judged before the client hears it."""

from typing import Final

from gatekeeper.errors import BackendUnavailable
from gatekeeper.events import (
    AuthAttempt,
    AuthCommand,
    AuthOutcome,
    AuthResult,
    Login,
    SaslCancel,
    SaslResponse,
    Violation,
    ViolationKind,
)
from gatekeeper.secret import Secret
from gatekeeper.session.imap_legs import LOGIN_REPLY_S, ImapLegs
from gatekeeper.sessions import End
from gatekeeper.verdict import Action, Verdict
from gatekeeper.wire.framing import Segment
from gatekeeper.wire.imap_responses import Response, Status, auth_result
from gatekeeper.wire.mechanisms import ALLOWED_MECHANISMS
from gatekeeper.wire.sasl import FAIL_IN_CHALLENGE, SaslExchange

_CANCEL: Final = b"*\r\n"


class ImapAuth:
    """One login attempt; `logged_in` says whether it succeeded."""

    def __init__(self, legs: ImapLegs, tag: bytes) -> None:
        self._legs = legs
        self._tag = tag
        self._attempt: AuthAttempt | None = None
        self.logged_in = False

    async def login(self, segment: Segment, command: Login) -> End | None:
        """Carry a LOGIN through; the session's end if it ends here."""
        self._attempt = AuthAttempt("LOGIN", command.userid, secret=command.password)
        refused = await self._legs.permits(self._attempt)
        if refused is not None:
            return await self._refuse(refused)
        untagged, response = await self._legs.submit(segment, self._tag, LOGIN_REPLY_S)
        return await self._finish(untagged, response)

    async def authenticate(self, segment: Segment, command: AuthCommand) -> End | None:
        """Carry an AUTHENTICATE through; the session's end if it ends here."""
        legs = self._legs
        if command.mechanism not in ALLOWED_MECHANISMS:
            return await legs.violated(self._bad("Unsupported authentication mechanism", _UNKNOWN))
        exchange = SaslExchange(command.mechanism)
        response = command.initial_response
        begun = False
        while True:
            if response is not None:
                refused = await self._read(exchange, response)
                if refused is not None:
                    return await self._give_up(refused, begun=begun)
            untagged, answer = await legs.submit(segment, self._tag, LOGIN_REPLY_S)
            begun = True
            if answer.tag != b"+":
                return await self._finish(untagged, answer)
            if await self._failed_in_challenge(command.mechanism):
                return await self._legs.hang_up()
            await legs.to_client(untagged + answer.raw)
            legs.commands.expect_sasl(self._tag)
            segment = await legs.next_segment()
            match segment.event:
                case SaslResponse(response=response):
                    pass
                case SaslCancel():
                    response = None
                case Violation() as violation:
                    return await self._give_up(violation, begun=True)
                case _:
                    raise AssertionError("after expect_sasl come SASL events only")

    async def _read(self, exchange: SaslExchange, response: Secret) -> Violation | Verdict | None:
        step = exchange.step(response.declassify())
        if isinstance(step, AuthAttempt):
            self._attempt = step
            return await self._legs.permits(step)
        return None if step is None else self._bad("Cannot decode response", _MALFORMED)

    async def _give_up(self, refused: Violation | Verdict, *, begun: bool) -> End | None:
        """Refuse locally; the backend's half of the exchange is cancelled."""
        legs = self._legs
        if begun:
            await legs.to_backend(_CANCEL)
            _, answer = await legs.answer(self._tag, LOGIN_REPLY_S)
            if answer.tag == b"+" or answer.status is Status.OK:
                raise BackendUnavailable("the backend goes on with a cancelled exchange")
        if isinstance(refused, Violation):
            return await legs.violated(refused)
        return await self._refuse(refused)

    async def _refuse(self, refused: Verdict) -> End | None:
        """Answer in the words a backend would use."""
        match refused.action:
            case Action.CLOSE:
                return await self._legs.hang_up()
            case Action.DEFER:
                text = b" NO [UNAVAILABLE] Temporary authentication failure\r\n"
            case Action.REJECT | Action.DELAY | Action.PASS:
                text = b" NO [AUTHENTICATIONFAILED] Authentication failed\r\n"
        await self._legs.to_client(self._tag + text)
        return None

    async def _failed_in_challenge(self, mechanism: str) -> bool:
        """Score a failure that a challenge told; whether the session is to be closed for it."""
        if self._attempt is None or mechanism not in FAIL_IN_CHALLENGE:
            return False
        attempt, self._attempt = self._attempt, None
        verdict = await self._legs.judge(AuthOutcome(attempt, AuthResult.FAILURE))
        return verdict.action is Action.CLOSE

    async def _finish(self, untagged: bytes, response: Response) -> End | None:
        legs = self._legs
        if response.tag == b"+":
            raise BackendUnavailable("the backend asks for more than a login")
        verdict = None
        if self._attempt is not None:
            result = auth_result(response)
            if result is AuthResult.FAILURE and not legs.sent_whole:
                # A refused literal is no word on the credential in it, which the backend never saw.
                result = AuthResult.PROTOCOL
            verdict = await legs.judge(AuthOutcome(self._attempt, result))
            if result is AuthResult.SUCCESS and verdict.action >= Action.REJECT:
                await self._refuse(verdict)  # the backend said yes, the guard says no
                return End.REFUSED
        if response.status is Status.OK:
            if self._attempt is None:  # let in on something this side did not read as a credential
                raise BackendUnavailable("the backend let in what was not judged")
            self.logged_in = True
            legs.session.authcid = self._attempt.authcid
        raw = b"" if response.tag == b"*" else legs.rewritten(response)  # BYE is in `untagged`
        await legs.to_client(untagged + raw)
        if response.status is Status.BYE:
            return End.BACKEND
        if verdict is not None and verdict.action is Action.CLOSE:
            return await self._legs.hang_up()
        return None

    def _bad(self, text: str, kind: ViolationKind) -> Violation:
        return Violation(kind, self._tag + b" BAD " + text.encode() + b"\r\n")


_UNKNOWN: Final = ViolationKind.MECHANISM_NOT_OFFERED
_MALFORMED: Final = ViolationKind.BAD_SASL
