"""Where each key of a TOML text stands.

Theory of operation. `tomllib` gives values without lines, and an operator needs lines. This walks
a text that `tomllib` has already accepted, so it may trust the syntax: it only has to know where
a key, a header and a value end. It records the line of every table, key, inline key and array
element under the path by which the parsed value is reached. One pass; each character is looked at
a constant number of times.
"""

import bisect
import re
import tomllib
from typing import Final

KeyPath = tuple[str | int, ...]

_BLANK: Final = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_STRING: Final = re.compile(
    r'"""(?:\\.|[^\\])*?"""(?:"{0,2})'  # up to two quotes of content may touch the closing three
    r"|'''.*?'''(?:'{0,2})"
    r'|"(?:\\.|[^"\\])*"'
    r"|'[^']*'",
    re.DOTALL,
)
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR: Final = re.compile(r"[^,\]}#\n]*")  # a date may hold a space


def locate(text: str) -> dict[KeyPath, int]:
    """The 1-based line of every key path in `text`, which must be valid TOML.

    A table has the line of its header, or of the first key that makes it; `[[x]]` tables and
    array elements have their index in the path. The whole document, `()`, is at line 1.
    """
    return _Walk(text).document()


class _Walk:
    __slots__ = ("_at", "_breaks", "_counts", "_lines", "_text")

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._breaks = [match.start() for match in re.finditer("\n", text)]
        self._lines: dict[KeyPath, int] = {(): 1}
        self._counts: dict[KeyPath, int] = {}  # arrays of tables: the index of the last one

    def document(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        self._skip_blank()
        while self._at < len(self._text):
            if self._text.startswith("[", self._at):
                table = self._header()
            else:
                self._pair(table)
            self._skip_blank()
        return self._lines

    def _header(self) -> KeyPath:
        line = self._line()
        brackets = 2 if self._text.startswith("[[", self._at) else 1
        self._at += brackets
        keys = self._dotted_key()
        self._at += brackets
        path: KeyPath = ()
        for depth, key in enumerate(keys):
            path = (*path, key)
            self._lines.setdefault(path, line)
            last = depth == len(keys) - 1
            if last and brackets == 2:
                self._counts[path] = self._counts.get(path, -1) + 1
            if path in self._counts:
                path = (*path, self._counts[path])
                self._lines.setdefault(path, line)
        return path

    def _pair(self, table: KeyPath) -> None:
        """`a.b = value` in `table`."""
        line = self._line()
        path = table
        for key in self._dotted_key():
            path = (*path, key)
            self._lines.setdefault(path, line)
        self._at += 1  # the equals sign
        self._skip_blank()
        self._value(path)

    def _dotted_key(self) -> list[str]:
        """The words of a key; leaves the walk on what follows its last blank."""
        keys = []
        while True:
            self._skip_blank()
            match = _STRING.match(self._text, self._at) or _BARE_KEY.match(self._text, self._at)
            assert match is not None, "tomllib accepted this text"
            keys.append(_unquote(match[0]))
            self._at = match.end()
            self._skip_blank()
            if not self._text.startswith(".", self._at):
                return keys
            self._at += 1

    def _value(self, path: KeyPath) -> None:
        if self._text.startswith("[", self._at):
            self._array(path)
        elif self._text.startswith("{", self._at):
            self._inline_table(path)
        else:
            pattern = _STRING if self._text[self._at] in "\"'" else _SCALAR
            match = pattern.match(self._text, self._at)
            assert match is not None, "tomllib accepted this text"
            self._at = match.end()

    def _array(self, path: KeyPath) -> None:
        index = 0
        while not self._enter_element("]"):
            self._lines.setdefault((*path, index), self._line())
            self._value((*path, index))
            index += 1

    def _inline_table(self, path: KeyPath) -> None:
        while not self._enter_element("}"):
            self._pair(path)

    def _enter_element(self, closing: str) -> bool:
        """Step past `[`, `{` or a comma; True where `closing` was met and passed."""
        self._skip_blank()
        if self._text[self._at] != closing:
            self._at += 1
            self._skip_blank()
        if self._text[self._at] == closing:
            self._at += 1
            return True
        return False

    def _skip_blank(self) -> None:
        match = _BLANK.match(self._text, self._at)
        assert match is not None, "the pattern matches the empty string"
        self._at = match.end()

    def _line(self) -> int:
        return bisect.bisect_left(self._breaks, self._at) + 1


def _unquote(key: str) -> str:
    """A key as `tomllib` reads it."""
    if key[0] not in "\"'":
        return key
    (name,) = tomllib.loads(f"{key} = 0")
    return name
