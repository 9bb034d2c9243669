"""What happened lately, for `explain`: refusals and failures in one ring, successes in another.

The rings are of fixed length and the oldest goes first. They are two, so that a flood of guesses
does not wash away what a person did today. An entry is a tuple of keys and numbers: no password, no
hash of one, and an account's name only as the client gave it, cut to `MAX_NAME_CHARACTERS`.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from gatekeeper.events import (
    AuthAttempt,
    AuthOutcome,
    AuthResult,
    Client,
    ClientListed,
    ConnectionOpened,
    EarlyTalk,
    HelloAttempt,
    JudgedEvent,
    Listing,
    MailAttempt,
    MessageEnd,
    RcptAttempt,
    RcptOutcome,
    ReverseDns,
    Violation,
)
from gatekeeper.findings import SenderDomain
from gatekeeper.policy.accounts import Knowledge, Standing
from gatekeeper.policy.evidence import Seen
from gatekeeper.policy.keys import Place
from gatekeeper.verdict import PASS, Verdict

MAX_REFUSALS: Final = 10_000  # about 3 MB
MAX_SUCCESSES: Final = 5_000
MAX_NAME_CHARACTERS: Final = 80
MAX_LISTED_CHARACTERS: Final = 240  # of what lists say: some zones with their codes

_COMMANDS: Final = {
    HelloAttempt: "hello",
    MailAttempt: "sender",
    MessageEnd: "message",
    RcptAttempt: "recipient",
}


class Entry(NamedTuple):
    """One line of a timeline."""

    at: float
    source: int
    account: int  # 0 where none is concerned
    name: str
    listener: str
    what: str
    verdict: Verdict
    weight: float
    score: float
    ban_score: float
    standing: Standing | None  # None where no login is concerned
    knowledge: Knowledge | None
    number: int  # of all entries, the order in which things happened: instants may be equal
    tags: tuple[str, ...] = ()  # of the session, by hooks


class Journal:
    """The two rings."""

    __slots__ = ("_number", "_refusals", "_successes")

    def __init__(self) -> None:
        self._refusals: deque[Entry] = deque(maxlen=MAX_REFUSALS)
        self._successes: deque[Entry] = deque(maxlen=MAX_SUCCESSES)
        self._number = 0

    def note(
        self,
        event: JudgedEvent,
        client: Client,
        seen: Seen,
        verdict: Verdict,
        where: Place,
        now: float,
    ) -> Entry | None:
        """Keep what is worth telling of an Event and its verdict, and return it; None where there
        is nothing to tell. Whatever has a ticket is told."""
        success = False
        if isinstance(event, AuthOutcome):
            success = event.result is AuthResult.SUCCESS
            if not (success or event.result is AuthResult.FAILURE or verdict.ticket):
                return None
        elif verdict is PASS and not isinstance(event, Violation):
            return None
        facts, login = seen.facts, seen.facts.login
        self._number += 1
        entry = Entry(
            at=now,
            source=where.source,
            account=0 if seen.credential is None else seen.credential.account,
            name=_name(event),
            listener=client.listener,
            what=_what(event),
            verdict=verdict,
            weight=facts.score - facts.score_before,
            score=facts.score,
            ban_score=facts.ban_score,
            standing=None if login is None else login.standing,
            knowledge=None if login is None else login.knowledge,
            number=self._number,
            tags=tuple(sorted(client.marks.tags)) if client.marks.tags else (),
        )
        (self._successes if success else self._refusals).append(entry)
        return entry

    def of(self, wanted: Callable[[Entry], bool]) -> list[Entry]:
        """The entries that are wanted, oldest first."""
        found = [entry for entry in self._all() if wanted(entry)]
        return sorted(found, key=lambda entry: entry.number)

    def refusals(self) -> Iterator[Entry]:
        """What was refused or failed, newest first. Nothing may be noted meanwhile."""
        return reversed(self._refusals)

    def _all(self) -> Iterator[Entry]:
        yield from self._refusals
        yield from self._successes


def _name(event: JudgedEvent) -> str:
    match event:
        case (
            AuthAttempt(authcid=name)
            | RcptAttempt(authcid=name)
            | MailAttempt(authcid=name)
            | MessageEnd(authcid=name)
        ):
            return name[:MAX_NAME_CHARACTERS]
        case AuthOutcome(attempt=attempt) | RcptOutcome(attempt=attempt):
            return attempt.authcid[:MAX_NAME_CHARACTERS]
        case _:
            return ""


def _what(event: JudgedEvent) -> str:  # noqa: C901, PLR0911  # a table: one arm for each event
    match event:
        case AuthAttempt(listings=listings):
            return _with_listings("login, listed" if listings else "login", listings)
        case AuthOutcome(result=result):
            return f"login: {result.value}"
        case HelloAttempt(domain=domain, fault=fault) if fault is not None:
            return f"hello: {fault.value} {domain}"[:MAX_LISTED_CHARACTERS]
        case MailAttempt(domain=domain, spf=spf) if domain is not None or spf is not None:
            return _of_sender(event)[:MAX_LISTED_CHARACTERS]
        case HelloAttempt() | MailAttempt() | MessageEnd() | RcptAttempt():
            return _COMMANDS[type(event)]
        case RcptOutcome(result=result):
            return f"recipient: {result.value}"
        case ConnectionOpened(of_address=here, of_network=around) if here:
            return f"connection: {here} of its address, {around} of its network"
        case EarlyTalk(after_s=after_s, octets=octets):
            return f"early talk: {octets} octets after {after_s:.1f} s"
        case ReverseDns(state=state, name=name):
            return f"reverse DNS: {state.value} {name}".rstrip()[:MAX_LISTED_CHARACTERS]
        case ClientListed(listings=listings):
            return _with_listings("listed", listings)
        case Violation(kind=kind):
            return f"violation: {kind.value}"
        case _:
            return "connection"


def _with_listings(what: str, listings: tuple[Listing, ...]) -> str:
    if not listings:
        return what
    return f"{what}: {' '.join(map(str, listings))}"[:MAX_LISTED_CHARACTERS]


def _of_sender(event: MailAttempt) -> str:
    domain = "" if event.domain in {None, SenderDomain.FOUND} else f" domain={event.domain.value}"
    spf = "" if event.spf is None else f" spf={event.spf.value}"
    return f"sender:{domain}{spf} <{event.reverse_path}>"
