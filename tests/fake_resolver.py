"""A Resolver that asks a table."""

from dataclasses import dataclass, field

import trio

from gatekeeper.errors import ResolverError, ResolverOverloaded, ResolverSilent
from gatekeeper.records import Answer, Question, RecordType

LONGEST_LABEL = 63  # RFC 1035 2.3.4
LONGEST_NAME = 253


@dataclass(slots=True)
class FakeResolver:
    """Implements `gatekeeper.abc.Resolver`. What is neither in `answers` nor in `failures` or
    `silent` does not exist; all names are in lower case."""

    answers: dict[Question, Answer] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)  # name, why
    silent: set[str] = field(default_factory=set)  # names
    deadline_s: float = 2.0
    delay_s: float = 0.0
    delays_s: dict[str, float] = field(default_factory=dict)  # name, in place of `delay_s`
    remembered: set[Question] = field(default_factory=set)  # known without asking
    overloaded: bool = False
    asked: list[str] = field(default_factory=list)

    def put(self, name: str, *records: str, type_: RecordType = RecordType.A) -> None:
        """Have `name` answered with `records`."""
        self.answers[Question(name, type_)] = Answer(records, 60.0)

    async def resolve(self, question: Question) -> Answer:
        """See `Resolver.resolve`."""
        name = question.name
        if len(name) > LONGEST_NAME or any(
            not 1 <= len(label) <= LONGEST_LABEL for label in name.split(".")
        ):
            raise ResolverError("not a name DNS can be asked for")
        if self.overloaded:
            raise ResolverOverloaded("too many questions are under way")
        self.asked.append(name)
        delay_s = self.delays_s.get(name, self.delay_s)
        if name in self.silent:
            delay_s = self.deadline_s
        await trio.sleep(delay_s)
        if name in self.silent:
            raise ResolverSilent("no answer in time")
        if name in self.failures:
            raise ResolverError(self.failures[name])
        return self.answers.get(question, Answer((), 60.0))

    def known(self, question: Question) -> Answer | None:
        """See `Resolver.known`."""
        return self.answers.get(question) if question in self.remembered else None

    def forget(self, question: Question) -> None:
        """See `Resolver.forget`."""
        self.remembered.discard(question)
