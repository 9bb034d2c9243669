"""The SMTP observer of what a client sends: octets in, Segments out.

Theory of operation. Lines end in CRLF and in nothing else, but a line is cut at its first LF: a
server that takes a bare LF for a line end would see two commands where we see one, and a client
that only ever sends bare LF must get an answer. So a bare LF ends the line, refuses it, and ends
the session; what follows it is never read. A bare CR or a NUL refuses its line and no more, since
nothing of that line is forwarded. Commands are read one at a time, when asked for, because only
the session knows whether the next line is a command, a SASL response or content.
"""

from typing import Final

from gatekeeper.events import ObservedEvent, SaslCancel, SaslResponse, Violation, ViolationKind
from gatekeeper.secret import Secret
from gatekeeper.wire.framing import Segment
from gatekeeper.wire.smtp_commands import BAD_BASE64, FOREIGN, read_command
from gatekeeper.wire.strict_base64 import decode_base64

# RFC 5321 4.5.3.1.4 has 512 octets, to which extensions add some 1700 (DSN, SIZE, AUTH=, SMTPUTF8);
# Postfix stops at 2048.
MAX_COMMAND_OCTETS: Final = 4096

# RFC 4954 4: 12288 octets of base64 suffice. Besides, a line end.
MAX_SASL_LINE_OCTETS: Final = 12_288 + 2

# RFC 4954 would have a long initial response sent on a line of its own, but OAuth clients put
# tokens of some thousand octets here.
MAX_AUTH_COMMAND_OCTETS: Final = MAX_SASL_LINE_OCTETS + len("AUTH ") + 20 + len(" ")

CLIENT_HELLO_START: Final = b"\x16\x03"  # RFC 8446 5.1: a handshake record, any version

BARE_LF: Final = Violation(
    ViolationKind.BARE_LF, b"500 5.5.2 Lines must end in CRLF\r\n", fatal=True
)
BARE_CR: Final = Violation(ViolationKind.BARE_CR, b"500 5.5.2 Bare CR in command\r\n")
NUL: Final = Violation(ViolationKind.NUL, b"500 5.5.2 NUL in command\r\n")

# Fatal both: to go on would need a search for the line's end with no bound.
LINE_TOO_LONG: Final = Violation(
    ViolationKind.LINE_TOO_LONG, b"500 5.5.2 Line too long\r\n", fatal=True
)
SASL_TOO_LONG: Final = Violation(
    ViolationKind.SASL_TOO_LONG, b"500 5.5.6 Authentication line too long\r\n", fatal=True
)


class SmtpCommands:
    """Cuts a client's octets into command lines and SASL responses.

    Feed only after `next_segment` has returned None: then at most one line's limit and one feed
    are held. Make a new one after TLS has begun: nothing learnt before may survive (RFC 3207 4.2).
    """

    __slots__ = ("_buffer", "_ended", "_fresh", "_sasl_expected", "_searched_octets")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched_octets = 0  # of the buffer, known to hold no LF
        self._sasl_expected = False
        self._fresh = True  # nothing has been cut off yet
        self._ended = False

    def feed(self, octets: bytes) -> None:
        """Take what the client sent next; discarded after a fatal Violation."""
        if not self._ended:
            self._buffer += octets

    def expect_sasl(self) -> None:
        """The next line is a SASL response (RFC 4954 4), whatever it looks like."""
        self._sasl_expected = True

    @property
    def buffered(self) -> int:
        """Octets fed and not yet returned in a Segment."""
        return len(self._buffer)

    def take_buffered(self) -> bytes:
        """Hand over all that is buffered, for content and before TLS, and hold it no longer."""
        octets = bytes(self._buffer)
        self._buffer.clear()
        self._searched_octets = 0
        return octets

    def next_segment(self) -> Segment | None:
        """The next line and its Event, or None where more octets are needed.

        After a fatal Violation it is None for good.
        """
        if self._fresh and self._buffer.startswith(CLIENT_HELLO_START):
            return self._end(len(CLIENT_HELLO_START), FOREIGN)
        limit_octets = self._limit_octets()
        lf = self._buffer.find(b"\n", self._searched_octets, limit_octets)
        if lf >= 0:
            return self._line(lf + 1)
        self._searched_octets = len(self._buffer)
        if self._searched_octets < limit_octets:
            return None
        return self._end(limit_octets, SASL_TOO_LONG if self._sasl_expected else LINE_TOO_LONG)

    def _limit_octets(self) -> int:
        if self._sasl_expected:
            return MAX_SASL_LINE_OCTETS
        if len(self._buffer) >= MAX_COMMAND_OCTETS and self._buffer[:5].upper() == b"AUTH ":
            return MAX_AUTH_COMMAND_OCTETS
        return MAX_COMMAND_OCTETS

    def _line(self, size_octets: int) -> Segment:
        line = self._take(size_octets)
        event = _defect(line) or self._event(line[:-2])
        self._sasl_expected = False
        if isinstance(event, Violation) and event.fatal:
            self._discard_all()
        return Segment(line, event)

    def _event(self, text: bytes) -> ObservedEvent:
        return _read_sasl(text) if self._sasl_expected else read_command(text)

    def _take(self, size_octets: int) -> bytes:
        taken = bytes(self._buffer[:size_octets])
        del self._buffer[:size_octets]
        self._searched_octets = 0
        self._fresh = False
        return taken

    def _end(self, size_octets: int, violation: Violation) -> Segment:
        raw = self._take(size_octets)
        self._discard_all()
        return Segment(raw, violation)

    def _discard_all(self) -> None:
        self._buffer.clear()
        self._ended = True


def _defect(line: bytes) -> Violation | None:
    """What is wrong with a line that ends in LF, before anything of it is understood."""
    if not line.endswith(b"\r\n"):
        return BARE_LF
    if line.find(b"\r") != len(line) - 2:
        return BARE_CR
    return NUL if b"\0" in line else None


def _read_sasl(text: bytes) -> ObservedEvent:
    if text == b"*":
        return SaslCancel()
    octets = decode_base64(text)
    return BAD_BASE64 if octets is None else SaslResponse(Secret(octets))
