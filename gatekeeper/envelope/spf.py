"""SPF by pyspf, in threads (RFC 7208). This module alone speaks to pyspf.

Theory of operation. The sender's own record is asked for on the event loop: where it has none, and
that is known of most forged senders, no thread is needed. Else a thread evaluates it, because what
that takes is up to whoever wrote the record. Its questions come back to the event loop one by one
and go to the shared Resolver. Nothing is unbounded: time (the deadline, at which each question
ends), questions, the octets of records and their terms, threads. A thread that is still busy when
nobody waits for it any more keeps its place; when all places are kept so, nobody waits for one.

Explanations (RFC 7208 6.2) are not fetched: they are a stranger's words, and cost a question.
"""

from dataclasses import dataclass, field
from typing import Any, Final

import spf  # type: ignore[import-untyped]  # it says nothing of its types
import trio

from gatekeeper.abc import Resolver
from gatekeeper.errors import ResolverError
from gatekeeper.findings import SpfResult
from gatekeeper.policy.domain_names import dns_name
from gatekeeper.policy.strict_paths import StrictPath
from gatekeeper.records import Question, RecordType

THREADS: Final = 64  # they wait for DNS, mostly, and are made as they are needed
MAX_QUESTIONS: Final = 40  # 10 terms (RFC 7208 4.6.4), some of them `mx` with their hosts
# RFC 7208 3.4 wants records of less than 450 octets. Evaluating takes the interpreter from the
# event loop, in time that is linear in what there is of records and of addresses in answers.
MAX_RECORD_OCTETS: Final = 4096
MAX_RECORDS_OCTETS: Final = 12_000  # of all records that one includes
MAX_ANSWERS: Final = 1_000  # addresses and names, of all questions
MAX_TERM_OCTETS: Final = 300  # a domain has 253; pyspf's patterns take the square of a term's time
MAX_MACRO_CHARACTERS: Final = 256  # of a local part, or of EHLO: records may repeat them
MAX_NAME_OCTETS: Final = 253  # RFC 1035 2.3.4, in text
MAX_LABEL_OCTETS: Final = 63
_VERSION: Final = "v=spf1"


class SpfChecks:
    """Evaluates SPF for one guard."""

    def __init__(self, resolver: Resolver, threads: int = THREADS) -> None:
        self.evaluated = 0  # records, each in a thread
        self.faults = 0  # of pyspf
        self._resolver = resolver
        self._threads = trio.CapacityLimiter(threads)
        self._given_up: list[Evaluation] = []

    async def check(
        self, client: str, sender: StrictPath, hello: str, deadline: float
    ) -> SpfResult | None:
        """The result for a client's address and the sender it names; of the null sender that is
        `postmaster` of its EHLO domain (RFC 7208 2.4). None where all threads are stuck.

        No question goes on beyond `deadline`, in Trio's time; the caller gives up then by
        cancelling, which never waits for a thread. Never raises.
        """
        local, domain = identity(sender, hello)
        if "." not in domain:
            return SpfResult.NONE  # RFC 7208 4.3
        record = Question(domain, RecordType.TXT)
        evaluation = Evaluation(self._resolver, deadline, client, local, domain, hello)
        texts = await evaluation.ask(record)
        if texts is None:
            return SpfResult.TEMPERROR
        if not any(text[: len(_VERSION)].lower() == _VERSION for text in texts):
            return SpfResult.NONE
        evaluation.known[record] = texts
        return await self._in_thread(evaluation)

    @property
    def stuck(self) -> int:
        """Threads that were given up and have not ended."""
        self._given_up = [one for one in self._given_up if not one.ended]
        return len(self._given_up)

    async def _in_thread(self, evaluation: "Evaluation") -> SpfResult | None:
        if self._given_up and self.stuck >= self._threads.total_tokens:
            return None
        self.evaluated += 1
        try:
            result = await trio.to_thread.run_sync(
                evaluation.run, abandon_on_cancel=True, limiter=self._threads
            )
        finally:
            if evaluation.begun and not evaluation.ended:
                evaluation.given_up = True
                self._given_up.append(evaluation)
        self.faults += evaluation.fault
        return result


def identity(sender: StrictPath, hello: str) -> tuple[str, str]:
    """The local part and the domain that are checked (RFC 7208 2.4, 4.3); no domain where there is
    none that DNS could have."""
    if not sender.local and not sender.domain:
        return "postmaster", dns_name(hello)
    return sender.local, dns_name(sender.domain)


@dataclass(slots=True, eq=False)
class Evaluation:
    """One evaluation: what both sides of its thread share."""

    resolver: Resolver
    deadline: float  # in Trio's time
    client: str
    local: str
    domain: str
    hello: str
    known: dict[Question, tuple[str, ...]] = field(default_factory=dict)
    begun: bool = False
    given_up: bool = False
    fault: bool = False
    ended: bool = False

    async def ask(self, question: Question) -> tuple[str, ...] | None:
        """The records of `question`; None where there is no answer by the deadline."""
        known = self.resolver.known(question)
        if known is not None:
            return known.records
        with trio.move_on_at(self.deadline):
            try:
                return (await self.resolver.resolve(question)).records
            except ResolverError:
                return None
        return None

    # -- in the thread ----------------------------------------------------------------------

    def run(self) -> SpfResult:
        """Evaluate the record."""
        self.begun = True
        try:
            result, _code, _explanation = _Query(self).check()
            return SpfResult(result)
        except Exception:  # pyspf's own fault, which must cost nobody his mail
            self.fault = True
            return SpfResult.PERMERROR
        finally:
            self.ended = True

    def records(self, question: Question) -> tuple[str, ...]:
        """The records of `question`. Raises pyspf's `TempError` where DNS gives no answer."""
        found = self.known.get(question)
        if found is None:
            if self.given_up:
                raise spf.TempError("it was given up")
            if len(self.known) >= MAX_QUESTIONS:
                raise spf.PermError("too many questions")
            answer = trio.from_thread.run(self.ask, question)
            if answer is None:
                raise spf.TempError("no answer")
            found = self.known[question] = answer
        return found


class _Query(spf.query):  # type: ignore[misc]  # it is untyped
    """pyspf's evaluation with its questions asked through ours, and bounds to what it takes in."""

    def __init__(self, evaluation: Evaluation) -> None:
        local, domain = evaluation.local[:MAX_MACRO_CHARACTERS], evaluation.domain
        hello = evaluation.hello[:MAX_MACRO_CHARACTERS]
        super().__init__(i=evaluation.client, s=f"{local}@{domain}", h=hello)
        # It would cut the sender at its first "@", which a quoted local part may hold.
        self.l, self.o, self.d = local, domain, domain
        self._evaluation = evaluation
        self._octets = self._answers = 0

    def dns(
        self, name: str, qtype: str, cnames: object = None, ignore_void: bool = False
    ) -> list[Any]:
        """The records of a name as pyspf has them: texts as octets, an MX as preference and name.
        Aliases are followed already."""
        del cnames
        name = str(name).lower().removesuffix(".")
        if not _askable(name):
            return []
        type_ = RecordType(qtype)
        found = [_as_pyspf(type_, text) for text in self._evaluation.records(Question(name, type_))]
        self._answers += len(found)
        if self._answers > MAX_ANSWERS:
            raise spf.PermError("too many answers")
        if not found and not ignore_void:
            self.void_lookups += 1
            if self.void_lookups > spf.MAX_VOID_LOOKUPS:
                raise spf.PermError("too many void lookups")
        return found

    def dns_spf(self, domain: str) -> str | None:
        """The record of a domain, as pyspf finds it. Raises its `PermError` beyond our bounds."""
        record: str | None = super().dns_spf(domain)
        if record is not None:
            self._octets += len(record)
            longest = max(map(len, record.split(" ")))
            if (
                len(record) > MAX_RECORD_OCTETS
                or self._octets > MAX_RECORDS_OCTETS
                or longest > MAX_TERM_OCTETS
            ):
                raise spf.PermError("the record is too long")
        return record

    def get_explanation(self, spec: str) -> None:
        """None is fetched."""
        del spec


def _askable(name: str) -> bool:
    """Whether DNS can be asked for a name that macros may have made. Local parts that are no ASCII
    match nothing (RFC 8616 4); a backslash would be an escape to dnspython."""
    if not name.isascii() or len(name) > MAX_NAME_OCTETS or "\\" in name:
        return False
    return all(1 <= len(label) <= MAX_LABEL_OCTETS for label in name.split("."))


def _as_pyspf(type_: RecordType, text: str) -> object:
    match type_:
        case RecordType.TXT:
            return (text.encode("utf-8", "surrogateescape"),)
        case RecordType.MX:
            preference, _, host = text.partition(" ")
            return int(preference), host
        case _:
            return text
