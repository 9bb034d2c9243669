"""Bans: a prefix kept out of a scope until an instant."""

from enum import Enum
from typing import NamedTuple

from gatekeeper.prefix import Prefix
from gatekeeper.verdict import Reason


class Scope(Enum):
    """Which ports a counter or a ban speaks of: one address may be welcome on one only."""

    AUTH = "auth"  # submission and IMAP: 143, 465, 587, 993
    MX = "mx"  # port 25


class Origin(Enum):
    """Who made a ban."""

    RULE = "rule"
    OPERATOR = "operator"
    IMPORT = "import"


class Ban(NamedTuple):
    """A prefix kept out of `scope` from `since` until `until`, both Unix time in seconds.

    `level` counts the bans of this prefix and scope, from 1; escalation reads it.

    A named tuple, for it is made in less than half the time of a frozen dataclass, and half a
    million of them are when a guard starts.
    """

    prefix: Prefix
    scope: Scope
    reason: Reason
    level: int
    since: float
    until: float
    origin: Origin = Origin.RULE
    note: str = ""  # the operator's own words, at most 200 characters

    def remaining_s(self, now: float) -> float:
        """Seconds left at Unix time `now`, never negative."""
        return max(0.0, self.until - now)


End = tuple[Prefix, Scope, float]
"""All an Enforcer needs of a ban: its prefix and scope, and the Unix time when it ends."""
