"""The guard's ID, and what is taken out of a client's."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatekeeper.wire.imap_id import strip_originating, trusted_id


def test_trusted_id_tells_both_ends() -> None:
    command = trusted_id(
        b"gk1",
        address="2001:db8::1",
        port=40000,
        local_address="192.0.2.1",
        local_port=993,
        session_id="s" * 70,
        tls=True,
    )
    assert command == (
        b'gk1 ID ("x-originating-ip" "2001:db8::1" "x-originating-port" "40000" '
        b'"x-connected-ip" "192.0.2.1" "x-connected-port" "993" '
        b'"x-session-id" "' + b"s" * 64 + b'" "x-client-transport" "TLS")\r\n'
    )


def test_trusted_id_does_not_claim_tls() -> None:
    command = trusted_id(
        b"t",
        address="192.0.2.9",
        port=1,
        local_address="192.0.2.1",
        local_port=143,
        session_id="s",
        tls=False,
    )
    assert b'"x-client-transport" "insecure")' in command


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (b"NIL", b"NIL"),
        (b"nil", b"nil"),
        (b'("name" "x" "version" NIL)', b'("name" "x" "version" NIL)'),
        (b'("x-originating-ip" "192.0.2.7")', b"NIL"),
        (b'("X-Originating-IP" "1" "name" "x")', b'("name" "x")'),
        (b'("name" "x" "x-proxy-ttl" "1" "vendor" "y")', b'("name" "x" "vendor" "y")'),
        (b'("name" "x" {16}\r\nx-originating-ip {1}\r\n1)', b'("name" "x")'),
        (b'({16+}\r\nX-CONNECTED-PORT NIL "name" {1+}\r\n")', b'("name" {1+}\r\n")'),
        (b'("x-session-id" "a" "x-client-transport" "TLS" "x-forward-a" NIL)', b"NIL"),
        (b'("x-multiplex" "0" " x-originating-ip" "1")', b"NIL"),
        (b'("name" "x-originating-ip")', b'("name" "x-originating-ip")'),
        (b'("name" "\\"x-proxy-ttl\\" (")', b'("name" "\\"x-proxy-ttl\\" (")'),
        (b"()", b"NIL"),
        (b'("name")', b"NIL"),
        (b'("name" "x"', b"NIL"),
        (b'("name" "x"))', b"NIL"),
        (b'("name"  "x")', b"NIL"),
        (b'("name" NILx)', b"NIL"),
        (b"(name x)", b"NIL"),
        (b'("name" {9}\r\nx)', b"NIL"),
        (b'("name" "x")("x-originating-ip" "1")', b"NIL"),
        (b"x", b"NIL"),
    ],
)
def test_only_originating_names_are_taken_out(sent: bytes, kept: bytes) -> None:
    assert strip_originating(b"a1 id " + sent + b"\r\n") == b"a1 id " + kept + b"\r\n"


NAMES = st.sampled_from([b"name", b"X-Originating-Ip", b"x-proxy-ttl", b"os", b"x-foo"])


@settings(max_examples=100)
@given(st.lists(st.tuples(NAMES, st.booleans(), st.text("ab()", max_size=4)), min_size=1))
def test_no_originating_name_is_left_and_no_other_lost(
    pairs: list[tuple[bytes, bool, str]],
) -> None:
    def written(name: bytes, literal: bool, value: str) -> bytes:
        key = b"{%d+}\r\n%b" % (len(name), name) if literal else b'"%b"' % name
        return key + b' "' + value.encode() + b'"'

    own = [pair for pair in pairs if pair[0] in {b"name", b"os", b"x-foo"}]
    sent = b" ".join(written(*pair) for pair in pairs)
    kept = b"(" + b" ".join(written(*pair) for pair in own) + b")" if own else b"NIL"
    assert strip_originating(b"a ID (" + sent + b")\r\n") == b"a ID " + kept + b"\r\n"
