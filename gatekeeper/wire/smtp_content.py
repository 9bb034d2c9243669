"""Message content between DATA and its end, and BDAT chunks, passed on in constant memory.

Theory of operation. Content ends at CRLF.CRLF only (RFC 5321 4.1.1.4). Servers exist that also take
a bare LF, a bare CR, or several CRs before a LF for a line end, that skip NULs, or that stop a line
at one: to them other octets end the content, and what follows is run as commands (SMTP smuggling,
CVE-2023-51764 to -51766). All these forms have one thing in common: a dot alone between two octets
of CR, LF and NUL. Such a dot is looked for, and it is either the true end, or it is doubled: a
server that believes in that line end removes the second dot again (RFC 5321 4.5.2), any other sees
one dot more in the middle of a broken line. A doubled dot never stands alone, so no reading is
left in which the content ends early. Beside a NUL, which no mail holds, the message is refused.

Speed. All but a few chunks have no dot alone, and those go on uncopied. CR and NUL are folded into
LF and one search for three octets then finds all nine forms; a chunk with few dots or none, as of
base64, costs one pass of memchr. The dots doubled in one message are bounded, so the loop in Python
is, too.
"""

from dataclasses import dataclass
from typing import Final

from gatekeeper.events import Violation, ViolationKind
from gatekeeper.settings import BareNewlines

# Mail that writes its lines with bare LF may hold some lines of one dot; a stream of them is an
# attack on the loop below.
MAX_NEUTRALISED: Final = 1000

# Below one dot in this many octets looking at each is quicker than folding all octets; measured.
OCTETS_PER_FEW_DOTS: Final = 192

END_OF_DATA: Final = b"\r\n.\r\n"
DOT: Final = 0x2E
NUL: Final = 0x00
LINE_BREAKERS: Final = b"\r\n\0"  # what ends or hides the end of a line, to some server

_FOLD: Final = bytes.maketrans(b"\r\0", b"\n\n")
_LONE_DOT: Final = b"\n.\n"

BARE_NEWLINE: Final = Violation(
    ViolationKind.SMUGGLING, b"550 5.5.2 Bare CR or LF around a dot\r\n", fatal=True
)
NUL_BESIDE_DOT: Final = Violation(
    ViolationKind.SMUGGLING, b"550 5.6.0 NUL beside a dot\r\n", fatal=True
)
TOO_MANY: Final = Violation(
    ViolationKind.SMUGGLING, b"550 5.6.0 Too many malformed lines\r\n", fatal=True
)


@dataclass(frozen=True, slots=True)
class ContentStep:
    """What one feed of content comes to.

    `forward` goes to the backend. With `done` the content is complete and `rest` is what the client
    sent behind it. `neutralised` dots were doubled in this feed. With a `violation`, nothing more
    may be forwarded: the backend's connection is closed before the message is complete.
    """

    forward: bytes
    done: bool = False
    rest: bytes = b""
    neutralised: int = 0
    violation: Violation | None = None


class DataContent:
    """Finds the end of DATA's content and leaves nothing in it that another server takes for one.

    Clean content is forwarded as the same object it came in. At most two octets are held back
    between feeds. Not to be fed after `done` or a Violation.
    """

    __slots__ = ("_before", "_held", "_mode", "_neutralised")

    def __init__(self, mode: BareNewlines) -> None:
        self._mode = mode
        self._before = b"\r\n"  # the last two octets forwarded: the DATA line ended in CRLF
        self._held = b""  # a dot that may be alone, and perhaps the CR behind it
        self._neutralised = 0

    def feed(self, octets: bytes) -> ContentStep:
        """Judge the next octets of the stream, in time linear in their number."""
        if self._is_plain(octets):
            self._before = octets[-2:]
            return ContentStep(octets)
        return self._scan(self._before + self._held + octets)

    def _is_plain(self, octets: bytes) -> bool:
        """No lone dot ends, begins or stands in `octets`, whatever comes before and after."""
        if self._held or len(octets) < 2:  # two are kept as `_before`
            return False
        if b"." not in octets:
            return True
        if octets[0] == DOT and self._before[1] in LINE_BREAKERS:
            return False
        if octets[-1] == DOT and octets[-2] in LINE_BREAKERS:
            return False
        return not _any_lone_dot(octets)

    def _scan(self, window: bytes) -> ContentStep:
        """Walk the lone dots of `window`, whose first two octets have been forwarded before."""
        folded = window.translate(_FOLD)
        pieces: list[bytes] = []
        start = 2
        neutralised = 0
        dot = folded.find(_LONE_DOT, 1) + 1
        while dot:
            around = window[dot - 2 : dot + 3]
            if around == END_OF_DATA:
                pieces.append(window[start : dot + 3])
                return ContentStep(b"".join(pieces), True, window[dot + 3 :], neutralised)
            if around == END_OF_DATA[:-1]:  # the window ends here, the LF may yet come
                break
            if violation := self._refusal(around):
                return ContentStep(b"", neutralised=neutralised, violation=violation)
            neutralised += 1
            self._neutralised += 1
            pieces += (window[start:dot], b".")
            start = dot
            dot = folded.find(_LONE_DOT, dot + 1) + 1
        end = dot or _end_of_certain(window)
        pieces.append(window[start:end])
        self._before = window[end - 2 : end]
        self._held = window[end:]
        return ContentStep(b"".join(pieces), neutralised=neutralised)

    def _refusal(self, around: bytes) -> Violation | None:
        """Why the message ends at a lone dot, given with its neighbours; None to double the dot."""
        if NUL in around[1:4]:
            return NUL_BESIDE_DOT
        if self._mode is BareNewlines.REJECT:
            return BARE_NEWLINE
        return TOO_MANY if self._neutralised == MAX_NEUTRALISED else None


def _any_lone_dot(octets: bytes) -> bool:
    """Whether a dot stands alone within `octets`: looked at dot by dot, and where dots turn out to
    be many, by folding what is left."""
    dot = octets.find(b".", 1)
    last = len(octets) - 1
    for _ in range(len(octets) // OCTETS_PER_FEW_DOTS):
        if not 0 < dot < last:
            return False
        if octets[dot + 1] in LINE_BREAKERS and octets[dot - 1] in LINE_BREAKERS:
            return True
        dot = octets.find(b".", dot + 1)
    return dot > 0 and octets[dot - 1 :].translate(_FOLD).find(_LONE_DOT) >= 0


def _end_of_certain(window: bytes) -> int:
    """Where the octets end that need no later one to be understood: before a last dot that stands
    at a line's start."""
    last = len(window) - 1
    return last if window[last] == DOT and window[last - 1] in LINE_BREAKERS else last + 1


class ChunkContent:
    """Counts off the octets of one BDAT chunk (RFC 3030 2) and never looks at them."""

    __slots__ = ("_remaining_octets",)

    def __init__(self, size_octets: int) -> None:
        self._remaining_octets = size_octets

    def feed(self, octets: bytes) -> ContentStep:
        """Pass on what belongs to the chunk. A chunk of size 0 is done at the first feed, which
        may be empty."""
        surplus_octets = len(octets) - self._remaining_octets
        if surplus_octets < 0:
            self._remaining_octets -= len(octets)
            return ContentStep(octets)
        size_octets, self._remaining_octets = self._remaining_octets, 0
        return ContentStep(octets[:size_octets], True, octets[size_octets:])
