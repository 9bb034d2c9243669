"""Which connections the privileged process makes for clients; making them takes namespaces."""

import socket

import pytest

from gatekeeper.kernel.dial import Dialling, is_own
from gatekeeper.kernel.element import network, pack
from gatekeeper.kernel.options import Options, Target
from gatekeeper.kernel.transparent import text

TARGETS = (Target(pack("192.0.2.7"), 143), Target(pack("2001:db8::7"), 25))
DIALLING = Dialling(
    Options(
        dial=TARGETS,
        never=tuple(map(network, ("198.51.100.1", "203.0.113.0/24", "2001:db8:1::/48"))),
        allow=(network("203.0.113.0/24"),),
    )
)


@pytest.mark.parametrize(
    ("target", "source"),
    [
        (0, "127.0.0.1"),
        (0, "127.9.9.9"),
        (0, "0.0.0.0"),
        (0, "0.1.2.3"),
        (0, "224.0.0.1"),
        (0, "240.0.0.1"),
        (0, "255.255.255.255"),
        (0, "192.0.2.7"),
        (0, "198.51.100.1"),
        (1, "::"),
        (1, "::1"),
        (1, "ff02::1"),
        (1, "fe80::1"),
        (1, "2001:db8::7"),
        (1, "2001:db8:1::5"),
    ],
)
def test_what_is_no_clients_address_is_refused(target: int, source: str) -> None:
    with pytest.raises(ValueError, match="not a client's address"):
        DIALLING.dial(target, pack(source), 4000)


@pytest.mark.parametrize("target", [-1, 2, 1000])
def test_a_target_that_is_not_there_is_refused(target: int) -> None:
    with pytest.raises(ValueError, match="no such target"):
        DIALLING.dial(target, pack("203.0.113.9"), 4000)


@pytest.mark.parametrize(("target", "source"), [(0, "2001:db8::9"), (1, "203.0.113.9")])
def test_a_target_of_the_other_family_is_refused(target: int, source: str) -> None:
    with pytest.raises(ValueError, match="other family"):
        DIALLING.dial(target, pack(source), 4000)


def test_loopback_is_this_hosts_own_and_documentation_is_not() -> None:
    assert is_own(socket.inet_aton("127.0.0.1"))
    assert is_own(socket.inet_aton("127.8.0.1"))
    assert is_own(pack("::1"))
    assert not is_own(pack("192.0.2.1"))


def test_the_table_has_a_rule_for_each_backend() -> None:
    rules = [line.strip() for line in text(TARGETS).splitlines() if "sport" in line]
    ending = "socket transparent 1 socket wildcard 0 meta mark set 0x67 counter accept"
    assert rules == [
        f"ip saddr 192.0.2.7 tcp sport 143 {ending}",
        f"ip6 saddr 2001:db8::7 tcp sport 25 {ending}",
    ]
