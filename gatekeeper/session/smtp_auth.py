"""AUTH in an SMTP session (RFC 4954): the credential is judged before the backend sees it, the
backend's word is judged before the client hears it."""

from typing import Final

from gatekeeper.errors import BackendUnavailable
from gatekeeper.events import (
    AuthAttempt,
    AuthCommand,
    AuthOutcome,
    AuthResult,
    MailProtocol,
    SaslCancel,
    SaslResponse,
    Violation,
    ViolationKind,
)
from gatekeeper.secret import Secret
from gatekeeper.session.smtp_legs import SmtpLegs
from gatekeeper.sessions import End
from gatekeeper.verdict import Action, Verdict
from gatekeeper.wire.framing import Segment
from gatekeeper.wire.mechanisms import ALLOWED_MECHANISMS
from gatekeeper.wire.sasl import FAIL_IN_CHALLENGE, SaslExchange
from gatekeeper.wire.smtp_replies import Reply, auth_result, format_reply

AUTH_REPLY_S: Final = 60.0  # a backend's own failure delay is seconds; a slow directory a minute
_CANCEL: Final = b"*\r\n"

_DEFERRED: Final = format_reply(454, "4.7.0", "Temporary authentication failure")
_REJECTED: Final = format_reply(535, "5.7.8", "Authentication credentials invalid")
_MALFORMED: Final = Violation(
    ViolationKind.BAD_SASL, format_reply(501, "5.5.2", "Cannot decode response")
)
_ON_PLAINTEXT: Final = Violation(
    ViolationKind.AUTH_NOT_OFFERED,
    format_reply(530, "5.7.0", "Must issue a STARTTLS command first"),
)
_NOT_HERE: Final = Violation(
    ViolationKind.AUTH_NOT_OFFERED, format_reply(503, "5.5.1", "Authentication not enabled")
)
_AGAIN: Final = Violation(
    ViolationKind.BAD_SEQUENCE, format_reply(503, "5.5.1", "Already authenticated")
)
_UNKNOWN: Final = Violation(
    ViolationKind.MECHANISM_NOT_OFFERED,
    format_reply(504, "5.5.4", "Unrecognized authentication type"),
)


def refusal(legs: SmtpLegs, command: AuthCommand) -> Violation | None:
    """Why AUTH is not to be begun at all, if it is not."""
    if legs.session.client.protocol is not MailProtocol.SUBMISSION:
        return _NOT_HERE
    if legs.client.tls is None:
        return _ON_PLAINTEXT
    if legs.logged_in:
        return _AGAIN
    if command.mechanism not in ALLOWED_MECHANISMS:
        return _UNKNOWN
    return None


class SmtpAuth:
    """One AUTH exchange."""

    def __init__(self, legs: SmtpLegs, command: AuthCommand) -> None:
        """`command` was not refused by `refusal`."""
        self._legs = legs
        self._mechanism = command.mechanism
        self._exchange = SaslExchange(command.mechanism)
        self._attempt: AuthAttempt | None = None

    async def run(self, segment: Segment, initial_response: Secret | None) -> End | None:
        """Carry the exchange through; the session's end if it ends here."""
        legs = self._legs
        begun = False
        response = initial_response
        while True:
            if response is not None:
                refused = await self._read(response)
                if refused is not None:
                    return await self._give_up(refused, begun=begun)
            reply = await legs.ask(segment.raw, AUTH_REPLY_S)
            begun = True
            if reply.code != 334:
                return await self._finish(reply)
            if await self._failed_in_challenge():
                return await self._legs.hang_up()
            await legs.to_client(reply.raw)
            legs.commands.expect_sasl()
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

    async def _read(self, response: Secret) -> Violation | Verdict | None:
        """Look at a response before it goes on; what refuses it, if anything does."""
        step = self._exchange.step(response.declassify())
        if isinstance(step, AuthAttempt):
            self._attempt = step
            return await self._legs.permits(step)
        return None if step is None else _MALFORMED

    async def _give_up(self, refused: Violation | Verdict, *, begun: bool) -> End | None:
        """Refuse locally; the backend's half of the exchange is cancelled."""
        legs = self._legs
        if begun and (reply := await legs.ask(_CANCEL)).code < 400:
            raise BackendUnavailable(f"the backend answers a cancelled exchange by {reply.code}")
        if isinstance(refused, Violation):
            return await legs.violated(refused)
        if refused.action is Action.CLOSE:
            return await self._legs.hang_up()
        await legs.to_client(_DEFERRED if refused.action is Action.DEFER else _REJECTED)
        return None

    async def _failed_in_challenge(self) -> bool:
        """Score a failure that a challenge told; whether the session is to be closed for it."""
        if self._attempt is None or self._mechanism not in FAIL_IN_CHALLENGE:
            return False
        attempt, self._attempt = self._attempt, None
        verdict = await self._legs.judge(AuthOutcome(attempt, AuthResult.FAILURE))
        return verdict.action is Action.CLOSE

    async def _finish(self, reply: Reply) -> End | None:
        legs = self._legs
        verdict = None
        if self._attempt is not None:
            result = auth_result(reply)
            verdict = await legs.judge(AuthOutcome(self._attempt, result))
            if result is AuthResult.SUCCESS:
                if verdict.action >= Action.REJECT:  # the backend said yes, the guard says no
                    await legs.to_client(_REJECTED)
                    return await self._legs.hang_up()
                legs.logged_in = True
                legs.session.authcid = self._attempt.authcid
        elif reply.positive:  # let in on something this side did not read as a credential
            raise BackendUnavailable("the backend let in what was not judged")
        await legs.to_client(reply.raw)
        if reply.code == 421:
            return End.BACKEND
        if verdict is not None and verdict.action is Action.CLOSE:
            return await self._legs.hang_up()
        return None
