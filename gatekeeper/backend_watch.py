"""Tells a backend that is away from one that missed a connection."""

from collections import Counter
from collections.abc import Callable
from typing import Final

AWAY_AFTER: Final = 3  # connections in a row, of whatever client, that came to nothing


class BackendWatch:
    """Hears how each connection to a backend went (`upstream.OnOpen`). `say(name, why)` is told
    once that one is away, and once, with nothing, that it is back; it must be quick and must not
    raise."""

    def __init__(self, say: Callable[[str, str], None]) -> None:
        self._say = say
        self._failed: Counter[str] = Counter()  # in a row

    def opened(self, name: str, why: str) -> None:
        """A connection to the backend was made, or not, and why."""
        if why:
            self._failed[name] += 1
            if self._failed[name] == AWAY_AFTER:
                self._say(name, why)
        elif self._failed.pop(name, 0) >= AWAY_AFTER:
            self._say(name, "")
