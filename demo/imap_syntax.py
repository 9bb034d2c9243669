"""The IMAP that the demo backend reads and writes (RFC 9051 9), pure."""

import re
from typing import Final

from demo.mailbox import Message

_TOKEN: Final = re.compile(
    rb'\s*(?:"((?:[^"\\\r\n]|\\["\\])*)"'  # quoted
    rb"|\{(\d{1,9})\+?\}\r\n"  # literal, its octets behind
    rb"|([()])"
    rb'|((?:[^\s()"{\[]|\[[^\]]*\])+))'  # atom, with a section such as BODY[HEADER.FIELDS (A B)]
)
_BODY: Final = re.compile(r"BODY(?:\.PEEK)?\[(.*)\](?:<(\d{1,9})\.(\d{1,9})>)?")
_FIELDS: Final = re.compile(r"HEADER\.FIELDS \((.*)\)")


class BadSyntax(Exception):  # it becomes a BAD response
    """Not what this server reads."""


def tokens(command: bytes) -> list[bytes]:
    """The words of a command whose literals stand inline; parentheses are words of their own.

    Raises `BadSyntax`.
    """
    found = []
    at, end = 0, len(command.rstrip(b"\r\n "))
    while at < end:
        match = _TOKEN.match(command, at)
        if match is None:
            raise BadSyntax
        quoted, size, parenthesis, atom = match.groups()
        at = match.end()
        if size is not None:
            found.append(command[at : at + int(size)])
            at += int(size)
        elif quoted is not None:
            found.append(re.sub(rb"\\(.)", rb"\1", quoted))
        else:
            found.append(parenthesis or atom)
    return found


def sequence(text: bytes, count: int) -> list[int]:
    """The numbers of a sequence set that lie in 1..count; `*` is `count`. Raises `BadSyntax`."""
    found: set[int] = set()
    for part in text.split(b","):
        first, colon, last = part.partition(b":")
        ends = sorted(_number(end, count) for end in (first, last if colon else first))
        found.update(range(max(1, ends[0]), min(count, ends[1]) + 1))
    return sorted(found)


def _number(text: bytes, count: int) -> int:
    if text == b"*":
        return count
    if not text.isdigit() or len(text) > 10:
        raise BadSyntax
    return int(text)


def fetch_items(words: list[bytes]) -> list[str]:
    """The items of a FETCH, in upper case. Raises `BadSyntax`."""
    names = [word.decode("ascii", "replace").upper() for word in words if word not in {b"(", b")"}]
    if names == ["FAST"]:
        return ["FLAGS", "INTERNALDATE", "RFC822.SIZE"]
    if not names:
        raise BadSyntax
    return names


def reads_body(item: str) -> bool:
    """Whether fetching this item marks the message as seen (RFC 9051 6.4.5)."""
    return item.startswith("BODY[") or item == "RFC822"


def render(item: str, message: Message, number: int) -> bytes:
    """One item of a FETCH response. Raises `BadSyntax` for an item that is not served."""
    match item:
        case "UID":
            return b"UID %d" % number
        case "FLAGS":
            return f"FLAGS ({' '.join(sorted(message.flags))})".encode()
        case "RFC822.SIZE":
            return b"RFC822.SIZE %d" % len(message.octets)
        case "INTERNALDATE":
            return message.received_at.strftime('INTERNALDATE "%d-%b-%Y %H:%M:%S +0000"').encode()
        case "RFC822":
            return b"RFC822 {%d}\r\n%b" % (len(message.octets), message.octets)
    match = _BODY.fullmatch(item)
    if match is None:
        raise BadSyntax
    part, origin = _section(message.octets, match[1]), ""
    if match[2] is not None:
        start = int(match[2])
        part, origin = part[start : start + int(match[3])], f"<{start}>"
    return f"BODY[{match[1]}]{origin} {{{len(part)}}}\r\n".encode() + part


def _section(octets: bytes, name: str) -> bytes:
    header, blank, text = octets.partition(b"\r\n\r\n")
    header += blank
    match name:
        case "":
            return octets
        case "HEADER":
            return header
        case "TEXT":
            return text
    wanted = _FIELDS.fullmatch(name)
    if wanted is None:
        raise BadSyntax
    fields = {field.strip('"').encode() for field in wanted[1].split()}
    unfolded = re.findall(rb"[^\r\n]+\r\n(?:[ \t][^\r\n]*\r\n)*", header)
    kept = [field for field in unfolded if field.partition(b":")[0].strip().upper() in fields]
    return b"".join(kept) + b"\r\n"
