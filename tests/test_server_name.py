"""Host names of the SNI extension."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.wire.server_name import MAX_NAME_OCTETS, read_server_name

LABEL_63 = b"a" * 63


@pytest.mark.parametrize(
    ("octets", "name"),
    [
        (b"mail.example.org", "mail.example.org"),
        (b"Mail.EXAMPLE.Org", "mail.example.org"),
        (b"localhost", "localhost"),
        (b"xn--bcher-kva.example", "xn--bcher-kva.example"),
        (b"3com.example", "3com.example"),
        (b"192.0.2.1.example", "192.0.2.1.example"),
        (LABEL_63 + b".example", LABEL_63.decode() + ".example"),
    ],
)
def test_dns_names_are_read_in_lower_case(octets: bytes, name: str) -> None:
    assert read_server_name(octets) == name


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b".",
        b"example.org.",
        b".example.org",
        b"a..b",
        b"-a.example",
        b"a-.example",
        b"a_b.example",
        b"a b.example",
        b"192.0.2.1",
        b"2001:db8::1",
        b"example.org\n",
        b"example.org\0",
        b"b\xc3\xbccher.example",
        b"a" * 64 + b".example",
        b"*.example.org",
        b"../../etc/passwd",
    ],
)
def test_anything_else_is_no_name(octets: bytes) -> None:
    assert read_server_name(octets) is None


def test_the_longest_name_is_253_octets() -> None:
    longest = b".".join([LABEL_63] * 3 + [b"a" * 61])
    assert len(longest) == MAX_NAME_OCTETS
    assert read_server_name(longest) == longest.decode()
    assert read_server_name(longest + b"a") is None


@given(st.binary(max_size=300))
def test_what_is_read_is_a_name_by_the_letter_of_the_rfc(octets: bytes) -> None:
    name = read_server_name(octets)
    if name is not None:
        assert name == octets.decode().lower()
        for label in name.split("."):
            assert 1 <= len(label) <= 63
            assert label.replace("-", "a").isalnum()
            assert label.isascii()
