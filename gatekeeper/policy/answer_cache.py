"""DNS answers that need not be asked for again, in a table of fixed size.

What a zone says of how long it holds is taken within limits: long enough that a burst of
connections asks once, short enough that a delisting is soon heard. When the table is full the
answer longest unused goes first. How long an answer is may be up to a stranger, so octets are
bounded as well.
"""

from collections import OrderedDict
from typing import Final

from gatekeeper.records import Answer, Question

MAX_ANSWERS: Final = 50_000  # about 27 MB when all are short
MAX_OCTETS: Final = 32 << 20
_EACH_OCTETS: Final = 500  # question, places in tables: what an answer takes beside its records
_TEXT_OCTETS: Final = 50  # of a str beside its characters (CPython)
_WIDEST_OCTETS: Final = 4  # of a character that is no ASCII, at most
LEAST_S: Final = 30.0  # a burst of connections of one client
LISTED_MOST_S: Final = 3600.0
UNLISTED_MOST_S: Final = 900.0  # RFC 2308 5 allows hours; spammers are listed within minutes


class AnswerCache:
    """Answers by question. No method walks the table; `now` is in seconds of any clock that
    never goes back."""

    def __init__(self, capacity: int = MAX_ANSWERS, octets: int = MAX_OCTETS) -> None:
        self.octets = 0  # of memory, about
        self._capacity = capacity
        self._most_octets = octets
        self._answers: OrderedDict[Question, tuple[Answer, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, question: Question, now: float) -> Answer | None:
        """The answer that still holds at `now`."""
        found = self._answers.get(question)
        if found is None:
            return None
        answer, until = found
        if now >= until:
            self.discard(question)
            return None
        self._answers.move_to_end(question)
        return answer

    def put(self, question: Question, answer: Answer, now: float) -> None:
        """Keep `answer` for its time to live, within the limits above."""
        most_s = LISTED_MOST_S if answer.records else UNLISTED_MOST_S
        until = now + min(max(answer.ttl_s, LEAST_S), most_s)
        self.discard(question)
        self._answers[question] = answer, until
        self.octets += _octets(answer)
        while len(self._answers) > self._capacity or self.octets > self._most_octets:
            _, (oldest, _) = self._answers.popitem(last=False)
            self.octets -= _octets(oldest)

    def discard(self, question: Question) -> None:
        """Forget the answer, if there is one."""
        found = self._answers.pop(question, None)
        if found is not None:
            self.octets -= _octets(found[0])


def _octets(answer: Answer) -> int:
    return _EACH_OCTETS + sum(map(_octets_of_text, answer.records))


def _octets_of_text(text: str) -> int:
    return _TEXT_OCTETS + len(text) * (1 if text.isascii() else _WIDEST_OCTETS)
