"""One credential between its verdict and its refusal, whoever refuses it: the time it takes and the
words it is told in. A local refusal looks like the backend's own."""

from base64 import b64encode
from typing import Final

import trio

from gatekeeper.events import AuthAttempt
from gatekeeper.session.dialogue import Dialogue
from gatekeeper.session.likeness import Manner, Stage

# In a challenge until the backend's own are known; Dovecot's are the same octets.
ERROR_DOCUMENTS: Final = {
    "XOAUTH2": b64encode(b'{"status":"401","schemes":"bearer","scope":"mail"}'),
    "OAUTHBEARER": b64encode(b'{"status":"invalid_token"}'),
}


class Trial:
    """A judged credential. Its clock runs from `restart`, which is called when the credential, or
    the answer to a challenge behind it, goes to the backend or would have gone there."""

    __slots__ = ("_attempt", "_challenged", "_dialogue", "_since", "_told")

    def __init__(self, dialogue: Dialogue, attempt: AuthAttempt, *, challenged: bool) -> None:
        """`challenged` says that the client was asked for the credential."""
        self._dialogue = dialogue
        self._attempt = attempt
        self._challenged = challenged
        self._since = trio.current_time()
        self._told = False  # the failure, in a challenge

    def restart(self) -> None:
        """Have the next answer timed from now."""
        self._since = trio.current_time()

    def failed(self, stage: Stage, words: bytes | None) -> None:
        """The backend refused just now, in these words; None if they are not to be repeated."""
        likeness, client = self._dialogue.service.likeness, self._dialogue.session.client
        took_s = trio.current_time() - self._since
        likeness.learn(self._manner(stage), client, self._attempt, took_s, words)
        self._told = self._told or stage is Stage.CHALLENGE
        likeness.learn_shape(self._attempt.mechanism, challenges=self._told)

    @property
    def mechanism(self) -> str:
        """How the credential was shown."""
        return self._attempt.mechanism

    @property
    def fails_in_challenge(self) -> bool:
        """Whether the backend would tell the failure in a challenge before it is final."""
        return self._dialogue.service.likeness.challenges(self._attempt.mechanism)

    async def hold(self, stage: Stage) -> None:
        """Wait until the backend would have answered; no longer for a client that is gone."""
        dialogue = self._dialogue
        delay_s = dialogue.service.likeness.delay_s(
            self._manner(stage), dialogue.session.client.entity
        )
        await dialogue.hold_until(self._since + delay_s)

    def words(self, stage: Stage, generic: bytes) -> bytes:
        """What the backend would have said; `generic` while that is not known."""
        learnt = self._dialogue.service.likeness.words(self._manner(stage))
        return generic if learnt is None else learnt

    def _manner(self, stage: Stage) -> Manner:
        return Manner(self._attempt.mechanism, self._challenged, stage)
