"""Whether a blocklist can be believed at the moment.

Theory of operation. A zone that answers with an error code is switched off at once: it says itself
that its answers mean nothing. One that does not answer is switched off when `FAILURES` different
clients in a row got no answer, so that the next ones need not wait for it. After a minute one
question is asked as a trial; each trial that fails doubles the wait.
"""

from typing import Final

from gatekeeper.prefix import Prefix

FAILURES: Final = 5  # clients in a row without an answer; one may have hit a broken delegation
FIRST_OFF_S: Final = 60.0
MAX_DOUBLINGS: Final = 5  # 32 minutes: an operator's mend is noticed soon enough
TRIAL_S: Final = 60.0  # a trial that was never answered is followed by another


class ZoneHealth:
    """The state of one zone. `now` is in seconds of any clock that never goes back."""

    __slots__ = ("_doublings", "_failed_for", "_trial", "_until", "why")

    def __init__(self) -> None:
        self.why = ""  # it is off; empty while it is on
        self._until = 0.0
        self._doublings = 0
        self._trial = False
        self._failed_for: set[Prefix] = set()

    @property
    def off(self) -> bool:
        """Whether the zone is switched off."""
        return bool(self.why)

    def admits(self, now: float) -> bool:
        """Whether a question may be asked; of a zone that is off, whether as the one trial."""
        if not self.why:
            return True
        if now < self._until:
            return False
        self._trial = True
        self._until = now + TRIAL_S
        return True

    def off_for_s(self, now: float) -> float:
        """Seconds until the next trial, 0 while the zone is on."""
        return max(0.0, self._until - now) if self.why else 0.0

    def answered(self) -> bool:
        """A sound answer came; True where it switches the zone on."""
        if self._failed_for:
            self._failed_for.clear()
        if not self._trial:
            return False
        self.why, self._trial, self._doublings = "", False, 0
        return True

    def erred(self, why: str, now: float) -> bool:
        """An answer was an error; True where it switches the zone off that was on."""
        if self._trial:
            self._doublings = min(self._doublings + 1, MAX_DOUBLINGS)
        elif self.why:
            return False  # asked before it was off
        was_on = not self.why
        self._trial = False
        self._failed_for.clear()
        self.why = why
        self._until = now + FIRST_OFF_S * 2**self._doublings
        return was_on

    def failed(self, client: Prefix, why: str, now: float) -> bool:
        """No answer came for `client`; True where that switches the zone off that was on."""
        if not self.why:
            self._failed_for.add(client)
            if len(self._failed_for) < FAILURES:
                return False
        return self.erred(why, now)
