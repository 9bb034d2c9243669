"""Where the lines of a backend's stream begin, kept for the whole of a session.

`imap_tap` must tell a `+` or a tagged response from a message that holds such a line. That
needs the framing from the first octet on: whoever starts to look later may stand inside a literal.
What it costs is small: literals are skipped by count, in the rest one search per read finds the
lines that announce one, and single lines are looked at only while the tap asks for them.
"""

from typing import Final

from gatekeeper.wire.imap_responses import read_line
from gatekeeper.wire.imap_syntax import literal_at_end

MAX_PARTIAL_OCTETS: Final = 1024  # of an unfinished line; beyond, only both its ends are kept
_HEAD_OCTETS: Final = 160  # holds a tag of 128 octets and a status
_TAIL_OCTETS: Final = 24  # holds the announcement of a literal


class ServerLines:
    """Frames a backend's octets after the login."""

    __slots__ = ("_literal_left", "_partial", "_within")

    def __init__(self) -> None:
        self._literal_left = 0  # octets of the current literal still to come
        self._partial = b""  # the unfinished line
        self._within = False  # the current line began before a literal

    @property
    def between_lines(self) -> bool:
        """Whether the next octet begins a line."""
        return not (self._literal_left or self._partial or self._within)

    def feed(self, octets: bytes | memoryview, *, wanted: bool) -> list[bytes]:
        """Take what the backend sent next.

        Returns the lines that are neither data nor status responses without a tag: continuations
        and tagged responses, without their LF; none where they are not `wanted`.
        """
        at = min(self._literal_left, len(octets))
        self._literal_left -= at
        if at == len(octets):
            return []
        data = self._partial + octets[at:] if self._partial else bytes(octets[at:])
        answers: list[bytes] = []
        at = 0
        while at < len(data):
            announced = data.find(b"}\r\n", at)
            stop = announced + 3 if announced >= 0 else data.rfind(b"\n", at) + 1
            if stop <= at:
                break
            if wanted:
                answers += _answers(data[at:stop], within=self._within)
            at = self._end_lines(data, at, stop)
        self._partial = _abbreviated(data[at:])
        return answers

    def _end_lines(self, data: bytes, at: int, stop: int) -> int:
        """Note the end of the lines from `at` to `stop`; where to go on, past a literal."""
        start = max(at, data.rfind(b"\n", at, stop - 1) + 1)
        within = self._within and start == at
        self._within = False
        line = data[start:stop]
        literal = literal_at_end(line) if within or _is_data(line) else None
        if literal is None:
            return stop
        self._within = True
        skipped = min(literal.size_octets, len(data) - stop)
        self._literal_left = literal.size_octets - skipped
        return stop + skipped


def _answers(lines: bytes, *, within: bool) -> list[bytes]:
    found = lines.split(b"\n")[within:-1]
    return [line for line in found if not line.startswith(b"* ")]


def _is_data(line: bytes) -> bool:
    """Whether a literal can end this line; the text of status responses is free (RFC 9051 7.1)."""
    if not line.endswith(b"}\r\n"):
        return False
    response = read_line(line)
    return response is not None and response.tag == b"*" and response.status is None


def _abbreviated(line: bytes) -> bytes:
    if len(line) <= MAX_PARTIAL_OCTETS:
        return line
    return line[:_HEAD_OCTETS] + b" " + line[-_TAIL_OCTETS:]
