"""One Resolver for all: a common memory, and one flight for the same question.

Theory of operation. A question that is not in the cache gets a task of the Resolver's own, and all
who ask it meanwhile wait for that task. So whoever gives up waiting takes nothing from the others,
and an answer that comes too late for its client is there for its next connection.

A resolver that is dead must not hold every session up for as long as it may. When `DEAD_AFTER`
questions in a row got no answer of any kind, not even an error, every question fails at once, those
that are waited for among them. One at a time is asked all the same, as a trial that nobody waits
for; whatever is heard then, of questions from before as well, ends that.
One domain whose own servers are silent does not come to that, for others are asked for between.
Where strangers choose the names there is a witness, another Resolver over the same servers whose
names they do not choose: what is dead for the witness is dead, and whatever is heard is heard by
both. It does not hold the other way: who has silent servers of his own makes nothing look dead to
the witness.
"""

from dataclasses import dataclass, field
from typing import Final

import trio

from gatekeeper.abc import Resolver
from gatekeeper.errors import ResolverError, ResolverOverloaded, ResolverSilent
from gatekeeper.policy.answer_cache import AnswerCache
from gatekeeper.records import Answer, Question, RecordType

MAX_FLIGHTS: Final = 1_000  # questions under way at once: a socket and about 50 KB each
DEAD_AFTER: Final = 20  # two clients' worth, or one's that names senders with silent servers
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


class SharedResolver:
    """Implements `gatekeeper.abc.Resolver` over another that remembers nothing."""

    def __init__(self, stub: Resolver, witness: "SharedResolver | None" = None) -> None:
        self._witness = witness
        self._followers: list[SharedResolver] = []
        if witness is not None:
            witness._followers.append(self)
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
        return self.silent >= DEAD_AFTER or (self._witness is not None and self._witness.dead)

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
                if self._witness is not None and OUR_OWN not in self._flights:
                    self._launch(OUR_OWN)
            raise ResolverOverloaded(DEAD)
        flight = flight or self._launch(question)
        await flight.landed.wait()
        if flight.left:
            raise ResolverOverloaded(DEAD)
        if flight.answer is None:
            raise ResolverError(flight.why)
        return flight.answer

    def heard(self) -> None:
        """Take the servers for alive, of the witness and of those it speaks for as well."""
        for one in (self._witness or self, *(self._witness or self)._followers):
            one.silent = 0

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
        return flight

    async def _fly(self, question: Question, flight: _Flight) -> None:
        try:
            answer = await self.stub.resolve(question)
        except ResolverSilent as error:
            flight.why = str(error)
            self._unheard(flight)
        except ResolverError as error:
            flight.why = str(error)
            self.heard()
        except Exception as error:  # a fault of ours or of the library's costs this one answer
            flight.why = f"a fault: {type(error).__name__}"
        else:
            flight.answer = answer
            self.heard()
            self._cache.put(question, answer, trio.current_time())
        finally:
            flight.why = flight.why or "the resolver has ended"
            self._under_way -= 1
            if self._flights.get(question) is flight:
                del self._flights[question]
            if self._trial is flight:
                self._trial = None
            flight.landed.set()

    def _unheard(self, last: _Flight) -> None:
        """Count a question in vain, and where that is one too many leave all others."""
        self.silent += 1
        if self.silent == DEAD_AFTER:
            for one in (self, *self._followers):
                one._leave_all(but=last)

    def _leave_all(self, but: _Flight) -> None:
        for flight in self._flights.values():
            if flight is not but:
                flight.left = True
                flight.landed.set()
        self._flights.clear()
