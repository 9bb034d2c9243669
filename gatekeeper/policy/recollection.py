"""From the tables to records that a Store keeps, and back.

Records are absolute: writing one twice, or after a failure once more, changes nothing. What was
learnt of passwords is not among them.
"""

from collections.abc import Iterable
from dataclasses import replace
from math import inf
from typing import Final, TypeVar

from gatekeeper.ban import Scope
from gatekeeper.policy.changes import MIN_SCORE
from gatekeeper.policy.evidence import Evidence
from gatekeeper.policy.keys import (
    net_key,
    net_prefix,
    parent_key,
    parent_prefix,
    place,
    source_prefix,
)
from gatekeeper.policy.levels import FAMILIARITY, NEWCOMERS, Learning
from gatekeeper.policy.scores import SourceScores
from gatekeeper.prefix import Prefix
from gatekeeper.remembered import (
    AccountLock,
    FamiliarPair,
    Learned,
    LockKind,
    Memory,
    SourceScore,
    Unlocked,
)

Key = TypeVar("Key")

_SOURCE_BITS: Final = frozenset({32, 64})


def drain(evidence: Evidence, limit: int, now: float) -> list[Memory]:
    """What has changed since the last call, at most about `limit` records, oldest change first."""
    changes = evidence.logins.changes
    found: list[Memory] = []
    while changes.locks and len(found) < limit:
        found.append(_lock(evidence, *_pop(changes.locks), now))
    while changes.pairs and len(found) < limit:
        found += _pair(evidence, *_pop(changes.pairs))
    while changes.scores and len(found) < limit:
        found += _score(evidence, *_pop(changes.scores), now)
    if changes.learning and len(found) < limit:
        changes.learning = False
        found.append(Learned(evidence.logins.familiarity.share, now))
    return found


def put_back(evidence: Evidence, memories: Iterable[Memory]) -> None:
    """These were drained and could not be written: they count as changed again."""
    changes = evidence.logins.changes
    for memory in memories:
        match memory:
            case FamiliarPair(account=account, net=net):
                changes.pair(account, net_key(net))
            case SourceScore(scope=scope, prefix=prefix):
                parent = prefix.length not in _SOURCE_BITS
                changes.score(scope, _score_key(prefix), parent=parent)
            case AccountLock(account=account, kind=kind) | Unlocked(account=account, kind=kind):
                changes.lock(account, kind)
            case Learned():
                changes.learning = True


def recall(evidence: Evidence, memories: Iterable[Memory], now: float) -> None:
    """Take in what a Store kept. An instant after `now` is taken for now: the clock was set back.

    Meant for the start, before the first Event; what is known already is not made older by it.
    """
    for memory in memories:
        match memory:
            case FamiliarPair():
                _recall_pair(evidence, memory, now)
            case SourceScore():
                _recall_score(evidence, memory, now)
            case AccountLock():
                _recall_lock(evidence, memory, now)
            case Learned(unfamiliar_share=share):
                evidence.logins.familiarity = Learning(FAMILIARITY, share)
                evidence.logins.newcomers = Learning(NEWCOMERS, share)
            case Unlocked():
                pass


def _pop(changed: dict[Key, None]) -> Key:
    key = next(iter(changed))
    del changed[key]
    return key


def _lock(evidence: Evidence, account: int, kind: LockKind, now: float) -> Memory:
    if kind is LockKind.LANE:
        known = evidence.logins.accounts.get(account)
        if known is None or known.lane_until <= now:
            return Unlocked(account, kind)
        return AccountLock(account, kind, now, known.lane_until)
    return evidence.logins.locks.find(account, kind, now) or Unlocked(account, kind)


def _pair(evidence: Evidence, account: int, net: int) -> list[Memory]:
    known = evidence.logins.accounts.get(account)
    if known is None or net not in known.nets:
        return []
    return [FamiliarPair(account, net_prefix(net), *known.nets[net])]


def _score(
    evidence: Evidence,
    scope: Scope,
    key: int,
    parent: bool,
    now: float,
) -> list[Memory]:
    scores = _scores(evidence, scope)
    value = (scores.networks if parent else scores.sources).value(key, now)
    if 0 < value < MIN_SCORE:
        return []  # but nought is written: it takes back what was kept before
    prefix = parent_prefix(key) if parent else source_prefix(key)
    return [SourceScore(scope, prefix, value, now)]


def _recall_pair(evidence: Evidence, pair: FamiliarPair, now: float) -> None:
    logins = evidence.logins
    net, last_at = net_key(pair.net), min(pair.last_at, now)
    account, _ = logins.accounts.touch(pair.account, -inf)
    account.know_net(net, min(pair.first_at, last_at), last_at)
    account.last_at = max(account.last_at, last_at)
    logins.neighbourhood.nets.add(net, pair.account, last_at)
    parents = place(pair.net).parents
    if len(parents) > 1:
        logins.neighbourhood.sites.add(parents[-1], pair.account, last_at)
    logins.neighbourhood.recalled.add(net, pair.account, last_at)


def _recall_score(evidence: Evidence, memory: SourceScore, now: float) -> None:
    scores = _scores(evidence, memory.scope)
    parent = memory.prefix.length not in _SOURCE_BITS
    table = scores.networks if parent else scores.sources
    key = _score_key(memory.prefix)
    missing = table.decayed(memory.score, min(memory.at, now), now) - table.value(key, now)
    if missing > 0:
        table.add(key, missing, now)


def _recall_lock(evidence: Evidence, lock: AccountLock, now: float) -> None:
    if lock.until is not None and lock.since > now:
        lock = replace(lock, since=now, until=now + lock.until - lock.since)
    if lock.until is not None and lock.until <= now:
        return
    if lock.kind is LockKind.LANE:
        account = evidence.logins.accounts.get(lock.account)
        if account is not None and lock.until is not None:
            account.lane_until = lock.until
        return
    evidence.logins.locks.put(lock)


def _scores(evidence: Evidence, scope: Scope) -> SourceScores:
    return evidence.mx_scores if scope is Scope.MX else evidence.logins.neighbourhood.scores


def _score_key(prefix: Prefix) -> int:
    return place(prefix).source if prefix.length in _SOURCE_BITS else parent_key(prefix)
