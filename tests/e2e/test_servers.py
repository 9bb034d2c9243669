"""The harness itself: what the other tests lean on holds without a guard."""

import imaplib
import smtplib
import ssl

import pytest

from .accounts import ALICE, BOB, PASSWORDS, WRONG
from .conftest import Mail
from .dovecot import bearer_token
from .line_client import LineClient
from .processes import wait_until


def test_mail_goes_through_postfix_into_dovecot(
    mail: Mail, tls: ssl.SSLContext, marker: bytes
) -> None:
    with smtplib.SMTP("localhost", mail.postfix.submission_tls) as client:
        client.starttls(context=tls)
        client.login(ALICE, PASSWORDS[ALICE])
        client.sendmail(ALICE, [BOB], b"Subject: x\r\n\r\n" + marker + b"\r\n")
    assert mail.delivered(BOB, marker).endswith(marker + b"\n")


def test_wrong_passwords_and_tokens_are_refused(mail: Mail) -> None:
    with imaplib.IMAP4("localhost", mail.dovecot.imap) as client:
        with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
            client.login(ALICE, WRONG)
        forged = bearer_token(ALICE, key=b"another key").encode()
        with pytest.raises(imaplib.IMAP4.error):
            client.authenticate(
                "XOAUTH2", lambda _: b"user=%s\1auth=Bearer %s\1\1" % (ALICE.encode(), forged)
            )


def test_both_servers_log_an_announced_address(mail: Mail) -> None:
    with LineClient(mail.postfix.mx_haproxy) as client:
        client.send(b"PROXY TCP4 192.0.2.77 127.0.0.1 5577 25\r\n")
        assert client.reply().startswith(b"220 ")
        client.command(b"QUIT")
    # Logs are written by processes of their own, a little later.
    announced = "connect from unknown[192.0.2.77]"
    wait_until(lambda: announced in mail.postfix.log(), f"Postfix logs {announced}")
    with LineClient(mail.dovecot.imap) as client:
        client.line()
        client.ask(b'a ID ("x-originating-ip" "192.0.2.78" "x-originating-port" "5578")')
        client.ask(f"b LOGIN {ALICE} {PASSWORDS[ALICE]}".encode())
    wait_until(lambda: "rip=192.0.2.78" in mail.dovecot.log(), "Dovecot logs rip=192.0.2.78")


def test_exim_takes_mail_behind_a_proxy_header(exim_ports: dict[str, int]) -> None:
    with LineClient(exim_ports["haproxy"]) as client:
        client.send(b"PROXY TCP4 192.0.2.79 127.0.0.1 5579 25\r\n")
        assert client.reply().startswith(b"220 ")
        assert b"[192.0.2.79]" in client.command(b"EHLO x")


def test_imap4d_lets_in_by_password(imap4d_port: int) -> None:
    with imaplib.IMAP4("localhost", imap4d_port) as client:
        with pytest.raises(imaplib.IMAP4.error, match="rejected"):
            client.login(ALICE, WRONG)
        client.login(ALICE, PASSWORDS[ALICE])
