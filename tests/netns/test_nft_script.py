"""A script of `ban export -o nft`, loaded by nft into the sets of a kernel process."""

import pytest
import trio
from enforcer_news import Told

from gatekeeper.ban import Scope
from gatekeeper.enforce.kernel_client import KernelClient
from gatekeeper.enforce.nft_script import ELEMENTS_PER_COMMAND, add_commands
from gatekeeper.prefix import Prefix

from .hosts import Hosts

pytestmark = pytest.mark.netns

NOW = 1_000_000.0
BANNED, OTHER = "10.77.0.2", "10.77.0.3"
NETWORKS = ("192.0.2.0/24", "2001:db8:77:1::/64", "2001:db8:77::/48")


async def test_the_script_bans_for_the_time_that_is_left(
    hosts: Hosts, nursery: trio.Nursery
) -> None:
    ends = [(Prefix.parse(text), scope, NOW + 600) for text in NETWORKS for scope in Scope]
    ends += [
        (Prefix((0x0B000000 + number).to_bytes(4, "big"), 32), Scope.MX, NOW + 700)
        for number in range(2 * ELEMENTS_PER_COMMAND + 1)
    ]
    ends.append((Prefix.parse(BANNED), Scope.AUTH, NOW + 800))
    script = "# as the command writes it\n" + "\n".join(add_commands(ends, NOW))
    client = KernelClient(hosts.spawn()[0])
    nursery.start_soon(client.run, Told())
    try:
        assert hosts.welcome(BANNED, Hosts.AUTH)
        hosts.guard.command("nft", "-f", "-", stdin=script)
        held = {(ban.prefix, ban.scope): ban.remaining_s for ban in await client.held()}
    finally:
        await client.aclose()
    assert held.keys() == {(prefix, scope) for prefix, scope, _ in ends}
    assert all(0 <= until - NOW - held[prefix, scope] < 30 for prefix, scope, until in ends)
    assert hosts.dropped(BANNED, Hosts.AUTH)
    assert hosts.welcome(OTHER, Hosts.AUTH)
