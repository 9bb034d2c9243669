"""Who is never banned: one bisection gives what a walk of the whole list would."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.kernel.element import Network, network
from gatekeeper.kernel.never import NeverList


@pytest.mark.parametrize(
    ("never", "ban", "touches"),
    [
        ("192.0.2.5/32", "192.0.2.0/24", True),
        ("192.0.2.5/32", "192.0.2.5/32", True),
        ("192.0.2.5/32", "192.0.2.4/32", False),
        ("192.0.2.0/24", "192.0.3.0/24", False),
        ("0.0.0.0/0", "192.0.2.5/32", True),
        ("::/0", "192.0.2.5/32", False),
        ("fe80::/10", "2001:db8::/48", False),
        ("2001:db8:0:1::/64", "2001:db8::/48", True),
    ],
)
def test_one_address_in_common_is_enough(never: str, ban: str, touches: bool) -> None:
    banned = network(ban)
    assert NeverList([network(never)]).touches(banned.packed, banned.length) is touches


@pytest.mark.parametrize("ban", ["127.0.0.0/24", "127.9.9.9/32", "::/64", "fe80::/64"])
def test_loopback_and_links_are_never_banned(ban: str) -> None:
    banned = network(ban)
    assert NeverList([]).touches(banned.packed, banned.length)


def networks(octets: int, bits: int) -> st.SearchStrategy[Network]:
    """Few enough addresses that networks meet."""

    def made(number: int, length: int) -> Network:
        packed = bytes([32]) + number.to_bytes(octets - 1, "big")
        return network(f"{ipaddress.ip_address(packed)}/{length}")

    numbers = st.integers(0, 2**bits - 1).map(lambda n: n << (octets * 8 - 8 - bits))
    return st.builds(made, numbers, st.integers(8, octets * 8))


@given(st.lists(networks(4, 6) | networks(16, 6), max_size=12), networks(4, 6) | networks(16, 6))
def test_as_a_walk_of_the_list(never: list[Network], ban: Network) -> None:
    wanted = any(
        len(each.packed) == len(ban.packed)
        and ipaddress.ip_network(str(each)).overlaps(ipaddress.ip_network(str(ban)))
        for each in [*never, network("fe80::/10"), network("127.0.0.0/8"), network("::1")]
    )
    assert NeverList(never).touches(ban.packed, ban.length) is wanted
