"""Transcripts: dialogues as the RFCs print them, run against the SMTP observers.

    # a remark
    C: octets from the client      escapes: \\r \\n \\0 \\xHH \\\\
    E: the Event they complete, secrets in clear
    V: a Violation's kind, and `fatal` where it is
    S: what the Violation answers
    B: what goes to the backend as content
    @ sasl                          the next line is a SASL response
    @ content neutralise|reject     content until its end
    @ chunk SIZE                    content of that many octets

All of the client's octets are one stream: a transcript must come out the same however the stream
is cut, and also when all of it is there at once.
"""

import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gatekeeper.events import ObservedEvent, Violation
from gatekeeper.secret import Secret
from gatekeeper.settings import BareNewlines
from gatekeeper.wire.smtp import SmtpCommands
from gatekeeper.wire.smtp_content import ChunkContent, ContentStep, DataContent

DIRECTORY = Path(__file__).parent / "transcripts"

_ESCAPE = re.compile(rb"\\(?:([rn0\\])|x([0-9a-f]{2}))")
_ESCAPES = {b"r": b"\r", b"n": b"\n", b"0": b"\0", b"\\": b"\\"}


@dataclass(frozen=True)
class Transcript:
    """The client's octets, and the rest of the lines in order as (mark, text)."""

    octets: bytes
    script: tuple[tuple[str, str], ...]


def read(path: Path) -> Transcript:
    """Read one transcript; an unknown mark is an error in the transcript."""
    octets = b""
    script = []
    for line in path.read_text("utf-8").splitlines():
        mark, _, text = line.partition(" ")
        match mark:
            case "#" | "":
                continue
            case "C:":
                octets += unescape(text)
            case "E:" | "V:" | "S:" | "B:" | "@":
                script.append((mark, text))
            case _:
                raise ValueError(f"{path.name}: {line!r}")
    return Transcript(octets, tuple(script))


def unescape(text: str) -> bytes:
    """The octets a transcript line stands for."""
    return _ESCAPE.sub(
        lambda match: _ESCAPES[match[1]] if match[1] else bytes.fromhex(match[2].decode()),
        text.encode("utf-8"),
    )


def escape(octets: bytes) -> str:
    """Octets as a transcript line; the reverse of `unescape`."""
    return repr(octets)[2:-1].replace("\\x00", "\\0").replace("\\'", "'")


def describe(event: ObservedEvent) -> str:
    """An Event as transcripts write it; the empty tag of SMTP is left out."""
    fields = []
    for field in dataclasses.fields(event):
        value = getattr(event, field.name)
        if field.name != "tag":
            shown = value.declassify() if isinstance(value, Secret) else value
            fields.append(f"{field.name}={shown!r}")
    return f"{type(event).__name__}({', '.join(fields)})"


def play(transcript: Transcript, chunks: Iterable[bytes]) -> list[tuple[str, str]]:
    """Run the script's directives over the client's octets, cut into `chunks`, and return the
    script as it came out. It is equal to `transcript.script` where the transcript holds."""
    player = _Player(iter(chunks))
    for mark, text in transcript.script:
        if mark == "@":
            player.direct(text)
        elif mark in {"E:", "V:"}:
            player.command()
    player.drain()
    return player.seen


class _Player:
    def __init__(self, chunks: Iterator[bytes]) -> None:
        self.seen: list[tuple[str, str]] = []
        self._chunks = chunks
        self._commands = SmtpCommands()
        self._over = False

    def direct(self, text: str) -> None:
        self.seen.append(("@", text))
        match text.split():
            case ["sasl"]:
                self._commands.expect_sasl()
            case ["content", mode]:
                self._content(DataContent(BareNewlines(mode)).feed)
            case ["chunk", size]:
                self._content(ChunkContent(int(size)).feed)
            case _:
                raise ValueError(text)

    def command(self) -> None:
        if self._over:
            return
        while (segment := self._commands.next_segment()) is None:
            if (chunk := next(self._chunks, None)) is None:
                return
            self._commands.feed(chunk)
        if isinstance(segment.event, Violation):
            self._violation(segment.event)
        else:
            self.seen.append(("E:", describe(segment.event)))

    def drain(self) -> None:
        """Show what the script did not expect."""
        before = -1
        while not self._over and before != len(self.seen):
            before = len(self.seen)
            self.command()

    def _content(self, feed: Callable[[bytes], ContentStep]) -> None:
        content = feed(self._commands.take_buffered())
        forward = content.forward
        while not content.done and content.violation is None:
            if (chunk := next(self._chunks, None)) is None:
                break
            content = feed(chunk)
            forward += content.forward
        if content.violation is not None:
            self._violation(content.violation)
            return
        self.seen.append(("B:", escape(forward)))
        self._commands.feed(content.rest)

    def _violation(self, violation: Violation) -> None:
        self._over = violation.fatal
        self.seen.append(("V:", violation.kind.value + " fatal" * violation.fatal))
        self.seen.append(("S:", escape(violation.reply)))
