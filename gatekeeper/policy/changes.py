"""What has changed since it was last written down: keys only, the values are read when they go.

A change noted twice is one. Overflow, while a Store is away: the oldest change is forgotten; what
it was about stays in memory and is written at its next change.
"""

from typing import Final

from gatekeeper.ban import Scope
from gatekeeper.remembered import LockKind

MAX_CHANGES: Final = 20_000  # of each kind, about 4 MB
MIN_SCORE: Final = 2.0  # one guess is not worth a row
SAVED_EVERY_S: Final = 3600.0  # how exactly the last login from a net is kept


class Changes:
    """Keys of what is to be written; each dictionary is an ordered set."""

    __slots__ = ("learning", "locks", "pairs", "scores")

    def __init__(self) -> None:
        self.pairs: dict[tuple[int, int], None] = {}  # account, net
        self.scores: dict[tuple[Scope, int, bool], None] = {}  # source or parent, whether a parent
        self.locks: dict[tuple[int, LockKind], None] = {}
        self.learning = False

    def pair(self, account: int, net: int) -> None:
        """The account has logged in from the net."""
        self.pairs[account, net] = None
        if len(self.pairs) > MAX_CHANGES:
            del self.pairs[next(iter(self.pairs))]
        self.learning = True

    def score(self, scope: Scope, key: int, *, parent: bool) -> None:
        """A score has risen."""
        self.scores[scope, key, parent] = None
        if len(self.scores) > MAX_CHANGES:
            del self.scores[next(iter(self.scores))]

    def lock(self, account: int, kind: LockKind) -> None:
        """A lock was made or taken away. Locks are few: none is forgotten."""
        self.locks[account, kind] = None
