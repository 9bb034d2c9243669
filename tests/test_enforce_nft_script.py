"""Bans as commands for nft -f."""

import re

import pytest

from gatekeeper.ban import Scope
from gatekeeper.enforce.nft_script import ELEMENTS_PER_COMMAND, add_commands, set_name
from gatekeeper.enforce.shape import ENFORCEABLE, HELD_MAX_S
from gatekeeper.kernel.element import SETS
from gatekeeper.prefix import Prefix

NOW = 1000.0
HOST = Prefix.parse("192.0.2.1")


def commands(*ends: tuple[Prefix, Scope, float]) -> list[str]:
    return list(add_commands(ends, NOW))


def test_sets_are_called_as_the_privileged_process_calls_them() -> None:
    ours = {
        set_name(Prefix(bytes(4 if version == 4 else 16), length), scope): (scope.value, length)
        for version, length in ENFORCEABLE
        for scope in Scope
    }
    assert ours == dict(SETS)


@pytest.mark.parametrize(
    ("prefix", "element"),
    [
        ("192.0.2.1", "ban4_mx { 192.0.2.1 timeout 60s }"),
        ("192.0.2.0/24", "ban4n_mx { 192.0.2.0 timeout 60s }"),
        ("2001:db8::/64", "ban6_mx { 2001:db8:: timeout 60s }"),
        ("2001:db8::/48", "ban6n_mx { 2001:db8:: timeout 60s }"),
    ],
)
def test_each_length_goes_to_its_set(prefix: str, element: str) -> None:
    (command,) = commands((Prefix.parse(prefix), Scope.MX, NOW + 60))
    assert command == f"add element inet gatekeeper {element}"


def test_seconds_are_rounded_up_and_bounded_as_the_kernels_are() -> None:
    ends = [(HOST, Scope.AUTH, NOW + 0.2), (HOST, Scope.AUTH, NOW + 1e9)]
    (command,) = commands(*ends)
    assert re.findall(r"timeout (\d+)s", command) == ["1", str(HELD_MAX_S)]


def test_what_has_ended_and_what_no_set_holds_is_left_out() -> None:
    wide = HOST.widen(16)
    assert commands((HOST, Scope.AUTH, NOW), (wide, Scope.AUTH, NOW + 60)) == []


def test_commands_are_of_bounded_length_and_lose_nothing() -> None:
    count = 2 * ELEMENTS_PER_COMMAND + 1
    hosts = [Prefix(number.to_bytes(4, "big"), 32) for number in range(count)]
    made = commands(*((host, Scope.AUTH, NOW + 60) for host in hosts))
    found = [re.findall(r"(\S+) timeout", command) for command in made]
    assert [len(each) for each in found] == [ELEMENTS_PER_COMMAND, ELEMENTS_PER_COMMAND, 1]
    assert sum(found, []) == [str(host) for host in hosts]  # noqa: RUF017  # three of them
