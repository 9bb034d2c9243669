"""Plays a world against a policy, one event at a time, and lets everybody react.

Theory of operation: a heap of moments, one for each actor. The earliest speaks, the policy decides
at once, the actor hears it and names its next moment. All chance is in the actors, each with a
generator of its own, so that a person's day is the same under every policy until the policy
interferes with it.
"""

import heapq
import time
from collections.abc import Callable
from dataclasses import dataclass

from bench.detection.actors import Actor, Meter
from bench.detection.scoring import Score
from bench.detection.seam import Decision, Event, Policy


@dataclass(frozen=True, slots=True)
class Played:
    """How long a run took: all of it, and the part spent in the policy."""

    events: int
    elapsed_s: float
    policy_s: float


class Switch:
    """A deed at a moment of its own: the backend fails, the guard starts anew."""

    def __init__(self, deed: Callable[[float], Event | None]) -> None:
        self.meter: Meter | None = None
        self._deed = deed

    def speak(self, now: float) -> Event | None:
        """Do it; what the policy is to be told, if anything."""
        return self._deed(now)

    def hear(self, now: float, decision: Decision | None) -> float:
        """Once."""
        return float("inf")


class Stage:
    """Holds the policy, so that a world can put a fresh one in its place."""

    def __init__(self, make: Callable[[], Policy]) -> None:
        self._make = make
        self.policy = make()

    def close(self) -> None:
        """Nothing more is to be decided."""
        close = getattr(self.policy, "close", None)
        if close is not None:
            close()

    def restart(self, *, cold: bool) -> None:
        """The program ends and starts again: `cold` with nothing, otherwise with what it says that
        it keeps, and where it does not say, with everything."""
        if cold:
            self.close()
            self.policy = self._make()
            return
        restart = getattr(self.policy, "restart", None)
        if restart is not None:
            restart()


def play(actors: list[tuple[float, Actor]], stage: Stage, score: Score, until: float) -> Played:
    """Play to the end. Raises what the policy raises."""
    heap = [(first, index, actor) for index, (first, actor) in enumerate(actors)]
    heapq.heapify(heap)
    began, clock, events, policy_s = time.perf_counter(), time.perf_counter, 0, 0.0
    while heap and heap[0][0] < until:
        now, index, actor = heap[0]
        event = actor.speak(now)
        decision = None
        if event is not None:
            start = clock()
            decision = stage.policy.feed(event)
            policy_s += clock() - start
            events += 1
            score.seen(now, event, decision)
            if actor.meter is not None:
                actor.meter.count(now, event, decision)
        heapq.heapreplace(heap, (actor.hear(now, decision), index, actor))
    score.finish(until)
    return Played(events, clock() - began, policy_s)
