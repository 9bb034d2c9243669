"""Configuration files into one tree whose every node knows where it was written.

The main file comes first, then `conf.d/*.toml` beside it in name order. Tables merge, everything
else replaces, and `[[listener]]` tables of one name merge too, so that a drop-in file can change
one key of one listener.
"""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gatekeeper.config.locating import KeyPath, locate
from gatekeeper.errors import PermissionMissing

DROP_IN_DIRECTORY: Final = "conf.d"
_NAMED_ARRAY: Final = "listener"  # the one array of tables that merges by its `name`
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
        return f"{self.file}:{self.line}: {self.text}" if self.line else f"{self.file}: {self.text}"


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
    files = (path, *_drop_ins(path.parent / DROP_IN_DIRECTORY))
    tree = Table(Place(path, 1), {})
    for file in files:
        table = _read_file(file, problems)
        if table is not None:
            tree = _merge(tree, table)
    return tree, files


def _drop_ins(directory: Path) -> list[Path]:
    try:
        return sorted(file for file in directory.iterdir() if file.suffix == ".toml")
    except (FileNotFoundError, NotADirectoryError):
        return []
    except PermissionError as error:  # not to be taken for an empty one
        raise PermissionMissing(f"{directory}: may not be read by this user") from error


def _read_file(file: Path, problems: list[Problem]) -> Table | None:
    try:
        octets = file.read_bytes()
    except PermissionError as error:
        raise PermissionMissing(f"{file}: may not be read by this user") from error
    except OSError as error:
        problems.append(Problem(file, 0, f"cannot be read: {error.strerror}"))
        return None
    return parse(octets, file, problems)


def parse(octets: bytes, file: Path, problems: list[Problem]) -> Table | None:
    """The tree of one file's `octets`; None, and a problem, where they are no TOML.

    Two listeners of one name are a problem here: only drop-in files merge.
    """
    try:
        text = octets.decode("utf-8-sig")
        raw = tomllib.loads(text)
        table = _attach(raw, (), _Lines(file, locate(text.replace("\r\n", "\n"))))
    except UnicodeDecodeError as error:
        line = octets.count(b"\n", 0, error.start) + 1
        problems.append(Problem(file, line, "not UTF-8 text"))
    except tomllib.TOMLDecodeError as error:
        problems.append(_syntax_problem(file, str(error), octets.count(b"\n") + 1))
    except RecursionError:
        problems.append(Problem(file, 0, "nested too deeply"))
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
