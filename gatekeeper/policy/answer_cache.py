"""DNS answers that need not be asked for again, in a table of fixed size.

What a zone says of how long it holds is taken within limits: long enough that a burst of
connections asks once, short enough that a delisting is soon heard. When the table is full the
answer longest unused goes first.
"""

from collections import OrderedDict
from typing import Final

from gatekeeper.records import Answer, Question

MAX_ANSWERS: Final = 50_000  # about 25 MB when all are in use
LEAST_S: Final = 30.0  # a burst of connections of one client
LISTED_MOST_S: Final = 3600.0
UNLISTED_MOST_S: Final = 900.0  # RFC 2308 5 allows hours; spammers are listed within minutes


class AnswerCache:
    """Answers by question. Every method is constant in time; `now` is in seconds of any clock that
    never goes back."""

    def __init__(self, capacity: int = MAX_ANSWERS) -> None:
        self._capacity = capacity
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
            del self._answers[question]
            return None
        self._answers.move_to_end(question)
        return answer

    def put(self, question: Question, answer: Answer, now: float) -> None:
        """Keep `answer` for its time to live, within the limits above."""
        most_s = LISTED_MOST_S if answer.records else UNLISTED_MOST_S
        until = now + min(max(answer.ttl_s, LEAST_S), most_s)
        self._answers[question] = answer, until
        self._answers.move_to_end(question)
        if len(self._answers) > self._capacity:
            self._answers.popitem(last=False)

    def discard(self, question: Question) -> None:
        """Forget the answer, if there is one."""
        self._answers.pop(question, None)
