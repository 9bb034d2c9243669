"""Nonsense and malice from clients: one session suffers, the guard and the others do not."""

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from .accounts import ALICE, BOB, CAROL, PASSWORDS
from .conftest import Mail
from .guard_process import Guard, Service, guard
from .line_client import LineClient, plain, smtp_login, smtp_over_tls
from .processes import wait_until

MIB = 1 << 20
BIG = 24 * MIB
# Far below what is thrown at it, far above what buffers of some hundred KiB a session come to.
MAY_GROW = 8 * MIB


@pytest.fixture(scope="module")
def rough(public: Path, mail: Mail) -> Iterator[Guard]:
    """A guard of its own, so that its memory and its log are those of these tests."""
    listening = [
        Service("mx", "smtp", "starttls", mail.postfix.mx, "xclient"),
        Service("submissions", "submission", "implicit", mail.postfix.submission, "xclient"),
        Service("imaps", "imap", "implicit", mail.dovecot.imap_haproxy, "proxy-v2"),
    ]
    extra = (
        "[policy]\ntarpit_base = 0\ntarpit_max = 0\n[limits]\nhandshake_timeout = 3\ndrain = 2\n"
    )
    with guard(public / "rough", listening, mail.pairs, extra=extra) as running:
        yield running


@pytest.fixture(scope="module")
def bystander(rough: Guard, tls: ssl.SSLContext) -> Iterator[LineClient]:
    """A session that lasts through all the tests here."""
    with LineClient(rough.ports["imaps"], source="127.0.0.2", tls=tls) as client:
        client.line()
        assert b"a OK" in client.ask(f"a LOGIN {CAROL} {PASSWORDS[CAROL]}".encode())
        yield client


@pytest.fixture(autouse=True)
def _others_are_undisturbed(rough: Guard, bystander: LineClient) -> Iterator[None]:
    before = rough.rss_octets()
    yield
    started = time.monotonic()
    assert b"y OK" in bystander.ask(b"y NOOP")
    assert time.monotonic() - started < 2
    assert rough.process.poll() is None
    assert "Traceback" not in rough.log()
    assert rough.rss_octets() - before < MAY_GROW


def push(client: LineClient, octets: bytes) -> None:
    """Send what the guard may refuse to take."""
    try:
        client.send(octets)
    except (ConnectionError, ssl.SSLError):
        return


SMTP_INPUT = {
    "an endless line": b"MAIL FROM:<" + b"x" * 4 * MIB,
    "an over-long line": b"NOOP " + b"x" * 5000 + b"\r\n",
    "a NUL": b"NOOP \0\r\n",
    "a bare LF": b"NOOP\nVRFY smuggled\r\n",
    "a bare CR": b"NOOP\rVRFY smuggled\r\n",
    "a BDAT with a sign": b"BDAT -1 LAST\r\n",
    "a BDAT beyond all measure": b"BDAT 99999999999999999999999 LAST\r\n",
    "a BDAT in hex": b"BDAT 0x10\r\n",
    "an HTTP request": b"POST / HTTP/1.1\r\nHost: x\r\n\r\nVRFY smuggled\r\n",
    "octets of no meaning": bytes(range(128, 256)) * 8 + b"\r\n",
}


@pytest.mark.parametrize("what", SMTP_INPUT)
def test_smtp_refuses(
    rough: Guard, mail: Mail, tls: ssl.SSLContext, source: str, what: str
) -> None:
    with smtp_over_tls(rough.ports["mx"], tls, source) as client:
        client.command(b"EHLO client.example.test")
        push(client, SMTP_INPUT[what])
        push(client, b"QUIT\r\n")
        answers = client.rest()
    assert answers[:1] in {b"4", b"5", b""}, answers
    assert b"smuggled" not in answers
    assert "smuggled" not in mail.postfix.log()


IMAP_INPUT = {
    "an endless line": b"a LOGIN " + b"x" * 4 * MIB,
    "an endless literal": b"a LOGIN {2147483647+}\r\n" + b"x" * 4 * MIB,
    "a literal beyond all measure": b"a LOGIN {99999999999999999999+}\r\n",
    "a negative literal": b"a LOGIN {-1}\r\n",
    "a NUL": b"a NOOP\0\r\n",
    "a bare LF": b"a NOOP\nsmuggled NOOP\r\n",
    "a bare CR": b"a NOOP\rsmuggled NOOP\r\n",
    "no tag": b"\r\n\r\n \r\n",
    "an HTTP request": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "bad base64": b"a AUTHENTICATE PLAIN !!!!\r\n",
}


@pytest.mark.parametrize("what", IMAP_INPUT)
def test_imap_refuses(rough: Guard, tls: ssl.SSLContext, source: str, what: str) -> None:
    with LineClient(rough.ports["imaps"], source=source, tls=tls) as client:
        client.line()
        push(client, IMAP_INPUT[what])
        push(client, b"z LOGOUT\r\n")
        answers = client.rest()
    assert b"a OK" not in answers
    assert b"smuggled OK" not in answers


@pytest.mark.parametrize("blob", [b"A" * MIB, b"=" * 100, b"AGEAYgBj", b"not base64!", b"AA"])
def test_sasl_blobs_are_refused(
    rough: Guard, tls: ssl.SSLContext, source: str, blob: bytes
) -> None:
    with LineClient(rough.ports["submissions"], source=source, tls=tls) as client:
        client.reply()
        client.command(b"EHLO client.example.test")
        assert client.command(b"AUTH PLAIN").startswith(b"334")
        push(client, blob + b"\r\n")
        answer = client.reply()
    assert answer[:1] in {b"4", b"5", b""}, answer


@pytest.mark.parametrize(
    "octets",
    [
        b"\x16\x03\x01\x00\x05garba",
        b"\x16\x03\x01\xff\xff" + b"\1" * 70_000,
        b"GET / HTTP/1.0\r\n\r\n",
        b"SSH-2.0-x\r\n",
        b"\x80\x2e\x01\x00\x02" + b"\0" * 41,
        b"\x16",
        b"",
    ],
)
@pytest.mark.parametrize("name", ["imaps", "submissions"])
def test_what_is_no_tls_gets_no_session(
    rough: Guard, source: str, name: str, octets: bytes
) -> None:
    with LineClient(rough.ports[name], source=source) as client:
        push(client, octets)
        client.finish()
        answer = client.rest()
    assert answer == b"" or answer[:1] == b"\x15"  # an alert at most


def test_a_handshake_that_never_ends_is_ended(rough: Guard, source: str) -> None:
    with LineClient(rough.ports["imaps"], source=source) as client:
        client.send(b"\x16\x03\x01\x02\x00\x01\x00")
        started = time.monotonic()
        client.rest()
        assert time.monotonic() - started < 6


def test_sessions_cut_at_any_point_leave_nothing(
    rough: Guard, tls: ssl.SSLContext, source: str
) -> None:
    dialogue = (b"EHLO x\r\n", b"MAIL FROM:<a@b.example>\r\n", b"RCPT TO:<", b"\r\nDATA\r\n", b"x")
    for kept in range(len(dialogue) + 1):
        for end in ("finish", "reset", "close"):
            client = smtp_over_tls(rough.ports["mx"], tls, source)
            with client:
                client.send(b"".join(dialogue[:kept]))
                if end == "finish":
                    client.finish()
                    client.rest()
                elif end == "reset":
                    client.reset()


def test_a_half_closed_client_still_gets_its_answer(
    rough: Guard, mail: Mail, tls: ssl.SSLContext, source: str, marker: bytes
) -> None:
    with smtp_over_tls(rough.ports["mx"], tls, source) as client:
        client.command(b"EHLO client.example.test")
        client.command(b"MAIL FROM:<a@b.example>")
        client.command(b"RCPT TO:<" + BOB.encode() + b">")
        client.command(b"DATA")
        client.send(b"Subject: x\r\n\r\n" + marker + b"\r\n.\r\n")
        client.finish()
        answer = client.reply()
    # Whether the message was taken is what the client was told, at least where it was told.
    if answer.startswith(b"250"):
        mail.delivered(BOB, marker)


def deliver_big_message(mail: Mail) -> None:
    """Put one big message into BOB's mailbox, past Postfix and the guard."""
    with LineClient(mail.dovecot.lmtp) as client:
        client.reply()
        for command in (b"LHLO x", b"MAIL FROM:<>", b"RCPT TO:<" + BOB.encode() + b">", b"DATA"):
            assert client.command(command)[:1] in {b"2", b"3"}
        client.send(b"Subject: big\r\n\r\n" + (b"x" * 98 + b"\r\n") * (BIG // 100) + b".\r\n")
        assert client.reply().startswith(b"250")


def peak_rss_octets(running: Guard, seconds: float) -> int:
    """The most resident memory seen in that time."""
    deadline = time.monotonic() + seconds
    peak = 0

    def is_over() -> bool:
        nonlocal peak
        peak = max(peak, running.rss_octets())
        return time.monotonic() > deadline

    wait_until(is_over, "the time is over", seconds + 5)
    return peak


def test_a_client_that_never_reads_holds_no_memory(
    rough: Guard, mail: Mail, tls: ssl.SSLContext, source: str
) -> None:
    deliver_big_message(mail)
    before = rough.rss_octets()
    with ExitStack() as stack:
        for _ in range(4):
            client = LineClient(rough.ports["imaps"], source=source, tls=tls)
            stack.enter_context(client)
            client.line()
            assert b"a OK" in client.ask(f"a LOGIN {BOB} {PASSWORDS[BOB]}".encode())
            client.ask(b"b SELECT INBOX")
            client.send(b"c UID FETCH 1:* BODY.PEEK[]\r\n")
        assert peak_rss_octets(rough, 1.0) - before < MAY_GROW


def test_errors_end_the_session_and_not_who_is_at_home_there(
    rough: Guard, tls: ssl.SSLContext, source: str
) -> None:
    """A peer that errs on purpose is cut off, and strangers there are suspect; the next session of
    somebody who has logged in from there starts afresh."""
    with LineClient(rough.ports["submissions"], source=source, tls=tls) as client:
        client.reply()
        assert smtp_login(client, ALICE, PASSWORDS[ALICE]).startswith(b"235")
    with LineClient(rough.ports["submissions"], source=source, tls=tls) as client:
        client.reply()
        client.command(b"EHLO client.example.test")
        push(client, b"NONSENSE\r\n" * 100)
        assert len(client.rest().splitlines()) < 100
    with LineClient(rough.ports["submissions"], source=source, tls=tls) as client:
        client.reply()
        assert smtp_login(client, CAROL, PASSWORDS[CAROL]).startswith(b"454")
    with LineClient(rough.ports["submissions"], source=source, tls=tls) as client:
        client.reply()
        assert smtp_login(client, ALICE, PASSWORDS[ALICE]).startswith(b"235")


def test_a_flood_of_connections_is_survived(rough: Guard) -> None:
    with ExitStack() as stack:
        for number in range(300):
            peer = socket.create_connection(
                ("127.0.0.1", rough.ports["mx"]), 5, (f"127.0.9.{1 + number % 200}", 0)
            )
            stack.enter_context(peer)
        assert rough.process.poll() is None


def test_plain_with_an_identity_between_the_nuls_is_judged(
    rough: Guard, tls: ssl.SSLContext, source: str
) -> None:
    with LineClient(rough.ports["submissions"], source=source, tls=tls) as client:
        client.reply()
        client.command(b"EHLO client.example.test")
        three_nuls = plain(ALICE, PASSWORDS[ALICE] + "\0tail")
        assert client.command(b"AUTH PLAIN " + three_nuls)[:1] == b"5"
