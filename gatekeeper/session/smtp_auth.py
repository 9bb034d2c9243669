"""AUTH in an SMTP session (RFC 4954): the credential is judged before the backend sees it, the
backend's word is judged before the client hears it."""

from typing import Final, assert_never

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
from gatekeeper.session.likeness import Stage
from gatekeeper.session.smtp_legs import SmtpLegs
from gatekeeper.session.trial import ERROR_DOCUMENTS, Trial
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
_CANCELLED: Final = format_reply(501, "5.7.0", "Authentication aborted")
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
        self._trial: Trial | None = None
        self._begun = False  # the backend has its half of the exchange

    async def run(self, segment: Segment, initial_response: Secret | None) -> End | None:
        """Carry the exchange through; the session's end if it ends here."""
        legs = self._legs
        response = initial_response
        while True:
            if response is not None:
                refused = await self._read(response)
                if refused is not None:
                    return await self._give_up(refused)
            reply = await self._ask(segment)
            if reply.code != 334:
                return await self._finish(reply)
            if await self._failed_in_challenge(reply):
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
                    return await self._give_up(violation)
                case _:
                    raise AssertionError("after expect_sasl come SASL events only")

    async def _ask(self, segment: Segment) -> Reply:
        """Pass on what was read; the backend has its half of the exchange from here."""
        if self._trial is not None:
            self._trial.restart()
        self._begun = True
        return await self._legs.ask(segment.raw, AUTH_REPLY_S)

    async def _read(self, response: Secret) -> Violation | Verdict | None:
        """Look at a response before it goes on; what refuses it, if anything does."""
        step = self._exchange.step(response.declassify())
        if isinstance(step, AuthAttempt):
            self._attempt = step
            verdict = await self._legs.permits(step)
            self._trial = Trial(self._legs, step, challenged=self._begun)
            return verdict
        return None if step is None else _MALFORMED

    async def _give_up(self, refused: Violation | Verdict) -> End | None:
        """Refuse locally; the backend's half of the exchange is cancelled."""
        legs = self._legs
        if self._begun and (reply := await legs.ask(_CANCEL)).code < 400:
            raise BackendUnavailable(f"the backend answers a cancelled exchange by {reply.code}")
        if isinstance(refused, Violation):
            return await legs.violated(refused)
        assert self._trial is not None, "a verdict is on a credential"
        match refused.action:
            case Action.CLOSE:
                return await legs.hang_up()
            case Action.DEFER:
                await self._trial.hold(Stage.FINAL)  # no sooner than a failure
                await legs.refuse(_DEFERRED)
                return None
            case Action.REJECT if refused.text:  # a hook's own words are nobody else's
                await self._trial.hold(Stage.FINAL)
                await legs.refuse(_REJECTED)
                return None
            case Action.DECOY | Action.REJECT | Action.DELAY | Action.PASS:
                return await self._refuse_alike(self._trial)
            case _:
                assert_never(refused.action)

    async def _refuse_alike(self, trial: Trial) -> End | None:
        """Say what the backend says to a wrong password, when it would have said it."""
        legs = self._legs
        if trial.fails_in_challenge:
            await trial.hold(Stage.CHALLENGE)
            document = b"334 " + ERROR_DOCUMENTS[self._mechanism] + b"\r\n"
            await legs.to_client(trial.words(Stage.CHALLENGE, document))
            legs.commands.expect_sasl()
            event = (await legs.next_segment()).event
            if isinstance(event, SaslCancel):
                await legs.to_client(_CANCELLED)
                return None
            violation = self._closing_fault(event)
            if violation is not None:
                return await legs.violated(violation)
            trial.restart()
        await self._say_no(trial)
        return None

    async def _say_no(self, trial: Trial) -> None:
        await trial.hold(Stage.FINAL)
        await self._legs.to_client(trial.words(Stage.FINAL, _REJECTED))

    def _closing_fault(self, event: object) -> Violation | None:
        """What is wrong with the client's answer to an error document."""
        match event:
            case SaslResponse(response=response):
                step = self._exchange.step(response.declassify())
                return None if step is None else _MALFORMED
            case Violation():
                return event
            case _:
                raise AssertionError("after expect_sasl come SASL events only")

    async def _failed_in_challenge(self, reply: Reply) -> bool:
        """Score a failure that a challenge told; whether the session is to be closed for it."""
        if self._attempt is None or self._mechanism not in FAIL_IN_CHALLENGE:
            return False
        assert self._trial is not None, "with the attempt its trial began"
        self._trial.failed(Stage.CHALLENGE, reply.raw)
        attempt, self._attempt = self._attempt, None
        verdict = await self._legs.judge(AuthOutcome(attempt, AuthResult.FAILURE))
        return verdict.action is Action.CLOSE

    async def _take_back(self, refused: Verdict) -> End:
        """Refuse what the backend let in; it cannot be undone there but by hanging up."""
        assert self._trial is not None, "what was let in was on trial"
        if refused.action is Action.DEFER:
            await self._legs.refuse(_DEFERRED)
        elif refused.action is Action.REJECT and refused.text:
            await self._legs.refuse(_REJECTED)
        else:
            await self._say_no(self._trial)
        return await self._legs.hang_up()

    async def _finish(self, reply: Reply) -> End | None:
        legs = self._legs
        verdict = None
        result = auth_result(reply)
        if self._trial is not None and result is AuthResult.FAILURE:
            # Other codes than 535 tell more than that a password is wrong.
            self._trial.failed(Stage.FINAL, reply.raw if reply.code == 535 else None)
        if self._attempt is not None:
            verdict = await legs.judge(AuthOutcome(self._attempt, result))
            if result is AuthResult.SUCCESS:
                if verdict.action >= Action.DEFER:  # the backend said yes, the guard says no
                    return await self._take_back(verdict)
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
