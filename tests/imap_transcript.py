"""Transcripts run against the IMAP command observer, in the notation of `transcript`.

    @ plaintext                     the leg is plaintext: LOGIN is refused
    @ sasl TAG                      the next line is a SASL response

As there, the client's octets are one stream, which may be cut anywhere.
"""

import dataclasses
from collections.abc import Iterable, Iterator

from transcript import Transcript, escape

from gatekeeper.events import ObservedEvent, Violation
from gatekeeper.secret import Secret
from gatekeeper.wire.imap import ImapCommands


def play(transcript: Transcript, chunks: Iterable[bytes]) -> list[tuple[str, str]]:
    """Run the script's directives over the client's octets and return the script as it came out."""
    player = _Player(iter(chunks), plaintext=("@", "plaintext") in transcript.script)
    for mark, text in transcript.script:
        if mark == "@":
            player.direct(text)
        elif mark in {"E:", "V:"}:
            player.command()
    while player.command():
        pass
    return player.seen


def describe(event: ObservedEvent) -> str:
    """An Event as these transcripts write it, secrets in clear."""
    values = [getattr(event, field.name) for field in dataclasses.fields(event)]
    shown = [value.declassify() if isinstance(value, Secret) else value for value in values]
    return f"{type(event).__name__}({', '.join(map(repr, shown))})"


class _Player:
    def __init__(self, chunks: Iterator[bytes], *, plaintext: bool) -> None:
        self.seen: list[tuple[str, str]] = []
        self._chunks = chunks
        self._commands = ImapCommands(refuse_login=plaintext)

    def direct(self, text: str) -> None:
        self.seen.append(("@", text))
        match text.split():
            case ["sasl", tag]:
                self._commands.expect_sasl(tag.encode())
            case ["plaintext"]:
                pass
            case _:
                raise ValueError(text)

    def command(self) -> bool:
        while (segment := self._commands.next_segment()) is None:
            if (chunk := next(self._chunks, None)) is None:
                return False
            self._commands.feed(chunk)
        event = segment.event
        if isinstance(event, Violation):
            self.seen.append(("V:", event.kind.value + " fatal" * event.fatal))
            self.seen.append(("S:", escape(event.reply)))
        else:
            self.seen.append(("E:", describe(event)))
        return True
