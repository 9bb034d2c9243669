"""The privileged process with XDP on an interface: every ban is in both places."""

import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import trio
from contracts.enforcer import NOW, ban
from enforcer_news import Told

from gatekeeper.abc import Lift
from gatekeeper.ban import Scope
from gatekeeper.enforce.kernel_client import KernelClient
from gatekeeper.enforce.spawn import spawn_kernel
from gatekeeper.kernel.element import network
from gatekeeper.kernel.options import Options
from gatekeeper.prefix import Prefix

from .hosts import Hosts
from .xdp_net import Net, made_net

pytestmark = pytest.mark.netns

ONE, TWO, ONE_V6 = "10.77.0.2", "10.77.0.3", "2001:db8:77:1::2"
SOON_S = 10.0


@pytest.fixture
def net() -> Iterator[Net]:
    """Two hosts; the guard's has a bpffs of its own where the process looks for it."""
    with made_net(Path("/sys/fs"), name="bpf") as made:
        yield made


@pytest.fixture
async def client(net: Net, nursery: trio.Nursery) -> AsyncIterator[KernelClient]:
    options = Options(
        (Hosts.AUTH,), (Hosts.MX,), allow=(network("10.77.0.99"),), xdp=(net.interface, "gone0")
    )
    sock, process = net.hosts.guard.run(spawn_kernel, options)
    made = KernelClient(sock)
    nursery.start_soon(made.run, Told())
    yield made
    with contextlib.suppress(OSError):
        await made.aclose()
    await trio.to_thread.run_sync(process.wait)


async def counted(client: KernelClient, condition: Callable[[dict[str, int]], bool]) -> None:
    """Wait until the counters of dropped packets are so."""
    with trio.fail_after(SOON_S):
        while not condition(await client.dropped()):  # noqa: ASYNC110  # the kernel sets no event
            await trio.sleep(0.02)


async def test_each_interface_is_told_of(client: KernelClient, net: Net) -> None:
    states = await client.hello()
    assert states[net.interface] == "native"
    assert states["gone0"].startswith("absent: ")


async def test_a_ban_is_dropped_by_xdp_and_lifted_there(client: KernelClient, net: Net) -> None:
    await client.apply([ban(ONE), ban("2001:db8:77:1::/64")], NOW)
    assert net.hosts.dropped(ONE, Hosts.AUTH)
    assert net.hosts.dropped(ONE_V6, Hosts.AUTH)
    dropped = await client.dropped()
    assert dropped["xdp_dropped4_auth"] > 0
    assert dropped["xdp_dropped6_auth"] > 0
    assert dropped["dropped4_auth"] == 0, "nftables never saw them"
    await client.apply([Lift(Prefix.parse(ONE), Scope.AUTH)], NOW)
    assert net.hosts.welcome(ONE, Hosts.AUTH)


async def test_bans_by_the_hundred_and_by_hand(client: KernelClient, net: Net) -> None:
    many = [ban(Prefix(bytes([10, 9, i >> 8, i & 255]), 32)) for i in range(300)]
    await client.apply([*many, ban(ONE)], NOW)
    assert net.hosts.dropped(ONE, Hosts.AUTH)
    assert (await client.dropped())["dropped4_auth"] == 0
    net.hosts.guard.command("nft", f"delete element inet gatekeeper ban4_auth {{ {ONE} }}")
    net.hosts.guard.command("nft", f"add element inet gatekeeper ban4_auth {{ {TWO} timeout 1h }}")
    await client.hello()
    assert net.hosts.welcome(ONE, Hosts.AUTH)
    assert net.hosts.dropped(TWO, Hosts.AUTH)
    assert (await client.dropped())["dropped4_auth"] == 0


async def test_a_suspension_empties_it_and_its_end_fills_it_again(
    client: KernelClient, net: Net
) -> None:
    await client.apply([ban(ONE)], NOW)
    await client.suspend(on=True)
    assert net.hosts.welcome(ONE, Hosts.AUTH)
    await client.suspend(on=False)
    assert net.hosts.dropped(ONE, Hosts.AUTH)
    await counted(client, lambda dropped: knocked(net) and dropped["xdp_dropped4_auth"] > 0)


async def test_the_next_process_takes_over_and_copies_what_nftables_holds(
    client: KernelClient, net: Net, nursery: trio.Nursery
) -> None:
    await client.apply([ban(ONE), ban(TWO)], NOW)
    await client.aclose()
    net.hosts.guard.command("nft", f"delete element inet gatekeeper ban4_auth {{ {TWO} }}")
    sock, process = net.hosts.guard.run(
        spawn_kernel, Options((Hosts.AUTH,), (Hosts.MX,), xdp=(net.interface,))
    )
    successor = KernelClient(sock)
    nursery.start_soon(successor.run, Told())
    before = (await successor.dropped())["xdp_dropped4_auth"]
    await counted(successor, lambda now: knocked(net) and now["xdp_dropped4_auth"] > before)
    assert net.hosts.welcome(TWO, Hosts.AUTH)
    await successor.aclose()
    await trio.to_thread.run_sync(process.wait)


def knocked(net: Net) -> bool:
    """Somebody banned has knocked once more."""
    assert net.hosts.dropped(ONE, Hosts.AUTH)
    return True


async def test_without_xdp_in_the_configuration_it_is_taken_off(
    client: KernelClient, net: Net, capfd: pytest.CaptureFixture[str]
) -> None:
    await client.apply([ban(ONE)], NOW)
    await client.aclose()
    sock, process = net.hosts.guard.run(spawn_kernel, Options((Hosts.AUTH,), (Hosts.MX,)))
    assert net.hosts.dropped(ONE, Hosts.AUTH)
    deadline = time.monotonic() + SOON_S
    while "xdp" in net.hosts.guard.ip("link", "show", "dev", net.interface):
        assert time.monotonic() < deadline
    assert "the program was taken off" in capfd.readouterr().err
    sock.close()
    process.wait()
