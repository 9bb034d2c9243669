"""Replies of a backend: framing, faults, and what they mean."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatekeeper.events import AuthResult, RcptResult
from gatekeeper.wire.smtp_replies import (
    MAX_REPLY_LINE_OCTETS,
    MAX_REPLY_LINES,
    Reply,
    ReplyFault,
    ReplyFaultKind,
    SmtpReplies,
    auth_result,
    format_reply,
    rcpt_result,
)


def replies(*chunks: bytes) -> list[Reply | ReplyFault]:
    observer = SmtpReplies()
    found = []
    for chunk in chunks:
        observer.feed(chunk)
        while (reply := observer.next_reply()) is not None:
            found.append(reply)
    return found


def reply(octets: bytes) -> Reply:
    (found,) = replies(octets)
    assert isinstance(found, Reply)
    return found


SAMPLES = [
    b"220 mail.example ESMTP\r\n",
    b"250\r\n",
    b"250 \r\n",
    b"250-mail.example\r\n250-SIZE\r\n250 HELP\r\n",
    b"250-\r\n250\r\n",
    b"334 \r\n",
    b"550 5.1.1 \xd0\xb8: no\r\n",
    b"299 what\r\n",
]


def test_replies_are_cut_and_kept_whole() -> None:
    found = replies(b"".join(SAMPLES))
    assert [one.raw for one in found if isinstance(one, Reply)] == SAMPLES
    assert found[3] == Reply(250, (b"mail.example", b"SIZE", b"HELP"), SAMPLES[3])
    assert found[1] == Reply(250, (b"",), b"250\r\n")


@settings(max_examples=100)
@given(
    st.lists(st.sampled_from([*SAMPLES, b"250 a\n", b"2", b"250-a\r\n251 b\r\n"]), max_size=5),
    st.lists(st.integers(0, 100), max_size=6),
)
def test_cuts_change_nothing(samples: list[bytes], at: list[int]) -> None:
    octets = b"".join(samples)
    edges = [0, *sorted(min(i, len(octets)) for i in at), len(octets)]
    parts = [octets[a:b] for a, b in itertools.pairwise(edges)]
    single = [octets[i : i + 1] for i in range(len(octets))]
    assert replies(*parts) == replies(octets) == replies(*single)


@pytest.mark.parametrize(
    ("octets", "kind"),
    [
        (b"250 bare\n", ReplyFaultKind.BAD_LINE),
        (b"250 a\rb\r\n", ReplyFaultKind.BAD_LINE),
        (b"250 a\0\r\n", ReplyFaultKind.BAD_LINE),
        (b"\r\n", ReplyFaultKind.BAD_LINE),
        (b"\n", ReplyFaultKind.BAD_LINE),
        (b"150 a\r\n", ReplyFaultKind.BAD_LINE),
        (b"600 a\r\n", ReplyFaultKind.BAD_LINE),
        (b"2500 a\r\n", ReplyFaultKind.BAD_LINE),
        (b"250_a\r\n", ReplyFaultKind.BAD_LINE),
        (b" 250 a\r\n", ReplyFaultKind.BAD_LINE),
        (b"* OK imap\r\n", ReplyFaultKind.BAD_LINE),
        (b"250-a\r\n251 b\r\n", ReplyFaultKind.CODES_DIFFER),
        (b"250-a\r\n" * MAX_REPLY_LINES + b"250 b\r\n", ReplyFaultKind.TOO_MANY_LINES),
        (b"250 " + b"a" * MAX_REPLY_LINE_OCTETS, ReplyFaultKind.LINE_TOO_LONG),
    ],
)
def test_a_fault_is_told_once_and_nothing_is_read_after_it(
    octets: bytes, kind: ReplyFaultKind
) -> None:
    observer = SmtpReplies()
    observer.feed(octets)
    assert observer.next_reply() == ReplyFault(kind)
    observer.feed(b"250 fine\r\n")
    assert observer.next_reply() is None
    assert observer.buffered == 0


def test_limits_are_reached_without_fault() -> None:
    line = b"250 " + b"a" * (MAX_REPLY_LINE_OCTETS - 6) + b"\r\n"
    assert reply(line).raw == line
    many = b"250-a\r\n" * (MAX_REPLY_LINES - 1) + b"250 b\r\n"
    assert len(reply(many).lines) == MAX_REPLY_LINES


def test_octets_behind_a_reply_are_handed_over_whole() -> None:
    observer = SmtpReplies()
    observer.feed(b"220 go\r\n250-injected\r\n250")
    assert isinstance(observer.next_reply(), Reply)
    assert observer.next_reply() is None
    assert observer.buffered == len(b"250-injected\r\n250")
    assert observer.take_buffered() == b"250-injected\r\n250"
    assert observer.buffered == 0
    observer.feed(b"251 other\r\n")
    assert observer.next_reply() == Reply(251, (b"other",), b"251 other\r\n")


@pytest.mark.parametrize(
    ("octets", "enhanced"),
    [
        (b"550 5.1.1 no\r\n", b"5.1.1"),
        (b"250 2.1.0\r\n", b"2.1.0"),
        (b"550 5.1.10 no\r\n", b"5.1.10"),
        (b"550 5.1.1: no\r\n", None),
        (b"550 192.0.2.1 no\r\n", None),
        (b"250\r\n", None),
    ],
)
def test_enhanced_code_is_that_of_rfc_2034(octets: bytes, enhanced: bytes | None) -> None:
    assert reply(octets).enhanced == enhanced


def test_first_digit_tells_the_kind() -> None:
    kinds = [
        (one.positive, one.intermediate, one.transient)
        for one in map(reply, (b"250 a\r\n", b"354 a\r\n", b"451 a\r\n", b"550 a\r\n"))
    ]
    assert kinds == [
        (True, False, False), (False, True, False), (False, False, True), (False, False, False),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("octets", "result"),
    [
        (b"235 2.7.0 ok", AuthResult.SUCCESS),
        (b"235", AuthResult.SUCCESS),
        (b"535 5.7.8 bad", AuthResult.FAILURE),
        (b"534 5.7.9 weak", AuthResult.FAILURE),
        (b"550 no", AuthResult.FAILURE),
        (b"554 5.7.0 no", AuthResult.FAILURE),
        (b"454 4.7.0 later", AuthResult.UNAVAILABLE),
        (b"432 4.7.12 transition", AuthResult.UNAVAILABLE),
        (b"421 4.3.0 bye", AuthResult.UNAVAILABLE),
        (b"500 5.5.6 long", AuthResult.PROTOCOL),
        (b"501 5.5.2 base64", AuthResult.PROTOCOL),
        (b"502 5.5.1 what", AuthResult.PROTOCOL),
        (b"503 5.5.1 again", AuthResult.PROTOCOL),
        (b"504 5.5.4 mechanism", AuthResult.PROTOCOL),
        (b"530 5.7.0 STARTTLS first", AuthResult.PROTOCOL),
        (b"538 5.7.11 encrypt", AuthResult.PROTOCOL),
        (b"250 ok", AuthResult.PROTOCOL),
        (b"334 ", AuthResult.PROTOCOL),
    ],
)
def test_only_certain_auth_replies_count(octets: bytes, result: AuthResult) -> None:
    assert auth_result(reply(octets + b"\r\n")) is result


@pytest.mark.parametrize(
    ("octets", "result"),
    [
        (b"250 2.1.5 Ok", RcptResult.ACCEPTED),
        (b"251 forward", RcptResult.ACCEPTED),
        (b"550 5.1.1 <a@b>: Recipient address rejected: User unknown", RcptResult.UNKNOWN),
        (b"550 5.1.1 <relay@b>: Recipient address rejected", RcptResult.UNKNOWN),
        (b"550 5.1.10 RESOLVER.ADR.RecipientNotFound", RcptResult.UNKNOWN),
        (b"550 Unrouteable address", RcptResult.UNKNOWN),
        (b"550 <a@b>: Unknown user", RcptResult.UNKNOWN),
        (b"551 not here", RcptResult.UNKNOWN),
        (b"553 sorry, no mailbox here by that name", RcptResult.UNKNOWN),
        (b"554 5.7.1 <a@b>: Relay access denied", RcptResult.RELAY_DENIED),
        (b"550 5.7.1 Unable to relay", RcptResult.RELAY_DENIED),
        (b"550 relay not permitted", RcptResult.RELAY_DENIED),
        (b"550 5.7.54 SMTP; Unable to relay recipient", RcptResult.RELAY_DENIED),
        (
            b"553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)",
            RcptResult.RELAY_DENIED,
        ),
        (b"550 Invalid recipient: <a@b>", RcptResult.UNKNOWN),
        (b"550 The sender's domain does not exist", RcptResult.REFUSED),
        (b"554 5.7.1 Service unavailable; client blocked", RcptResult.REFUSED),
        (b"554 5.7.1 <relay@b>: Sender address rejected", RcptResult.REFUSED),
        (b"553 5.7.1 <a@b>: Sender address rejected: not owned by user", RcptResult.REFUSED),
        (b"550 listed", RcptResult.REFUSED),
        (b"552 5.2.2 full", RcptResult.REFUSED),
        (b"503 5.5.1 MAIL first", RcptResult.REFUSED),
        (b"450 4.2.0 greylisted", RcptResult.DEFERRED),
        (b"452 4.5.3 too many", RcptResult.DEFERRED),
        (b"421 4.3.0 bye", RcptResult.DEFERRED),
        (b"354 what", RcptResult.REFUSED),
    ],
)
def test_only_an_unknown_recipient_looks_like_guessing(octets: bytes, result: RcptResult) -> None:
    assert rcpt_result(reply(octets + b"\r\n")) is result


def test_a_formatted_reply_is_read_back() -> None:
    assert format_reply(454, "4.7.0", "Try later") == b"454 4.7.0 Try later\r\n"
    assert format_reply(250, "", "ok") == b"250 ok\r\n"
    assert reply(format_reply(535, "5.7.8", "No")).enhanced == b"5.7.8"


@settings(max_examples=200)
@given(st.binary(max_size=80))
def test_no_octets_raise(octets: bytes) -> None:
    for found in replies(octets, b"\r\n"):
        if isinstance(found, Reply):
            auth_result(found)
            rcpt_result(found)
