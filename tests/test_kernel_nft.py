"""The ruleset's text, and what is filled into it."""

import re

from gatekeeper.kernel import nft
from gatekeeper.kernel.element import SETS, network


def test_the_ruleset_has_every_set_that_bans_go_to() -> None:
    text = nft.ruleset()
    for name in SETS:
        assert re.search(rf"^\tset {name} {{$", text, re.MULTILINE), name
        assert f"@{name} goto" in text, f"{name} is held and never looked at"


def test_a_reload_keeps_sets_and_replaces_rules() -> None:
    commands = [line for line in nft.ruleset().splitlines() if line and line[0] not in "#\t}"]
    assert commands == [
        "add table inet gatekeeper",
        "flush table inet gatekeeper",
        "table inet gatekeeper {",
    ]


def test_loopback_is_let_through_before_any_lookup() -> None:
    chain = nft.ruleset().partition("chain prerouting {")[2].strip().splitlines()
    assert [line.strip() for line in chain[:2]] == [
        "type filter hook prerouting priority raw; policy accept;",
        "iif lo accept",
    ]


def test_configured_sets_are_emptied_and_filled() -> None:
    allow = [network("192.0.2.0/24"), network("2001:db8::/32"), network("198.51.100.7")]
    assert nft.configured_sets([465, 993], [], allow) == (
        "flush set inet gatekeeper ports_auth\n"
        "add element inet gatekeeper ports_auth { 465, 993 }\n"
        "flush set inet gatekeeper ports_mx\n"
        "flush set inet gatekeeper allow4\n"
        "add element inet gatekeeper allow4 { 192.0.2.0/24, 198.51.100.7/32 }\n"
        "flush set inet gatekeeper allow6\n"
        "add element inet gatekeeper allow6 { 2001:db8::/32 }\n"
    )
