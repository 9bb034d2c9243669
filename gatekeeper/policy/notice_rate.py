"""How often an operator is told: enough to know, never so much that he stops reading.

A window opens with the first notice of a kind. Within it so many go out at once, and fewer about
one subject, so that a part that comes and goes does not use up what all others have. The rest is
held, the last one of each subject, and summed up in one notice when the window ends: "and 37 more".
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

WINDOW_S: Final = 900.0  # a page every quarter of an hour is what a night on call can bear
AT_ONCE: Final = 10  # of one kind in a window
AT_ONCE_OF_ONE: Final = 3  # of them about one subject: away, back, and away again
MAX_HELD: Final = 20  # subjects told by name in a summary; more are a number

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Summary(Generic[T]):
    """What was held: the `latest` notice, those of other subjects, newest first, and how many more
    there were in all, `others` among them."""

    latest: T
    others: tuple[T, ...]
    more: int


@dataclass(slots=True)
class _Window(Generic[T]):
    ends_at: float
    sent: int = 0
    of_one: dict[str, int] = field(default_factory=dict)  # at most `AT_ONCE`
    held: OrderedDict[str, T] = field(default_factory=OrderedDict)
    count: int = 0  # that were held, those that made room too


class NoticeRate(Generic[T]):
    """The windows of all kinds, which are few. `now` never goes back."""

    __slots__ = ("_windows",)

    def __init__(self) -> None:
        self._windows: dict[str, _Window[T]] = {}

    def admits(self, kind: str, subject: str, notice: T, now: float) -> bool:
        """Whether `notice` goes out now; else it is held for the summary."""
        window = self._windows.get(kind)
        if window is None or (now >= window.ends_at and not window.held):
            window = self._windows[kind] = _Window(now + WINDOW_S)
        of_one = window.of_one.get(subject, 0)
        # What is held comes first: a later word must not overtake it.
        room = window.sent < AT_ONCE and of_one < AT_ONCE_OF_ONE and subject not in window.held
        if room:
            window.sent += 1
            window.of_one[subject] = of_one + 1
            return True
        window.count += 1
        window.held.pop(subject, None)
        window.held[subject] = notice
        if len(window.held) > MAX_HELD:
            window.held.popitem(last=False)
        return False

    def due(self, now: float) -> Iterator[Summary[T]]:
        """The summaries of windows that have ended; each opens the next window of its kind."""
        for kind, window in list(self._windows.items()):
            if now < window.ends_at:
                continue
            del self._windows[kind]
            if not window.held:
                continue
            latest, *others = reversed(window.held.values())
            self._windows[kind] = _Window(now + WINDOW_S, sent=1)
            yield Summary(latest, tuple(others), window.count - 1)

    def next_at(self) -> float:
        """When a window with something in it ends; infinity where there is none."""
        ends = (window.ends_at for window in self._windows.values() if window.held)
        return min(ends, default=float("inf"))
