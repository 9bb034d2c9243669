"""Lists of addresses: the forms that are published, and every wrong line by its number."""

import json
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.prefix import Prefix
from gatekeeper.wire.ban_lists import (
    MAX_LINE_OCTETS,
    MAX_LINES,
    Listed,
    WrongLine,
    read_list,
)

HOST: Final = Prefix.parse("192.0.2.1")
NETWORK: Final = Prefix.parse("198.51.100.0/24")
PREFIXES: Final = st.builds(
    lambda packed, length: Prefix(packed, 32).widen(length), st.binary(min_size=4, max_size=4),
    st.integers(0, 32),
) | st.builds(
    lambda packed, length: Prefix.parse(str(Prefix(packed, 128).widen(length))),
    st.binary(min_size=16, max_size=16).filter(lambda packed: packed[:10] != bytes(10)),
    st.integers(0, 128),
)  # fmt: skip


def only(octets: bytes) -> Listed:
    listed, wrong = read_list(octets)
    assert not wrong
    (found,) = listed
    return found


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (b"192.0.2.1", Listed(HOST)),
        (b"  192.0.2.1/32\t\r", Listed(HOST)),
        (b"::ffff:192.0.2.1", Listed(HOST)),
        (b"198.51.100.0/24", Listed(NETWORK)),
        (b"198.51.100.0/24 ; SBL256894", Listed(NETWORK)),  # Spamhaus DROP
        (b"192.0.2.1 # seen at night", Listed(HOST)),
        (b"2001:db8::/48", Listed(Prefix.parse("2001:db8::/48"))),
        (b"192.0.2.1 4h", Listed(HOST, 4 * 3600.0)),
        (b"192.0.2.1\t1h30m # twice", Listed(HOST, 5400.0)),
        (b"192.0.2.1 90", Listed(HOST, 90.0)),
        (b"192.0.2.1 3599.5", Listed(HOST, 3599.5)),
        (b"192.0.2.1,DE,17,4h", Listed(HOST)),
        (b'"192.0.2.1","2026-11-25"', Listed(HOST)),
        (b'{"cidr":"198.51.100.0/24","sblid":"SBL1","rir":"apnic"}', Listed(NETWORK)),
        (b'{"ip":"192.0.2.1"}', Listed(HOST)),
    ],
)
def test_each_form_of_a_line_is_read(line: bytes, found: Listed) -> None:
    assert only(line) == found
    assert only(b"# about\n\n ; more\n" + line + b"\n") == found


def test_what_windows_puts_before_a_file_is_no_part_of_it() -> None:
    assert only(b"\xef\xbb\xbf192.0.2.1\r\n") == Listed(HOST)


@pytest.mark.parametrize("line", [b"ip,country", b'"address","seen"', b"# x", b";", b"", b" \t"])
def test_headings_comments_and_blanks_hold_nothing(line: bytes) -> None:
    assert only(line + b"\n192.0.2.1\n") == Listed(HOST)


def test_a_note_about_the_list_is_none_of_it() -> None:
    note = b'{"type":"metadata","timestamp":1700000000,"records":1}'
    assert only(b'{"cidr":"198.51.100.0/24"}\n' + note) == Listed(NETWORK)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"192.0.2.300", "not an address or network: '192.0.2.300'"),
        (b"192.0.2.1/33", "not an address or network: '192.0.2.1/33'"),
        (b"198.51.100.7/24", "has bits behind its length: '198.51.100.7/24'"),
        (b"192.0.2.1-192.0.2.9", "not an address or network: '192.0.2.1-192.0.2.9'"),
        (b"example.org", "not an address or network: 'example.org'"),
        (b"fe80::1%eth0", "not an address or network: 'fe80::1%eth0'"),
        (b"192.0.2.1 soon", "not a time: 'soon'"),
        (b"192.0.2.1 -5", "not a time: '-5'"),
        (b"192.0.2.1 0", "a ban needs a time above 0: '0'"),
        (b"192.0.2.1 4h x", "more than a network and a time: '192.0.2.1 4h x'"),
        (b"ip,country", "not an address or network: 'ip'"),  # a heading in the middle
        (b"{", "not JSON: '{'"),
        (b'{"ip": 5}', "ip is no string"),
        (b"\xff", "not UTF-8"),
        (b"\x1b[2J", r"not an address or network: '\x1b[2J'"),
        (b"9" * 61, f"not an address or network: '{'9' * 60}\\u2026'"),
        (b"9" * (MAX_LINE_OCTETS + 1), f"longer than {MAX_LINE_OCTETS} octets"),
    ],
)
def test_what_is_wrong_is_said_with_its_line_and_the_rest_is_read(line: bytes, why: str) -> None:
    listed, wrong = read_list(b"192.0.2.1\n" + line + b"\n198.51.100.0/24\n" + line)
    assert listed == [Listed(HOST), Listed(NETWORK)]
    assert wrong == [WrongLine(2, why), WrongLine(4, why)]


def test_a_list_without_end_is_cut_and_says_so() -> None:
    listed, wrong = read_list(b"\n" * MAX_LINES + b"192.0.2.1\n192.0.2.2\n")
    assert not listed
    assert wrong == [WrongLine(MAX_LINES + 1, f"the list has more than {MAX_LINES} lines")]


@given(st.binary())
def test_no_octets_raise(octets: bytes) -> None:
    read_list(octets)


@given(st.lists(st.sampled_from(
    [b"{", b"}", b'"ip"', b":", b",", b"192.0.2.1", b"/", b"24", b" ", b"\n", b"#", b";", b"4h",
     b"::", b"\xff", b"\x00", b"[" * 2000, b"\xef\xbb\xbf"]
)))  # fmt: skip
def test_no_mixture_of_its_words_raises(words: list[bytes]) -> None:
    read_list(b"".join(words))


@given(st.lists(st.builds(Listed, PREFIXES, st.none() | st.integers(1, 10**9).map(float))))
def test_what_is_written_is_read_again(entries: list[Listed]) -> None:
    lines = [
        str(entry.prefix) if entry.seconds is None else f"{entry.prefix} {entry.seconds:g}"
        for entry in entries
        if entry.seconds is None or entry.seconds < 10**6
    ]
    listed, wrong = read_list("\n".join(lines).encode())
    assert not wrong
    assert listed == [it for it in entries if it.seconds is None or it.seconds < 10**6]


@given(st.lists(PREFIXES))
def test_json_lines_say_the_same_as_plain_ones(prefixes: list[Prefix]) -> None:
    lines = "\n".join(json.dumps({"cidr": str(prefix)}) for prefix in prefixes)
    assert read_list(lines.encode()) == read_list("\n".join(map(str, prefixes)).encode())
