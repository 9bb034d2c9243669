"""The SMTP command observer, by transcripts, by limits, and by properties."""

from collections.abc import Iterable
from itertools import pairwise

import pytest
import transcript
from hypothesis import given, settings
from hypothesis import strategies as st

from gatekeeper.events import Command, SaslResponse, Violation, ViolationKind
from gatekeeper.wire.framing import Segment
from gatekeeper.wire.smtp import (
    MAX_AUTH_COMMAND_OCTETS,
    MAX_COMMAND_OCTETS,
    MAX_SASL_LINE_OCTETS,
    SmtpCommands,
)

TRANSCRIPTS = {path.stem: path for path in sorted((transcript.DIRECTORY / "smtp").glob("*.txt"))}


def segments(commands: SmtpCommands, chunks: Iterable[bytes]) -> list[Segment]:
    found = []
    for chunk in chunks:
        commands.feed(chunk)
        while (segment := commands.next_segment()) is not None:
            found.append(segment)
    return found


def only(octets: bytes) -> Segment:
    (segment,) = segments(SmtpCommands(), [octets])
    return segment


def cut(octets: bytes, at: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted(at), len(octets)]
    return [octets[a:b] for a, b in pairwise(edges)]


def violation(segment: Segment) -> Violation:
    assert isinstance(segment.event, Violation)
    return segment.event


# -- transcripts -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TRANSCRIPTS)
def test_transcript_holds_in_one_piece_and_octet_by_octet(name: str) -> None:
    dialogue = transcript.read(TRANSCRIPTS[name])
    octets = dialogue.octets
    assert transcript.play(dialogue, [octets]) == list(dialogue.script)
    single = [octets[i : i + 1] for i in range(len(octets))]
    assert transcript.play(dialogue, single) == list(dialogue.script)


@settings(max_examples=150)
@given(st.data())
def test_transcript_holds_in_random_cuts(data: st.DataObject) -> None:
    dialogue = transcript.read(TRANSCRIPTS[data.draw(st.sampled_from(sorted(TRANSCRIPTS)))])
    at = data.draw(st.lists(st.integers(0, len(dialogue.octets)), max_size=6))
    assert transcript.play(dialogue, cut(dialogue.octets, at)) == list(dialogue.script)


def test_a_wrong_transcript_fails() -> None:
    dialogue = transcript.Transcript(b"NOOP\r\nRSET\r\n", (("E:", "Command(verb='NOOP')"),))
    assert transcript.play(dialogue, [dialogue.octets]) != list(dialogue.script)


# -- limits --------------------------------------------------------------------------------------


def test_a_command_of_the_limit_is_read_and_one_octet_more_is_fatal() -> None:
    line = b"NOOP " + b"x" * (MAX_COMMAND_OCTETS - 7) + b"\r\n"
    assert only(line) == Segment(line, Command("NOOP"))
    refused = violation(only(b"NOOP x" + line[5:]))
    assert (refused.kind, refused.fatal) == (ViolationKind.LINE_TOO_LONG, True)
    assert refused.reply.startswith(b"500 5.5.2 ")


def test_an_auth_command_may_carry_a_long_token() -> None:
    text = b"AUTH XOAUTH2 " + b"QUFB" * 3072 + b"\r\n"
    assert not isinstance(only(text).event, Violation)
    too_long = b"AUTH XOAUTH2 " + b"A" * MAX_AUTH_COMMAND_OCTETS
    assert violation(only(too_long)).kind is ViolationKind.LINE_TOO_LONG


def test_a_sasl_response_of_12288_octets_is_read_and_12289_are_fatal() -> None:
    commands = SmtpCommands()
    commands.expect_sasl()
    (segment,) = segments(commands, [b"A" * 12_288 + b"\r\n"])
    assert isinstance(segment.event, SaslResponse)
    assert len(segment.event.response) == 9_216
    commands.expect_sasl()
    (segment,) = segments(commands, [b"A" * 12_289 + b"\r\nNOOP\r\n"])
    refused = violation(segment)
    assert (refused.kind, refused.fatal) == (ViolationKind.SASL_TOO_LONG, True)
    assert refused.reply.startswith(b"500 5.5.6 ")


@pytest.mark.parametrize("sasl", [False, True])
def test_an_endless_line_is_never_held_beyond_its_limit(sasl: bool) -> None:
    commands = SmtpCommands()
    if sasl:
        commands.expect_sasl()
    most = 0
    found = []
    for _ in range(1000):
        found += segments(commands, [b"A" * 100])
        most = max(most, commands.buffered)
    assert most <= MAX_SASL_LINE_OCTETS + 100
    assert len(found) == 1
    assert commands.buffered == 0


# -- hand-over -----------------------------------------------------------------------------------


def test_buffered_octets_are_handed_over_once() -> None:
    commands = SmtpCommands()
    commands.feed(b"STARTTLS\r\nEHLO injected")
    assert commands.next_segment() is not None
    assert commands.next_segment() is None
    assert commands.buffered == len(b"EHLO injected")
    assert commands.take_buffered() == b"EHLO injected"
    assert commands.buffered == 0
    assert [s.raw for s in segments(commands, [b"NOOP\r\n"])] == [b"NOOP\r\n"]


def test_a_tls_record_is_foreign_only_as_the_first_octets() -> None:
    first = SmtpCommands()
    assert segments(first, [b"\x16"]) == []
    assert violation(segments(first, [b"\x03"])[0]).kind is ViolationKind.FOREIGN_PROTOCOL
    later = segments(SmtpCommands(), [b"NOOP\r\n\x16\x03\r\n"])[1]
    assert violation(later).kind is ViolationKind.FORBIDDEN_VERB


# -- properties ----------------------------------------------------------------------------------

WORDS = st.sampled_from(
    [b"NOOP", b"AUTH PLAIN ", b"MAIL FROM:<a@b>", b"BDAT 5", b"GET /", b"\x16\x03", b"QUJD", b"*"]
    + [b"\r\n"] * 6
    + [b"\r", b"\n", b"\0", b" ", b"=", b"\xff", b"x" * 5000]
)
STREAMS = st.lists(WORDS, max_size=12).map(b"".join) | st.binary(max_size=60)


def shown(found: list[Segment]) -> list[tuple[bytes, str]]:
    return [(segment.raw, transcript.describe(segment.event)) for segment in found]


@settings(max_examples=200)
@given(STREAMS, st.lists(st.integers(0, 200), max_size=8), st.booleans())
def test_cuts_change_nothing_and_raw_is_a_prefix(octets: bytes, at: list[int], sasl: bool) -> None:
    whole, parts = SmtpCommands(), SmtpCommands()
    if sasl:
        whole.expect_sasl()
        parts.expect_sasl()
    found = segments(whole, [octets])
    assert shown(segments(parts, cut(octets, [min(i, len(octets)) for i in at]))) == shown(found)
    assert octets.startswith(b"".join(segment.raw for segment in found))
    for segment in found[:-1]:
        assert not (isinstance(segment.event, Violation) and segment.event.fatal)


@settings(max_examples=200)
@given(STREAMS)
def test_what_is_forwarded_is_one_line_to_every_server(octets: bytes) -> None:
    for segment in segments(SmtpCommands(), [octets]):
        if not isinstance(segment.event, Violation):
            assert segment.raw.endswith(b"\r\n")
            assert not set(b"\r\n\0") & set(segment.raw[:-2])


@settings(max_examples=100)
@given(st.binary(min_size=4, max_size=30))
def test_no_reply_echoes_the_client(octets: bytes) -> None:
    replies = set()
    for segment in segments(SmtpCommands(), [octets + b"\r\n", b"<script>\r\n"]):
        if isinstance(segment.event, Violation):
            replies.add(segment.event.reply)
    assert all(reply.isascii() and b"<" not in reply for reply in replies)


def test_events_do_not_show_credentials() -> None:
    segment = only(b"AUTH PLAIN AHRpbQB0YW5zdGFhZnRhbnN0YWFm\r\n")
    assert "tanstaaf" not in repr(segment.event)
