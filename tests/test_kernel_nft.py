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
    contents = nft.Contents([465, 993], [], allow, [network("203.0.113.0/24")])
    assert nft.filled(contents) == (
        "flush set inet gatekeeper ports_auth\n"
        "add element inet gatekeeper ports_auth { 465, 993 }\n"
        "flush set inet gatekeeper ports_mx\n"
        "flush set inet gatekeeper allow4\n"
        "add element inet gatekeeper allow4 { 192.0.2.0/24, 198.51.100.7/32 }\n"
        "flush set inet gatekeeper allow6\n"
        "add element inet gatekeeper allow6 { 2001:db8::/32 }\n"
        "flush set inet gatekeeper block4\n"
        "add element inet gatekeeper block4 { 203.0.113.0/24 }\n"
        "flush set inet gatekeeper block6\n"
    )


def test_a_meter_has_one_rule_for_each_family() -> None:
    lines = nft.filled(nft.Contents(syn_rate=25, syn_burst=100)).splitlines()
    meters = [line for line in lines if line.startswith("add rule")]
    assert [line.split()[4] for line in meters] == ["meter4", "meter6"]
    assert all("limit rate over 25/second burst 100 packets" in line for line in meters)


def test_a_suspended_table_keeps_its_sets_and_asks_nobody() -> None:
    assert nft.filled(nft.Contents(suspended=True)).splitlines()[-1] == (
        "flush chain inet gatekeeper prerouting"
    )


def test_every_set_says_what_it_is() -> None:
    text = nft.ruleset()
    assert text.count("\tset ") == len(re.findall(r"\tset \w+ {\n\t\tcomment \"[^\"]+\"\n", text))
