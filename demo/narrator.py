"""What the demo prints: plain text, with colours on a terminal that wants them."""

import os
import sys
from typing import Final, TextIO

_BOLD: Final = "1"
_GREEN: Final = "32"
_RED: Final = "31"
_YELLOW: Final = "33"
_DIM: Final = "2"


class Narrator:
    """Prints the story."""

    def __init__(self, out: TextIO = sys.stdout) -> None:
        self._out = out
        self.live = out.isatty()
        self._colours = (
            self.live and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
        )

    def title(self, text: str) -> None:
        """A heading."""
        self._print(f"\n{self._in(_BOLD, text)}")

    def line(self, text: str = "") -> None:
        """A sentence of the story."""
        self._print(f"  {text}")

    def shown(self, text: str) -> None:
        """What a tool printed."""
        for line in text.splitlines():
            self._print(self._in(_DIM, f"    | {line}"))

    def good(self, text: str) -> None:
        """Something that was verified."""
        self._print(f"  {self._in(_GREEN, 'ok')} {text}")

    def bad(self, text: str) -> None:
        """Something that did not happen as it must."""
        self._print(f"  {self._in(_RED, 'FAILED')} {text}")

    def notice(self, text: str) -> None:
        """Something the reader must know."""
        self._print(f"  {self._in(_YELLOW, '!')} {text}")

    def over(self, text: str) -> None:
        """A line that the next one replaces; nothing where that cannot be."""
        if self.live:
            self._out.write(f"\r  {text}\x1b[K" if text else "\r\x1b[K")
            self._out.flush()

    def _in(self, colour: str, text: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._colours else text

    def _print(self, text: str) -> None:
        self._out.write(f"{text}\n")
        self._out.flush()
