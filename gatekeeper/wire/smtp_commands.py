"""One SMTP command line in, one Event out (RFC 5321 4.1.1 and its extensions).

Verbs are an allow-list. Extension verbs carry AUTH under other names (X-EXPS), counted binary
(XEXCH50) or an identity (XCLIENT), so what is not known here is refused and never forwarded.
Replies are constants: a client's octets are never echoed, for a browser may be reading them.
"""

import re
from collections.abc import Callable
from typing import Final

from gatekeeper.events import (
    AuthCommand,
    Bdat,
    Command,
    Data,
    Hello,
    Mail,
    ObservedEvent,
    Rcpt,
    StartTls,
    Violation,
    ViolationKind,
)
from gatekeeper.secret import Secret
from gatekeeper.wire.smtp_path import read_path
from gatekeeper.wire.strict_base64 import decode_base64

MAX_CHUNK_OCTETS: Final = 1 << 40  # a TiB: no mail is larger, no off_t or double loses count of it

BAD_COMMAND: Final = Violation(ViolationKind.BAD_SYNTAX, b"500 5.5.2 Syntax error\r\n")
BAD_ARGUMENT: Final = Violation(ViolationKind.BAD_SYNTAX, b"501 5.5.4 Bad argument\r\n")
BAD_BASE64: Final = Violation(ViolationKind.BAD_BASE64, b"501 5.5.2 Cannot decode response\r\n")
FORBIDDEN: Final = Violation(ViolationKind.FORBIDDEN_VERB, b"502 5.5.1 Not implemented\r\n")

# Fatal, because the octets that follow would be taken for commands.
BAD_BDAT: Final = Violation(ViolationKind.BAD_BDAT, b"521 5.5.4 Bad BDAT command\r\n", fatal=True)

# Fatal, because a browser that was tricked into talking to us must not get further (ALPACA).
FOREIGN: Final = Violation(
    ViolationKind.FOREIGN_PROTOCOL, b"521 5.5.1 This is a mail server\r\n", fatal=True
)

PLAIN_VERBS: Final = ("RSET", "NOOP", "QUIT", "VRFY", "EXPN", "HELP", "ETRN")

HTTP_METHODS: Final = frozenset(b"CONNECT DELETE GET HEAD OPTIONS PATCH POST PRI PUT TRACE".split())

_HEADER_FIELD: Final = re.compile(rb"[A-Za-z][A-Za-z0-9-]*:")

# RFC 4422 3.1: at most twenty of these octets name a mechanism.
_MECHANISM: Final = re.compile(rb"[A-Z0-9_-]{1,20}", re.IGNORECASE)

# RFC 3030 2 without its latitude: a sign, a tab, a leading zero (octal to some) or a trailing word
# is where two parsers count differently.
_CHUNK_SIZE: Final = re.compile(rb"(0|[1-9][0-9]{0,17})( LAST)?", re.IGNORECASE)


def read_command(text: bytes) -> ObservedEvent:
    """The Event of one command line.

    `text` is the line without its CRLF; the caller has made sure that it holds no CR, LF or NUL.
    """
    verb, _, argument = text.partition(b" ")
    read = _READERS.get(verb.upper())
    return read(argument) if read else _refused(verb)


def _refused(verb: bytes) -> Violation:
    if not verb.strip():
        return BAD_COMMAND
    if verb.upper() in HTTP_METHODS or verb.startswith(b"SSH-") or _HEADER_FIELD.match(verb):
        return FOREIGN
    return FORBIDDEN


def _hello(argument: bytes, *, extended: bool) -> ObservedEvent:
    return Hello(argument.strip().decode("utf-8", "surrogateescape"), extended)


def _auth(argument: bytes) -> ObservedEvent:
    """AUTH SP mechanism [SP initial-response] (RFC 4954 4). A blank and nothing behind it is no
    base64: some servers read it as an empty response, others as none."""
    mechanism, blank, initial_response = argument.partition(b" ")
    if not _MECHANISM.fullmatch(mechanism):
        return BAD_ARGUMENT
    name = mechanism.upper().decode("ascii")
    if not blank:
        return AuthCommand(name, None)
    if initial_response == b"=":
        return AuthCommand(name, Secret(b""))
    octets = decode_base64(initial_response)
    return AuthCommand(name, Secret(octets)) if octets else BAD_BASE64


def _bdat(argument: bytes) -> ObservedEvent:
    form = _CHUNK_SIZE.fullmatch(argument)
    if form is None or (size_octets := int(form[1])) > MAX_CHUNK_OCTETS:
        return BAD_BDAT
    return Bdat(size_octets, form[2] is not None)


def _starttls(argument: bytes) -> ObservedEvent:
    return BAD_ARGUMENT if argument.strip() else StartTls()


def _plain(verb: str) -> Callable[[bytes], ObservedEvent]:
    command = Command(verb)
    return lambda _argument: command


_READERS: Final[dict[bytes, Callable[[bytes], ObservedEvent]]] = {
    b"EHLO": lambda argument: _hello(argument, extended=True),
    b"HELO": lambda argument: _hello(argument, extended=False),
    b"MAIL": lambda argument: Mail(read_path(argument, b"FROM")),
    b"RCPT": lambda argument: Rcpt(read_path(argument, b"TO")),
    b"DATA": lambda _argument: Data(),
    b"BDAT": _bdat,
    b"AUTH": _auth,
    b"STARTTLS": _starttls,
} | {verb.encode("ascii"): _plain(verb) for verb in PLAIN_VERBS}
