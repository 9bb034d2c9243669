"""The same session with the server itself and through the guard: the client sees no difference.

Normalised away is only what must differ: the greeting's name, the rewritten capabilities, and
what the server makes up anew each time (queue ids, UID validity, times).
"""

import re
import ssl
from collections.abc import Sequence

import pytest

from .accounts import ALICE, BOB, PASSWORDS, WRONG
from .conftest import Mail
from .guard_process import Guard
from .line_client import LineClient, plain, smtp_over_tls

Step = tuple[bytes, int]  # octets to send, and how many replies they get

_TO_BOB = b"RCPT TO:<" + BOB.encode() + b">\r\n"
_MESSAGE = b"Subject: x\r\n\r\nbody\r\n"

MX_SESSIONS: dict[str, Sequence[Step]] = {
    "refused recipients": [
        (b"MAIL FROM:<a@b.example> SIZE=100\r\n", 1),
        (b"RCPT TO:<nobody@example.test>\r\n", 1),
        (b"RCPT TO:<a@elsewhere.example>\r\n", 1),
        (_TO_BOB, 1),
        (b"RSET\r\n", 1),
        (b"NOOP\r\n", 1),
    ],
    "a message": [
        (b"MAIL FROM:<a@b.example>\r\n", 1),
        (_TO_BOB, 1),
        (b"DATA\r\n", 1),
        (_MESSAGE + b".\r\n", 1),
        (b"MAIL FROM:<>\r\n", 1),
    ],
    "pipelined with a refusal in the middle": [
        (
            b"MAIL FROM:<a@b.example>\r\n" + _TO_BOB + b"RCPT TO:<nobody@example.test>\r\n"
            b"RCPT TO:<" + ALICE.encode() + b">\r\nDATA\r\n",
            5,
        ),
        (_MESSAGE + b".\r\n", 1),
    ],
    "a hundred recipients in one group, of whom two are refused": [
        (
            b"MAIL FROM:<a@b.example>\r\n"
            + (_TO_BOB * 2 + b"RCPT TO:<x@example.test>\r\n" + _TO_BOB * 47) * 2
            + b"DATA\r\n",
            102,
        ),
        (_MESSAGE + b".\r\n", 1),
    ],
    "chunks": [
        (b"MAIL FROM:<a@b.example> BODY=8BITMIME\r\n", 1),
        (_TO_BOB, 1),
        (b"BDAT 12\r\nSubject: x\r\n", 1),
        (b"BDAT 8 LAST\r\n\r\nbody\r\n", 1),
        (b"NOOP\r\n", 1),
    ],
    "chunks in one segment": [
        (
            b"MAIL FROM:<a@b.example>\r\n" + _TO_BOB + b"BDAT 12\r\nSubject: x\r\n"
            b"BDAT 8\r\n\r\nbody\r\nBDAT 0 LAST\r\n",
            5,
        ),
    ],
    "out of order": [
        (_TO_BOB, 1),
        (b"DATA\r\n", 1),
        (b"MAIL FROM:<a@b.example>\r\n", 1),
        (b"MAIL FROM:<a@b.example>\r\n", 1),
        (b"DATA\r\n", 1),
        (b"RSET\r\n", 1),
    ],
    "a source route and odd spelling": [
        (b"mail from:<a@b.example>\r\n", 1),
        (b"Rcpt To:<@relay.example:" + BOB.encode() + b">\r\n", 1),
        (b'RCPT TO:<"bob"@example.test>\r\n', 1),
        (b"rset\r\n", 1),
    ],
}


def submission_sessions(wrong: str) -> dict[str, Sequence[Step]]:
    """By name; `wrong` is a password that is not ALICE's."""
    return {
        "mail before login": [(b"MAIL FROM:<a@b.example>\r\n", 1), (_TO_BOB, 1), (b"RSET\r\n", 1)],
        "login, wrong and right": [
            (b"AUTH PLAIN " + plain(ALICE, wrong) + b"\r\n", 1),
            (b"AUTH PLAIN\r\n", 1),
            (plain(ALICE, PASSWORDS[ALICE]) + b"\r\n", 1),
            (b"AUTH PLAIN " + plain(ALICE, PASSWORDS[ALICE]) + b"\r\n", 1),
            (b"MAIL FROM:<" + ALICE.encode() + b">\r\n", 1),
            (b"RCPT TO:<a@elsewhere.example>\r\n", 1),
            (b"RSET\r\n", 1),
        ],
        "a cancelled login": [(b"AUTH PLAIN\r\n", 1), (b"*\r\n", 1), (b"NOOP\r\n", 1)],
        "login and mail in one segment": [
            (
                b"AUTH PLAIN " + plain(ALICE, PASSWORDS[ALICE]) + b"\r\n"
                b"MAIL FROM:<" + ALICE.encode() + b">\r\n" + _TO_BOB,
                3,
            ),
            (b"RSET\r\n", 1),
        ],
    }


def replies(client: LineClient, steps: Sequence[Step]) -> list[bytes]:
    """All replies after an EHLO, queue ids taken out."""
    client.command(b"EHLO client.example.test")
    found = []
    for octets, count in [*steps, (b"QUIT\r\n", 1)]:
        client.send(octets)
        found += [client.reply() for _ in range(count)]
    found.append(client.rest())
    # A second AUTH never gets as far as the server: the guard refuses it in words of its own.
    made_up = [(rb"queued as [0-9A-F]+", b"queued as ID"), (rb"^503 5.5.1 .*", b"503 5.5.1")]
    for pattern, instead in made_up:
        found = [re.sub(pattern, instead, reply) for reply in found]
    return found


@pytest.mark.parametrize("session", MX_SESSIONS)
def test_mx_replies_are_the_servers(
    guarded: Guard, mail: Mail, tls: ssl.SSLContext, source: str, session: str
) -> None:
    with LineClient(mail.postfix.mx, source=source) as direct:
        direct.reply()
        expected = replies(direct, MX_SESSIONS[session])
    with smtp_over_tls(guarded.ports["mx"], tls, source) as client:
        assert replies(client, MX_SESSIONS[session]) == expected


@pytest.mark.parametrize("session", submission_sessions(WRONG))
def test_submission_replies_are_the_servers(
    guarded: Guard, mail: Mail, tls: ssl.SSLContext, source: str, wrong: str, session: str
) -> None:
    steps = submission_sessions(wrong)[session]
    with LineClient(mail.postfix.submission, source=source) as direct:
        direct.reply()
        expected = replies(direct, steps)
    port = guarded.ports["submissions-xclient"]
    with LineClient(port, source=source, tls=tls) as client:
        client.reply()
        assert replies(client, steps) == expected


def keywords(reply: bytes) -> set[bytes]:
    """The EHLO keywords but AUTH's, whose list is the guard's own."""
    lines = [line[4:].strip() for line in reply.splitlines()[1:]]
    return {line for line in lines if not line.startswith((b"AUTH", b"XCLIENT", b"STARTTLS"))}


def test_ehlo_offers_what_the_server_offers(
    guarded: Guard, mail: Mail, tls: ssl.SSLContext, source: str
) -> None:
    with LineClient(mail.postfix.mx) as direct:
        direct.reply()
        expected = keywords(direct.command(b"EHLO x"))
    with smtp_over_tls(guarded.ports["mx"], tls, source) as client:
        offered = client.command(b"EHLO x")
    assert keywords(offered) == expected - {b"ETRN", b"VRFY"} | (
        keywords(offered) & {b"ETRN", b"VRFY"}
    )
    assert b"STARTTLS" not in offered
    assert b"XCLIENT" not in offered


def imap_sessions(wrong: str) -> dict[str, Sequence[bytes]]:
    """By name; `wrong` is a password that is not ALICE's."""
    return {
        "login, wrong and right": [
            f"a LOGIN {ALICE} {wrong}\r\n".encode(),
            f'b LOGIN "{ALICE}" "{PASSWORDS[ALICE]}"\r\n'.encode(),
            b"c NOOP\r\n",
        ],
        "login by literals": [
            b"a LOGIN {%d+}\r\n%s {%d+}\r\n%s\r\n"
            % (len(ALICE), ALICE.encode(), len(PASSWORDS[ALICE]), PASSWORDS[ALICE].encode()),
            b'b LIST "" INBOX\r\n',
        ],
        "authenticate in two steps, after a cancelled one": [
            b"a AUTHENTICATE PLAIN\r\n",
            b"*\r\n",
            b"b AUTHENTICATE PLAIN\r\n",
            plain(ALICE, PASSWORDS[ALICE]) + b"\r\n",
            b"c SELECT INBOX.none\r\n",
        ],
        "mailboxes and messages": [
            f"a LOGIN {ALICE} {PASSWORDS[ALICE]}\r\n".encode(),
            b"b CREATE same\r\n",
            b"c APPEND same (\\Seen) {24}\r\n",
            b"Subject: x\r\n\r\nc OK body\r\n\r\n",
            b"d SELECT same\r\n",
            b"e FETCH 1 (FLAGS RFC822.SIZE BODY.PEEK[TEXT])\r\n",
            b"f STORE 1 +FLAGS (\\Deleted)\r\n",
            b"g EXPUNGE\r\n",
            b"h UNSELECT\r\n",
            b"i DELETE same\r\n",
            b"j NONSENSE\r\n",
        ],
        "idle": [
            f"a LOGIN {ALICE} {PASSWORDS[ALICE]}\r\n".encode(),
            b"b SELECT INBOX\r\n",
            b"c IDLE\r\n",
            b"DONE\r\n",
            b"d CLOSE\r\n",
        ],
    }


_VOLATILE = [
    (rb"\[CAPABILITY [^\]]*\]", b"[CAPABILITY]"),
    (rb"\d+ RECENT", b"N RECENT"),
    (rb"UIDVALIDITY \d+", b"UIDVALIDITY N"),
    (rb"APPENDUID \d+", b"APPENDUID N"),
    (rb"HIGHESTMODSEQ \d+", b"HIGHESTMODSEQ N"),
    (rb"\(\d+\.\d+ \+ .*secs\)", b"(SECS)"),
]


def responses(client: LineClient, sent: Sequence[bytes]) -> bytes:
    """All that is answered after the greeting, volatile parts taken out."""
    client.line()
    found = []
    tag = b""
    for octets in [*sent, b"z LOGOUT\r\n"]:
        if re.match(rb"[a-z] ", octets):
            tag = octets[:1]
        client.send(octets)
        found.append(client.tagged(tag))
    found.append(client.rest())
    text = b"".join(found)
    for pattern, instead in _VOLATILE:
        text = re.sub(pattern, instead, text)
    return text


@pytest.mark.parametrize("session", imap_sessions(WRONG))
@pytest.mark.parametrize("name", ["imaps", "imaps-id"])
def test_imap_responses_are_the_servers(
    guarded: Guard,
    mail: Mail,
    tls: ssl.SSLContext,
    source: str,
    wrong: str,
    session: str,
    name: str,
) -> None:
    sent = imap_sessions(wrong)[session]
    with LineClient(mail.dovecot.imap) as direct:
        expected = responses(direct, sent)
    with LineClient(guarded.ports[name], source=source, tls=tls) as client:
        assert responses(client, sent) == expected
