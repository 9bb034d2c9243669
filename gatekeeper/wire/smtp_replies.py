"""The SMTP observer of what a backend answers (RFC 5321 4.2), and what its answers mean."""

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

from gatekeeper.events import AuthResult, RcptResult

MAX_REPLY_LINE_OCTETS: Final = 8192  # RFC 5321 4.5.3.1.5 has 512; XOAUTH2's 334 may run longer
MAX_REPLY_LINES: Final = 128  # EHLO has some twenty, HELP and verbose rejections some dozens

_LINE: Final = re.compile(rb"([2-5][0-9]{2})(?:([ -])([^\r\0]*))?")
_ENHANCED: Final = re.compile(rb"([245]\.[0-9]{1,3}\.[0-9]{1,3})(?: |$)")  # RFC 3463 2


@dataclass(frozen=True, slots=True)
class Reply:
    """One whole reply.

    `lines` are the texts without code, separator and CRLF, at least one; `raw` is all its octets.
    """

    code: int
    lines: tuple[bytes, ...]
    raw: bytes

    @property
    def positive(self) -> bool:
        """2yz: done."""
        return 200 <= self.code < 300

    @property
    def intermediate(self) -> bool:
        """3yz: the backend awaits more of this command."""
        return 300 <= self.code < 400

    @property
    def transient(self) -> bool:
        """4yz: not now."""
        return 400 <= self.code < 500

    @property
    def enhanced(self) -> bytes | None:
        """The status code of the first line (RFC 2034), such as `b"5.1.1"`."""
        match = _ENHANCED.match(self.lines[0])
        return match[1] if match else None


class ReplyFaultKind(Enum):
    """Ways in which a backend's octets are not a reply; stable words for logs."""

    BAD_LINE = "bad-line"
    LINE_TOO_LONG = "line-too-long"
    TOO_MANY_LINES = "too-many-lines"
    CODES_DIFFER = "codes-differ"


@dataclass(frozen=True, slots=True)
class ReplyFault:
    """The backend does not speak SMTP; the session answers 421 and ends."""

    kind: ReplyFaultKind


class SmtpReplies:
    """Cuts a backend's octets into replies.

    After a fault nothing is read any more. One line and one feed are held at most, besides the
    lines of an unfinished reply, which have their own bound.
    """

    __slots__ = ("_buffer", "_code", "_ended", "_lines", "_raw", "_searched_octets")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched_octets = 0  # of the buffer, known to hold no LF
        self._code = b""  # of the unfinished reply
        self._lines: list[bytes] = []
        self._raw: list[bytes] = []
        self._ended = False

    def feed(self, octets: bytes) -> None:
        """Take what the backend sent next; discarded after a fault."""
        if not self._ended:
            self._buffer += octets

    @property
    def buffered(self) -> int:
        """Octets fed and not yet part of a returned reply."""
        return len(self._buffer) + sum(map(len, self._raw))

    def take_buffered(self) -> bytes:
        """Hand over all octets behind the last reply, and hold them no longer."""
        octets = b"".join(self._raw) + self._buffer
        self._buffer.clear()
        self._searched_octets = 0
        self._start_reply()
        return octets

    def next_reply(self) -> Reply | ReplyFault | None:
        """The next whole reply, a fault once and for good, or None where more is needed."""
        while True:
            lf = self._buffer.find(b"\n", self._searched_octets, MAX_REPLY_LINE_OCTETS)
            if lf < 0:
                return self._await_line()
            line = bytes(self._buffer[: lf + 1])
            del self._buffer[: lf + 1]
            self._searched_octets = 0
            if (result := self._add(line)) is not None:
                return result

    def _await_line(self) -> ReplyFault | None:
        self._searched_octets = len(self._buffer)
        if self._searched_octets < MAX_REPLY_LINE_OCTETS:
            return None
        return self._fault(ReplyFaultKind.LINE_TOO_LONG)

    def _add(self, line: bytes) -> Reply | ReplyFault | None:
        """Take one line in; the reply it completes, or what is wrong with it."""
        form = _LINE.fullmatch(line, 0, len(line) - 2) if line.endswith(b"\r\n") else None
        if form is None:
            return self._fault(ReplyFaultKind.BAD_LINE)
        if self._lines and form[1] != self._code:
            return self._fault(ReplyFaultKind.CODES_DIFFER)
        if len(self._lines) == MAX_REPLY_LINES:
            return self._fault(ReplyFaultKind.TOO_MANY_LINES)
        self._code = form[1]
        self._lines.append(form[3] or b"")
        self._raw.append(line)
        return None if form[2] == b"-" else self._finish()

    def _finish(self) -> Reply:
        reply = Reply(int(self._code), tuple(self._lines), b"".join(self._raw))
        self._start_reply()
        return reply

    def _start_reply(self) -> None:
        self._code = b""
        self._lines = []
        self._raw = []

    def _fault(self, kind: ReplyFaultKind) -> ReplyFault:
        self._ended = True
        self._buffer.clear()
        self._searched_octets = 0
        self._start_reply()
        return ReplyFault(kind)


def format_reply(code: int, enhanced: str, text: str) -> bytes:
    """A one-line reply with its CRLF; `enhanced` may be empty. All three are the guard's own."""
    return " ".join(filter(None, (str(code), enhanced, text))).encode("ascii") + b"\r\n"


# Final replies to AUTH that say nothing of the credential: the exchange was cancelled or not
# understood, the mechanism is not there or wants TLS first (RFC 4954 4 and 6).
_AUTH_NOT_JUDGED: Final = frozenset({500, 501, 502, 503, 504, 530, 538})

# RFC 3463 3.2: no such mailbox, mailbox moved; RFC 7505: null MX, and to Exchange no recipient.
_UNKNOWN_RECIPIENT: Final = frozenset({b"5.1.1", b"5.1.6", b"5.1.10"})

# Servers without status codes (Exim, qmail) tell in words; the address they may quote is cut out.
_QUOTED_PATH: Final = re.compile(rb"<[^>]*>")
_UNKNOWN_WORDS: Final = (
    *(b"unknown", b"unrouteable", b"no such", b"not found", b"no mailbox"),
    b"invalid recipient",  # OpenSMTPD
)
_RELAY_WORDS: Final = (b"relay", b"allowed rcpthosts")  # the second is qmail's


def auth_result(reply: Reply) -> AuthResult:
    """What the final reply to AUTH says of the credential. Only what is certain counts: 4yz is an
    outage, and an exchange the backend could not follow is no failed password."""
    if reply.code == 235:
        return AuthResult.SUCCESS
    if reply.transient:
        return AuthResult.UNAVAILABLE
    if reply.positive or reply.intermediate or reply.code in _AUTH_NOT_JUDGED:
        return AuthResult.PROTOCOL
    return AuthResult.FAILURE


def rcpt_result(reply: Reply) -> RcptResult:
    """What the reply to RCPT says of the recipient.

    A rejection for the sender's or the client's sake (5.7.1 without a word of relaying) is
    `REFUSED`: it must not look like address guessing.
    """
    if reply.positive:
        return RcptResult.ACCEPTED
    if reply.transient:
        return RcptResult.DEFERRED
    if reply.code not in {550, 551, 553, 554}:
        return RcptResult.REFUSED
    enhanced = reply.enhanced
    if enhanced in _UNKNOWN_RECIPIENT:
        return RcptResult.UNKNOWN
    if enhanced is not None and not enhanced.startswith(b"5.7."):
        return RcptResult.REFUSED
    text = _QUOTED_PATH.sub(b"", b" ".join(reply.lines)).lower()
    if any(word in text for word in _RELAY_WORDS):
        return RcptResult.RELAY_DENIED
    if enhanced is None and (reply.code == 551 or any(word in text for word in _UNKNOWN_WORDS)):
        return RcptResult.UNKNOWN
    return RcptResult.REFUSED
