"""What one IMAP command of a client means before its login (RFC 9051 6.1, 6.2).

An allow-list: what the guard does not know by name goes to no backend. Syntax is the RFC's and no
wider, one SP between words, for what two parsers could read differently is refused. Replies
repeat nothing of the client's but its tag.
"""

import re
from typing import Final, NamedTuple

from gatekeeper.events import (
    AuthCommand,
    Command,
    Login,
    ObservedEvent,
    StartTls,
    Violation,
    ViolationKind,
)
from gatekeeper.secret import Secret
from gatekeeper.wire.imap_syntax import Token, ends_in_one_crlf, is_tag, read_astring
from gatekeeper.wire.strict_base64 import decode_base64

MAX_STRING_OCTETS: Final = 1024  # of a userid or password; PLAIN (RFC 4616) stops at 255

# Verbs the guard lets through, by whether they have arguments.
VERBS: Final = {
    "CAPABILITY": False,
    "NOOP": False,
    "LOGOUT": False,
    "STARTTLS": False,
    "LOGIN": True,
    "AUTHENTICATE": True,
    "ID": True,
}
# Not ID: a backend that does not know ID would read the octets of its literals as commands.
TAKE_LITERALS: Final = frozenset({"LOGIN"})
_NEEDS_PRIVACY: Final = frozenset({"LOGIN", "AUTHENTICATE"})
_MECHANISM: Final = re.compile(rb"[A-Za-z0-9_-]{1,20}")  # RFC 4422 3.1
_UNTAGGED: Final = b"*"


class Head(NamedTuple):
    """The beginning of a command: `tag` is `*` and `verb` empty where they could not be read;
    `arguments_at` is where the arguments begin."""

    tag: bytes
    verb: str
    arguments_at: int


def read_head(line: bytes, *, refuse_login: bool) -> tuple[Head, Violation | None]:
    """Read a command's first line, CRLF included, and tell whether it is refused whatever
    follows."""
    tag, _, rest = line[:-2].partition(b" ")
    if not is_tag(tag):
        head = Head(_UNTAGGED, "", 0)
        return head, line_defect(line, _UNTAGGED) or _bad_syntax(_UNTAGGED)
    word, space, _ = rest.partition(b" ")
    verb = word.decode("ascii", "replace").upper()
    head = Head(tag, verb, len(tag) + 1 + len(word) + 1)
    return head, line_defect(line, tag) or _refusal(head, bool(space), refuse_login=refuse_login)


def line_defect(line: bytes, tag: bytes) -> Violation | None:
    """What is wrong with a CRLF line before anything of it is understood."""
    if not ends_in_one_crlf(line):
        return Violation(ViolationKind.BARE_CR, tag + b" BAD Bare CR in command\r\n")
    if b"\0" in line:
        return Violation(ViolationKind.NUL, tag + b" BAD NUL in command\r\n")
    return None


def read_command(head: Head, raw: bytes) -> ObservedEvent:
    """The Event of a complete command whose first line was not refused."""
    match head.verb:
        case "LOGIN":
            return _read_login(head, raw)
        case "AUTHENTICATE":
            return _read_authenticate(head, raw)
        case "STARTTLS":
            return StartTls(head.tag)
        case verb:
            return Command(verb, head.tag)


def _refusal(head: Head, has_arguments: bool, *, refuse_login: bool) -> Violation | None:
    takes_arguments = VERBS.get(head.verb)
    if takes_arguments is None:
        return Violation(ViolationKind.FORBIDDEN_VERB, head.tag + b" BAD Unknown command\r\n")
    if refuse_login and head.verb in _NEEDS_PRIVACY:
        reply = head.tag + b" NO [PRIVACYREQUIRED] TLS is required to log in\r\n"
        return Violation(ViolationKind.AUTH_NOT_OFFERED, reply)
    if takes_arguments != has_arguments:
        return _bad_syntax(head.tag)
    return None


def _read_login(head: Head, raw: bytes) -> Login | Violation:
    """`LOGIN SP userid SP password` (RFC 9051 6.2.3), both astrings."""
    if b"\0" in raw:  # only a literal can hold it here; literals are CHAR8, 0x01 to 0xff
        return Violation(ViolationKind.NUL, head.tag + b" BAD NUL in command\r\n")
    userid = read_astring(raw, head.arguments_at)
    if userid is None or raw[userid.end : userid.end + 1] != b" ":
        return _bad_syntax(head.tag)
    password = read_astring(raw, userid.end + 1)
    if password is None or raw[password.end :] != b"\r\n" or _too_long(userid, password):
        return _bad_syntax(head.tag)
    name = userid.value.decode("utf-8", "surrogateescape")
    return Login(head.tag, name, Secret(password.value))


def _too_long(*strings: Token) -> bool:
    return any(len(string.value) > MAX_STRING_OCTETS for string in strings)


def _read_authenticate(head: Head, raw: bytes) -> AuthCommand | Violation:
    """`AUTHENTICATE SP mechanism [SP initial-resp]` (RFC 9051 6.2.2); `=` is the empty response."""
    mechanism, space, response = raw[head.arguments_at : -2].partition(b" ")
    if not _MECHANISM.fullmatch(mechanism):
        return _bad_syntax(head.tag)
    name = mechanism.decode("ascii").upper()
    if not space:
        return AuthCommand(name, None, head.tag)
    octets = b"" if response == b"=" else decode_base64(response)
    if octets is None or not response:
        return Violation(ViolationKind.BAD_BASE64, head.tag + b" BAD Invalid base64\r\n")
    return AuthCommand(name, Secret(octets), head.tag)


def _bad_syntax(tag: bytes) -> Violation:
    return Violation(ViolationKind.BAD_SYNTAX, tag + b" BAD Syntax error\r\n")
