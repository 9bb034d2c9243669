"""Tickets of refusals: who is given one, and what the helpdesk finds under it.

Theory of operation. A ticket must tell its reader nothing: not the rule, not how many were refused
before, not whether two refusals had the same reason. So it is drawn at random, anew for each
answer, and what it stands for is kept here alone. And it must not tell the guard from its backend:
a credential that is refused in the backend's own words (`session/likeness.py`) is given none,
whichever rule refused it. All other refusals are openly the guard's, and all of them have one.
"""

import os
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple

from gatekeeper.ban import Scope
from gatekeeper.events import (
    AuthAttempt,
    AuthOutcome,
    AuthResult,
    ConnectionClosed,
    JudgedEvent,
    MailAttempt,
    MessageEnd,
    RcptAttempt,
    RcptOutcome,
    Violation,
)
from gatekeeper.journal import Entry
from gatekeeper.verdict import Action, Verdict
from gatekeeper.wire.ticket import COUNT, spell

# Kept tickets of the login ports, whose people ring up within the hour, and of port 25, whose
# senders read a bounce the next day; apart, so that a flood of spam costs no user his answer. About
# 0.7 KB each. Older ones are in the log.
MAX_TICKETS: Final = {Scope.AUTH: 20_000, Scope.MX: 10_000}
MAX_PATH_CHARACTERS: Final = 80
DRAWN: Final = 128  # numbers asked of the system at once: each call costs as much as all the rest
_NUMBER_OCTETS: Final = 8  # far more than `COUNT` needs, so that a remainder prefers none


class Told(NamedTuple):
    """What one ticket stands for. The paths are empty where the client had not said them; the null
    sender is `<>`."""

    entry: Entry
    scope: Scope
    sender: str
    recipient: str


class Lots:
    """Unpredictable whole numbers of the system's."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left: list[int] = []

    def below(self, count: int) -> int:
        """One from 0 to `count` - 1."""
        if not self._left:
            drawn, size = os.urandom(DRAWN * _NUMBER_OCTETS), _NUMBER_OCTETS
            starts = range(0, len(drawn), size)
            self._left = [int.from_bytes(drawn[at : at + size], "big") for at in starts]
        return self._left.pop() % count


class Tickets:
    """The tickets given out, each with what it stands for. `draw(n)` gives an unpredictable whole
    number below n, where it is not to be the system's."""

    __slots__ = ("_draw", "_kept")

    def __init__(self, draw: Callable[[int], int] | None = None) -> None:
        self._draw = draw or Lots().below
        self._kept: dict[Scope, OrderedDict[str, Told]] = {scope: OrderedDict() for scope in Scope}

    def new(self) -> str:
        """A ticket that stands for nothing yet."""
        while self.find(ticket := spell(self._draw(COUNT))) is not None:
            pass
        return ticket

    def keep(self, entry: Entry, event: JudgedEvent, scope: Scope) -> None:
        """Have the ticket of the entry's verdict stand for it; the oldest makes room."""
        sender, recipient = _paths(event)
        kept = self._kept[scope]
        if len(kept) >= MAX_TICKETS[scope]:
            kept.popitem(last=False)
        kept[entry.verdict.ticket] = Told(entry, scope, sender, recipient)

    def find(self, ticket: str) -> Told | None:
        """What a ticket stands for; None where that is forgotten, or it was never given."""
        for kept in self._kept.values():
            if (told := kept.get(ticket)) is not None:
                return told
        return None


def _paths(event: JudgedEvent) -> tuple[str, str]:
    """Whose mail to whom it was, as far as that was said."""
    match event:
        case RcptAttempt(reverse_path=sender, forward_path=recipient):
            pass
        case RcptOutcome(attempt=attempt):
            sender, recipient = attempt.reverse_path, attempt.forward_path
        case MailAttempt(reverse_path=sender) | MessageEnd(reverse_path=sender):
            recipient = ""
        case _:
            return "", ""
    shown = "<>" if sender == "" else sender or ""
    return shown[:MAX_PATH_CHARACTERS], recipient[:MAX_PATH_CHARACTERS]


def has_ticket(event: JudgedEvent, verdict: Verdict) -> bool:
    """Whether the answer to `event` is openly the guard's own.

    It follows from what kind of answer it is, and from nothing else: answers that differ in this
    differ in their words, too.
    """
    match event:
        case ConnectionClosed():  # nobody is there to be answered
            return False
        case AuthAttempt():  # DECOY and REJECT are told in the backend's words, or in a hook's
            own = verdict.action is Action.REJECT and verdict.text != ""
            return own or verdict.action in {Action.DEFER, Action.CLOSE}
        case AuthOutcome(result=AuthResult.SUCCESS):  # in the backend's words, then hung up on
            return verdict.action >= Action.DEFER
        case AuthOutcome() | RcptOutcome() | Violation():  # these have their answer already
            return verdict.action is Action.CLOSE
        case _:
            return verdict.action >= Action.DEFER
