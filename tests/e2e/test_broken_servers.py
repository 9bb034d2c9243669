"""Servers that fail behind the guard: an outage for the client, never a lie, never memory."""

import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from .accounts import ALICE, BOB, PASSWORDS
from .conftest import Mail
from .fake_backend import Failure, fake_backend
from .guard_process import Guard, Service, guard
from .line_client import LineClient, smtp_over_tls
from .processes import free_ports
from .test_bad_input import BIG, MAY_GROW, push


@pytest.fixture(scope="module")
def broken(public: Path, mail: Mail) -> Iterator[Guard]:
    """A guard whose every server fails in its own way."""
    with ExitStack() as stack:
        listening = [
            Service("absent-mx", "smtp", "starttls", free_ports(1)[0]),
            Service("absent-imaps", "imap", "implicit", free_ports(1)[0]),
        ]
        for failure in Failure:
            port = stack.enter_context(fake_backend(failure))
            listening.append(Service(failure.name, "smtp", "starttls", port))
        extra = "[limits]\ndrain = 2\n"
        yield stack.enter_context(guard(public / "broken", listening, mail.pairs, extra=extra))


def test_a_server_that_never_reads_holds_no_memory(
    broken: Guard, tls: ssl.SSLContext, source: str
) -> None:
    with smtp_over_tls(broken.ports[Failure.STOPS_READING.name], tls, source) as client:
        begin_content(client)
        before = broken.rss_octets()
        client.sock.settimeout(1)
        sent = taken(client)
        assert sent < BIG  # it is held back: the kernel's own buffers are all that fills
        assert broken.rss_octets() - before < MAY_GROW


def taken(client: LineClient) -> int:
    """How many octets of content are taken before nothing moves for the socket's timeout."""
    chunk = (b"x" * 70 + b"\r\n") * 900
    for sent in range(0, 2 * BIG, len(chunk)):
        try:
            client.send(chunk)
        except TimeoutError:
            return sent
    return 2 * BIG


def begin_content(client: LineClient) -> None:
    """From the EHLO to the 354."""
    client.command(b"EHLO client.example.test")
    assert client.command(b"MAIL FROM:<a@b.example>").startswith(b"250")
    assert client.command(b"RCPT TO:<" + BOB.encode() + b">").startswith(b"250")
    assert client.command(b"DATA").startswith(b"354")


@pytest.mark.parametrize("failure", [Failure.CLOSES_IN_CONTENT, Failure.CLOSES_AFTER_CONTENT])
def test_no_message_is_called_taken_that_no_server_took(
    broken: Guard, tls: ssl.SSLContext, source: str, failure: Failure
) -> None:
    with smtp_over_tls(broken.ports[failure.name], tls, source) as client:
        begin_content(client)
        push(client, b"Subject: x\r\n\r\nbody\r\n")
        push(client, b".\r\n")
        answer = client.reply()
    assert answer[:1] in {b"4", b""}, answer  # a 5xx would bounce mail that should be tried again


@pytest.mark.parametrize("failure", [Failure.TALKS_NONSENSE, Failure.ENDLESS_REPLY])
def test_a_server_that_talks_nonsense_is_an_outage(
    broken: Guard, tls: ssl.SSLContext, source: str, failure: Failure
) -> None:
    with smtp_over_tls(broken.ports[failure.name], tls, source) as client:
        client.command(b"EHLO client.example.test")
        answer = client.command(b"MAIL FROM:<a@b.example>")
    assert answer[:1] in {b"4", b""}, answer


def test_an_absent_server_is_an_outage(broken: Guard, tls: ssl.SSLContext, source: str) -> None:
    with LineClient(broken.ports["absent-mx"], source=source) as client:
        greeting = client.reply()
        answers = greeting + client.command(b"EHLO client.example.test")
        assert b"\r\n5" not in b"\r\n" + answers
        assert b"421" in answers
    with LineClient(broken.ports["absent-imaps"], source=source, tls=tls) as client:
        push(client, f"a LOGIN {ALICE} {PASSWORDS[ALICE]}\r\n".encode())
        answers = client.rest()
        assert b"BYE" in answers or b"UNAVAILABLE" in answers
        assert b"AUTHENTICATIONFAILED" not in answers
