"""KernelClient, its kernel process and real nftables, with packets between two hosts."""

import signal
import socket
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import trio
from contracts.enforcer import NOW, EnforcerContract, ban, held_keys
from enforcer_news import Told

from gatekeeper.abc import Lift
from gatekeeper.ban import Scope
from gatekeeper.enforce.kernel_client import KernelClient
from gatekeeper.errors import EnforcerError
from gatekeeper.prefix import Prefix

from .hosts import DROPPED_S, Hosts

pytestmark = pytest.mark.netns

ONE, TWO = "10.77.0.2", "10.77.0.3"
ONE_V6, NEIGHBOUR_V6 = "2001:db8:77:1::2", "2001:db8:77:1::3"  # one /64
SAME_48, OTHER_48 = "2001:db8:77:2::2", "2001:db8:78:1::2"
EXPIRY_S = 15.0


Make = Callable[..., KernelClient]


@pytest.fixture
async def make(hosts: Hosts, nursery: trio.Nursery) -> AsyncIterator[Make]:
    """Makes a client of a kernel process with these options."""
    made: list[KernelClient] = []

    def client(**options: Any) -> KernelClient:  # noqa: ANN401  # as `Hosts.spawn` takes them
        made.append(KernelClient(hosts.spawn(**options)[0]))
        made[-1].news = Told()
        nursery.start_soon(made[-1].run, made[-1].news)
        return made[-1]

    yield client
    for each in made:
        await each.aclose()


@pytest.fixture
async def client(make: Make) -> KernelClient:
    return make()


def told(client: KernelClient) -> Told:
    """What it was told."""
    assert isinstance(client.news, Told)
    return client.news


class TestKernelClient(EnforcerContract):
    @pytest.fixture
    def enforcer(self, client: KernelClient) -> KernelClient:
        return client


def until(condition: Callable[[], bool], within_s: float = EXPIRY_S) -> None:
    """Wait until `condition`, which asks the kernel and takes its time, holds."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline


class TestPackets:
    async def test_a_banned_address_is_dropped_until_it_is_lifted(
        self, hosts: Hosts, client: KernelClient
    ) -> None:
        assert hosts.welcome(ONE, Hosts.AUTH)
        await client.apply([ban(ONE)], NOW)
        assert hosts.dropped(ONE, Hosts.AUTH)
        assert hosts.welcome(TWO, Hosts.AUTH)
        await client.apply([Lift(Prefix.parse(ONE), Scope.AUTH)], NOW)
        assert hosts.welcome(ONE, Hosts.AUTH)

    async def test_a_ban_runs_out_by_itself(self, hosts: Hosts, client: KernelClient) -> None:
        await client.apply([ban(ONE, seconds=1.0)], NOW)
        assert hosts.dropped(ONE, Hosts.AUTH)
        until(lambda: not hosts.dropped(ONE, Hosts.AUTH))
        assert await client.remaining_s(Prefix.parse(ONE), Scope.AUTH) is None
        assert await client.held() == []

    async def test_a_refreshed_ban_outlives_its_first_time(
        self, hosts: Hosts, client: KernelClient
    ) -> None:
        await client.apply([ban(ONE, 1.0), ban(TWO, 1.0)], NOW)
        await client.apply([ban(ONE, 600.0)], NOW)
        until(lambda: not hosts.dropped(TWO, Hosts.AUTH))
        assert hosts.dropped(ONE, Hosts.AUTH)

    async def test_a_scope_is_its_ports(self, hosts: Hosts, client: KernelClient) -> None:
        await client.apply([ban(ONE), ban(TWO, scope=Scope.MX)], NOW)
        dropped = {
            (source, port)
            for source in (ONE, TWO)
            for port in (Hosts.AUTH, Hosts.MX, Hosts.OTHER)
            if hosts.dropped(source, port)
        }
        assert dropped == {(ONE, Hosts.AUTH), (TWO, Hosts.MX)}

    async def test_an_ipv6_ban_is_of_the_whole_64(self, hosts: Hosts, client: KernelClient) -> None:
        await client.apply([ban("2001:db8:77:1::/64")], NOW)
        assert hosts.dropped(ONE_V6, Hosts.AUTH)
        assert hosts.dropped(NEIGHBOUR_V6, Hosts.AUTH)
        assert hosts.welcome(SAME_48, Hosts.AUTH)

    async def test_network_bans_cover_a_24_and_a_48(
        self, hosts: Hosts, client: KernelClient
    ) -> None:
        await client.apply([ban("10.77.0.0/24"), ban("2001:db8:77::/48")], NOW)
        for source in (ONE, TWO, ONE_V6, SAME_48):
            assert hosts.dropped(source, Hosts.AUTH)
        assert hosts.welcome(OTHER_48, Hosts.AUTH)

    async def test_an_open_connection_of_a_banned_address_goes_silent(
        self, hosts: Hosts, client: KernelClient
    ) -> None:
        with hosts.open(ONE, Hosts.AUTH) as peer:
            await client.apply([ban(ONE)], NOW)
            before = await client.dropped()
            peer.sendall(b"NOOP\r\n")
            assert (await client.dropped())["dropped4_auth"] > before["dropped4_auth"]

    async def test_drops_are_counted_by_family_and_scope(
        self, hosts: Hosts, client: KernelClient
    ) -> None:
        assert set((await client.dropped()).values()) == {0}
        await client.apply([ban(ONE), ban("2001:db8:77:1::/64", scope=Scope.MX)], NOW)
        assert hosts.dropped(ONE, Hosts.AUTH)
        assert hosts.dropped(ONE_V6, Hosts.MX)
        dropped = await client.dropped()
        assert {name for name, packets in dropped.items() if packets} == {
            "dropped4_auth",
            "dropped6_mx",
        }

    async def test_kill_resets_open_connections_of_one_scope(
        self, hosts: Hosts, client: KernelClient
    ) -> None:
        with (
            hosts.open(ONE, Hosts.AUTH) as killed,
            hosts.open(ONE, Hosts.MX) as other_port,
            hosts.open(TWO, Hosts.AUTH) as other_address,
        ):
            assert await client.kill([(Prefix.parse(ONE), Scope.AUTH)]) == 1
            with pytest.raises(ConnectionResetError):
                killed.recv(1)
            for spared in (other_port, other_address):
                spared.settimeout(DROPPED_S)
                with pytest.raises(TimeoutError):
                    spared.recv(1)
            assert await client.kill([(Prefix.parse(ONE), Scope.AUTH)]) == 0
        assert hosts.welcome(ONE, Hosts.AUTH), "the listener lives"

    async def test_kill_finds_a_whole_ipv6_network(
        self, hosts: Hosts, client: KernelClient
    ) -> None:
        with hosts.open(ONE_V6, Hosts.AUTH), hosts.open(NEIGHBOUR_V6, Hosts.AUTH):
            assert await client.kill([(Prefix.parse("2001:db8:77:1::/64"), Scope.AUTH)]) == 2


class TestLists:
    async def test_the_allow_list_wins_over_a_ban(self, hosts: Hosts, make: Make) -> None:
        client = make(allow=(f"{ONE}/32", "2001:db8:77:1::2"))
        await client.apply([ban("10.77.0.0/24"), ban("2001:db8:77:1::/64")], NOW)
        assert hosts.welcome(ONE, Hosts.AUTH)
        assert hosts.welcome(ONE_V6, Hosts.AUTH)
        assert hosts.dropped(TWO, Hosts.AUTH)
        assert hosts.dropped(NEIGHBOUR_V6, Hosts.AUTH)

    async def test_the_never_list_keeps_its_bans_out_and_lets_others_in(self, make: Make) -> None:
        client = make(never=("10.77.0.3/32", "2001:db8:77::/48"))
        inside, around = "2001:db8:77:1::/64", "10.77.0.0/24"
        await client.apply([ban(inside), ban(around), ban("127.0.0.1"), ban(ONE)], NOW)
        refused = {(inside, Scope.AUTH), (around, Scope.AUTH), ("127.0.0.1", Scope.AUTH)}
        assert set(told(client).refusals) == refused
        assert await held_keys(client) == {(ONE, Scope.AUTH)}

    async def test_a_reload_changes_the_allow_list_and_keeps_bans(
        self, hosts: Hosts, client: KernelClient
    ) -> None:
        await client.apply([ban(ONE), ban(TWO)], NOW)
        overlapping = [
            Prefix.parse(text) for text in ("10.77.0.2/31", "10.77.0.2", "2001:db8::/32")
        ]
        await client.reload(overlapping, [])
        assert hosts.welcome(ONE, Hosts.AUTH)
        await client.reload([Prefix.parse(TWO)], [])
        assert hosts.dropped(ONE, Hosts.AUTH)
        assert hosts.welcome(TWO, Hosts.AUTH)
        assert await held_keys(client) == {(ONE, Scope.AUTH), (TWO, Scope.AUTH)}

    async def test_reloads_do_not_double_the_rules(
        self, hosts: Hosts, client: KernelClient
    ) -> None:
        rules = hosts.guard.command("nft", "-t", "list", "ruleset")
        await client.reload([], [])
        assert hosts.guard.command("nft", "-t", "list", "ruleset") == rules


class TestEndings:
    async def test_bans_outlive_the_process_and_are_found_by_the_next(
        self, hosts: Hosts, make: Make
    ) -> None:
        first = make()
        await first.apply([ban(ONE)], NOW)
        await first.aclose()
        assert hosts.dropped(ONE, Hosts.AUTH)
        successor = make()
        assert await held_keys(successor) == {(ONE, Scope.AUTH)}
        assert hosts.dropped(ONE, Hosts.AUTH)
        assert told(successor).times_rebuilt == 0

    async def test_the_process_ends_with_its_socket(
        self, hosts: Hosts, nursery: trio.Nursery
    ) -> None:
        sock, process = hosts.spawn()
        client = KernelClient(sock)
        nursery.start_soon(client.run, Told())
        await client.hello()
        await client.aclose()
        assert process.wait(10) == 0

    async def test_signals_for_the_guard_leave_it_working(
        self, hosts: Hosts, nursery: trio.Nursery
    ) -> None:
        sock, process = hosts.spawn()
        client = KernelClient(sock)
        nursery.start_soon(client.run, Told())
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGHUP)
        await client.apply([ban(ONE)], NOW)
        assert hosts.dropped(ONE, Hosts.AUTH)
        await client.aclose()

    async def test_a_table_of_another_shape_is_replaced(self, hosts: Hosts, make: Make) -> None:
        hosts.guard.command(
            "nft", "-f", "-", stdin="table inet gatekeeper {\nset ban4_auth {\ntype mark\n}\n}\n"
        )
        client = make()
        await client.apply([ban(ONE)], NOW)
        assert hosts.dropped(ONE, Hosts.AUTH)


class TestOtherPeople:
    """What is done to the table by hand, and told at once."""

    @pytest.mark.parametrize(
        "command", [("flush", "ruleset"), ("delete", "table", "inet gatekeeper")]
    )
    async def test_a_table_removed_by_hand_comes_back_by_itself(
        self, hosts: Hosts, client: KernelClient, command: tuple[str, ...]
    ) -> None:
        await client.apply([ban(ONE)], NOW)
        assert hosts.dropped(ONE, Hosts.AUTH)
        hosts.guard.command("nft", *command)
        while not told(client).times_rebuilt:
            await told(client).something()
        assert await client.held() == []
        await client.apply([ban(TWO)], NOW)
        assert hosts.dropped(TWO, Hosts.AUTH)
        assert told(client).times_rebuilt == 1
        assert told(client).lifts == []  # nobody meant these bans

    async def test_rules_flushed_by_hand_come_back_and_bans_stay(
        self, hosts: Hosts, client: KernelClient
    ) -> None:
        await client.apply([ban(ONE)], NOW)
        rules = hosts.guard.command("nft", "-t", "list", "ruleset")
        hosts.guard.command("nft", "flush", "table", "inet", "gatekeeper")
        await client.hello()
        assert hosts.guard.command("nft", "-t", "list", "ruleset") == rules
        assert hosts.dropped(ONE, Hosts.AUTH)
        assert told(client).times_rebuilt == 0

    async def test_elements_changed_by_hand_are_told_and_our_own_are_not(
        self, hosts: Hosts, client: KernelClient
    ) -> None:
        many = [ban(Prefix(bytes([10, 1, i >> 8, i & 255]), 32)) for i in range(3_000)]
        await client.apply([*many, ban(ONE), ban(TWO), ban("2001:db8:77:1::/64")], NOW)
        await client.apply([ban(ONE, 60.0), Lift(Prefix.parse(TWO), Scope.AUTH)], NOW)
        table = "inet gatekeeper"
        hosts.guard.command("nft", f"delete element {table} ban4_auth {{ {ONE} }}")
        hosts.guard.command("nft", f"delete element {table} ban6_auth {{ 2001:db8:77:1:: }}")
        hosts.guard.command("nft", f"add element {table} ban4n_mx {{ 10.9.0.0 timeout 90s }}")
        while not told(client).additions:
            await told(client).something()
        assert told(client).lifts == [(ONE, Scope.AUTH), ("2001:db8:77:1::/64", Scope.AUTH)]
        (added,) = told(client).additions
        assert (str(added.prefix), added.scope) == ("10.9.0.0/24", Scope.MX)
        assert 60.0 < added.remaining_s <= 90.0


class TestNewConnections:
    """The block list and the meter: what the kernel does to SYNs alone."""

    async def test_a_blocked_network_is_never_let_in_unless_allowed(
        self, hosts: Hosts, make: Make
    ) -> None:
        client = make(allow=(TWO,), never=("10.77.0.1",), block=("10.77.0.0/31",))
        await client.reload([Prefix.parse(TWO)], [Prefix.parse("10.77.0.2/31")])
        dropped = {each for each in (ONE, TWO) if hosts.dropped(each, Hosts.AUTH)}
        assert dropped == {ONE}
        assert hosts.welcome(ONE, Hosts.OTHER)
        assert (await client.dropped())["blocked"] > 0
        await client.reload([], [])
        assert hosts.welcome(ONE, Hosts.MX)

    async def test_who_opens_too_many_is_dropped_and_reported_and_nobody_else(
        self, hosts: Hosts, make: Make
    ) -> None:
        client = make(syn_rate=1, syn_burst=5)
        let_in = 0
        while hosts.welcome_at_once(ONE, Hosts.AUTH):
            let_in += 1
            assert let_in < 20
        assert let_in >= 5
        while ONE not in told(client).floods:
            await told(client).something()
        assert hosts.dropped(ONE, Hosts.MX)
        assert hosts.welcome(TWO, Hosts.AUTH)
        assert hosts.welcome(ONE, Hosts.OTHER)
        assert (await client.dropped())["flooded4"] > 0

    async def test_a_whole_64_is_one_client(self, hosts: Hosts, make: Make) -> None:
        client = make(syn_rate=1, syn_burst=2)
        while hosts.welcome_at_once(ONE_V6, Hosts.AUTH):
            pass
        assert hosts.dropped(NEIGHBOUR_V6, Hosts.AUTH)
        assert hosts.welcome(SAME_48, Hosts.AUTH)
        while not told(client).floods:
            await told(client).something()
        assert told(client).floods == [ONE_V6]

    async def test_the_never_list_is_not_metered(self, hosts: Hosts, make: Make) -> None:
        make(syn_rate=1, syn_burst=2, never=(ONE,))
        assert all(hosts.welcome_at_once(ONE, Hosts.AUTH) for _ in range(8))


class TestSuspension:
    async def test_everybody_is_let_in_and_bans_are_kept(
        self, hosts: Hosts, client: KernelClient
    ) -> None:
        await client.apply([ban(ONE)], NOW)
        await client.suspend(on=True)
        assert hosts.welcome(ONE, Hosts.AUTH)
        assert await held_keys(client) == {(ONE, Scope.AUTH)}
        await client.apply([ban(TWO)], NOW)
        assert hosts.welcome(TWO, Hosts.AUTH)
        await client.suspend(on=False)
        assert hosts.dropped(ONE, Hosts.AUTH)
        assert hosts.dropped(TWO, Hosts.AUTH)

    async def test_it_ends_with_the_guard(self, hosts: Hosts, make: Make) -> None:
        first = make()
        await first.apply([ban(ONE)], NOW)
        await first.suspend(on=True)
        assert hosts.welcome(ONE, Hosts.AUTH)
        await first.aclose()
        until(lambda: hosts.dropped(ONE, Hosts.AUTH))


class TestQuantities:
    async def test_a_full_set_refuses_and_the_others_go_on(self, client: KernelClient) -> None:
        networks = [Prefix(bytes([11, i >> 8, i & 255, 0]), 24) for i in range(65_536)]
        with pytest.raises(EnforcerError, match="full"):
            await client.apply(
                [ban(prefix) for prefix in [*networks, Prefix.parse("12.0.0.0/24")]], NOW
            )
        held = await client.held()
        assert 60_000 < len(held) <= 65_536
        await client.apply([ban(ONE), ban("12.0.0.0/24", scope=Scope.MX)], NOW)
        assert await client.remaining_s(Prefix.parse(ONE), Scope.AUTH) is not None

    async def test_a_hundred_thousand_bans_do_not_slow_one(
        self, hosts: Hosts, client: KernelClient
    ) -> None:
        first = int.from_bytes(b"\x0b\x00\x00\x00", "big")
        many = [ban(Prefix((first + i).to_bytes(4, "big"), 32)) for i in range(100_000)]
        await client.apply(many, NOW)
        started = time.monotonic()
        await client.apply([ban(ONE)], NOW)
        assert time.monotonic() - started < 1.0
        assert hosts.dropped(ONE, Hosts.AUTH)
        started = time.monotonic()
        assert await client.remaining_s(many[50_000].prefix, Scope.AUTH) is not None
        await client.reload([Prefix.parse(TWO)], [])
        assert time.monotonic() - started < 1.0
        assert len(await client.held()) == 100_001

    async def test_bans_go_on_during_a_listing(self, hosts: Hosts, client: KernelClient) -> None:
        many = [ban(Prefix(bytes([10, 1, i >> 8, i & 255]), 32)) for i in range(20_000)]
        await client.apply(many, NOW)
        async with trio.open_nursery() as nursery:
            listed: list[int] = []

            async def listing() -> None:
                listed.append(len(await client.held()))

            nursery.start_soon(listing)
            nursery.start_soon(listing)
            for _ in range(20):
                await client.apply([ban(ONE, 60.0)], NOW)
        assert all(20_000 <= count <= 20_001 for count in listed)
        assert hosts.dropped(ONE, Hosts.AUTH)

    async def test_an_asker_who_gives_up_does_no_harm(self, client: KernelClient) -> None:
        for _ in range(20):
            with trio.move_on_after(0):
                await client.remaining_s(Prefix.parse(ONE), Scope.AUTH)
            with trio.move_on_after(0.0001):
                await client.remaining_s(Prefix.parse(ONE), Scope.AUTH)
        await client.apply([ban(ONE, 60.0)], NOW)
        left = await client.remaining_s(Prefix.parse(ONE), Scope.AUTH)
        assert left is not None
        assert await held_keys(client) == {(ONE, Scope.AUTH)}


def test_a_packet_that_is_no_request_is_answered_and_survived(hosts: Hosts) -> None:
    sock, process = hosts.spawn()
    sock.settimeout(5.0)
    for packet in (b"{", b"[1]", b'{"verb":"exec","id":7}', b"\xff" * 65_536, b"x" * 100_000):
        sock.send(packet)
        assert b'"error"' in sock.recv(65_536)
    sock.send(b'{"verb":"hello"}')
    assert b'"version"' in sock.recv(65_536)
    assert process.poll() is None
    assert isinstance(sock, socket.socket)
