"""Lists of addresses as people and services keep them: one address or network a line.

A line is `ADDRESS[/LENGTH]`, then perhaps blanks and a time (`4h`, or plain seconds); `#` and `;`
begin a comment. A comma after the network makes it CSV, of which the first column counts; a CSV's
first line may be its heading. A line that begins with `{` is a JSON object with `cidr` or `ip`, as
Spamhaus writes its DROP lists; an object without either is a note about the list.

Everything wrong is reported, by line; a file that is not a list is wrong in every line.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from gatekeeper.prefix import Prefix, mask, pack_address

MAX_LINES: Final = 1_000_000  # as many bans as a guard holds
MAX_LINE_OCTETS: Final = 4096  # far above any list's
_SHOWN_CHARACTERS: Final = 60
_BOM: Final = b"\xef\xbb\xbf"
_UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_TIME: Final = re.compile(r"(?:\d{1,9}(?:\.\d{1,6})?|(?:\d{1,9}[smhdw]){1,5})", re.ASCII)
_PART: Final = re.compile(r"(\d{1,9})([smhdw])", re.ASCII)
_NOTHING: Final = re.compile(rb"\s*(?:[#;]|$)")  # a comment, or nothing at all
_KEYS: Final = ("cidr", "ip")


@dataclass(frozen=True, slots=True)
class Listed:
    """A network that is to be banned; `seconds` from now, None where the list does not say."""

    prefix: Prefix
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class WrongLine:
    """A line, counted from 1, and what is wrong with it."""

    number: int
    why: str


def read_list(octets: bytes) -> tuple[list[Listed], list[WrongLine]]:
    """What a list holds, and everything wrong in it, both in its order. Never raises."""
    listed: list[Listed] = []
    wrong: list[WrongLine] = []
    first = True
    for number, line in enumerate(_lines(octets), 1):
        if number > MAX_LINES:
            wrong.append(WrongLine(number, f"the list has more than {MAX_LINES} lines"))
            break
        try:
            found = _read_line(line, first=first)
        except ValueError as error:
            wrong.append(WrongLine(number, str(error)))
            found = None
        if found is not None:
            listed.append(found)
        first = first and _NOTHING.match(line) is not None
    return listed, wrong


def _lines(octets: bytes) -> Iterator[bytes]:
    start = len(_BOM) if octets.startswith(_BOM) else 0
    while start < len(octets):
        end = octets.find(b"\n", start)
        end = len(octets) if end < 0 else end
        yield octets[start:end]
        start = end + 1


def _read_line(line: bytes, *, first: bool) -> Listed | None:
    """The network of a line, None where it holds none. Raises `ValueError`."""
    if len(line) > MAX_LINE_OCTETS:
        raise ValueError(f"longer than {MAX_LINE_OCTETS} octets")
    try:
        text = line.decode().strip()
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    if text.startswith("{"):
        return _read_object(text)
    text = re.split("[#;]", text, maxsplit=1)[0].strip()
    if not text:
        return None
    head, comma, _ = text.partition(",")
    if not comma:
        return _read_columns(text.split())
    head = head.strip().strip('"')
    if first and not any(map(str.isdigit, head)) and ":" not in head:
        return None  # a heading
    return Listed(read_network(head))


def _read_columns(words: list[str]) -> Listed:
    network = read_network(words[0])
    if len(words) == 1:
        return Listed(network)
    if len(words) > 2:
        raise ValueError(f"more than a network and a time: {shown(' '.join(words))}")
    return Listed(network, _read_time(words[1]))


def _read_time(text: str) -> float:
    """Seconds of `4h` or `3600`. Raises `ValueError`."""
    if not _TIME.fullmatch(text):
        raise ValueError(f"not a time: {shown(text)}")
    parts = _PART.findall(text)
    seconds = sum(float(n) * _UNITS_S[unit] for n, unit in parts) if parts else float(text)
    if seconds <= 0:
        raise ValueError(f"a ban needs a time above 0: {shown(text)}")
    return seconds


def _read_object(text: str) -> Listed | None:
    try:
        entry = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"not JSON: {shown(text)}") from None
    for key in _KEYS:
        if key in entry:
            value = entry[key]
            if not isinstance(value, str):
                raise ValueError(f"{key} is no string")
            return Listed(read_network(value))
    return None


def read_network(text: str) -> Prefix:
    """Read `ADDRESS[/LENGTH]`; bits behind the length are a slip, not a network.

    Raises `ValueError`.
    """
    try:
        prefix = Prefix.parse(text)
    except ValueError:
        raise ValueError(f"not an address or network: {shown(text)}") from None
    address = pack_address(text.partition("/")[0])
    if mask(address, prefix.length) != address:
        raise ValueError(f"has bits behind its length: {shown(text)}")
    return prefix


def shown(text: str) -> str:
    """`text` as an error shows it: quoted, cut, in ASCII."""
    cut = text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"
    return ascii(cut)
