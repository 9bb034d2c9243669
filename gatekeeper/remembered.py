"""What the policy keeps over a restart: small records, absolute, none with a name or a password.

An account is a 64-bit keyed hash (`policy.keys`); its key lies in a file of its own, so that the
database alone tells nobody who has a mailbox here. Instants are Unix time in seconds. Each record
replaces the one of the same key, so that writing one twice changes nothing.
"""

from dataclasses import dataclass
from enum import Enum

from gatekeeper.ban import Scope
from gatekeeper.prefix import Prefix


class LockKind(Enum):
    """Why an account is kept back; each kind is there at most once per account."""

    OPERATOR = "operator"  # no login at all
    HELD = "held"  # it sends like a stolen account: no recipients
    LANE = "lane"  # strangers guess at it: only whom it knows, or who proves more


@dataclass(frozen=True, slots=True)
class FamiliarPair:
    """`account` has logged in from `net` (a /24 or a /64), last at `last_at`."""

    account: int
    net: Prefix
    first_at: float
    last_at: float


@dataclass(frozen=True, slots=True)
class SourceScore:
    """`score`, as it was at `at`, of an address or of a network around it."""

    scope: Scope
    prefix: Prefix
    score: float
    at: float


@dataclass(frozen=True, slots=True)
class AccountLock:
    """`account` is kept back until `until`; None is until somebody unlocks it."""

    account: int
    kind: LockKind
    since: float
    until: float | None
    note: str = ""  # the operator's own words, or a `Reason`; at most 200 characters


@dataclass(frozen=True, slots=True)
class Unlocked:
    """The lock of this kind is gone."""

    account: int
    kind: LockKind


@dataclass(frozen=True, slots=True)
class Learned:
    """The share of good logins that came from unfamiliar pairs, as smoothed by `at`."""

    unfamiliar_share: float
    at: float


Memory = FamiliarPair | SourceScore | AccountLock | Unlocked | Learned
