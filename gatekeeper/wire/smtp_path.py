"""Reverse-paths and forward-paths of MAIL and RCPT (RFC 5321 4.1.2), read leniently.

Rules count by what is read here, the backend acts on the raw line. So a path that cannot be read
is empty and never blocks the command.
"""

from typing import Final

BACKSLASH: Final = 0x5C
QUOTE: Final = 0x22
BLANKS: Final = b" \t"


def read_path(argument: bytes, keyword: bytes) -> str:
    """The path after `keyword` (`FROM` or `TO`) and a colon, without brackets and parameters.

    A source route stays part of the path. Missing brackets and blanks around the colon are
    tolerated, as common servers do; where the brackets do not end the path, or do not end at all,
    they and what follows are part of it. Octets that are not UTF-8 (RFC 6531) become surrogate
    escapes. Empty for the null path and where there is none.
    """
    argument = argument.lstrip(BLANKS)
    if argument[: len(keyword)].upper() != keyword:
        return ""
    colon, path = _split_first(argument[len(keyword) :].lstrip(BLANKS))
    if colon != b":":
        return ""
    return _until_end(path.lstrip(BLANKS)).decode("utf-8", "surrogateescape")


def _split_first(octets: bytes) -> tuple[bytes, bytes]:
    return octets[:1], octets[1:]


def _until_end(path: bytes) -> bytes:
    """The text up to the closing bracket, or up to the first blank where none was opened."""
    if path.startswith(b"<"):
        end = _find_unquoted(path, b">")
        return path[1:end] if end >= 0 and path[end + 1 : end + 2].strip(BLANKS) == b"" else path
    end = _find_unquoted(path, BLANKS)
    return path[:end] if end >= 0 else path


def _find_unquoted(path: bytes, wanted: bytes) -> int:
    """Where the first octet of `wanted` stands outside a quoted string, or -1."""
    if QUOTE not in path and BACKSLASH not in path:
        found = [at for octet in wanted if (at := path.find(octet)) >= 0]
        return min(found, default=-1)
    quoted = escaped = False
    for at, octet in enumerate(path):
        if escaped:
            escaped = False
        elif octet == BACKSLASH:
            escaped = True
        elif octet == QUOTE:
            quoted = not quoted
        elif octet in wanted and not quoted:
            return at
    return -1
