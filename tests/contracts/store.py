"""What every Store owes its callers; a test module subclasses `StoreContract` and gives `store`."""

import pytest

from gatekeeper.abc import Lift, Store
from gatekeeper.ban import Ban, End, Origin, Scope
from gatekeeper.policy.accounts import FAMILIAR_S
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
from gatekeeper.store.keeping import SCORE_S
from gatekeeper.verdict import Reason

NOW = 1_700_000_000.0
MEMORY_S = 1_000.0  # what `store` is to be made with
V4 = Prefix.parse("192.0.2.7")
V6 = Prefix.parse("2001:db8:1:2::/64")
NET = Prefix.parse("192.0.2.0/24")


def ban(
    prefix: Prefix = V4, scope: Scope = Scope.AUTH, *, level: int = 1, until: float = NOW + 600
) -> Ban:
    """A ban made a minute before `NOW`."""
    return Ban(prefix, scope, Reason.AUTH_FAILURES, level, NOW - 60, until)


def pair(account: int = 7, net: Prefix = NET, *, last_at: float = NOW) -> FamiliarPair:
    """Familiar since an hour before `NOW`."""
    return FamiliarPair(account, net, NOW - 3600, last_at)


def lock(
    account: int = 7,
    kind: LockKind = LockKind.OPERATOR,
    *,
    until: float | None = None,
    note: str = "",
) -> AccountLock:
    """In force since `NOW`."""
    return AccountLock(account, kind, NOW, until, note)


class StoreContract:
    """The suite."""

    @pytest.fixture
    def store(self) -> Store:
        """The Store under test, empty, made with `MEMORY_S`."""
        raise NotImplementedError

    async def test_new_store_is_empty(self, store: Store) -> None:
        assert await store.load(NOW) == []

    async def test_every_field_comes_back(self, store: Store) -> None:
        made = [
            Ban(V4, Scope.MX, Reason.UNKNOWN_RECIPIENTS, 3, NOW - 0.25, NOW + 0.5),
            Ban(V6, Scope.AUTH, Reason.OPERATOR, 1, NOW, NOW + 9, Origin.OPERATOR, "he'd; «ask» ☎"),
            ban(Prefix.parse("198.51.100.0/24")),
            ban(Prefix.parse("2001:db8:9::/48")),
        ]
        await store.record(made, NOW)
        assert set(await store.load(NOW)) == set(made)

    async def test_scopes_are_kept_apart(self, store: Store) -> None:
        await store.record([ban(), ban(scope=Scope.MX)], NOW)
        await store.record([Lift(V4, Scope.AUTH)], NOW)
        assert await store.load(NOW) == [ban(scope=Scope.MX)]

    async def test_later_ban_replaces_the_earlier_one(self, store: Store) -> None:
        await store.record([ban(level=1)], NOW)
        await store.record([ban(level=2, until=NOW + 1200)], NOW)
        assert await store.load(NOW) == [ban(level=2, until=NOW + 1200)]

    async def test_within_a_batch_the_last_change_wins(self, store: Store) -> None:
        await store.record([ban(), Lift(V4, Scope.AUTH)], NOW)
        assert await store.load(NOW) == []
        await store.record([Lift(V4, Scope.AUTH), ban()], NOW)
        assert await store.load(NOW) == [ban()]

    async def test_lift_that_does_not_forget_leaves_the_ban_as_one_that_has_ended(
        self, store: Store
    ) -> None:
        await store.record([ban(level=3), ban(V6)], NOW)
        await store.record([Lift(V4, Scope.AUTH, forget=False)], NOW + 60)
        loaded = {one.prefix: one for one in await store.load(NOW + 60)}
        assert (loaded[V4].level, loaded[V4].until) == (3, NOW + 60)
        assert loaded[V6] == ban(V6)
        await store.record([Lift(V4, Scope.AUTH, forget=False)], NOW + 90)
        loaded = {one.prefix: one for one in await store.load(NOW + 90)}
        assert loaded[V4].until == NOW + 60, "it had ended"

    async def test_lifting_what_is_not_held_is_no_error(self, store: Store) -> None:
        await store.record([Lift(V4, Scope.AUTH)], NOW)
        assert await store.load(NOW) == []

    async def test_ended_ban_is_loaded_while_escalation_counts_it(self, store: Store) -> None:
        await store.record([ban(until=NOW + 10)], NOW)
        assert await store.load(NOW + 10 + MEMORY_S - 1) == [ban(until=NOW + 10)]
        assert await store.load(NOW + 10 + MEMORY_S) == []

    async def test_empty_batch_is_no_error(self, store: Store) -> None:
        await store.record([], NOW)
        assert await store.load(NOW) == []

    async def test_pages_give_everything_once(self, store: Store) -> None:
        """More than one page of any Store; ended ones and both scopes among them."""
        made = [
            ban(Prefix(i.to_bytes(4, "big"), 32), scope, until=NOW + i - 100)
            for i in range(3_001)
            for scope in Scope
        ]
        await store.record(made, NOW)
        loaded: list[Ban] = []
        while page := await store.load(NOW, loaded[-1] if loaded else None):
            loaded += page
        assert len(loaded) == len(made)
        assert set(loaded) == set(made)

    async def test_ends_are_those_of_the_bans_in_force(self, store: Store) -> None:
        made = [
            ban(Prefix(i.to_bytes(4, "big"), 32), scope, until=NOW + i - 100)
            for i in range(3_001)
            for scope in Scope
        ]
        await store.record([*made, ban(V6), ban(Prefix.parse("192.0.2.0/24"))], NOW)
        ends: list[End] = []
        while page := await store.ends(NOW, ends[-1] if ends else None):
            ends += page
        loaded: list[Ban] = []
        while bans := await store.load(NOW, loaded[-1] if loaded else None):
            loaded += bans
        assert len(ends) == len(set(ends))
        assert set(ends) == {
            (one.prefix, one.scope, one.until) for one in loaded if one.until > NOW
        }

    # -- what is remembered -----------------------------------------------------------------

    async def test_nothing_is_remembered_at_first(self, store: Store) -> None:
        assert await store.recall(NOW) == []

    async def test_every_kind_comes_back_whole_and_in_order(self, store: Store) -> None:
        made: list[Memory] = [
            pair(0, NET, last_at=NOW - 2),
            pair(2**63, V6, last_at=NOW - 1),
            pair(2**64 - 1, last_at=NOW),
            SourceScore(Scope.MX, Prefix.parse("2001:db8::/48"), 0.25, NOW - 9),
            SourceScore(Scope.AUTH, V4, 1024.0, NOW - 8),
            lock(2**64 - 1, note="he'd; «ask» ☎"),
            Learned(0.0125, NOW - 3),
        ]
        await store.remember(made[::-1], NOW)
        assert await store.recall(NOW) == made

    async def test_remembering_twice_changes_nothing(self, store: Store) -> None:
        score = SourceScore(Scope.AUTH, V4, 3.0, NOW)
        made: list[Memory] = [pair(), score, lock(), Learned(0.5, NOW)]
        await store.remember(made, NOW)
        await store.remember(made, NOW + 1)
        assert await store.recall(NOW + 1) == made

    async def test_a_later_record_replaces_the_one_of_its_key(self, store: Store) -> None:
        await store.remember(
            [pair(), SourceScore(Scope.AUTH, V4, 3.0, NOW), lock(), Learned(0.5, NOW)], NOW
        )
        later: list[Memory] = [
            pair(last_at=NOW + 5),
            SourceScore(Scope.AUTH, V4, 1.0, NOW + 5),
            lock(until=NOW + 60, note="an hour will do"),
            Learned(0.25, NOW + 5),
        ]
        await store.remember(later, NOW + 5)
        assert await store.recall(NOW + 5) == later

    async def test_keys_are_kept_apart(self, store: Store) -> None:
        made: list[Memory] = [
            pair(1, last_at=NOW - 2),
            pair(1, V6, last_at=NOW - 1),
            pair(2),
            SourceScore(Scope.AUTH, V4, 3.0, NOW - 3),
            SourceScore(Scope.MX, V4, 4.0, NOW - 2),
            SourceScore(Scope.AUTH, NET, 5.0, NOW - 1),
        ]
        locks = {lock(1, kind) for kind in LockKind} | {lock(2)}
        await store.remember([*made, *locks], NOW)
        found = await store.recall(NOW)
        assert found[: len(made)] == made
        assert set(found[len(made) :]) == locks

    async def test_an_unlocked_account_has_its_other_locks(self, store: Store) -> None:
        await store.remember([lock(), lock(kind=LockKind.HELD), lock(8)], NOW)
        await store.remember([Unlocked(7, LockKind.OPERATOR)], NOW)
        assert set(await store.recall(NOW)) == {lock(kind=LockKind.HELD), lock(8)}

    async def test_unlocking_what_is_not_locked_is_no_error(self, store: Store) -> None:
        await store.remember([Unlocked(7, LockKind.LANE)], NOW)
        assert await store.recall(NOW) == []

    async def test_within_a_list_the_last_record_of_a_key_wins(self, store: Store) -> None:
        gone = Unlocked(7, LockKind.OPERATOR)
        await store.remember([lock(), gone, pair(), pair(last_at=NOW + 1)], NOW)
        assert await store.recall(NOW) == [pair(last_at=NOW + 1)]
        await store.remember([gone, lock()], NOW)
        assert await store.recall(NOW) == [pair(last_at=NOW + 1), lock()]

    async def test_a_pair_is_forgotten_thirty_days_after_its_last_login(self, store: Store) -> None:
        await store.remember([pair()], NOW)
        assert await store.recall(NOW + FAMILIAR_S - 1) == [pair()]
        assert await store.recall(NOW + FAMILIAR_S) == []

    async def test_a_score_is_forgotten_when_it_has_decayed(self, store: Store) -> None:
        score = SourceScore(Scope.AUTH, V4, 900.0, NOW)
        await store.remember([score], NOW)
        assert await store.recall(NOW + SCORE_S - 1) == [score]
        assert await store.recall(NOW + SCORE_S) == []

    async def test_a_lock_is_forgotten_when_it_has_ended(self, store: Store) -> None:
        await store.remember([lock(until=NOW + 60), lock(8)], NOW)
        assert set(await store.recall(NOW + 59)) == {lock(until=NOW + 60), lock(8)}
        assert await store.recall(NOW + 60) == [lock(8)], "a lock without an end stays"

    async def test_an_empty_list_of_records_is_no_error(self, store: Store) -> None:
        await store.remember([], NOW)
        assert await store.recall(NOW) == []

    async def test_bans_and_records_do_not_touch_each_other(self, store: Store) -> None:
        await store.record([ban()], NOW)
        await store.remember([pair(), SourceScore(Scope.AUTH, V4, 3.0, NOW)], NOW)
        await store.record([Lift(V4, Scope.AUTH)], NOW)
        assert await store.load(NOW) == []
        assert await store.recall(NOW) == [pair(), SourceScore(Scope.AUTH, V4, 3.0, NOW)]
