"""What every Store agrees on about remembered records: their keys, their age, their number."""

from typing import Final, assert_never

from gatekeeper.policy.accounts import FAMILIAR_S
from gatekeeper.remembered import (
    AccountLock,
    FamiliarPair,
    Learned,
    Memory,
    SourceScore,
    Unlocked,
)

SCORE_S: Final = 3 * 86_400.0  # twelve half-lives of the slowest score: 1,000 has become 0.25

# The newest of a kind are kept: what goes is what the policy would have forgotten next.
MAX_PAIRS: Final = 1_000_000  # 100,000 accounts with ten nets each; about 120 MB of file
MAX_SCORES: Final = 200_000  # both scopes, addresses and networks; about 20 MB of file

Kept = FamiliarPair | SourceScore | AccountLock | Learned
Key = tuple[object, ...]


def key_of(memory: Memory) -> Key:
    """What `memory` replaces the record of; `Unlocked` has the key of the lock that is gone."""
    match memory:
        case FamiliarPair(account=account, net=net):
            return FamiliarPair, account, net
        case SourceScore(scope=scope, prefix=prefix):
            return SourceScore, scope, prefix
        case AccountLock(account=account, kind=kind) | Unlocked(account=account, kind=kind):
            return AccountLock, account, kind
        case Learned():
            return (Learned,)
        case _:
            assert_never(memory)


def is_of_interest(memory: Kept, now: float) -> bool:
    """Whether it says anything still at Unix time `now`."""
    match memory:
        case FamiliarPair(last_at=last_at):
            return last_at + FAMILIAR_S > now
        case SourceScore(at=at):
            return at + SCORE_S > now
        case AccountLock(until=until):
            return until is None or until > now
        case Learned():
            return True
        case _:
            assert_never(memory)
