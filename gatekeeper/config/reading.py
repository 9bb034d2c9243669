"""Configuration files into one tree whose every node knows where it was written.

The main file comes first, then `conf.d/*.toml` beside it in name order. Tables merge, everything
else replaces, and `[[listener]]` tables of one name merge too, so that a drop-in file can change
one key of one listener.
"""

import re
import stat
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gatekeeper.config.locating import KeyPath, locate
from gatekeeper.errors import PermissionMissing

DROP_IN_DIRECTORY: Final = "conf.d"
_NAMED_ARRAY: Final = "listener"  # the one array of tables that merges by its `name`
LONGEST_TEXT: Final = 300
LARGEST_OCTETS: Final = 1 << 20  # a guard that reads it again reads nothing else meanwhile
_PIPES: Final = (Path("/dev/stdin"), Path("/dev/fd"), Path("/proc/self/fd"))  # end; others wait
_LONG_NUMBER: Final = re.compile(rb"[0-9_]{4300}")  # CPython's bound for decimal digits
_DEEP_KEY: Final = re.compile(r"^[ \t\[]*[\w-]*(?:[ \t]*\.[ \t]*[\w-]*){40}", re.MULTILINE)
_LINE_IN_ERROR: Final = re.compile(r" \(at line (\d+), column \d+\)$")


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file; line 0 speaks of the whole file."""

    file: Path
    line: int


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing the operator has to change, and where."""

    file: Path
    line: int  # 0: the whole file
    text: str

    def __str__(self) -> str:
        """One line, whatever the file holds, and a short one."""
        where = f"{self.file}:{self.line}" if self.line else str(self.file)
        text = self.text if len(self.text) <= LONGEST_TEXT else f"{self.text[:LONGEST_TEXT]}..."
        return "".join(c if c.isprintable() else "?" for c in f"{where}: {text}")


@dataclass(frozen=True, slots=True)
class Value:
    """A string, number, boolean or date."""

    at: Place
    value: object


@dataclass(frozen=True, slots=True)
class Array:
    """A list, or `[[tables]]`."""

    at: Place
    items: tuple["Item", ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table, inline or not."""

    at: Place
    entries: dict[str, "Item"]


Item = Value | Array | Table


def read(path: Path, problems: list[Problem]) -> tuple[Table, tuple[Path, ...]]:
    """The merged tree of `path` and its drop-in files, and the files read, in order.

    Files that cannot be read or are no TOML are left out and told in `problems`.
    Raises `PermissionMissing` where a file may not be read.
    """
    files = (path, *_drop_ins(path.parent / DROP_IN_DIRECTORY, problems))
    tree = Table(Place(path, 1), {})
    for file in files:
        table = _read_file(file, problems)
        if table is not None:
            tree = _merge(tree, table)
    return tree, files


def _drop_ins(directory: Path, problems: list[Problem]) -> list[Path]:
    try:
        return sorted(file for file in directory.iterdir() if file.suffix == ".toml")
    except PermissionError as error:  # not to be taken for an empty one
        raise PermissionMissing(f"{directory}: may not be read by this user") from error
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not directory.is_symlink():
            return []
        problems.append(Problem(directory, 0, f"cannot be read: {error.strerror}"))
        return []


def _read_file(file: Path, problems: list[Problem]) -> Table | None:
    try:
        unfit = _unfit(file)
        octets = b"" if unfit else file.read_bytes()
    except PermissionError as error:
        raise PermissionMissing(f"{file}: may not be read by this user") from error
    except OSError as error:
        unfit = f"cannot be read: {error.strerror}"
    if unfit:
        problems.append(Problem(file, 0, unfit))
        return None
    return parse(octets, file, problems)


def _unfit(file: Path) -> str:
    """Why `file` is not read: what never ends, or takes long, would hold up the sessions of a
    guard that reads it again. Raises `OSError`."""
    status = file.stat()
    endless = not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode))
    if endless and not any(file.is_relative_to(place) for place in _PIPES):
        return "is no regular file"
    if status.st_size > LARGEST_OCTETS:
        return f"has {status.st_size} octets, and {LARGEST_OCTETS} at most are read"
    return ""


def parse(octets: bytes, file: Path, problems: list[Problem]) -> Table | None:
    """The tree of one file's `octets`; None, and a problem, where they are no TOML.

    Two listeners of one name are a problem here: only drop-in files merge.
    """
    try:
        text = octets.decode("utf-8-sig")
        if _DEEP_KEY.search(text):  # each part costs as much as all before it
            raise RecursionError
        raw = tomllib.loads(text)
        table = _attach(raw, (), _Lines(file, locate(text.replace("\r\n", "\n"))))
    except UnicodeDecodeError as error:
        line = octets.count(b"\n", 0, error.start) + 1
        problems.append(Problem(file, line, "not UTF-8 text"))
    except tomllib.TOMLDecodeError as error:
        problems.append(_syntax_problem(file, str(error), octets.count(b"\n") + 1))
    except RecursionError:
        problems.append(Problem(file, 0, "nested too deeply"))
    except ValueError:  # of `int`, and without a line
        found = _LONG_NUMBER.search(octets)
        line = octets.count(b"\n", 0, found.start()) + 1 if found else 0
        problems.append(Problem(file, line, "a number of more digits than anything counts"))
    else:
        assert isinstance(table, Table)
        _refuse_doubles(table, problems)
        return table
    return None


def _syntax_problem(file: Path, message: str, last_line: int) -> Problem:
    match = _LINE_IN_ERROR.search(message)
    line = int(match[1]) if match else last_line  # "at end of document"
    text = message[: match.start()] if match else message
    return Problem(file, line, f"not TOML: {text[:1].lower()}{text[1:]}")


@dataclass(frozen=True, slots=True)
class _Lines:
    file: Path
    lines: dict[KeyPath, int]

    def place(self, path: KeyPath) -> Place:
        return Place(self.file, self.lines.get(path, 0))


def _attach(raw: object, path: KeyPath, lines: _Lines) -> Item:
    """`raw` as `tomllib` gave it, with its places."""
    at = lines.place(path)
    match raw:
        case dict():
            return Table(at, {key: _attach(raw[key], (*path, key), lines) for key in raw})
        case list():
            items = (_attach(item, (*path, index), lines) for index, item in enumerate(raw))
            return Array(at, tuple(items))
        case _:
            return Value(at, raw)


def _refuse_doubles(table: Table, problems: list[Problem]) -> None:
    seen: dict[str, int] = {}
    for listener in _listeners(table):
        name = name_of(listener)
        if name in seen:
            text = f'a second [[listener]] named "{name}": the first is in line {seen[name]}'
            problems.append(Problem(listener.at.file, listener.at.line, text))
        elif name:
            seen[name] = listener.at.line


def _merge(base: Table, over: Table) -> Table:
    entries = dict(base.entries)
    for key, item in over.entries.items():
        below = entries.get(key)
        match below, item:
            case Table(), Table():
                entries[key] = _merge(below, item)
            case Array(), Array() if key == _NAMED_ARRAY:
                entries[key] = _merge_named(below, item)
            case _:
                entries[key] = item
    return Table(base.at if base.entries else over.at, entries)


def _merge_named(base: Array, over: Array) -> Array:
    items = list(base.items)
    names = [name_of(item) for item in items]
    for item in over.items:
        name = name_of(item)
        if name and name in names:
            index = names.index(name)
            below = items[index]
            assert isinstance(below, Table)
            assert isinstance(item, Table)
            items[index] = _merge(below, item)
        else:
            items.append(item)
    return Array(base.at, tuple(items))


def _listeners(table: Table) -> list[Table]:
    array = table.entries.get(_NAMED_ARRAY)
    items = array.items if isinstance(array, Array) else ()
    return [item for item in items if isinstance(item, Table)]


def name_of(item: Item) -> str:
    """A table's `name`, empty where it has none."""
    if isinstance(item, Table):
        match item.entries.get("name"):
            case Value(value=str(name)):
                return name
    return ""
