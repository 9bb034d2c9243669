"""The guard before servers it was not made with: Exim, and GNU Mailutils' imap4d."""

import imaplib
import smtplib
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from .accounts import ALICE, BOB, PASSWORDS
from .conftest import Mail
from .guard_process import Guard, Service, guard
from .line_client import LineClient, smtp_over_tls
from .other_servers import WAITING
from .processes import wait_until

EXIM_MX = ("exim-mx", "exim-mx-v1", "exim-mx-v2")


@pytest.fixture(scope="module")
def others(
    public: Path, mail: Mail, exim_ports: dict[str, int], imap4d_port: int
) -> Iterator[Guard]:
    """One guard before both."""
    plain, haproxy = exim_ports["plain"], exim_ports["haproxy"]
    listening = [
        Service("exim-mx", "smtp", "starttls", plain),
        Service("exim-mx-v1", "smtp", "starttls", haproxy, "proxy-v1"),
        Service("exim-mx-v2", "smtp", "starttls", haproxy, "proxy-v2"),
        Service("exim-submission", "submission", "starttls", haproxy, "proxy-v2"),
        Service("exim-submissions", "submission", "implicit", plain),
        Service("imap4d", "imap", "implicit", imap4d_port),
        Service("imap4d-starttls", "imap", "starttls", imap4d_port),
    ]
    extra = "[policy]\ntarpit_base = 0\ntarpit_max = 0\n"
    with guard(public / "others", listening, mail.pairs, extra=extra) as running:
        yield running


@pytest.mark.parametrize("name", EXIM_MX)
def test_exim_takes_mail_and_refuses_strangers(
    others: Guard, public: Path, tls: ssl.SSLContext, source: str, marker: bytes, name: str
) -> None:
    with smtp_over_tls(others.ports[name], tls, source) as client:
        offered = client.command(b"EHLO client.example.test")
        assert b"PIPECONNECT" not in offered  # a promise about the next connection
        assert client.command(b"MAIL FROM:<a@b.example>").startswith(b"250")
        assert client.command(b"RCPT TO:<nobody-here@example.test>") == b"550 User unknown\r\n"
        assert client.command(b"RCPT TO:<a@elsewhere.example>").startswith(b"550")
        assert client.command(b"RCPT TO:<" + BOB.encode() + b">").startswith(b"250")
        assert client.command(b"DATA").startswith(b"354")
        client.send(b"Subject: x\r\n\r\n..stuffed\r\n" + marker + b"\r\n.\r\n")
        assert client.reply().startswith(b"250 OK id=")
        assert client.command(b"QUIT").startswith(b"221")
    inbox = public / "exim/mail/bob"
    expected = b"\n\n.stuffed\n" + marker + b"\n"
    wait_until(lambda: inbox.exists() and expected in inbox.read_bytes(), "Exim delivers", 5)
    address = source if name != "exim-mx" else "127.0.0.1"
    assert f"H=(client.example.test) [{address}]" in (public / "exim/mainlog").read_text()


@pytest.mark.parametrize("name", ["exim-submission", "exim-submissions"])
def test_exim_lets_in_by_password(
    others: Guard, tls: ssl.SSLContext, wrong: str, name: str
) -> None:
    def connect() -> smtplib.SMTP:
        if name == "exim-submissions":
            return smtplib.SMTP_SSL("localhost", others.ports[name], context=tls, timeout=10)
        client = smtplib.SMTP("localhost", others.ports[name], timeout=10)
        client.starttls(context=tls)
        return client

    with connect() as client:
        client.ehlo()
        client.user, client.password = ALICE, wrong
        # One mechanism alone: the same password again would be refused by the guard.
        with pytest.raises(smtplib.SMTPAuthenticationError) as refused:
            client.auth("PLAIN", client.auth_plain)
    assert (refused.value.smtp_code, refused.value.smtp_error) == (
        535,
        b"Incorrect authentication data",
    )
    with connect() as client:
        client.login(ALICE, PASSWORDS[ALICE])
        client.sendmail(ALICE, [BOB], b"Subject: x\r\n\r\nbody\r\n")


@pytest.mark.parametrize("name", ["imap4d", "imap4d-starttls"])
def test_imap4d_lets_in_by_password(
    others: Guard, tls: ssl.SSLContext, wrong: str, name: str
) -> None:
    def connect() -> imaplib.IMAP4:
        if name == "imap4d":
            return imaplib.IMAP4_SSL("localhost", others.ports[name], ssl_context=tls, timeout=10)
        client = imaplib.IMAP4("localhost", others.ports[name], timeout=10)
        client.starttls(tls)
        return client

    with connect() as client, pytest.raises(imaplib.IMAP4.error, match="rejected"):
        client.login(ALICE, wrong)
    with connect() as client:
        client.login(ALICE, PASSWORDS[ALICE])
        client.select("INBOX")
        _, (part, _) = client.fetch("1", "(BODY[TEXT])")
        assert isinstance(part, tuple)
        assert part[1].strip().decode() == WAITING


def test_only_mechanisms_a_guard_can_judge_are_offered(
    others: Guard, imap4d_port: int, tls: ssl.SSLContext, source: str
) -> None:
    refused = (b"GSSAPI", b"ANONYMOUS", b"EXTERNAL", b"DIGEST-MD5", b"GS2-KRB5", b"-PLUS")
    with LineClient(imap4d_port) as direct:
        direct.line()
        assert all(word in direct.ask(b"a CAPABILITY") for word in refused[:1])
    with LineClient(others.ports["imap4d"], source=source, tls=tls) as client:
        offered = client.line() + client.ask(b"a CAPABILITY")
        assert b"AUTH=PLAIN" in offered
        assert not [word for word in refused if word in offered]
        assert client.ask(b"b AUTHENTICATE ANONYMOUS YWxpY2U=").startswith((b"b NO", b"b BAD"))
