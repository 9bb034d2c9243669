"""One Resolver for all: a common memory, and one flight for the same question.

Theory of operation. A question that is not in the cache gets a task of the Resolver's own, and all
who ask it meanwhile wait for that task. So whoever gives up waiting takes nothing from the others,
and an answer that comes too late for its client is there for its next connection.

A resolver that is dead must not hold a session up more than once. Beside a question that goes out
when nothing was heard for a moment goes one of our own, to which any server has an answer or an
error. When that and a question of this Resolver got neither, and nothing else was heard since, the
servers are dead: every question fails at once, those that are waited for among them. Our own is
asked again and again then, and one other at a time, as a trial that nobody waits for; whatever is
heard, of questions from before as well, ends that.
A domain whose servers are silent does not come to that, however many a stranger has of them.
Where strangers choose the names there is a witness, another Resolver over the same servers whose
names they do not choose: what is dead for the witness is dead, and whatever is heard is heard by
both. It does not hold the other way, so that no stranger has a say in what is dead for the witness.
"""

import math
from dataclasses import dataclass, field
from typing import Final

import trio

from gatekeeper.abc import Resolver
from gatekeeper.errors import ResolverError, ResolverOverloaded, ResolverSilent
from gatekeeper.policy.answer_cache import AnswerCache
from gatekeeper.records import Answer, Question, RecordType

MAX_FLIGHTS: Final = 1_000  # questions under way at once: a socket and about 50 KB each
QUIET_S: Final = 0.1  # without a word, before we ask it
AGAIN_S: Final = 1.0  # between those that are in vain
# Any server has an answer or an error to it at once, unless it reaches nobody for 15 minutes (the
# time to live of "there is no address": RFC 2308 5), and no stranger has a say in it.
OUR_OWN: Final = Question("com", RecordType.A)
DEAD: Final = "no server answers anything"


@dataclass(slots=True)
class _Flight:
    """A question under way."""

    landed: trio.Event = field(default_factory=trio.Event)
    answer: Answer | None = None
    why: str = ""
    left: bool = False  # nobody waits for it any more, and nobody may begin to


@dataclass(slots=True)
class _Pulse:
    """What is known of the servers, by all who ask them."""

    resolvers: list["SharedResolver"] = field(default_factory=list)
    heard_at: float = -math.inf  # of trio's clock: the last answer or error
    asking: object = None  # the task that asks our own question
    missed: bool = False  # it was in vain, and nothing was heard since it was asked


class SharedResolver:
    """Implements `gatekeeper.abc.Resolver` over another that remembers nothing."""

    def __init__(self, stub: Resolver, witness: "SharedResolver | None" = None) -> None:
        self._witness = witness
        self._pulse: _Pulse = _Pulse() if witness is None else witness._pulse
        self._pulse.resolvers.append(self)
        self.stub = stub  # may be replaced; what is under way goes on with the old one
        self.asked = 0  # questions that went out
        self.silent = 0  # questions in a row without an answer of any kind
        self._trial: _Flight | None = None  # where the servers are taken for dead
        self._cache = AnswerCache()
        self._flights: dict[Question, _Flight] = {}  # those that may be waited for
        self._under_way = 0
        self._nursery: trio.Nursery | None = None

    async def run(self) -> None:
        """Hold the tasks that ask, until cancelled. Without it every question fails."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                await trio.sleep_forever()
            finally:
                self._nursery = None

    @property
    def dead(self) -> bool:
        """Whether the servers are taken for dead."""
        if self._witness is not None and self._witness.dead:
            return True
        return self._pulse.missed and self.silent > 0

    def known(self, question: Question) -> Answer | None:
        """See `Resolver.known`."""
        return self._cache.get(question, trio.current_time())

    def forget(self, question: Question) -> None:
        """See `Resolver.forget`."""
        self._cache.discard(question)

    async def resolve(self, question: Question) -> Answer:
        """See `Resolver.resolve`."""
        answer = self.known(question)
        if answer is not None:
            await trio.lowlevel.checkpoint()
            return answer
        flight = self._flights.get(question)
        if self.dead:
            if self._trial is None:
                self._trial = flight or self._launch(question)
            raise ResolverOverloaded(DEAD)
        flight = flight or self._launch(question)
        await flight.landed.wait()
        if flight.left:
            raise ResolverOverloaded(DEAD)
        if flight.answer is None:
            raise ResolverError(flight.why)
        return flight.answer

    def begin_anew(self) -> None:
        """Forget what is known of the servers, for there are others now."""
        self._pulse.heard_at, self._pulse.asking = -math.inf, None
        self._alive()

    def report(self) -> dict[str, int]:
        """What `status` tells."""
        return {
            "asked": self.asked,
            "remembered": len(self._cache),
            "under_way": self._under_way,
            "silent": self.silent,
        }

    def _launch(self, question: Question) -> _Flight:
        if self._nursery is None:
            raise ResolverError("the resolver is not running")
        if self._under_way >= MAX_FLIGHTS:
            raise ResolverOverloaded("too many questions are under way")
        flight = self._flights[question] = _Flight()
        self.asked += 1
        self._under_way += 1
        self._nursery.start_soon(self._fly, question, flight)
        quiet_s = trio.current_time() - self._pulse.heard_at
        if self._pulse.asking is None and quiet_s >= QUIET_S:
            self._pulse.asking = asking = object()
            self._nursery.start_soon(self._ask_our_own, asking)
        return flight

    async def _fly(self, question: Question, flight: _Flight) -> None:
        try:
            answer = await self.stub.resolve(question)
        except ResolverSilent as error:
            flight.why = str(error)
            self.silent += 1
            self._leave_where_dead()
        except ResolverError as error:
            flight.why = str(error)
            self._heard()
        except Exception as error:  # a fault of ours or of the library's costs this one answer
            flight.why = f"a fault: {type(error).__name__}"
        else:
            flight.answer = answer
            self._heard()
            self._cache.put(question, answer, trio.current_time())
        finally:
            flight.why = flight.why or "the resolver has ended"
            self._under_way -= 1
            if self._flights.get(question) is flight:
                del self._flights[question]
            if self._trial is flight:
                self._trial = None
            flight.landed.set()

    async def _ask_our_own(self, asking: object) -> None:
        pulse = self._pulse
        try:
            while True:
                await self._listen(asking)
                if pulse.asking is not asking or not pulse.missed:
                    return
                await trio.sleep(AGAIN_S)
        finally:
            if pulse.asking is asking:
                pulse.asking = None

    async def _listen(self, asking: object) -> None:
        pulse, began = self._pulse, trio.current_time()
        self.asked += 1
        try:
            await self.stub.resolve(OUR_OWN)
        except ResolverSilent:
            if pulse.asking is asking and pulse.heard_at < began:
                pulse.missed = True
                self._leave_where_dead()
        except ResolverError:
            self._heard()
        except Exception:  # a fault of ours or of the library's says nothing of the servers
            return
        else:
            self._heard()

    def _heard(self) -> None:
        self._pulse.heard_at = trio.current_time()
        self._alive()

    def _alive(self) -> None:
        self._pulse.missed = False
        for one in self._pulse.resolvers:
            one.silent = 0

    def _leave_where_dead(self) -> None:
        """Let nobody wait any longer for servers that are dead."""
        for one in self._pulse.resolvers:
            if one.dead:
                one._leave_all()

    def _leave_all(self) -> None:
        for flight in self._flights.values():
            flight.left = True
            flight.landed.set()
        self._flights.clear()
