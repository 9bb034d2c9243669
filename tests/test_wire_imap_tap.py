"""What the tap changes, what it never touches, and where it turns wary."""

import re
import sys
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatekeeper.wire.imap_tap import MAX_HELD_OCTETS, ImapTap

MESSAGE = b"a UNAUTHENTICATE\r\nb COMPRESS DEFLATE\r\n"
APPEND = b"a APPEND Sent (\\Seen) {%d+}\r\n" % len(MESSAGE)


def tapped(chunks: Iterable[bytes], tap: ImapTap | None = None) -> bytes:
    tap = tap or ImapTap()
    return b"".join(tap.feed(chunk) for chunk in chunks)


def wary(octets: bytes) -> ImapTap:
    tap = ImapTap()
    assert tap.feed(octets) == octets
    assert not tap.pending_sync
    return tap


def cut(octets: bytes, at: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted(min(i, len(octets)) for i in at), len(octets)]
    return [octets[a:b] for a, b in pairwise(edges)]


def single(octets: bytes) -> list[bytes]:
    return [octets[i : i + 1] for i in range(len(octets))]


# -- exact: verbs ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "passed"),
    [
        (b"a UNAUTHENTICATE\r\n", b"a XNAUTHENTICATE\r\n"),
        (b"a unAuthenticate \r\n", b"a XNAUTHENTICATE \r\n"),
        (b" a\tUNAUTHENTICATE\r\n", b" a\tXNAUTHENTICATE\r\n"),
        (b"a UID UNAUTHENTICATE\r\n", b"a UID XNAUTHENTICATE\r\n"),
        # Stalwart reads on behind an unknown verb.
        (b"a FOO b UNAUTHENTICATE\r\n", b"a FOO b XNAUTHENTICATE\r\n"),
        (b"a COMPRESS DEFLATE\r\n", b"a XOMPRESS DEFLATE\r\n"),
        (b"a  compress\tDEFLATE\r\n", b"a  XOMPRESS\tDEFLATE\r\n"),
        (b"a compress\r\n", b"a XOMPRESS\r\n"),
    ],
)
def test_denied_verb_is_overwritten_at_the_same_length(sent: bytes, passed: bytes) -> None:
    before, after = b"x NOOP\r\n", b"y NOOP\r\n"
    assert tapped([before + sent + after]) == before + passed + after
    assert tapped(single(before + sent + after)) == before + passed + after


@pytest.mark.parametrize(
    "sent",
    [
        b"UNAUTHENTICATE NOOP\r\n",
        b"a SEARCH TEXT COMPRESS\r\n",
        b'a SEARCH TEXT "unauthenticate"\r\n',
        b"a SELECT xUNAUTHENTICATE\r\n",
        b"a COMPRESSED x\r\n",
        b"\r\n",
        b"DONE\r\n",
    ],
)
def test_other_lines_are_the_same_object(sent: bytes) -> None:
    assert ImapTap().feed(sent) is sent


def test_unfinished_line_is_held_until_it_ends() -> None:
    tap = ImapTap()
    assert tap.feed(b"a NOOP\r\nb UNAUTH") == b"a NOOP\r\n"
    assert tap.feed(b"ENTICATE") == b""
    assert tap.feed(b"\r\n") == b"b XNAUTHENTICATE\r\n"


# -- exact: literals ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "head",
    [
        b"a APPEND Sent {%d+}\r\n",
        b'a append "Se\\"nt" (\\Seen $x) "01-Jan-2026 00:00:00 +0000" {%d+}\r\n',
        b"a APPEND Sent ~{%d+}\r\n",
    ],
)
def test_content_of_an_append_is_never_touched(head: bytes) -> None:
    stream = head % len(MESSAGE) + MESSAGE + b"\r\nc UNAUTHENTICATE\r\n"
    expected = stream.replace(b"c UNAUTH", b"c XNAUTH")
    assert tapped([stream]) == expected
    assert tapped(single(stream)) == expected


def test_every_message_of_a_multiappend_is_content() -> None:
    more = b' "01-Jan-2026 00:00:00 +0000" {%d+}\r\n' % len(MESSAGE)
    stream = APPEND + MESSAGE + more + MESSAGE + b"\r\n"
    tap = ImapTap()
    assert tap.feed(stream) is stream
    assert tap.pending_sync


def test_chunk_inside_a_literal_is_the_same_object() -> None:
    tap = ImapTap()
    tap.feed(b"a APPEND x {100000+}\r\n")
    chunk = MESSAGE * 100
    assert tap.feed(chunk) is chunk


def test_literal_the_backend_asks_for_is_never_touched() -> None:
    tap = ImapTap()
    head = b"a SEARCH TEXT {%d}\r\n" % len(MESSAGE)
    assert tap.feed(head) is head
    tap.server_octets(b"* 1 EXISTS\r\n+ go on\r\n")
    assert tapped([MESSAGE, b"\r\nb UNAUTHENTICATE\r\n"], tap) == MESSAGE + (
        b"\r\nb XNAUTHENTICATE\r\n"
    )
    assert tap.pending_sync


def test_continuation_line_within_a_message_is_none() -> None:
    """The client has the backend send a message that holds a `+` line, then a command."""
    tap = ImapTap()
    tap.server_octets(b"* 1 FETCH (BODY[] {12}\r\n+")
    tap.feed(b"a FETCH 1 BODY[]\r\nb APPEND x {4000000000}\r\n")
    tap.server_octets(b" OK\r\n+ OK\r\n)\r\na OK\r\n")
    assert tap.feed(b"c UNAUTHENTICATE\r\n") == b""
    assert tap.violated


def test_text_that_looks_like_a_literal_hides_no_refusal() -> None:
    tap = ImapTap()
    tap.feed(b"b APPEND x{9} {4000000000}\r\n")
    tap.server_octets(b"z NO no mailbox x{30}\r\nb NO no mailbox x{9}\r\n")
    assert not tap.pending_sync
    assert tap.feed(b"c NOOP\r\n") == b"c NOOP\r\n"
    assert tap.feed(b"c UNAUTHENTICATE\r\n") == b""
    assert tap.violated


def test_continuation_of_idle_is_not_that_of_a_literal() -> None:
    tap = ImapTap()
    tap.feed(b"a IDLE\r\nDONE\r\nb APPEND x {4000000000}\r\n")
    tap.server_octets(b"+ idling\r\na OK\r\nb NO too big\r\n")
    assert tap.feed(b"c UNAUTHENTICATE\r\n") == b""
    assert tap.violated


# -- wary --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "octets",
    [
        b"a NOOP\n",
        b"\n",
        b"a NO\rOP\r\n",
        b"a NO\0OP\r\n",
        b"a FOO {100+}\r\n",
        b"a SELECT x{100+}\r\n",
        b"a APPEND  x {100+}\r\n",
        b"a APPEND x {4294967296+}\r\n",
        b"a APPEND x {4294967296}\r\n",
        b"a APPEND x {00000000000000005+}\r\n",
        b"a APPEND x {%s+}\r\n" % (b"9" * 5000),
        b"a APPEND {1+}\r\n",
        b"a IDLE\r\nb APPEND x {100+}\r\n",
        b"a IDLE\r\nb APPEND x {100}\r\n",
        b"a FOO b IDLE\r\n",
        b"a APPEND x {100}\r\nb",  # not awaited
        b"x" * (MAX_HELD_OCTETS + 1),
    ],
)
def test_what_servers_could_read_differently_makes_wary(octets: bytes) -> None:
    tap = wary(octets)
    assert tap.feed(b"\r\na NOOP\r\n") == b"\r\na NOOP\r\n"
    assert tap.feed(b"a UNAUTHENTICATE\r\n") == b""
    assert tap.violated
    assert tap.feed(b"a NOOP\r\n") == b""


def test_bare_lf_hides_no_verb() -> None:
    tap = ImapTap()
    assert tap.feed(b"a NOOP\nb UNAUTHENTICATE\r\n") == b""
    assert tap.violated


@pytest.mark.parametrize("word", [b" unauthenticate\r", b" Compress Deflate", b' COMPRESS "DEFL'])
def test_denied_word_is_found_across_chunks(word: bytes) -> None:
    stream = b"x" * 100 + b" y" + word + b"ATE\r\n"
    for i in range(100, len(stream) - 4):
        tap = wary(b"\n")
        assert b"ATE\r\n" not in tapped([stream[:i], stream[i:]], tap)
        assert tap.violated


def test_backend_without_literal_plus_makes_wary() -> None:
    for limit, exact in ((0, False), (len(MESSAGE), True), (len(MESSAGE) - 1, False)):
        tap = ImapTap(limit)
        tap.feed(APPEND)
        assert tap.pending_sync is exact


def test_refused_literal_makes_wary_and_passes_the_next_command() -> None:
    tap = ImapTap()
    tap.feed(b"a APPEND Nowhere {100}\r\n")
    tap.server_octets(b"a NO [TRYCREATE]\r\n")
    assert tap.feed(b"b CREATE Nowhere\r\n") == b"b CREATE Nowhere\r\n"


def test_continuation_nobody_owes_makes_wary() -> None:
    tap = ImapTap()
    tap.server_octets(b"* OK\r\n")
    tap.feed(b"a IDLE\r\n")
    tap.server_octets(b"+ a\r\n+ b\r\n")
    assert not tap.pending_sync


# -- information -------------------------------------------------------------------------------


def test_idle_lasts_until_done() -> None:
    tap = ImapTap()
    states = []
    for octets in (b"a idle\r\n", b"done\r\n", b"b NOOP\r\n"):
        assert tap.feed(octets) == octets
        tap.server_octets(b"+ idling\r\n* 5 EXISTS\r\n" if tap.idle else b"a OK\r\n")
        states.append((tap.idle, tap.pending_sync))
    assert states == [(True, True), (False, True), (False, True)]


def test_idle_ends_when_the_backend_refuses_it() -> None:
    tap = ImapTap()
    tap.feed(b"a IDLE\r\n")
    tap.server_octets(b"a BAD what\r\n")
    assert not tap.idle


@pytest.mark.parametrize("octets", [b"DONE\n", b"b NOOP {3}\r\n", b"x" * 9000])
def test_nobody_knows_of_idle_in_a_wary_session(octets: bytes) -> None:
    tap = ImapTap()
    tap.feed(b"a IDLE\r\n")
    tap.server_octets(b"+ idling\r\n")
    tap.feed(octets)
    assert (tap.pending_sync, tap.idle, tap.between_server_lines) == (False, False, False)
    turns = tap.idle_turns
    tap.feed(b"\r\nc IDLE\r\nDONE\r\n")
    assert (tap.idle, tap.idle_turns) == (False, turns)


def test_a_new_idle_is_told_from_the_one_before() -> None:
    tap = ImapTap()
    seen = []
    for octets in (b"a IDLE\r\n", b"DONE\r\nb IDLE\r\n", b"DONE\r\nc IDLE\r\nDONE\r\n"):
        tap.feed(octets)
        tap.server_octets(b"+ idling\r\n" if tap.idle else b"b OK\r\n+ idling\r\nc OK\r\n")
        seen.append((tap.idle, tap.idle_turns))
    assert [idle for idle, _ in seen] == [True, True, False]
    assert len({turns for _, turns in seen}) == 3
    assert tap.pending_sync


def test_logout_is_seen() -> None:
    tap = ImapTap()
    assert not tap.logout
    tap.feed(b"a Logout\r\n")
    assert tap.logout


def test_an_idle_session_is_small() -> None:
    tap = ImapTap()
    tap.feed(b"a001 IDLE\r\n")
    tap.server_octets(b"+ idling\r\n" + b"* 5 EXISTS\r\n" * 100)
    held = [getattr(tap, name) for name in ImapTap.__slots__]
    server = [getattr(tap._server, name) for name in type(tap._server).__slots__]
    assert sum(sys.getsizeof(x) for x in (tap, *held, *server) if not isinstance(x, bool)) < 600
    assert sys.getsizeof(tap) + sys.getsizeof(tap._server) < 250


# -- properties --------------------------------------------------------------------------------

WORDS = (
    b"a |UNAUTHENTICATE|Compress| DEFLATE|NOOP|\r\n|\r\n|\n|\r|APPEND x |{5+}\r\n|{40+}\r\n|"
    b"{3}\r\n|IDLE|DONE|UID | |(\\Seen) |abc"
).split(b"|")
STREAMS = st.lists(st.sampled_from(WORDS) | st.binary(max_size=3), max_size=30).map(b"".join)
UNDO = re.compile(rb"(?i)XNAUTHENTICATE|XOMPRESS")


def undone(octets: bytes) -> bytes:
    return UNDO.sub(lambda m: {14: b"UNAUTHENTICATE", 8: b"COMPRESS"}[len(m[0])], octets).upper()


@settings(max_examples=200)
@given(STREAMS, st.lists(st.integers(0, 150), max_size=6))
def test_output_is_the_input_but_for_the_verbs(octets: bytes, at: list[int]) -> None:
    """Whatever the cut, and nothing is lost but an unfinished line or a session that is over."""
    tap = ImapTap()
    passed = tapped(cut(octets, at), tap)
    assert octets.upper().startswith(undone(passed))
    if not tap.violated:
        assert len(octets) - len(passed) == len(tap._held) <= MAX_HELD_OCTETS


@settings(max_examples=200)
@given(STREAMS, st.lists(st.integers(0, 150), max_size=6))
def test_the_cut_changes_only_what_passes_before_a_violation(octets: bytes, at: list[int]) -> None:
    one, other = ImapTap(), ImapTap()
    whole, pieces = tapped([octets], one), tapped(cut(octets, at), other)
    assert one.violated == other.violated
    assert whole == pieces or (one.violated and pieces.startswith(whole))


@settings(max_examples=100)
@given(st.binary(max_size=200), st.lists(st.integers(0, 300), max_size=6))
def test_any_content_passes_through_an_append(content: bytes, at: list[int]) -> None:
    stream = b"a APPEND x {%d+}\r\n" % len(content) + content + b"\r\n"
    passed = tapped(cut(stream + b"b UNAUTHENTICATE\r\n", at))
    assert passed == stream + b"b XNAUTHENTICATE\r\n"
