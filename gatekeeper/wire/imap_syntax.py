"""The few tokens of IMAP the guard reads: tags, strings and literals (RFC 9051 9).

Framing is by literals alone: a line that ends in `{n}` or `{n+}` directly before its CRLF has n
octets and another line behind it, whatever else stands in it. Tokens are read later, from a
command that is complete; both steps agree, because a literal read as a token is always one that
ended a line.
"""

import re
from typing import Final, NamedTuple

MAX_TAG_OCTETS: Final = 128  # Dovecot stops at 126, Stalwart at 128
MAX_LITERAL_DIGITS: Final = 10  # 9.9 GB; int() of a peer's digits must have a bound

_TAG: Final = re.compile(rb"[^\x00- (){%*\"\\+\x7f-\xff]{1,128}")
_LITERAL_END: Final = re.compile(rb"(~?)\{([0-9]++)(\+?)\}\r\n")
_NON_SYNCHRONISING: Final = re.compile(rb"\+\}\r\n\Z")

# astring: an atom of ASTRING-CHARs or a string. Octets above 0x7e pass in quoted strings only:
# RFC 9051 has UTF-8 there, and older clients send passwords in whatever they have.
_ATOM: Final = re.compile(rb"[^\x00- (){%*\"\\\x7f-\xff]++")
_QUOTED: Final = re.compile(rb'"((?:[^"\\\r\n\0]|\\["\\])*+)"')
_LITERAL: Final = re.compile(rb"\{([0-9]{1,10})\+?\}\r\n")
_ESCAPED: Final = re.compile(rb"\\(.)")


class Literal(NamedTuple):
    """A literal's announcement. `size_octets` is beyond every limit where it had too many
    digits to be read."""

    size_octets: int
    synchronising: bool
    eight_bit: bool  # literal8, `~{n}` (RFC 9051 4.3)


class Token(NamedTuple):
    """A string's value and the offset behind it."""

    value: bytes
    end: int


def is_tag(octets: bytes) -> bool:
    """Whether this is a tag (RFC 9051 9: 1*<ASTRING-CHAR except "+">) of a length we accept."""
    return _TAG.fullmatch(octets) is not None


def ends_in_one_crlf(line: bytes) -> bool:
    """Whether a line that was cut at its LF has a CR before that, and nowhere else."""
    return len(line) > 1 and line.find(b"\r") == len(line) - 2


def literal_at_end(line: bytes) -> Literal | None:
    """The literal that a line, CRLF included, announces with its last token."""
    if not line.endswith(b"}\r\n"):
        return None
    brace = line.rfind(b"{")
    found = _LITERAL_END.fullmatch(line, max(brace - 1, 0)) or _LITERAL_END.fullmatch(
        line, max(brace, 0)
    )
    if found is None:
        return None
    digits = found[2]
    size_octets = int(digits) if len(digits) <= MAX_LITERAL_DIGITS else 10**MAX_LITERAL_DIGITS
    return Literal(size_octets, not found[3], bool(found[1]))


def read_string(octets: bytes, at: int) -> Token | None:
    """The quoted string or literal at offset `at`; None where there is none."""
    if quoted := _QUOTED.match(octets, at):
        value = quoted[1]
        return Token(_ESCAPED.sub(rb"\1", value) if b"\\" in value else value, quoted.end())
    if (literal := _LITERAL.match(octets, at)) is None:
        return None
    end = literal.end() + int(literal[1])
    return Token(octets[literal.end() : end], end) if end <= len(octets) else None


def read_astring(octets: bytes, at: int) -> Token | None:
    """The atom, quoted string or literal at offset `at`; None where there is none."""
    if atom := _ATOM.match(octets, at):
        return Token(atom[0], atom.end())
    return read_string(octets, at)


def cut_pieces(command: bytes) -> tuple[bytes, ...]:
    """A complete command cut behind each synchronising literal's announcement, where its sender
    has to await a `+`; empty where there is none, as in `Segment.pieces`."""
    cuts = [end for end, literal in _announcements(command) if literal.synchronising]
    return _cut(command, cuts)


def synchronised(command: bytes) -> tuple[bytes, ...]:
    """The same command with all literals synchronising, cut behind each announcement.

    For backends that do not announce LITERAL+ or LITERAL-: they would read the octets behind a
    `{n+}` as commands (RFC 7888 3).
    """
    ends = [end for end, _ in _announcements(command)]
    pieces = _cut(command, ends) or (command,)
    return (*(_NON_SYNCHRONISING.sub(b"}\r\n", piece) for piece in pieces[:-1]), pieces[-1])


def _announcements(command: bytes) -> list[tuple[int, Literal]]:
    found = []
    start = 0
    while (end := command.find(b"\r\n", start) + 2) >= 2:
        if (literal := literal_at_end(command[start:end])) is None:
            break
        found.append((end, literal))
        start = end + literal.size_octets
    return found


def _cut(command: bytes, ends: list[int]) -> tuple[bytes, ...]:
    if not ends:
        return ()
    starts = [0, *ends]
    return tuple(command[a:b] for a, b in zip(starts, [*ends, len(command)], strict=True))
