"""A table being read: takes the keys that are known, then tells of those that are not."""

import re
from collections.abc import Callable
from typing import Final, TypeVar

from gatekeeper.config.reading import Array, Item, Place, Problem, Table, Value
from gatekeeper.config.values import nearest, quoted

T = TypeVar("T")
HINTED: Final = 200  # problems; looking for near words takes long, and a wrong file has thousands
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")  # TOML: other keys stand in quotes


class Section:
    """One table of the configuration.

    Readers note what is wrong in the shared list of problems and go on with a stand-in, so that
    the operator sees everything at once; settings made with a stand-in are never handed out.
    """

    def __init__(self, table: Table, title: str, problems: list[Problem]) -> None:
        """`title` is how messages call the table, as `[tls]`; empty for the top level."""
        self.title = title
        self._table = table
        self._problems = problems
        self._known: list[str] = []

    def expect(self, *keys: str) -> None:
        """These keys are known here, taken or not."""
        self._known.extend(keys)

    def has(self, key: str) -> bool:
        """Whether the operator wrote this key."""
        return key in self._table.entries

    def holds_table(self, key: str) -> bool:
        """Whether what the operator wrote for this key is a table."""
        return isinstance(self._table.entries.get(key), Table)

    def wrong(self, key: str) -> bool:
        """Whether a problem was noted where `key` stands, so that its setting is a stand-in."""
        at = self.place(key)
        return any(
            problem.line == at.line and problem.file == at.file for problem in self._problems
        )

    def place(self, key: str = "") -> Place:
        """Where `key` stands; the table itself where it does not."""
        item = self._table.entries.get(key)
        return item.at if item is not None else self._table.at

    def blame(self, key: str, text: str) -> None:
        """A problem at `key`, or at the table where it is absent or empty."""
        self._blame_at(self.place(key), f"{self._called(key)}{text}")

    def blame_value(self, key: str, value: Value, text: str) -> None:
        """A problem at one of the values of `key`."""
        self._blame_at(value.at, f"{self._called(key)}{text}")

    def take(self, key: str, read: Callable[[Value], T], default: T) -> T:
        """The value of `key`, or `default` where it is absent or wrong."""
        item = self._find(key)
        if item is None:
            return default
        if not isinstance(item, Value):
            self.blame(key, f"wants one value, not {_shape(item)}")
            return default
        try:
            return read(item)
        except ValueError as error:
            self.blame_value(key, item, str(error))
            return default

    def require(self, key: str, read: Callable[[Value], T], stand_in: T) -> T:
        """As `take`, where the key must be there."""
        if not self.has(key):
            self._known.append(key)
            self._blame_at(self.place(), f'{self.title} lacks "{key}"')
            return stand_in
        return self.take(key, read, stand_in)

    def each(self, key: str, read: Callable[[Value], T]) -> tuple[T, ...]:
        """The values of `key`, which is one value or a list; none where it is absent."""
        item = self._find(key)
        values = item.items if isinstance(item, Array) else (item,) if item is not None else ()
        found: list[T] = []
        for value in values:
            if not isinstance(value, Value):
                self._blame_at(value.at, f"{self._called(key)}wants values, not {_shape(value)}")
                continue
            try:
                found.append(read(value))
            except ValueError as error:
                self.blame_value(key, value, str(error))
        return tuple(found)

    def require_each(self, key: str, read: Callable[[Value], T]) -> tuple[T, ...]:
        """As `each`, where there must be one at least."""
        if not self.has(key):
            self._known.append(key)
            self._blame_at(self.place(), f'{self.title} lacks "{key}"')
            return ()
        if self._table.entries[key] == Array(self.place(key), ()):
            self.blame(key, "the list is empty")
        return self.each(key, read)

    def elements(self, key: str) -> list[Value]:
        """The single values under `key` with their places; wrong shapes are left to `each`."""
        item = self._table.entries.get(key)
        values = item.items if isinstance(item, Array) else (item,)
        return [value for value in values if isinstance(value, Value)]

    def section(self, key: str) -> "Section":
        """The table `[key]`, empty where it is absent."""
        item = self._find(key)
        if not isinstance(item, Table):
            if item is not None:
                self.blame(key, f"wants a table [{key}], not {_shape(item)}")
            item = Table(self._table.at, {})
        return Section(item, f"[{key}]", self._problems)

    def sections(self, key: str, title: str) -> list["Section"]:
        """The tables `[[key]]`, called `title`."""
        item = self._find(key)
        if item is None:
            return []
        items = item.items if isinstance(item, Array) else ()
        tables = [table for table in items if isinstance(table, Table)]
        if not isinstance(item, Array) or len(tables) < len(items):
            self.blame(key, f"wants tables {title}, not {_shape(item)}")
        return [Section(table, title, self._problems) for table in tables]

    def named(self, key: str) -> dict[str, "Section"]:
        """The tables `[key.NAME]` by name."""
        item = self._find(key)
        entries = item.entries if isinstance(item, Table) else {}
        if item is not None and not isinstance(item, Table):
            self.blame(key, f"wants tables [{key}.NAME], not {_shape(item)}")
        found = {}
        for name, table in entries.items():
            if isinstance(table, Table):
                shown = name if _BARE_KEY.fullmatch(name) else quoted(name)
                found[name] = Section(table, f"[{key}.{shown}]", self._problems)
            else:
                shown = f"[{key}] {name}: wants a table [{key}.NAME], not {_shape(table)}"
                self._blame_at(table.at, shown)
        return found

    def done(self) -> None:
        """Tell of every key that nobody took."""
        for key, item in self._table.entries.items():
            if key not in self._known:
                inside = f" in {self.title}" if self.title else ""
                hint = nearest(key, self._known) if len(self._problems) < HINTED else ""
                self._blame_at(item.at, f"unknown key {quoted(key)}{inside}{hint}")

    def _find(self, key: str) -> Item | None:
        self._known.append(key)
        return self._table.entries.get(key)

    def _called(self, key: str) -> str:
        words = " ".join(word for word in (self.title, key) if word)
        return f"{words}: " if words else ""

    def _blame_at(self, at: Place, text: str) -> None:
        self._problems.append(Problem(at.file, at.line, text))


def _shape(item: Item) -> str:
    match item:
        case Table():
            return "a table"
        case Array():
            return "a list"
        case Value():
            return "one value"
