"""Who takes part in a world: says something, hears the answer, knows when to speak next."""

from enum import Enum, auto
from typing import Protocol

from bench.detection.seam import Decision, Event


class Meter(Protocol):
    """Counts what became of an actor's events."""

    def count(self, now: float, event: Event, decision: Decision) -> None:
        """Take one event and its decision into account."""


class Actor(Protocol):
    """Always has one moment in the future at which it speaks."""

    meter: Meter | None

    def speak(self, now: float) -> Event | None:
        """Its next event, which the policy gets at once; None for a deed that no policy sees."""

    def hear(self, now: float, decision: Decision | None) -> float:
        """What came of it (None for a deed). Returns when to speak next; `inf` is never."""


class Answer(Enum):
    """What a client makes of a decision; it sees no more than this."""

    OK = auto()
    BUSY = auto()  # 454, [UNAVAILABLE]: the password is kept
    REFUSED = auto()  # 535, [AUTHENTICATIONFAILED]: from the backend or not, it cannot tell
    GONE = auto()  # no connection


def answer(decision: Decision) -> Answer:
    """The client's view of a decision on a login or a recipient."""
    match decision["action"]:
        case "defer":
            return Answer.BUSY
        case "reject" | "decoy":
            return Answer.REFUSED
        case "drop":
            return Answer.GONE
        case "pass" | "delay":
            match decision["outcome"]:
                case "ok":
                    return Answer.OK
                case "unavailable":
                    return Answer.BUSY
                case _:
                    return Answer.REFUSED
        case action:
            raise ValueError(f"unknown action: {action!r}")
