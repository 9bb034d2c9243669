"""XCLIENT lines."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatekeeper.wire.xclient import MAX_COMMAND_OCTETS, xclient_commands

POSTFIX = frozenset(["NAME", "ADDR", "PORT", "PROTO", "HELO", "LOGIN", "DESTADDR", "DESTPORT"])


def commands(
    offered: frozenset[str] = POSTFIX,
    address: str = "192.0.2.7",
    helo: str | None = "client.example",
    proto: str | None = "ESMTP",
) -> list[bytes]:
    return xclient_commands(
        offered,
        address=address,
        port=40_000,
        local_address="2001:db8::1",
        local_port=465,
        helo=helo,
        proto=proto,
    )


def test_one_line_says_all_with_name_and_addr_last() -> None:
    assert commands() == [
        b"XCLIENT PROTO=ESMTP HELO=client.example PORT=40000 DESTADDR=IPV6:2001:db8::1 "
        b"DESTPORT=465 NAME=[UNAVAILABLE] ADDR=192.0.2.7\r\n"
    ]


def test_only_offered_attributes_are_sent() -> None:
    assert commands(frozenset({"ADDR", "PORT", "SESSION"})) == [
        b"XCLIENT PORT=40000 ADDR=192.0.2.7\r\n"
    ]


def test_nothing_offered_is_nothing_sent() -> None:
    assert commands(frozenset()) == []
    assert commands(frozenset({"LOGIN"})) == []


def test_login_is_never_sent() -> None:
    assert all(b"LOGIN" not in line for line in commands())


def test_absent_values_are_left_out() -> None:
    (line,) = commands(helo=None, proto=None)
    assert b"HELO" not in line
    assert b"PROTO" not in line


@pytest.mark.parametrize(
    ("address", "value"),
    [
        ("192.0.2.7", b"192.0.2.7"),
        ("::ffff:192.0.2.7", b"192.0.2.7"),
        ("2001:DB8::7", b"IPV6:2001:db8::7"),
        ("fe80::7%eth0", b"IPV6:fe80::7"),
    ],
)
def test_addresses_are_canonical(address: str, value: bytes) -> None:
    assert commands(frozenset({"ADDR"}), address) == [b"XCLIENT ADDR=" + value + b"\r\n"]


@pytest.mark.parametrize(
    ("helo", "value"),
    [
        ("[192.0.2.7]", b"[192.0.2.7]"),
        ("a b", b"a+20b"),
        ("a+b=c", b"a+2Bb+3Dc"),
        ("a\r\nRSET", b"a+0D+0ARSET"),
        ("b\u00fccher", b"b+C3+BCcher"),
        ("\udcff", b"+FF"),
    ],
)
def test_values_are_xtext(helo: str, value: bytes) -> None:
    assert commands(frozenset({"HELO"}), helo=helo) == [b"XCLIENT HELO=" + value + b"\r\n"]


def test_a_long_helo_takes_a_line_of_its_own_before_addr() -> None:
    first, second = commands(helo="a" * 480)
    assert b"HELO=" in first
    assert second.endswith(b"NAME=[UNAVAILABLE] ADDR=192.0.2.7\r\n")


def test_a_helo_that_no_line_holds_is_left_out() -> None:
    assert all(b"HELO" not in line for line in commands(helo="\0" * 200))


def test_what_is_no_address_is_our_own_fault() -> None:
    with pytest.raises(ValueError, match="not an IP address"):
        commands(address="client.example")


@given(
    offered=st.frozensets(st.sampled_from(sorted(POSTFIX))),
    helo=st.one_of(
        st.text(max_size=300, alphabet=st.characters(exclude_categories=["Cs"])),
        st.binary(max_size=600).map(lambda octets: octets.decode("utf-8", "surrogateescape")),
    ),
)
@settings(max_examples=100)
def test_every_line_is_one_line_of_512_octets(offered: frozenset[str], helo: str) -> None:
    for line in commands(offered, helo=helo):
        assert len(line) <= MAX_COMMAND_OCTETS
        assert line.startswith(b"XCLIENT ")
        assert line.endswith(b"\r\n")
        assert all(0x20 <= octet < 0x7F for octet in line[:-2])
        assert {word.split(b"=")[0].decode() for word in line.split()[1:]} <= offered
