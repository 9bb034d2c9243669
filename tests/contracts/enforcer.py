"""The contract every Enforcer passes; see `gatekeeper.abc.Enforcer`."""

import pytest

from gatekeeper.abc import Enforcer, Lift
from gatekeeper.ban import Ban, Scope
from gatekeeper.errors import EnforcerError
from gatekeeper.prefix import Prefix
from gatekeeper.verdict import Reason

NOW = 1_790_000_000.0  # bans are relative to `now`, which need not be the kernel's idea of it
ADDRESS = Prefix.parse("192.0.2.7")
CUSTOMER = Prefix.parse("2001:db8:1:2::/64")
SLACK_S = 30.0  # what a busy host may take between two steps of a test


def ban(prefix: Prefix | str = ADDRESS, seconds: float = 600.0, scope: Scope = Scope.AUTH) -> Ban:
    """A ban from NOW on."""
    if isinstance(prefix, str):
        prefix = Prefix.parse(prefix)
    return Ban(prefix, scope, Reason.AUTH_FAILURES, level=1, since=NOW, until=NOW + seconds)


async def held_keys(enforcer: Enforcer) -> set[tuple[str, Scope]]:
    """What is held, without times; a ban held twice fails."""
    held = await enforcer.held()
    keys = [(str(each.prefix), each.scope) for each in held]
    assert len(keys) == len(set(keys))
    return set(keys)


class EnforcerContract:
    """Subclasses give an `enforcer` fixture that holds nothing yet."""

    async def test_nothing_is_held_at_first(self, enforcer: Enforcer) -> None:
        assert await enforcer.held() == []
        assert await enforcer.remaining_s(ADDRESS, Scope.AUTH) is None

    @pytest.mark.parametrize(
        "text", ["192.0.2.7", "192.0.2.0/24", "2001:db8:1:2::/64", "2001:db8:1::/48"]
    )
    @pytest.mark.parametrize("scope", list(Scope))
    async def test_a_ban_of_each_length_and_scope_is_held(
        self, enforcer: Enforcer, text: str, scope: Scope
    ) -> None:
        prefix = Prefix.parse(text)
        await enforcer.apply([ban(prefix, 600.0, scope)], NOW)
        (held,) = await enforcer.held()
        assert (held.prefix, held.scope) == (prefix, scope)
        assert 600.0 - SLACK_S < held.remaining_s <= 600.0
        left = await enforcer.remaining_s(prefix, scope)
        assert left is not None
        assert 600.0 - SLACK_S < left <= 600.0
        for other in set(Scope) - {scope}:
            assert await enforcer.remaining_s(prefix, other) is None

    async def test_lengths_of_one_network_are_apart(self, enforcer: Enforcer) -> None:
        await enforcer.apply([ban("192.0.2.0/24"), ban("192.0.2.0")], NOW)
        await enforcer.apply([Lift(Prefix.parse("192.0.2.0"), Scope.AUTH)], NOW)
        assert await held_keys(enforcer) == {("192.0.2.0/24", Scope.AUTH)}

    async def test_time_counts_from_now(self, enforcer: Enforcer) -> None:
        await enforcer.apply([ban(seconds=600.0)], NOW + 500)
        left = await enforcer.remaining_s(ADDRESS, Scope.AUTH)
        assert left is not None
        assert 100.0 - SLACK_S < left <= 100.0

    async def test_a_held_ban_is_lengthened_and_shortened(self, enforcer: Enforcer) -> None:
        for seconds in (60.0, 6000.0, 6000.0, 120.0):
            await enforcer.apply([ban(seconds=seconds)], NOW)
            left = await enforcer.remaining_s(ADDRESS, Scope.AUTH)
            assert left is not None
            assert seconds - SLACK_S < left <= seconds
        assert len(await enforcer.held()) == 1

    async def test_a_lift_ends_it_and_only_it(self, enforcer: Enforcer) -> None:
        await enforcer.apply([ban(), ban(scope=Scope.MX), ban(CUSTOMER)], NOW)
        await enforcer.apply([Lift(ADDRESS, Scope.AUTH)], NOW)
        assert await held_keys(enforcer) == {
            (str(ADDRESS), Scope.MX),
            (str(CUSTOMER), Scope.AUTH),
        }

    async def test_lifting_what_is_not_held_is_no_error(self, enforcer: Enforcer) -> None:
        await enforcer.apply([Lift(ADDRESS, Scope.AUTH), ban(CUSTOMER)], NOW)
        assert await held_keys(enforcer) == {(str(CUSTOMER), Scope.AUTH)}

    async def test_the_last_change_of_a_key_wins(self, enforcer: Enforcer) -> None:
        lift = Lift(ADDRESS, Scope.AUTH)
        await enforcer.apply([ban(), lift, ban(CUSTOMER, 60.0), ban(CUSTOMER, 600.0)], NOW)
        assert await held_keys(enforcer) == {(str(CUSTOMER), Scope.AUTH)}
        left = await enforcer.remaining_s(CUSTOMER, Scope.AUTH)
        assert left is not None
        assert left > 60.0
        await enforcer.apply([lift, ban()], NOW)
        assert await enforcer.remaining_s(ADDRESS, Scope.AUTH) is not None

    async def test_a_ban_that_has_ended_is_not_held(self, enforcer: Enforcer) -> None:
        await enforcer.apply([ban()], NOW)
        await enforcer.apply([ban(seconds=5.0)], NOW + 5.0)
        assert await enforcer.held() == []

    async def test_no_ban_is_held_longer_than_eight_days(self, enforcer: Enforcer) -> None:
        await enforcer.apply([ban(seconds=1e9)], NOW)
        left = await enforcer.remaining_s(ADDRESS, Scope.AUTH)
        assert left is not None
        assert left <= 8 * 86_400

    async def test_no_changes_are_no_error(self, enforcer: Enforcer) -> None:
        await enforcer.apply([], NOW)
        assert await enforcer.held() == []

    @pytest.mark.parametrize("text", ["192.0.2.0/25", "2001:db8::1", "0.0.0.0/0", "::/0"])
    async def test_of_a_list_with_another_length_nothing_is_applied(
        self, enforcer: Enforcer, text: str
    ) -> None:
        with pytest.raises(EnforcerError):
            await enforcer.apply([ban(), ban(text)], NOW)
        assert await enforcer.held() == []

    @pytest.mark.parametrize("text", ["192.0.2.0/25", "2001:db8::1", "::/0"])
    async def test_another_length_is_never_held(self, enforcer: Enforcer, text: str) -> None:
        prefix = Prefix.parse(text)
        assert await enforcer.remaining_s(prefix, Scope.AUTH) is None
        await enforcer.apply([Lift(prefix, Scope.AUTH), ban()], NOW)
        assert await held_keys(enforcer) == {(str(ADDRESS), Scope.AUTH)}

    async def test_a_long_list_is_held_whole(self, enforcer: Enforcer) -> None:
        prefixes = [Prefix(bytes([10, 0, i >> 8, i & 255]), 32) for i in range(2500)]
        await enforcer.apply([ban(prefix) for prefix in prefixes], NOW)
        assert {each.prefix for each in await enforcer.held()} == set(prefixes)
        await enforcer.apply([Lift(prefix, Scope.AUTH) for prefix in prefixes[1:]], NOW)
        assert await held_keys(enforcer) == {("10.0.0.0", Scope.AUTH)}

    async def test_what_is_held_is_held_and_changed_while_suspended(
        self, enforcer: Enforcer
    ) -> None:
        await enforcer.apply([ban()], NOW)
        await enforcer.suspend(on=True)
        await enforcer.suspend(on=True)
        assert await held_keys(enforcer) == {(str(ADDRESS), Scope.AUTH)}
        await enforcer.apply([Lift(ADDRESS, Scope.AUTH), ban(CUSTOMER)], NOW)
        assert await held_keys(enforcer) == {(str(CUSTOMER), Scope.AUTH)}
        await enforcer.suspend(on=False)
        await enforcer.suspend(on=False)
        assert await held_keys(enforcer) == {(str(CUSTOMER), Scope.AUTH)}

    async def test_dropped_counts_are_not_negative(self, enforcer: Enforcer) -> None:
        assert all(packets >= 0 for packets in (await enforcer.dropped()).values())
