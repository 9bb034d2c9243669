"""How one hook is doing: what it was asked, what went wrong, and when that is told."""

from collections import Counter
from collections.abc import Callable
from enum import Enum
from math import inf
from typing import Final

SAID_AGAIN_S: Final = (
    60.0  # a hook that fails on some calls and not on others is two lines a minute
)
WELL_AFTER_S: Final = 60.0  # without a fault, and it is well again
LATE_IN_A_ROW: Final = 10  # so many calls without an answer, and nobody waits for it for a while
REST_S: Final = 30.0  # then one call tries it again


class Fault(Enum):
    """Ways in which a call fails; stable words for `status`."""

    RAISED = "raised"
    LATE = "late"  # no answer within the deadline
    RUBBISH = "rubbish"  # what it returned is no answer
    OFF = "off"  # not asked: too many calls before it have not ended


class State(Enum):
    """What is said of a hook; stable words for the log."""

    OK = "ok"
    FAILING = "failing"
    OFF = "off"


# Told of a hook's label, its new state, and why; must be quick and must not raise.
OnState = Callable[[str, State, str], None]


class Health:
    """The state of one hook. All times are by one clock that never goes back, in seconds."""

    def __init__(self, label: str, on_state: OnState) -> None:
        self.calls = 0
        self.state = State.OK
        self.why = ""  # of the last fault
        self.faults: Counter[Fault] = Counter()
        self._label = label
        self._on_state = on_state
        self._said_at: dict[State, float] = {}
        self._failed_at = -inf
        self._late = 0  # calls in a row
        self._rests_until = -inf

    def admits(self, now: float) -> bool:
        """Whether it is to be asked; of one that answers nobody, one call at a time tries it."""
        if self._late < LATE_IN_A_ROW:
            return True
        if now < self._rests_until:
            return False
        self._rests_until = now + REST_S
        return True

    def went_well(self, now: float) -> None:
        """A call was answered."""
        self.calls += 1
        self._late = 0
        if self.state is State.OK:
            return
        self.state = State.FAILING  # it is asked again, if it was off
        if now - self._failed_at >= WELL_AFTER_S:
            self._become(State.OK, "", now)

    def failed(self, fault: Fault, why: str, now: float) -> None:
        """A call failed, or was not made."""
        self.calls += 1
        self.faults[fault] += 1
        self._failed_at = now
        if fault is Fault.LATE:
            self._late += 1
            self._rests_until = max(self._rests_until, now + REST_S)
        elif fault is not Fault.OFF:
            self._late = 0  # it answers, if badly
        self.why = why
        state = State.OFF if fault is Fault.OFF else State.FAILING
        if self.state is not state:
            self._become(state, why, now)

    def note(self, why: str) -> None:
        """Tell of what is no fault yet."""
        self._on_state(self._label, self.state, why)

    def _become(self, state: State, why: str, now: float) -> None:
        self.state = state
        if now - self._said_at.get(state, -inf) >= SAID_AGAIN_S:
            self._said_at[state] = now
            self._on_state(self._label, state, why)
