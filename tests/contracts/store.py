"""What every Store owes its callers; a test module subclasses `StoreContract` and gives `store`."""

import pytest

from gatekeeper.abc import Lift, Store
from gatekeeper.ban import Ban, Origin, Scope
from gatekeeper.prefix import Prefix
from gatekeeper.verdict import Reason

NOW = 1_700_000_000.0
MEMORY_S = 1_000.0  # what `store` is to be made with
V4 = Prefix.parse("192.0.2.7")
V6 = Prefix.parse("2001:db8:1:2::/64")


def ban(
    prefix: Prefix = V4, scope: Scope = Scope.AUTH, *, level: int = 1, until: float = NOW + 600
) -> Ban:
    """A ban made a minute before `NOW`."""
    return Ban(prefix, scope, Reason.AUTH_FAILURES, level, NOW - 60, until)


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
