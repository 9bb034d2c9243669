"""The IMAP command observer, by transcripts, by limits, and by properties."""

from collections.abc import Iterable
from itertools import pairwise

import imap_transcript
import pytest
import transcript
from hypothesis import given, settings
from hypothesis import strategies as st

from gatekeeper.events import Command, ContinuationNeeded, Login, Violation, ViolationKind
from gatekeeper.wire.framing import Segment
from gatekeeper.wire.imap import (
    MAX_COMMAND_OCTETS,
    MAX_LINE_OCTETS,
    MAX_SASL_LINE_OCTETS,
    ImapCommands,
)
from gatekeeper.wire.imap_commands import MAX_STRING_OCTETS
from gatekeeper.wire.imap_syntax import MAX_TAG_OCTETS, cut_pieces

TRANSCRIPTS = {path.stem: path for path in sorted((transcript.DIRECTORY / "imap").glob("*.txt"))}


def segments(octets: Iterable[bytes], *, refuse_login: bool = False) -> list[Segment]:
    commands = ImapCommands(refuse_login=refuse_login)
    found = []
    for chunk in octets:
        commands.feed(chunk)
        while (segment := commands.next_segment()) is not None:
            found.append(segment)
    return found


def violation(octets: bytes) -> Violation:
    event = segments([octets])[-1].event
    assert isinstance(event, Violation)
    return event


def cut(octets: bytes, at: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted(at), len(octets)]
    return [octets[a:b] for a, b in pairwise(edges)]


# -- transcripts -------------------------------------------------------------------------------


def test_there_are_transcripts() -> None:
    assert len(TRANSCRIPTS) >= 10


@pytest.mark.parametrize("name", TRANSCRIPTS)
def test_transcript_holds_in_one_piece_and_octet_by_octet(name: str) -> None:
    dialogue = transcript.read(TRANSCRIPTS[name])
    octets = dialogue.octets
    assert imap_transcript.play(dialogue, [octets]) == list(dialogue.script)
    single = [octets[i : i + 1] for i in range(len(octets))]
    assert imap_transcript.play(dialogue, single) == list(dialogue.script)


@settings(max_examples=100)
@given(st.data())
def test_transcript_holds_in_any_cut(data: st.DataObject) -> None:
    dialogue = transcript.read(TRANSCRIPTS[data.draw(st.sampled_from(sorted(TRANSCRIPTS)))])
    at = data.draw(st.lists(st.integers(0, len(dialogue.octets)), max_size=8))
    assert imap_transcript.play(dialogue, cut(dialogue.octets, at)) == list(dialogue.script)


# -- pieces ------------------------------------------------------------------------------------


def test_pieces_are_cut_behind_synchronising_literals_only() -> None:
    raw = b"a LOGIN {1+}\r\nu {1}\r\np\r\n"
    asked, login = segments([raw])
    assert asked == Segment(b"", ContinuationNeeded(1))
    assert login.raw == raw
    assert login.sendable() == (b"a LOGIN {1+}\r\nu {1}\r\n", b"p\r\n")
    assert cut_pieces(raw) == login.pieces


def test_command_without_synchronising_literals_is_one_piece() -> None:
    (segment,) = segments([b"a LOGIN {1+}\r\nu p\r\n"])
    assert segment.sendable() == (segment.raw,)
    assert cut_pieces(segment.raw) == ()


# -- limits ------------------------------------------------------------------------------------


@pytest.mark.parametrize("fits", [True, False])
def test_tag_has_a_limit(fits: bool) -> None:
    tag = b"t" * (MAX_TAG_OCTETS + (not fits))
    (segment,) = segments([tag + b" NOOP\r\n"])
    if fits:
        assert segment.event == Command("NOOP", tag)
    else:
        assert segment.event == Violation(ViolationKind.BAD_SYNTAX, b"* BAD Syntax error\r\n")


@pytest.mark.parametrize("form", [b'"%b"', b"%b", b"{1024+}\r\n%b"])
def test_longest_password_is_read_in_every_form(form: bytes) -> None:
    password = b"p" * MAX_STRING_OCTETS
    (segment,) = segments([b"a LOGIN u " + form % password + b"\r\n"])
    assert isinstance(segment.event, Login)
    assert segment.event.password.declassify() == password


def test_longer_password_is_refused() -> None:
    refused = violation(b'a LOGIN u "' + b"p" * (MAX_STRING_OCTETS + 1) + b'"\r\n')
    assert refused == Violation(ViolationKind.BAD_SYNTAX, b"a BAD Syntax error\r\n")


@pytest.mark.parametrize("fits", [True, False])
def test_line_has_a_limit(fits: bool) -> None:
    line = b"a ID ".ljust(MAX_LINE_OCTETS - 2 + (not fits), b"x") + b"\r\n"
    (segment,) = segments([line])
    if fits:
        assert segment.event == Command("ID", b"a")
    else:
        assert isinstance(segment.event, Violation)
        assert segment.event.kind is ViolationKind.LINE_TOO_LONG
        assert segment.event.fatal


@pytest.mark.parametrize("fits", [True, False])
def test_sasl_response_has_a_limit(fits: bool) -> None:
    commands = ImapCommands(refuse_login=False)
    commands.expect_sasl(b"a")
    commands.feed(b"A" * (MAX_SASL_LINE_OCTETS - 2 + 4 * (not fits)) + b"\r\na NOOP\r\n")
    segment = commands.next_segment()
    assert segment is not None
    if fits:
        assert len(segment.raw) == MAX_SASL_LINE_OCTETS
        assert not isinstance(segment.event, Violation)
    else:
        assert isinstance(segment.event, Violation)
        assert segment.event.kind is ViolationKind.SASL_TOO_LONG
        assert segment.event.reply.startswith(b"a BAD ")
        assert commands.next_segment() is None


def test_refused_command_is_swallowed_within_its_limit_only() -> None:
    size = MAX_COMMAND_OCTETS - 100
    swallowed, after = segments([b"a X {%d+}\r\n" % size + b"y" * size + b"\r\nb NOOP\r\n"])
    assert swallowed.event == Violation(ViolationKind.FORBIDDEN_VERB, b"a BAD Unknown command\r\n")
    assert after.event == Command("NOOP", b"b")
    assert violation(b"a X {%d+}\r\n" % MAX_COMMAND_OCTETS).fatal


def test_userid_that_is_no_utf8_survives() -> None:
    (segment,) = segments([b'a LOGIN "\xff" x\r\n'])
    assert isinstance(segment.event, Login)
    assert segment.event.userid.encode("utf-8", "surrogateescape") == b"\xff"


# -- handing over ------------------------------------------------------------------------------


def test_octets_behind_a_command_are_handed_over() -> None:
    commands = ImapCommands(refuse_login=True)
    commands.feed(b"a STARTTLS\r\nb NOOP\r\n")
    commands.next_segment()
    assert commands.buffered == 8
    assert commands.take_buffered() == b"b NOOP\r\n"
    assert commands.buffered == 0
    assert commands.next_segment() is None


def test_nothing_is_read_after_a_fatal_violation() -> None:
    commands = ImapCommands(refuse_login=False)
    commands.feed(b"a\nb NOOP\r\n")
    assert commands.next_segment() is not None
    commands.feed(b"c NOOP\r\n")
    assert commands.next_segment() is None
    assert commands.buffered == 0


# -- properties --------------------------------------------------------------------------------

WORDS = (
    b"a1 |LOGIN |NOOP|ID NIL|AUTHENTICATE PLAIN|\r\n|\n|\r|\0|"
    b'{3}\r\n|{4+}\r\n|~{2}\r\n|{99999+}\r\n|"u"| |abc|='
).split(b"|")
STREAMS = st.lists(st.sampled_from(WORDS) | st.binary(max_size=4), max_size=25).map(b"".join)


@settings(max_examples=300)
@given(STREAMS, st.lists(st.integers(0, 200), max_size=8), st.booleans())
def test_segments_are_a_prefix_and_do_not_depend_on_the_cut(
    octets: bytes, at: list[int], refuse_login: bool
) -> None:
    whole = segments([octets], refuse_login=refuse_login)
    joined = b"".join(segment.raw for segment in whole)
    assert octets.startswith(joined)
    for segment in whole:
        assert b"".join(segment.sendable()) == segment.raw
    pieces = segments(cut(octets, [min(i, len(octets)) for i in at]), refuse_login=refuse_login)
    assert [(s.raw, s.pieces) for s in pieces] == [(s.raw, s.pieces) for s in whole]
    assert [type(s.event) for s in pieces] == [type(s.event) for s in whole]


@settings(max_examples=50)
@given(st.binary(max_size=40), st.integers(0, 50))
def test_what_is_held_is_bounded(pattern: bytes, at: int) -> None:
    commands = ImapCommands(refuse_login=False)
    commands.feed(b"a LOGIN {1000+}\r\n"[:at])
    for _ in range(200):
        commands.feed((pattern or b"x") * 20)
        while commands.next_segment() is not None:
            pass
        assert commands.buffered <= MAX_COMMAND_OCTETS + 800
