"""Refusals in a hook's words: the kind of answer stays what the session made it."""

import pytest

from gatekeeper.wire.own_words import imap_words, smtp_words

REFUSED = b"550 5.7.1 Sender not accepted\r\n"
DEFERRED = b"450 4.7.1 Sender not accepted now\r\n"
CLOSING = b"421 Service not available\r\n"


@pytest.mark.parametrize(
    ("reply", "text", "said"),
    [
        (REFUSED, "not from there", b"550 5.7.1 not from there\r\n"),
        (REFUSED, "5.7.25 no name", b"550 5.7.25 no name\r\n"),
        (REFUSED, "550 5.7.25 no name", b"550 5.7.25 no name\r\n"),
        (REFUSED, "554-no", b"550 5.7.1 no\r\n"),
        (REFUSED, "4.7.1 later", b"550 5.7.1 later\r\n"),  # another class than the code's
        (DEFERRED, "4.2.0 greylisted", b"450 4.2.0 greylisted\r\n"),
        (DEFERRED, "5.7.1 never", b"450 4.7.1 never\r\n"),
        (CLOSING, "go away", b"421 go away\r\n"),
        (CLOSING, "4.3.2 go away", b"421 4.3.2 go away\r\n"),
        (REFUSED, "5.1.8", b"550 5.1.8 Sender not accepted\r\n"),
        (REFUSED, "550", REFUSED),
        (REFUSED, "", REFUSED),
        (REFUSED, "5.7.1000 no code", b"550 5.7.1 5.7.1000 no code\r\n"),
        (REFUSED, "no \u2603", b"550 5.7.1 no ?\r\n"),
    ],
)
def test_smtp(reply: bytes, text: str, said: bytes) -> None:
    assert smtp_words(reply, text) == said


@pytest.mark.parametrize(
    ("line", "text", "said"),
    [
        (b"550 NO [UNAVAILABLE] Later\r\n", "not now", b"550 NO [UNAVAILABLE] not now\r\n"),
        (b"a1 NO [AUTHENTICATIONFAILED] x\r\n", "5.7.1 no", b"a1 NO [AUTHENTICATIONFAILED] no\r\n"),
        (b"* BYE Closing\r\n", "go away", b"* BYE go away\r\n"),
        (b"* BYE Closing\r\n", "[ALERT] go away", b"* BYE - [ALERT] go away\r\n"),
        (b"* BYE Closing\r\n", "", b"* BYE Closing\r\n"),
    ],
)
def test_imap(line: bytes, text: str, said: bytes) -> None:
    assert imap_words(line, text) == said
