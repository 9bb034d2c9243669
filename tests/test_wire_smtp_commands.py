"""Reading one command line."""

import pytest

from gatekeeper.events import (
    AuthCommand,
    Bdat,
    Command,
    Data,
    Hello,
    Mail,
    Rcpt,
    StartTls,
    Violation,
    ViolationKind,
)
from gatekeeper.wire.smtp_commands import MAX_CHUNK_OCTETS, PLAIN_VERBS, read_command


@pytest.mark.parametrize(
    ("text", "event"),
    [
        (b"EHLO mail.example", Hello("mail.example", extended=True)),
        (b"HELO [192.0.2.1] ", Hello("[192.0.2.1]", extended=False)),
        (b"ehlo", Hello("", extended=True)),
        (b"Mail From:<a@b>", Mail("a@b")),
        (b"RCPT TO:<a@b>", Rcpt("a@b")),
        (b"DATA", Data()),
        (b"BDAT 0", Bdat(0, last=False)),
        (b"BDAT 1099511627776 LAST", Bdat(MAX_CHUNK_OCTETS, last=True)),
        (b"STARTTLS ", StartTls()),
        (b"noop hello", Command("NOOP")),
        (b"HELP", Command("HELP")),
    ],
)
def test_commands_are_read(text: bytes, event: object) -> None:
    assert read_command(text) == event


@pytest.mark.parametrize("verb", PLAIN_VERBS)
def test_every_plain_verb_passes_in_any_case(verb: str) -> None:
    assert read_command(verb.lower().encode()) == Command(verb)


@pytest.mark.parametrize(
    "argument",
    [
        b"", b"-5", b"+5", b"0x10", b"\t10", b"010", b"1 0", b"10 ", b"10 LAST ", b"10  LAST",
        b"10 LAST LAST", b"10\tLAST", b"10LAST", b" 10", b"1e3", b"1099511627777", b"9" * 30,
        b"\xd9\xa1", b"10 LASTX",
    ],
)  # fmt: skip
def test_any_other_form_of_bdat_is_fatal(argument: bytes) -> None:
    event = read_command(b"BDAT " + argument)
    assert isinstance(event, Violation)
    assert (event.kind, event.fatal) == (ViolationKind.BAD_BDAT, True)
    assert event.reply.startswith(b"521 5.5.4 ")


@pytest.mark.parametrize("argument", [b"", b" PLAIN", b"PLAIN\tAAAA", b"A" * 21, b"PL\xc3\xa4IN"])
def test_a_mechanism_is_named_as_rfc_4422_has_it(argument: bytes) -> None:
    event = read_command(b"AUTH " + argument)
    assert isinstance(event, Violation)
    assert event.kind is ViolationKind.BAD_SYNTAX


def test_a_mechanism_is_upper_case() -> None:
    event = read_command(b"auth scram-sha-256")
    assert isinstance(event, AuthCommand)
    assert (event.mechanism, event.initial_response) == ("SCRAM-SHA-256", None)


@pytest.mark.parametrize("text", [b"GET / HTTP/1.1", b"get /", b"PRI * HTTP/2.0", b"Host: a",
                                  b"X-Header:", b"SSH-2.0-x"])  # fmt: skip
def test_other_protocols_are_fatal(text: bytes) -> None:
    event = read_command(text)
    assert isinstance(event, Violation)
    assert (event.kind, event.fatal) == (ViolationKind.FOREIGN_PROTOCOL, True)


@pytest.mark.parametrize("text", [b"LHLO x", b"XCLIENT", b"BURL x", b"AUTH=LOGIN", b"\xc5\xbf",
                                  b"AUTH\x0bPLAIN", b"\t"])  # fmt: skip
def test_what_is_not_known_is_refused(text: bytes) -> None:
    event = read_command(text)
    assert isinstance(event, Violation)
    assert not event.fatal
    assert event.reply.startswith((b"502 5.5.1 ", b"500 5.5.2 "))
