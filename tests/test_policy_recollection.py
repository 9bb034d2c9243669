"""Recollection: what a guard knows is the same after it was written down and read again."""

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.ban import Scope
from gatekeeper.events import AuthAttempt, AuthOutcome, AuthResult, Violation, ViolationKind
from gatekeeper.policy.accounts import MAX_NETS
from gatekeeper.policy.changes import MIN_SCORE
from gatekeeper.policy.evidence import Evidence
from gatekeeper.policy.keys import Place, parent_prefix, place, source_prefix
from gatekeeper.policy.levels import FAMILIARITY, Learning
from gatekeeper.policy.recollection import drain, put_back, recall
from gatekeeper.policy.scores import SourceScores
from gatekeeper.prefix import Prefix, entity
from gatekeeper.remembered import (
    AccountLock,
    FamiliarPair,
    Learned,
    LockKind,
    Memory,
    SourceScore,
    Unlocked,
)
from gatekeeper.secret import Secret
from gatekeeper.settings import PolicySettings

NOW = 1_700_000_000.0
ALL = 10**6
NAMES = ("ann", "bob", "eve")
PLACES = [
    place(entity(address))
    for address in ("203.0.113.9", "203.0.113.77", "198.51.100.7", "2001:db8:7:1::1", "2a00::1")
]
HOME = PLACES[0]


def evidence() -> Evidence:
    return Evidence(PolicySettings(), account_secret=b"account", password_secret=b"password")


class Guard:
    """Evidence with a history, told step by step."""

    def __init__(self) -> None:
        self.now = NOW
        self.evidence = evidence()

    def login(self, name: str, where: Place, password: str, result: AuthResult) -> None:
        attempt = AuthAttempt("PLAIN", name, secret=Secret(password.encode()))
        self.evidence.attempt(attempt, where, self.now)
        self.evidence.outcome(AuthOutcome(attempt, result), where, self.now)

    def succeeds(self, name: str, where: Place = HOME) -> None:
        self.login(name, where, f"{name}'s own", AuthResult.SUCCESS)

    def guessed_at(self, name: str, where: Place, guesses: int = 1) -> None:
        for number in range(guesses):
            self.login(name, where, f"guess {self.now} {number}", AuthResult.FAILURE)

    def key(self, name: str) -> int:
        return self.evidence.logins.account_key(name)

    def lock(self, name: str, kind: LockKind, until: float | None) -> None:
        self.evidence.logins.lock(AccountLock(self.key(name), kind, self.now, until, "note"))

    def drained(self, limit: int = ALL) -> list[Memory]:
        return drain(self.evidence, limit, self.now)

    def restarted(self) -> Evidence:
        """A new guard that has read what this one wrote."""
        after = evidence()
        recall(after, stored(self.drained()), self.now)
        return after


def stored(memories: list[Memory]) -> list[Memory]:
    """In the order of a Store: pairs, scores, locks, what was learned."""
    order = (FamiliarPair, SourceScore, AccountLock, Unlocked, Learned)
    return sorted(memories, key=lambda memory: order.index(type(memory)))


def known(guard: Evidence, now: float) -> dict[str, object]:
    """All that is to outlive a restart."""
    logins, found = guard.logins, dict[str, object]()
    for name in NAMES:
        key = logins.account_key(name)
        account = logins.accounts.get(key)
        found[f"{name} known"] = account is not None
        if account is not None:
            found[f"{name} lane"] = max(account.lane_until, now)
            for number, where in enumerate(PLACES):
                found[f"{name} at {number}"] = account.standing(where, now)
        for kind in (LockKind.OPERATOR, LockKind.HELD):
            found[f"{name} {kind}"] = logins.locks.find(key, kind, now)
    return found


def scores(guard: Evidence, now: float) -> list[float]:
    """Those that are worth a row; what is less counts as nothing."""
    values = []
    for table in (guard.logins.neighbourhood.scores, guard.mx_scores):
        assert isinstance(table, SourceScores)
        for where in PLACES:
            values.append(table.sources.value(where.source, now))
            values += [table.networks.value(parent, now) for parent in where.parents]
    return [value if value >= MIN_SCORE else 0.0 for value in values]


# -- there and back ------------------------------------------------------------------------------


class Step(NamedTuple):
    what: str
    name: str
    where: Place
    number: int
    elapsed_s: float


STEPS = st.builds(
    Step,
    st.sampled_from(("login", "guesses", "violation", "lock", "unlock", "forget", "ban")),
    st.sampled_from(NAMES),
    st.sampled_from(PLACES),
    st.integers(1, 12),
    st.floats(0.0, 7200.0),
)


def take(guard: Guard, step: Step) -> None:
    guard.now += step.elapsed_s
    scope = Scope.MX if step.number % 2 else Scope.AUTH
    kind = list(LockKind)[step.number % 3]
    match step.what:
        case "login":
            guard.succeeds(step.name, step.where)
        case "guesses":
            guard.guessed_at(step.name, step.where, step.number)
        case "violation":
            event = Violation(ViolationKind.SMUGGLING, b"")
            guard.evidence.violation(event, scope, step.where, guard.now)
        case "lock" if kind is not LockKind.LANE:
            until = None if kind is LockKind.OPERATOR else guard.now + 3600.0 * step.number
            guard.lock(step.name, kind, until)
        case "unlock":
            guard.evidence.logins.unlock(guard.key(step.name), kind)
        case "forget":
            guard.evidence.forget(scope, step.where.source)
        case "ban":
            guard.evidence.start_anew(scope, step.where.source, 10.0, guard.now)


@given(st.lists(STEPS, max_size=40))
def test_guard_that_starts_anew_judges_as_the_one_before(steps: list[Step]) -> None:
    guard = Guard()
    for step in steps:
        take(guard, step)
    before = known(guard.evidence, guard.now), scores(guard.evidence, guard.now)
    after = guard.restarted()
    assert known(after, guard.now) == before[0]
    assert scores(after, guard.now) == pytest.approx(before[1], abs=1e-3)


@given(st.lists(STEPS, max_size=30), st.integers(1, 5))
def test_what_is_written_in_pieces_or_twice_is_the_same(steps: list[Step], limit: int) -> None:
    """Written in part as it happens, put back now and then, and read twice."""
    guard, rows = Guard(), dict[object, Memory]()
    for number, step in enumerate(steps):
        take(guard, step)
        batch = guard.drained(limit)
        if number % 3 == 0:
            put_back(guard.evidence, batch)
        else:
            rows |= {row_key(memory): memory for memory in batch}
    rows |= {row_key(memory): memory for memory in guard.drained()}
    after = evidence()
    for _ in range(2):
        recall(after, stored(list(rows.values())), guard.now)
    assert known(after, guard.now) == known(guard.evidence, guard.now)


def row_key(memory: Memory) -> object:
    """What a Store replaces a row by."""
    match memory:
        case FamiliarPair(account=account, net=net):
            return account, net
        case SourceScore(scope=scope, prefix=prefix):
            return scope, prefix
        case AccountLock(account=account, kind=kind) | Unlocked(account=account, kind=kind):
            return account, kind
        case Learned():
            return None


# -- draining ------------------------------------------------------------------------------------


def test_nothing_is_drained_twice() -> None:
    guard = Guard()
    guard.succeeds("ann")
    guard.guessed_at("ann", PLACES[2], 5)
    assert {type(memory) for memory in guard.drained()} == {FamiliarPair, SourceScore, Learned}
    assert guard.drained() == []


def test_a_limit_is_kept_and_the_oldest_comes_first() -> None:
    guard = Guard()
    for host in range(10):
        guard.succeeds(f"user{host}", place(entity(f"10.0.{host}.1")))
    first, rest = guard.drained(4), guard.drained()
    assert len(first) == 4
    pairs = [memory for memory in (*first, *rest) if isinstance(memory, FamiliarPair)]
    assert [pair.net for pair in pairs] == [Prefix.parse(f"10.0.{n}.0/24") for n in range(10)]


def test_what_is_put_back_is_drained_again_as_it_is_by_then() -> None:
    guard = Guard()
    guard.succeeds("ann")
    guard.guessed_at("eve", PLACES[2], 5)
    guard.lock("bob", LockKind.OPERATOR, None)
    guard.lock("eve", LockKind.HELD, guard.now + 60.0)
    batch = guard.drained()
    put_back(guard.evidence, batch)
    guard.now += 61.0
    again = guard.drained()
    assert {row_key(memory) for memory in again} == {row_key(memory) for memory in batch}
    assert Unlocked(guard.key("eve"), LockKind.HELD) in again, "it has ended meanwhile"
    put_back(guard.evidence, again)
    assert {row_key(memory) for memory in guard.drained()} == {row_key(memory) for memory in again}


def test_networks_scores_are_put_back_as_networks() -> None:
    guard = Guard()
    guard.guessed_at("eve", PLACES[3], 9)
    batch = guard.drained()
    prefixes = {memory.prefix for memory in batch if isinstance(memory, SourceScore)}
    expected = {source_prefix(PLACES[3].source), *map(parent_prefix, PLACES[3].parents)}
    assert prefixes == expected
    put_back(guard.evidence, batch)
    assert {row_key(memory) for memory in guard.drained()} == {row_key(memory) for memory in batch}


def test_score_that_is_forgiven_is_taken_back_and_a_faint_one_not_written() -> None:
    guard = Guard()
    guard.guessed_at("eve", HOME, 9)
    guard.drained()
    guard.evidence.forget(Scope.AUTH, HOME.source)
    (memory,) = guard.drained()
    assert isinstance(memory, SourceScore)
    assert memory.score == 0.0
    guard.guessed_at("eve", PLACES[2], 1)
    assert guard.drained() == []


def test_pair_of_an_account_that_is_gone_is_no_record() -> None:
    guard = Guard()
    guard.succeeds("ann")
    account = guard.evidence.logins.accounts.get(guard.key("ann"))
    assert account is not None
    account.nets.clear()
    assert [type(memory) for memory in guard.drained()] == [Learned]


# -- recalling -----------------------------------------------------------------------------------


def test_instants_after_now_are_taken_for_now() -> None:
    """The clock was set back."""
    after, later = evidence(), NOW + 1e6
    pair = FamiliarPair(1, Prefix.parse("203.0.113.0/24"), later, later)
    recall(after, [pair, SourceScore(Scope.AUTH, Prefix.parse("198.51.100.7"), 8.0, later)], NOW)
    account = after.logins.accounts.get(1)
    assert account is not None
    assert account.nets[HOME.net] == (NOW, NOW)
    assert account.last_at == NOW
    score = after.logins.neighbourhood.scores.sources.value(PLACES[2].source, NOW)
    assert score == pytest.approx(8.0, abs=1e-3)


def test_what_is_known_already_is_not_made_older_nor_doubled() -> None:
    guard = Guard()
    guard.guessed_at("eve", PLACES[2], 5)
    before = scores(guard.evidence, guard.now)
    batch = guard.drained()
    recall(guard.evidence, batch, guard.now)
    assert scores(guard.evidence, guard.now) == pytest.approx(before)
    guard.succeeds("ann")
    net = Prefix.parse("203.0.113.0/24")
    recall(guard.evidence, [FamiliarPair(guard.key("ann"), net, NOW - 9.0, NOW - 5.0)], guard.now)
    account = guard.evidence.logins.accounts.get(guard.key("ann"))
    assert account is not None
    assert account.nets[HOME.net] == (NOW - 9.0, NOW)


def test_account_has_no_more_nets_than_before_however_many_were_kept() -> None:
    """One valid mailbox that was everywhere: the latest of its nets are known."""
    pairs = [
        FamiliarPair(1, Prefix.parse(f"10.{n // 200}.{n % 200}.0/24"), NOW + n, NOW + n)
        for n in range(1000)
    ]
    after = evidence()
    recall(after, pairs, NOW + 1000)
    account = after.logins.accounts.get(1)
    assert account is not None
    assert [last for _, last in account.nets.values()] == [NOW + 1000 - n for n in range(32, 0, -1)]
    assert len(account.nets) == MAX_NETS


def test_what_has_ended_is_not_recalled() -> None:
    after = evidence()
    locks: list[Memory] = [
        FamiliarPair(1, Prefix.parse("203.0.113.0/24"), NOW, NOW),
        AccountLock(1, LockKind.HELD, NOW - 60.0, NOW),
        AccountLock(1, LockKind.LANE, NOW - 60.0, NOW),
        Unlocked(1, LockKind.OPERATOR),
    ]
    recall(after, locks, NOW)
    account = after.logins.accounts.get(1)
    assert account is not None
    assert account.lane_until == 0.0
    assert list(after.logins.locks.in_force(NOW)) == []


def test_lane_lock_comes_back_with_its_account() -> None:
    guard = Guard()
    guard.succeeds("ann")
    for number in range(60):
        guard.now += 1.0  # another password
        guard.guessed_at("ann", place(entity(f"10.0.{number}.1")))
    before = guard.evidence.logins.accounts.get(guard.key("ann"))
    assert before is not None
    assert before.lane_until > guard.now
    after = guard.restarted().logins.accounts.get(guard.key("ann"))
    assert after is not None
    assert after.lane_until == before.lane_until


def test_learned_share_is_that_of_the_guard_before() -> None:
    guard = Guard()
    guard.evidence.logins.familiarity = Learning(FAMILIARITY, share=0.001)
    guard.succeeds("ann")
    share = guard.evidence.logins.familiarity.share
    after = guard.restarted().logins
    assert after.familiarity.share == share
    assert after.familiarity.learned


def test_a_lock_of_the_future_is_as_long_as_it_was() -> None:
    """One without end stays as it is."""
    held = AccountLock(7, LockKind.HELD, 9e8, 9e8 + 60, "x")
    locked = AccountLock(8, LockKind.OPERATOR, 9e8, None)
    guard = evidence()
    recall(guard, [held, locked], 1000.0)
    assert guard.logins.locks.find(7, LockKind.HELD, 1059.0) is not None
    assert guard.logins.locks.find(7, LockKind.HELD, 1061.0) is None
    assert guard.logins.locks.find(8, LockKind.OPERATOR, 1061.0) == locked
