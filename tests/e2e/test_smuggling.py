"""Ends of data that only some servers see, through the guard into a Postfix that sees them all.

A message "smuggled" behind such an end is one the guard never judged. The control shows that this
Postfix would have taken it.
"""

import ssl

import pytest

from .accounts import ALICE, BOB, PASSWORDS
from .conftest import Mail
from .guard_process import Guard
from .line_client import LineClient, smtp_login, smtp_over_tls

# The sequences of the public scanners (SMTP smuggling, CVE-2023-51764 and its kin).
SEQUENCES = [
    b"\n.\n",
    b"\n.\r",
    b"\r.\n",
    b"\r.\r",
    b"\n.\r\n",
    b"\r.\r\n",
    b"\r\n.\n",
    b"\r\n.\r",
    b"\r\n\0.\r\n",
    b"\r\n.\0\r\n",
    b"\r\n.\r\r\n",
    b"\r\r\n.\r\r\n",
]
RECIPIENT = b"RCPT TO:<" + BOB.encode() + b">"


def content(marker: bytes, sequence: bytes) -> bytes:
    """Content in which a second message hides behind `sequence`."""
    return b"".join(
        (
            b"Subject: first\r\n\r\n" + marker,
            sequence,
            b"MAIL FROM:<smuggler@example.test>\r\n" + RECIPIENT + b"\r\nDATA\r\n",
            b"Subject: second\r\n\r\n" + marker + b"-smuggled\r\n.\r\n",
        )
    )


def send(client: LineClient, octets: bytes) -> bytes:
    """Send content after a DATA that was answered 354; all that is answered up to QUIT's 221."""
    assert client.command(b"MAIL FROM:<sender@example.test>").startswith(b"250")
    assert client.command(RECIPIENT).startswith(b"250")
    assert client.command(b"DATA").startswith(b"354")
    client.send(octets)
    answers = [client.reply()]
    client.send(b"QUIT\r\n")
    while answer := client.reply():
        answers.append(answer)
    return b"".join(answers)


@pytest.mark.parametrize("sequence", [b"\n.\n", b"\n.\r\n"])
def test_this_postfix_lets_itself_be_smuggled_to(
    mail: Mail, marker: bytes, sequence: bytes
) -> None:
    with LineClient(mail.postfix.mx) as client:
        client.reply()
        client.command(b"EHLO client.example.test")
        send(client, content(marker, sequence))
    assert len(mail.settled(BOB, marker)) == 2


@pytest.mark.parametrize("sequence", SEQUENCES)
@pytest.mark.parametrize("name", ["mx", "mx-v2"])
def test_no_sequence_makes_two_messages_of_one(
    guarded: Guard,
    mail: Mail,
    tls: ssl.SSLContext,
    marker: bytes,
    source: str,
    name: str,
    sequence: bytes,
) -> None:
    with smtp_over_tls(guarded.ports[name], tls, source) as client:
        client.command(b"EHLO client.example.test")
        answers = send(client, content(marker, sequence))
    messages = mail.settled(BOB, marker)
    if answers.startswith(b"250"):
        (message,) = messages
        assert marker + b"-smuggled" in message  # all of it is content of the first
    else:
        assert answers[:1] == b"5"  # refused as a whole, as RFC 5321 2.3.8 would have it
        assert messages == []
    assert not any(b"smuggler@" in each.partition(b"\n\n")[0] for each in messages)


@pytest.mark.parametrize("sequence", [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r\r\n.\r\r\n"])
def test_the_same_holds_for_submission(
    guarded: Guard, mail: Mail, tls: ssl.SSLContext, marker: bytes, source: str, sequence: bytes
) -> None:
    with smtp_over_tls(guarded.ports["submission"], tls, source) as client:
        assert smtp_login(client, ALICE, PASSWORDS[ALICE]).startswith(b"235")
        send(client, content(marker, sequence))
    assert len(mail.settled(BOB, marker)) <= 1


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_bdat_carries_every_sequence_as_content(
    guarded: Guard, mail: Mail, tls: ssl.SSLContext, marker: bytes, source: str, sequence: bytes
) -> None:
    octets = content(marker, sequence)
    with smtp_over_tls(guarded.ports["mx"], tls, source) as client:
        client.command(b"EHLO client.example.test")
        client.command(b"MAIL FROM:<sender@example.test>")
        assert client.command(RECIPIENT).startswith(b"250")
        client.send(b"BDAT %d LAST\r\n" % len(octets) + octets)
        answer = client.reply()
        assert client.command(b"NOOP").startswith(b"250")
    assert len(mail.settled(BOB, marker)) == (1 if answer.startswith(b"250") else 0)


def test_clean_content_passes_unchanged(
    guarded: Guard, mail: Mail, tls: ssl.SSLContext, marker: bytes, source: str
) -> None:
    body = marker + b"\r\n..\r\n...dots\r\n\r\n.. \r\n"
    with smtp_over_tls(guarded.ports["mx"], tls, source) as client:
        client.command(b"EHLO client.example.test")
        stuffed = body.replace(b"\r\n.", b"\r\n..")
        assert send(client, b"Subject: x\r\n\r\n" + stuffed + b".\r\n").startswith(b"250")
    assert mail.delivered(BOB, marker).endswith(body.replace(b"\r\n", b"\n"))
