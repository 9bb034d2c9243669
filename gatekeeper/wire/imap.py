"""The IMAP observer of what a client sends before its login: octets in, Segments out.

Theory of operation. A command is gathered line by line. A line ends at its first LF and must end
in CRLF; a bare LF ends the session, because a lenient server sees two commands there. If a line
announces a literal, that many octets and another line belong to the command, so nothing inside a
literal can pass for a command. What the first line already tells to be refused (the verb, a LOGIN
on a plaintext leg) is noted there, and the command is framed to its end before the refusal comes
out. At a synchronising literal the end comes early: a client that is refused there must not
send it (RFC 9051 4.3). The octets of a non-synchronising one come in any case: where they are more
than the guard takes, the session ends, since they must never be read as commands.
Commands are read one at a time, when asked for, because only the session knows whether the next
line is a command or a SASL response.
"""

from typing import Final

from gatekeeper.events import (
    ContinuationNeeded,
    ObservedEvent,
    SaslCancel,
    SaslResponse,
    Violation,
    ViolationKind,
)
from gatekeeper.secret import Secret
from gatekeeper.wire.framing import Segment
from gatekeeper.wire.imap_commands import (
    MAX_STRING_OCTETS,
    TAKE_LITERALS,
    Head,
    line_defect,
    read_command,
    read_head,
)
from gatekeeper.wire.imap_syntax import Literal, literal_at_end
from gatekeeper.wire.strict_base64 import decode_base64

MAX_LINE_OCTETS: Final = 8192  # RFC 7162 4, and Dovecot before login
MAX_COMMAND_OCTETS: Final = 16_384  # with literals: a LOGIN needs 2 KiB
MAX_SASL_LINE_OCTETS: Final = 12_288 + 2  # RFC 4954 4 finds 12288 sufficient; and the CRLF
MAX_LITERALS: Final = 2  # userid and password; each costs the guard a `+` line

# What cannot be IMAP, told by its first octets (ALPACA: a browser made to talk to a mail port).
FOREIGN_STARTS: Final = (
    b"\x16\x03",  # TLS (RFC 8446 5.1)
    b"SSH-",
    b"GET ",
    b"PUT ",
    b"POST ",
    b"HEAD ",
    b"PATCH ",
    b"TRACE ",
    b"DELETE ",
    b"OPTIONS ",
    b"CONNECT ",
    b"PRI * HTTP/",
)
_LONGEST_START: Final = max(map(len, FOREIGN_STARTS))


class ImapCommands:
    """Cuts a client's octets into commands and SASL responses.

    Feed only after `next_segment` has returned None: then at most one command's limit and one feed
    are held. Make a new one after TLS has begun: nothing learnt before may survive.
    """

    __slots__ = (
        "_asked",
        "_buffer",
        "_cuts",
        "_ended",
        "_fresh",
        "_head",
        "_line_start",
        "_literals",
        "_refusal",
        "_refuse_login",
        "_sasl_tag",
        "_searched",
    )

    def __init__(self, *, refuse_login: bool) -> None:
        """`refuse_login` answers LOGIN and AUTHENTICATE with `NO [PRIVACYREQUIRED]`, without
        asking for a password: the leg is plaintext."""
        self._buffer = bytearray()
        self._refuse_login = refuse_login
        self._sasl_tag: bytes | None = None
        self._fresh = True  # nothing was cut off yet
        self._ended = False
        self._begin()

    def _begin(self) -> None:
        """The next octet is the first of a command."""
        self._head: Head | None = None  # the first line, once it is there
        self._refusal: Violation | None = None
        self._line_start = 0  # where the current line begins; beyond the end inside a literal
        self._searched = 0  # octets known to hold no further line end
        self._literals = 0
        self._cuts: list[int] = []  # ends of synchronising announcements

    def feed(self, octets: bytes) -> None:
        """Take what the client sent next; discarded after a fatal Violation."""
        if not self._ended:
            self._buffer += octets

    def expect_sasl(self, tag: bytes) -> None:
        """The next line is a SASL response of the AUTHENTICATE with this tag (RFC 9051 6.2.2),
        whatever it looks like."""
        self._sasl_tag = tag

    @property
    def buffered(self) -> int:
        """Octets fed and not yet returned in a Segment."""
        return len(self._buffer)

    def take_buffered(self) -> bytes:
        """Hand over all that is buffered and hold it no longer."""
        octets = bytes(self._buffer)
        self._buffer.clear()
        self._begin()
        return octets

    def next_segment(self) -> Segment | None:
        """The next command or SASL response and its Event, or None where more octets are needed.

        `ContinuationNeeded` comes once for each synchronising literal, in a Segment without
        octets; those of the command come with its end. None for good after a fatal Violation.
        """
        if not self._buffer:
            return None
        if self._fresh and (foreign := self._foreign()):
            return self._end(foreign, ViolationKind.FOREIGN_PROTOCOL, b"* BYE Not IMAP\r\n")
        if self._sasl_tag is not None:
            return self._sasl_response(self._sasl_tag)
        while len(self._buffer) > self._line_start:
            line = self._next_line()
            if not isinstance(line, bytes):
                return line
            if (segment := self._add_line(line)) is not None:
                return segment
        return None

    # -- lines ------------------------------------------------------------------------------

    def _next_line(self) -> bytes | Segment | None:
        """The current line with its CRLF, a fatal Violation's Segment, or None for more."""
        limit = min(self._line_start + MAX_LINE_OCTETS, MAX_COMMAND_OCTETS)
        lf = self._buffer.find(b"\n", max(self._searched, self._line_start), limit)
        if lf < 0:
            self._searched = len(self._buffer)
            if self._searched < limit:
                return None
            return self._end(limit, ViolationKind.LINE_TOO_LONG, b"* BYE Line too long\r\n")
        line = bytes(self._buffer[self._line_start : lf + 1])
        if not line.endswith(b"\r\n"):
            return self._bare_lf(lf + 1)
        return line

    def _add_line(self, line: bytes) -> Segment | None:
        """Take the line into the command; a Segment where that decides something."""
        end = self._line_start + len(line)
        if self._head is None:
            self._head, self._refusal = read_head(line, refuse_login=self._refuse_login)
        elif self._refusal is None:
            self._refusal = line_defect(line, self._head.tag)
        literal = literal_at_end(line)
        if literal is not None:
            return self._add_literal(self._head, literal, end)
        cuts = self._cuts
        head, refusal = self._head, self._refusal
        raw = self._take(end)
        event = refusal or read_command(head, raw)
        return Segment(raw, event, _pieces(raw, cuts))

    def _add_literal(self, head: Head, literal: Literal, end: int) -> Segment | None:
        size = literal.size_octets
        self._literals += 1
        allowed = head.verb in TAKE_LITERALS and not literal.eight_bit
        if not allowed or self._literals > MAX_LITERALS:
            self._refusal = self._refusal or _bad(head, b" BAD Literal not allowed here\r\n")
        limit = MAX_STRING_OCTETS if head.verb == "LOGIN" else MAX_COMMAND_OCTETS
        too_big = size > limit or end + size + len(b"\r\n") > MAX_COMMAND_OCTETS
        if too_big and not literal.synchronising:
            return self._end(end, ViolationKind.BAD_LITERAL, b"* BYE [TOOBIG] Literal too big\r\n")
        if too_big:
            self._refusal = self._refusal or _bad(head, b" NO [TOOBIG] Literal too big\r\n")
        if literal.synchronising and self._refusal is not None:
            refusal = self._refusal
            return Segment(self._take(end), refusal)
        self._line_start = end + size
        if not literal.synchronising:
            return None
        self._cuts.append(end)
        return Segment(b"", ContinuationNeeded(size))

    # -- SASL -------------------------------------------------------------------------------

    def _sasl_response(self, tag: bytes) -> Segment | None:
        lf = self._buffer.find(b"\n", self._searched, MAX_SASL_LINE_OCTETS)
        if lf < 0:
            self._searched = len(self._buffer)
            if self._searched < MAX_SASL_LINE_OCTETS:
                return None
            reply = tag + b" BAD Response too long\r\n* BYE Response too long\r\n"
            return self._end(MAX_SASL_LINE_OCTETS, ViolationKind.SASL_TOO_LONG, reply)
        if lf == 0 or self._buffer[lf - 1] != 0x0D:
            return self._bare_lf(lf + 1)
        raw = self._take(lf + 1)
        return Segment(raw, _read_sasl(raw[:-2], tag))

    # -- ends -------------------------------------------------------------------------------

    def _foreign(self) -> int:
        """The length of a foreign protocol's start at the head of the stream, else 0."""
        start = bytes(self._buffer[:_LONGEST_START])
        return next((len(s) for s in FOREIGN_STARTS if start.startswith(s)), 0)

    def _take(self, size_octets: int) -> bytes:
        taken = bytes(self._buffer[:size_octets])
        del self._buffer[:size_octets]
        self._fresh = False
        self._sasl_tag = None
        self._begin()
        return taken

    def _bare_lf(self, size_octets: int) -> Segment:
        return self._end(size_octets, ViolationKind.BARE_LF, b"* BYE Lines must end in CRLF\r\n")

    def _end(self, size_octets: int, kind: ViolationKind, reply: bytes) -> Segment:
        """A fatal Violation: what follows is never read."""
        raw = self._take(size_octets)
        self._buffer.clear()
        self._ended = True
        return Segment(raw, Violation(kind, reply, fatal=True))


def _bad(head: Head, text: bytes) -> Violation:
    return Violation(ViolationKind.BAD_LITERAL, head.tag + text)


def _pieces(raw: bytes, cuts: list[int]) -> tuple[bytes, ...]:
    if not cuts:
        return ()
    return tuple(raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True))


def _read_sasl(text: bytes, tag: bytes) -> ObservedEvent:
    if text == b"*":
        return SaslCancel()
    octets = decode_base64(text)
    if octets is None:
        return Violation(ViolationKind.BAD_BASE64, tag + b" BAD Invalid base64\r\n")
    return SaslResponse(Secret(octets))
