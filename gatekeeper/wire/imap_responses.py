"""The IMAP observer of what a backend sends before the login: octets in, responses out.

A line that ends in `{n}` goes on behind the literal, so nothing inside a literal can pass for a
tagged response. Status responses and continuations are the exception: their text is free (RFC 9051
7.1, 7.6) and may repeat what a stranger sent, such as `{99}` in a userid, so there the line end
is the end.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from gatekeeper.events import AuthResult
from gatekeeper.wire.imap_syntax import ends_in_one_crlf, literal_at_end

MAX_LINE_OCTETS: Final = 65_536  # before login the longest is a capability list, one or two KiB
MAX_LITERAL_OCTETS: Final = 65_536  # only ID answers have literals here
MAX_RESPONSE_OCTETS: Final = 131_072  # one line with one literal at their limits


class Status(Enum):
    """The condition a status response tells (RFC 9051 7.1)."""

    OK = b"OK"
    NO = b"NO"
    BAD = b"BAD"
    BYE = b"BYE"
    PREAUTH = b"PREAUTH"


_STATUSES: Final = {status.value: status for status in Status}
_UNTAGGED_ONLY: Final = frozenset({Status.BYE, Status.PREAUTH})

# RFC 5530 3 and RFC 9051 7.1: codes of a NO that say nothing against the credential.
_OUTAGES: Final = frozenset({b"UNAVAILABLE", b"INUSE", b"LIMIT", b"SERVERBUG", b"REFERRAL"})
_NOT_UNDERSTOOD: Final = frozenset({b"PRIVACYREQUIRED", b"CLIENTBUG", b"CANNOT", b"TOOBIG"})


@dataclass(frozen=True, slots=True)
class Response:
    """One response of a backend, literals included in `raw`.

    `tag` is `*`, `+` or a command's tag; `status` is None for data and continuations; `code` is
    what stands in the brackets of a status response or continuation, None where there are none.
    """

    tag: bytes
    status: Status | None
    code: bytes | None
    raw: bytes


class ResponseFaultKind(Enum):
    """Ways in which a backend's octets are not IMAP."""

    LINE_TOO_LONG = "line-too-long"
    LITERAL_TOO_LONG = "literal-too-long"
    BAD_LINE_END = "bad-line-end"  # bare CR or bare LF
    BAD_SYNTAX = "bad-syntax"


@dataclass(frozen=True, slots=True)
class ResponseFault:
    """The backend broke its protocol; nothing more is read from it."""

    kind: ResponseFaultKind


class ImapResponses:
    """Cuts a backend's octets into responses.

    Feed only after `next_response` has returned None: then at most one response's limit and one
    feed are held.
    """

    __slots__ = ("_buffer", "_fault", "_line_start", "_searched")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._line_start = 0  # where the current line begins; beyond the end inside a literal
        self._searched = 0  # octets known to hold no further line end
        self._fault: ResponseFault | None = None

    def feed(self, octets: bytes) -> None:
        """Take what the backend sent next; discarded after a fault."""
        if self._fault is None:
            self._buffer += octets

    @property
    def buffered(self) -> int:
        """Octets fed and not yet returned in a response."""
        return len(self._buffer)

    def take_buffered(self) -> bytes:
        """Hand over all that is buffered and hold it no longer."""
        octets = bytes(self._buffer)
        self._buffer.clear()
        self._line_start = self._searched = 0
        return octets

    def next_response(self) -> Response | ResponseFault | None:
        """The next response, None where more octets are needed; a fault stays for good."""
        while self._fault is None and len(self._buffer) > self._line_start:
            limit = min(self._line_start + MAX_LINE_OCTETS, MAX_RESPONSE_OCTETS)
            lf = self._buffer.find(b"\n", max(self._searched, self._line_start), limit)
            if lf < 0:
                self._searched = len(self._buffer)
                if self._searched < limit:
                    return None
                return self._break(ResponseFaultKind.LINE_TOO_LONG)
            if (response := self._end_line(lf + 1)) is not None:
                return response
        return self._fault

    def _end_line(self, end: int) -> Response | ResponseFault | None:
        line = bytes(self._buffer[self._line_start : end])
        if not ends_in_one_crlf(line):
            return self._break(ResponseFaultKind.BAD_LINE_END)
        if self._line_start == 0:
            response = read_line(line)
            if response is None:
                return self._break(ResponseFaultKind.BAD_SYNTAX)
            if response.tag != b"*" or response.status is not None:
                self._take(end)
                return response
        if (literal := literal_at_end(line)) is None:
            return Response(b"*", None, None, self._take(end))
        if literal.size_octets > MAX_LITERAL_OCTETS:
            return self._break(ResponseFaultKind.LITERAL_TOO_LONG)
        self._line_start = end + literal.size_octets
        if self._line_start >= MAX_RESPONSE_OCTETS:
            return self._break(ResponseFaultKind.LITERAL_TOO_LONG)
        return None

    def _take(self, size_octets: int) -> bytes:
        taken = bytes(self._buffer[:size_octets])
        del self._buffer[:size_octets]
        self._line_start = self._searched = 0
        return taken

    def _break(self, kind: ResponseFaultKind) -> ResponseFault:
        self._buffer.clear()
        self._fault = ResponseFault(kind)
        return self._fault


def read_line(line: bytes) -> Response | None:
    """Read a response of one line, CRLF included; None where it is none."""
    tag, _, rest = line[:-2].partition(b" ")
    if not tag or b"\0" in line:
        return None
    if tag == b"+":
        return Response(tag, None, _read_code(rest), line)
    word, _, text = rest.partition(b" ")
    status = _STATUSES.get(word.upper())
    if tag == b"*":
        code = None if status is None else _read_code(text)
        return Response(tag, status, code, line)
    if status is None or status in _UNTAGGED_ONLY:
        return None
    return Response(tag, status, _read_code(text), line)


def auth_result(response: Response) -> AuthResult:
    """What the response that ends LOGIN or AUTHENTICATE says of the credential.

    It is the tagged one, or an untagged BYE in its place. Only a NO that blames the credential, or
    gives no reason, is a failure; an unknown code counts as none (RFC 9051 7.1).
    """
    match response.status:
        case Status.OK if response.tag != b"*":
            return AuthResult.SUCCESS
        case Status.NO if response.tag != b"*":
            code = (response.code or b"").partition(b" ")[0].upper()
            if code in _OUTAGES:
                return AuthResult.UNAVAILABLE
            return AuthResult.PROTOCOL if code in _NOT_UNDERSTOOD else AuthResult.FAILURE
        case Status.BYE:
            return AuthResult.UNAVAILABLE
        case _:
            return AuthResult.PROTOCOL


def _read_code(text: bytes) -> bytes | None:
    if not text.startswith(b"["):
        return None
    end = text.find(b"]")
    return text[1:end] if end > 0 else None
