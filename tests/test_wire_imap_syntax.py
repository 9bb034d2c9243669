"""Tags, strings and literals of IMAP."""

import pytest

from gatekeeper.wire.imap_syntax import (
    MAX_LITERAL_DIGITS,
    MAX_TAG_OCTETS,
    Literal,
    Token,
    cut_pieces,
    ends_in_one_crlf,
    is_tag,
    literal_at_end,
    read_astring,
    read_string,
    synchronised,
)


@pytest.mark.parametrize("octet", range(256))
def test_tag_is_of_astring_chars_but_plus(octet: int) -> None:
    # RFC 9051 9: no controls, no 8-bit octets, none of these
    refused = octet <= 0x20 or octet >= 0x7F or octet in b'(){%*"\\+'

    assert is_tag(bytes([octet])) is not refused


def test_tag_has_a_length() -> None:
    assert not is_tag(b"")
    assert is_tag(b"a" * MAX_TAG_OCTETS)
    assert not is_tag(b"a" * (MAX_TAG_OCTETS + 1))


@pytest.mark.parametrize(
    ("line", "literal"),
    [
        (b"a {5}\r\n", Literal(5, True, False)),
        (b"a {5+}\r\n", Literal(5, False, False)),
        (b"a ~{5}\r\n", Literal(5, True, True)),
        (b"a ~{005+}\r\n", Literal(5, False, True)),
        (b"{0}\r\n", Literal(0, True, False)),
        (b"a{5}\r\n", Literal(5, True, False)),
        (b'a "{5}\r\n', Literal(5, True, False)),
        (b"a {5}{6+}\r\n", Literal(6, False, False)),
        (b"a {%s}\r\n" % (b"1" * 5000), Literal(10**MAX_LITERAL_DIGITS, True, False)),
        (b'a "{5}"\r\n', None),
        (b"a {5} \r\n", None),
        (b"a {5}\n", None),
        (b"a {}\r\n", None),
        (b"a {+}\r\n", None),
        (b"a {-5}\r\n", None),
        (b"a {5-}\r\n", None),
        (b"a {5++}\r\n", None),
        (b"a 5}\r\n", None),
        (b"}\r\n", None),
    ],
)
def test_literal_is_what_stands_before_the_crlf(line: bytes, literal: Literal | None) -> None:
    assert literal_at_end(line) == literal


@pytest.mark.parametrize(
    ("octets", "value"),
    [
        (b'"a b" x', b"a b"),
        (b'"" x', b""),
        (b'"a\\"b\\\\" x', b'a"b\\'),
        (b"{3}\r\na\r\n x", b"a\r\n"),
        (b"{0+}\r\n x", b""),
        (b'"a\\b" x', None),
        (b'"a\r\n" x', None),
        (b'"a', None),
        (b"{9}\r\nabc", None),
        (b"atom x", None),
    ],
)
def test_string_is_read_to_its_end(octets: bytes, value: bytes | None) -> None:
    token = read_string(b"?" + octets, 1)
    assert token == (None if value is None else Token(value, len(octets) - 1))


def test_astring_is_a_string_or_an_atom() -> None:
    assert read_astring(b"a+]}! x", 0) == Token(b"a+]}!", 5)
    assert read_astring(b'"a" x', 0) == Token(b"a", 3)
    assert read_astring(b"a{1}", 0) == Token(b"a", 1)
    assert read_astring(b"(", 0) is None
    assert read_astring(b"", 0) is None


def test_only_the_last_octets_of_a_line_are_cr_and_lf() -> None:
    assert ends_in_one_crlf(b"a\r\n")
    assert not any(map(ends_in_one_crlf, (b"\n", b"a\n", b"a\rb\r\n", b"\r\r\n", b"a\rb\n")))


def test_pieces_are_cut_where_the_sender_waits() -> None:
    raw = b"a LOGIN {3+}\r\n{1} {4}\r\n{9}\r\r\n"
    assert cut_pieces(raw) == (raw[:23], raw[23:])
    assert cut_pieces(b"a NOOP\r\n") == ()


def test_synchronised_asks_for_every_literal() -> None:
    raw = b"a LOGIN {1+}\r\nu {4}\r\n{1+}\r\n"
    assert synchronised(raw) == (b"a LOGIN {1}\r\n", b"u {4}\r\n", b"{1+}\r\n")
    assert synchronised(b"a NOOP\r\n") == (b"a NOOP\r\n",)
