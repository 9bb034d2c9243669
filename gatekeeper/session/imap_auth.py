"""LOGIN and AUTHENTICATE in an IMAP session (RFC 9051 6.2): the credential is judged before the
backend sees it, the backend's word is judged before the client hears it."""

from typing import Final, assert_never

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
from gatekeeper.session.likeness import Stage
from gatekeeper.session.trial import ERROR_DOCUMENTS, Trial
from gatekeeper.sessions import End
from gatekeeper.verdict import Action, Verdict
from gatekeeper.wire.framing import Segment
from gatekeeper.wire.imap_responses import Response, Status, auth_result
from gatekeeper.wire.mechanisms import ALLOWED_MECHANISMS
from gatekeeper.wire.sasl import FAIL_IN_CHALLENGE, SaslExchange

_CANCEL: Final = b"*\r\n"
_DEFERRED: Final = b" NO [UNAVAILABLE] Temporary authentication failure\r\n"
_REJECTED: Final = b" NO [AUTHENTICATIONFAILED] Authentication failed\r\n"
_CANCELLED: Final = b" BAD Authentication aborted by client.\r\n"
# Codes of a NO that says no more than that the credential is wrong.
_PLAIN_FAILURES: Final = frozenset({None, b"AUTHENTICATIONFAILED"})


class ImapAuth:
    """One login attempt; `logged_in` says whether it succeeded."""

    def __init__(self, legs: ImapLegs, tag: bytes) -> None:
        self._legs = legs
        self._tag = tag
        self._exchange: SaslExchange | None = None  # of AUTHENTICATE
        self._attempt: AuthAttempt | None = None
        self._trial: Trial | None = None
        self._begun = False  # the backend has its half of the exchange
        self.logged_in = False

    async def login(self, segment: Segment, command: Login) -> End | None:
        """Carry a LOGIN through; the session's end if it ends here."""
        self._attempt = AuthAttempt("LOGIN", command.userid, secret=command.password)
        refused = await self._permits(self._attempt)
        if refused is not None:
            return await self._refuse(refused)
        untagged, response = await self._legs.submit(segment, self._tag, LOGIN_REPLY_S)
        return await self._finish(untagged, response)

    async def authenticate(self, segment: Segment, command: AuthCommand) -> End | None:
        """Carry an AUTHENTICATE through; the session's end if it ends here."""
        legs = self._legs
        if command.mechanism not in ALLOWED_MECHANISMS:
            return await legs.violated(self._bad("Unsupported authentication mechanism", _UNKNOWN))
        self._exchange = SaslExchange(command.mechanism)
        response = command.initial_response
        while True:
            if response is not None:
                refused = await self._read(self._exchange, response)
                if refused is not None:
                    return await self._give_up(refused)
            untagged, answer = await self._submit(segment)
            if answer.tag != b"+":
                return await self._finish(untagged, answer)
            if await self._failed_in_challenge(command.mechanism, answer):
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
                    return await self._give_up(violation)
                case _:
                    raise AssertionError("after expect_sasl come SASL events only")

    async def _submit(self, segment: Segment) -> tuple[bytes, Response]:
        """Pass on what was read; the backend has its half of the exchange from here."""
        if self._trial is not None:
            self._trial.restart()
        self._begun = True
        return await self._legs.submit(segment, self._tag, LOGIN_REPLY_S)

    async def _read(self, exchange: SaslExchange, response: Secret) -> Violation | Verdict | None:
        step = exchange.step(response.declassify())
        if isinstance(step, AuthAttempt):
            self._attempt = step
            return await self._permits(step)
        return None if step is None else self._bad("Cannot decode response", _MALFORMED)

    async def _permits(self, attempt: AuthAttempt) -> Verdict | None:
        verdict = await self._legs.permits(attempt)
        self._trial = Trial(self._legs, attempt, challenged=self._begun)
        return verdict

    async def _give_up(self, refused: Violation | Verdict) -> End | None:
        """Refuse locally; the backend's half of the exchange is cancelled."""
        legs = self._legs
        if self._begun:
            await legs.to_backend(_CANCEL)
            _, answer = await legs.answer(self._tag, LOGIN_REPLY_S)
            if answer.tag == b"+" or answer.status is Status.OK:
                raise BackendUnavailable("the backend goes on with a cancelled exchange")
        if isinstance(refused, Violation):
            return await legs.violated(refused)
        return await self._refuse(refused)

    async def _refuse(self, refused: Verdict) -> End | None:
        assert self._trial is not None, "a verdict is on a credential"
        match refused.action:
            case Action.CLOSE:
                return await self._legs.hang_up()
            case Action.DEFER:
                await self._trial.hold(Stage.FINAL)  # no sooner than a failure
                await self._legs.refuse(self._tag + _DEFERRED)
                return None
            case Action.REJECT if refused.text:  # a hook's own words are nobody else's
                await self._trial.hold(Stage.FINAL)
                await self._legs.refuse(self._tag + _REJECTED)
                return None
            case Action.DECOY | Action.REJECT | Action.DELAY | Action.PASS:
                return await self._refuse_alike(self._trial)
            case _:
                assert_never(refused.action)

    async def _refuse_alike(self, trial: Trial) -> End | None:
        """Say what the backend says to a wrong password, when it would have said it."""
        legs = self._legs
        if self._exchange is not None and trial.fails_in_challenge:
            await trial.hold(Stage.CHALLENGE)
            document = b"+ " + ERROR_DOCUMENTS[trial.mechanism] + b"\r\n"
            await legs.to_client(trial.words(Stage.CHALLENGE, document))
            legs.commands.expect_sasl(self._tag)
            event = (await legs.next_segment()).event
            if isinstance(event, SaslCancel):
                await legs.to_client(self._tag + _CANCELLED)
                return None
            violation = self._closing_fault(self._exchange, event)
            if violation is not None:
                return await legs.violated(violation)
            trial.restart()
        await self._say_no(trial)
        return None

    async def _say_no(self, trial: Trial) -> None:
        await trial.hold(Stage.FINAL)
        await self._legs.to_client(self._tag + trial.words(Stage.FINAL, _REJECTED))

    def _closing_fault(self, exchange: SaslExchange, event: object) -> Violation | None:
        """What is wrong with the client's answer to an error document."""
        match event:
            case SaslResponse(response=response):
                step = exchange.step(response.declassify())
                return None if step is None else self._bad("Cannot decode response", _MALFORMED)
            case Violation():
                return event
            case _:
                raise AssertionError("after expect_sasl come SASL events only")

    async def _failed_in_challenge(self, mechanism: str, challenge: Response) -> bool:
        """Score a failure that a challenge told; whether the session is to be closed for it."""
        if self._attempt is None or mechanism not in FAIL_IN_CHALLENGE:
            return False
        assert self._trial is not None, "with the attempt its trial began"
        self._trial.failed(Stage.CHALLENGE, challenge.raw)
        attempt, self._attempt = self._attempt, None
        verdict = await self._legs.judge(AuthOutcome(attempt, AuthResult.FAILURE))
        return verdict.action is Action.CLOSE

    async def _finish(self, untagged: bytes, response: Response) -> End | None:
        legs = self._legs
        if response.tag == b"+":
            raise BackendUnavailable("the backend asks for more than a login")
        verdict = None
        result = auth_result(response)
        if result is AuthResult.FAILURE and not legs.sent_whole:
            # A refused literal is no word on the credential in it, which the backend never saw.
            result = AuthResult.PROTOCOL
        if self._trial is not None and result is AuthResult.FAILURE:
            self._learn(self._trial, response)
        if self._attempt is not None:
            verdict = await legs.judge(AuthOutcome(self._attempt, result))
            if result is AuthResult.SUCCESS and verdict.action >= Action.DEFER:
                return await self._take_back(verdict)
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

    def _learn(self, trial: Trial, response: Response) -> None:
        words = response.raw.removeprefix(self._tag)
        trial.failed(Stage.FINAL, words if response.code in _PLAIN_FAILURES else None)

    async def _take_back(self, refused: Verdict) -> End:
        """Refuse what the backend let in; it cannot be undone there but by hanging up."""
        assert self._trial is not None, "what was let in was on trial"
        if refused.action is Action.CLOSE:
            return await self._legs.hang_up()
        if refused.action is Action.DEFER:
            await self._legs.refuse(self._tag + _DEFERRED)
        elif refused.action is Action.REJECT and refused.text:
            await self._legs.refuse(self._tag + _REJECTED)
        else:
            await self._say_no(self._trial)
        return End.REFUSED

    def _bad(self, text: str, kind: ViolationKind) -> Violation:
        return Violation(kind, self._tag + b" BAD " + text.encode() + b"\r\n")


_UNKNOWN: Final = ViolationKind.MECHANISM_NOT_OFFERED
_MALFORMED: Final = ViolationKind.BAD_SASL
