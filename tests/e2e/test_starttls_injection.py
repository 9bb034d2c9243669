"""Commands smuggled ahead of TLS must never run inside it (CVE-2011-0411 and its kin).

An attacker on the way prepends plaintext; a server that keeps it in a buffer runs it as the
victim's first command. The guard must discard it with the connection, or the handshake must fail.
"""

import ssl

import pytest

from .accounts import ALICE, BOB, PASSWORDS
from .conftest import Mail
from .guard_process import Guard
from .line_client import LineClient


def answers_inside_tls(client: LineClient, tls: ssl.SSLContext, first: bytes) -> bytes:
    """What is answered to `first` inside TLS; nothing where there is no TLS any more."""
    try:
        client.start_tls(tls)
        client.send(first)
        return client.rest()
    except (AssertionError, OSError):  # refused in plaintext, closed, or reset
        return b""


def greeted(guarded: Guard, name: str, source: str) -> LineClient:
    client = LineClient(guarded.ports[name], source=source)
    client.sock.settimeout(10)
    return client


@pytest.mark.parametrize("name", ["mx", "submission"])
def test_smtp_in_one_segment(
    guarded: Guard, mail: Mail, tls: ssl.SSLContext, source: str, marker: bytes, name: str
) -> None:
    with greeted(guarded, name, source) as client:
        client.reply()
        client.command(b"EHLO client.example.test")
        client.send(b"STARTTLS\r\nVRFY " + marker + b"\r\n")
        client.reply()
        inside = answers_inside_tls(client, tls, b"QUIT\r\n")
    assert marker not in inside
    assert marker.decode() not in mail.postfix.log()
    assert not inside.startswith((b"250", b"252", b"5")), inside


@pytest.mark.parametrize("name", ["mx", "submission"])
def test_smtp_in_two_segments(
    guarded: Guard, mail: Mail, tls: ssl.SSLContext, source: str, marker: bytes, name: str
) -> None:
    with greeted(guarded, name, source) as client:
        client.reply()
        client.command(b"EHLO client.example.test")
        client.send(b"STARTTLS\r\n")
        assert client.reply().startswith(b"220")
        client.send(b"RSET\r\nVRFY " + marker + b"\r\n")
        inside = answers_inside_tls(client, tls, b"QUIT\r\n")
    assert inside == b""  # the handshake meets plaintext and fails
    assert marker.decode() not in mail.postfix.log()


@pytest.mark.parametrize("segments", [1, 2])
def test_imap(guarded: Guard, tls: ssl.SSLContext, source: str, segments: int) -> None:
    with greeted(guarded, "imap", source) as client:
        client.line()
        if segments == 1:
            client.send(b"a STARTTLS\r\ninjected NOOP\r\n")
            client.tagged(b"a")
        else:
            client.send(b"a STARTTLS\r\n")
            assert b"a OK" in client.tagged(b"a")
            client.send(b"injected NOOP\r\n")
        inside = answers_inside_tls(client, tls, b"z LOGOUT\r\n")
    assert b"injected" not in inside


def test_smtp_forgets_what_was_said_before_tls(
    guarded: Guard, tls: ssl.SSLContext, source: str
) -> None:
    with greeted(guarded, "mx", source) as client:
        client.reply()
        client.command(b"EHLO before.example.test")
        client.command(b"MAIL FROM:<before@example.test>")
        answer = client.command(b"STARTTLS")
        if not answer.startswith(b"220"):
            return  # refused inside a transaction: nothing to forget
        client.start_tls(tls)
        assert client.command(b"RCPT TO:<" + BOB.encode() + b">").startswith(b"503")


@pytest.mark.parametrize("name", ["submission", "mx"])
def test_no_password_is_taken_before_tls(guarded: Guard, source: str, name: str) -> None:
    with greeted(guarded, name, source) as client:
        client.reply()
        assert b"AUTH" not in client.command(b"EHLO client.example.test")
        assert client.command(b"AUTH PLAIN AGFsaWNlAGFsaWNl")[:1] == b"5"


def test_imap_takes_no_password_before_tls(guarded: Guard, mail: Mail, source: str) -> None:
    with greeted(guarded, "imap", source) as client:
        assert b"LOGINDISABLED" in client.line() + client.ask(b"a CAPABILITY")
        answer = client.ask(f"b LOGIN {ALICE} {PASSWORDS[ALICE]}".encode())
        assert b"b NO" in answer
    # Dovecot may tell that somebody left, but has heard no name.
    told = [line for line in mail.dovecot.log().splitlines() if f"rip={source}" in line]
    assert all("user=<>" in line for line in told)
