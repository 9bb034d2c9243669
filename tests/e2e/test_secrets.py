"""What clients prove themselves with is found nowhere afterwards."""

import base64
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from .accounts import ALICE, BOB, PASSWORDS
from .conftest import Mail
from .dovecot import bearer_token
from .guard_process import Guard, Service, guard
from .line_client import LineClient, plain
from .processes import wait_until

PLANTED = [f"planted-secret-{number}-Zq8" for number in range(12)]


@pytest.fixture
def watched(public: Path, mail: Mail) -> Iterator[Guard]:
    """A guard whose every trace is looked through."""
    services = [
        Service("submissions", "submission", "implicit", mail.postfix.submission, "xclient"),
        Service("submission", "submission", "starttls", mail.postfix.submission, "xclient"),
        Service("imaps", "imap", "implicit", mail.dovecot.imap_haproxy, "proxy-v2"),
        Service("imap", "imap", "starttls", mail.dovecot.imap, "imap-id"),
    ]
    extra = "[policy]\ntarpit_base = 0\ntarpit_max = 0\n[limits]\nerrors_per_session = 50\n"
    with guard(public / "watched", services, mail.pairs, extra=extra) as running:
        yield running


def b64(text: str) -> bytes:
    return base64.b64encode(text.encode())


def plant_by_smtp(running: Guard, tls: ssl.SSLContext) -> None:
    secrets = iter(PLANTED[:6])
    with LineClient(running.ports["submissions"], tls=tls) as client:
        client.reply()
        client.command(b"EHLO client.example.test")
        client.command(b"AUTH PLAIN " + plain(ALICE, next(secrets)))
        client.command(b"AUTH LOGIN " + b64(ALICE))
        client.command(b64(next(secrets)))
        client.command(b"AUTH XOAUTH2 " + b64(f"user={BOB}\1auth=Bearer {next(secrets)}\1\1"))
        client.command(b"")
        client.command(b"AUTH PLAIN " + plain(ALICE, next(secrets))[:-1] + b"!")  # no base64
        client.command(b"AUTH NONSENSE " + b64(next(secrets)))
        client.command(b"AUTH PLAIN " + plain(BOB, PASSWORDS[BOB]))
    with LineClient(running.ports["submission"]) as client:  # in clear: refused, yet seen
        client.reply()
        client.command(b"EHLO client.example.test")
        client.command(b"AUTH PLAIN " + plain(ALICE, next(secrets)))


def plant_by_imap(running: Guard, tls: ssl.SSLContext) -> None:
    secrets = iter(PLANTED[6:])
    with LineClient(running.ports["imaps"], tls=tls) as client:
        client.line()
        client.ask(f'a LOGIN {ALICE} "{next(secrets)}"'.encode())
        secret = next(secrets).encode()
        client.ask(b"b LOGIN %s {%d+}\r\n%s" % (ALICE.encode(), len(secret), secret))
        client.ask(b"c AUTHENTICATE PLAIN " + plain(ALICE, next(secrets)))
        client.ask(f"d LOGIN {ALICE} {next(secrets)} and more".encode())  # too many arguments
    with LineClient(running.ports["imaps"], tls=tls) as client:
        client.line()
        token = bearer_token(ALICE)
        client.ask(b"e AUTHENTICATE XOAUTH2 " + b64(f"user={ALICE}\1auth=Bearer {token}\1\1"))
        client.ask(b"f LOGOUT")
    with LineClient(running.ports["imap"]) as client:  # in clear
        client.line()
        client.ask(f"g LOGIN {ALICE} {next(secrets)}".encode())
    with LineClient(running.ports["imaps"], tls=tls) as client:  # cut in the middle
        client.line()
        client.send(f"h LOGIN {ALICE} {next(secrets)}".encode())


def test_no_password_or_token_is_written_anywhere(
    watched: Guard, mail: Mail, tls: ssl.SSLContext
) -> None:
    plant_by_smtp(watched, tls)
    plant_by_imap(watched, tls)
    printed = [watched.command(*words) for words in (["status"], ["who"], ["ban", "list"])]
    wait_until(lambda: watched.log().count(" session ") >= 6, "the sessions' ends are logged")

    traces = {"commands": "".join(printed).encode(), "log": watched.log().encode()}
    for file in watched.directory.rglob("*"):
        if file.is_file() and file.name != "gatekeeper.toml":
            traces[str(file)] = file.read_bytes()
    assert any(name.endswith(".db") for name in traces)
    assert ALICE.encode() in traces["log"]  # accounts are named: the search would find a secret

    found = [
        (name, form)
        for secret in [*PLANTED, *PASSWORDS.values(), bearer_token(ALICE)]
        for form in forms(secret)
        for name, octets in traces.items()
        if form in octets
    ]
    assert found == []


def forms(secret: str) -> list[bytes]:
    """The secret and how it looks within base64, at each of the three alignments."""
    whole = [base64.b64encode(b"x" * pad + secret.encode()) for pad in range(3)]
    return [secret.encode(), *(octets[4:-4] for octets in whole)]
