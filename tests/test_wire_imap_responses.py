"""What a backend sends before the login, and what it says of a credential."""

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatekeeper.events import AuthResult
from gatekeeper.wire.imap_responses import (
    MAX_LINE_OCTETS,
    MAX_LITERAL_OCTETS,
    ImapResponses,
    Response,
    ResponseFault,
    ResponseFaultKind,
    Status,
    auth_result,
)


def responses(chunks: Iterable[bytes]) -> list[Response | ResponseFault]:
    reader = ImapResponses()
    found: list[Response | ResponseFault] = []
    for chunk in chunks:
        reader.feed(chunk)
        while (response := reader.next_response()) is not None:
            found.append(response)
            if isinstance(response, ResponseFault):
                break
    return found


def only(octets: bytes) -> Response:
    (response,) = responses([octets])
    assert isinstance(response, Response)
    return response


@pytest.mark.parametrize(
    ("line", "tag", "status", "code"),
    [
        (b"* OK [CAPABILITY IMAP4rev1] hi\r\n", b"*", Status.OK, b"CAPABILITY IMAP4rev1"),
        (b"* PREAUTH hi\r\n", b"*", Status.PREAUTH, None),
        (b"* bye hi\r\n", b"*", Status.BYE, None),
        (b"* CAPABILITY IMAP4rev1\r\n", b"*", None, None),
        (b"* 3 EXISTS\r\n", b"*", None, None),
        (b"+ VXNlcg==\r\n", b"+", None, None),
        (b"+\r\n", b"+", None, None),
        (b"+ [ALERT] go\r\n", b"+", None, b"ALERT"),
        (b"a[1 NO [AUTHENTICATIONFAILED] no\r\n", b"a[1", Status.NO, b"AUTHENTICATIONFAILED"),
        (b"a1 OK\r\n", b"a1", Status.OK, None),
        (b"a1 BAD [x no end\r\n", b"a1", Status.BAD, None),
    ],
)
def test_one_line(line: bytes, tag: bytes, status: Status | None, code: bytes | None) -> None:
    assert only(line) == Response(tag, status, code, line)


def test_tagged_response_in_a_literal_is_not_read() -> None:
    data = b'* ID ("name" {10}\r\nA1 OK yes\r "x" {2}\r\n\r\n)\r\n'
    assert responses([data + b"A1 NO\r\n"]) == [
        Response(b"*", None, None, data),
        Response(b"A1", Status.NO, None, b"A1 NO\r\n"),
    ]


@pytest.mark.parametrize("line", [b"A1 NO user{20}\r\n", b"* OK {20}\r\n", b"+ {20}\r\n"])
def test_free_text_announces_no_literal(line: bytes) -> None:
    assert [type(r) for r in responses([line + b"A1 OK\r\n"])] == [Response, Response]


@pytest.mark.parametrize(
    ("octets", "kind"),
    [
        (b"* OK hi\n", ResponseFaultKind.BAD_LINE_END),
        (b"* OK \rhi\r\n", ResponseFaultKind.BAD_LINE_END),
        (b"* X {3}\r\nab\r\n\n", ResponseFaultKind.BAD_LINE_END),
        (b"\r\n", ResponseFaultKind.BAD_SYNTAX),
        (b"* OK \0\r\n", ResponseFaultKind.BAD_SYNTAX),
        (b"A1 BYE\r\n", ResponseFaultKind.BAD_SYNTAX),
        (b"220 mail ESMTP\r\n", ResponseFaultKind.BAD_SYNTAX),
        (b"* X {%d}\r\n" % (MAX_LITERAL_OCTETS + 1), ResponseFaultKind.LITERAL_TOO_LONG),
        (b"* X {%s}\r\n" % (b"9" * 5000), ResponseFaultKind.LITERAL_TOO_LONG),
        (b"* OK ".ljust(MAX_LINE_OCTETS, b"x"), ResponseFaultKind.LINE_TOO_LONG),
    ],
)
def test_broken_response_is_a_fault_that_stays(octets: bytes, kind: ResponseFaultKind) -> None:
    reader = ImapResponses()
    reader.feed(octets)
    assert reader.next_response() == ResponseFault(kind)
    reader.feed(b"* OK\r\n")
    assert reader.next_response() == ResponseFault(kind)
    assert reader.buffered == 0


def test_literals_of_one_response_are_bounded_together() -> None:
    one = b"* X {%d}\r\n" % MAX_LITERAL_OCTETS + b"x" * MAX_LITERAL_OCTETS
    two = b" {%d}\r\n" % MAX_LITERAL_OCTETS
    assert responses([one, two]) == [ResponseFault(ResponseFaultKind.LITERAL_TOO_LONG)]


def test_rest_is_handed_over() -> None:
    reader = ImapResponses()
    reader.feed(b"a OK\r\n* 1 EX")
    assert reader.next_response() is not None
    assert reader.buffered == 6
    assert reader.take_buffered() == b"* 1 EX"
    assert reader.buffered == 0


@pytest.mark.parametrize(
    ("line", "result"),
    [
        (b"a OK done\r\n", AuthResult.SUCCESS),
        (b"a OK [CAPABILITY IMAP4rev1] done\r\n", AuthResult.SUCCESS),
        (b"a NO no\r\n", AuthResult.FAILURE),
        (b"a NO [AUTHENTICATIONFAILED] no\r\n", AuthResult.FAILURE),
        (b"a no [authorizationfailed] no\r\n", AuthResult.FAILURE),
        (b"a NO [EXPIRED] no\r\n", AuthResult.FAILURE),
        (b"a NO [CONTACTADMIN] no\r\n", AuthResult.FAILURE),
        (b"a NO [ALERT] no\r\n", AuthResult.FAILURE),
        (b"a NO [UNAVAILABLE] no\r\n", AuthResult.UNAVAILABLE),
        (b"a NO [unavailable] no\r\n", AuthResult.UNAVAILABLE),
        (b"a NO [INUSE] no\r\n", AuthResult.UNAVAILABLE),
        (b"a NO [LIMIT] no\r\n", AuthResult.UNAVAILABLE),
        (b"a NO [SERVERBUG] no\r\n", AuthResult.UNAVAILABLE),
        (b"a NO [REFERRAL imap://x/] no\r\n", AuthResult.UNAVAILABLE),
        (b"a NO [PRIVACYREQUIRED] no\r\n", AuthResult.PROTOCOL),
        (b"a BAD no\r\n", AuthResult.PROTOCOL),
        (b"* BYE\r\n", AuthResult.UNAVAILABLE),
        (b"* OK still here\r\n", AuthResult.PROTOCOL),
        (b"* NO warning\r\n", AuthResult.PROTOCOL),
        (b"+ more\r\n", AuthResult.PROTOCOL),
    ],
)
def test_verdict_of_the_backend(line: bytes, result: AuthResult) -> None:
    assert auth_result(only(line)) is result


WORDS = b"* |OK |a1 |NO |[X] |\r\n|\n|\r|{3}\r\n|{4}\r\n|~{2}\r\n|{99999}\r\n|+ |abc".split(b"|")


@settings(max_examples=200)
@given(
    st.lists(st.sampled_from(WORDS) | st.binary(max_size=3), max_size=25).map(b"".join),
    st.lists(st.integers(0, 100), max_size=6),
)
def test_responses_are_a_prefix_and_do_not_depend_on_the_cut(octets: bytes, at: list[int]) -> None:
    whole = responses([octets])
    assert octets.startswith(b"".join(r.raw for r in whole if isinstance(r, Response)))
    edges = [0, *sorted(min(i, len(octets)) for i in at), len(octets)]
    chunks = [octets[a:b] for a, b in pairwise(edges)]
    cut = list(dict.fromkeys(map(repr, responses(chunks))))
    assert cut == list(dict.fromkeys(map(repr, whole)))
