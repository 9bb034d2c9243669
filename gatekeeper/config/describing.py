"""The reference of all keys: the words of `reference.md`, kinds and defaults of the code.

Theory of operation. `reference.md` beside this file is `docs/config.md` without what the code knows
better. A row of a table there is `| key | meaning |`, and the record that the section stands for
gives its kind and its default; where those are not as simple as the record, the row has all four
cells and is taken as it is. So a default cannot be told that is not the default.
"""

import dataclasses
import re
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from importlib.resources import files
from pathlib import Path
from typing import Final

from gatekeeper import settings
from gatekeeper.config.durations import format_duration
from gatekeeper.config.values import nearest
from gatekeeper.errors import ConfigError
from gatekeeper.policy.rules import OBSERVED
from gatekeeper.prefix import Prefix

TOP: Final = "Top level"
# What a heading of the reference stands for. Sections of other shapes have rows of four cells.
RECORDS: Final[dict[str, type]] = {
    TOP: settings.Settings,
    "[tls]": settings.TlsSettings,
    "[[tls.sni]]": settings.SniSettings,
    "[[listener]]": settings.ListenerSettings,
    "[backend.NAME]": settings.BackendSettings,
    "[enforce]": settings.EnforceSettings,
    "[store]": settings.StoreSettings,
    "[dns]": settings.DnsSettings,
    "[[dnsbl]]": settings.DnsblSettings,
    "[domains]": settings.DomainsSettings,
    "[http]": settings.HttpSettings,
    "[hooks]": settings.HookSettings,
    "[notify]": settings.NotifySettings,
    "[policy]": settings.PolicySettings,
    "[account.NAME]": settings.AccountSettings,
    "[limits]": settings.LimitSettings,
}
_HEADING: Final = re.compile(r"## `?(.+?)`?")
_ROW: Final = re.compile(r"\| `([\w-]+)` \| (.*) \|")
_OBSERVED: Final = frozenset(rule.value for rule in OBSERVED)
RULES: Final = "[rules]"  # its keys are no fields of a record, and its table has no kinds
_CELL: Final = re.compile(r" *\| *")
_SHORT_HEAD: Final = "| key | meaning |\n|---|---|\n"
_LONG_HEAD: Final = "| key | kind | default | meaning |\n|---|---|---|---|\n"
_LINK: Final = re.compile(r"\[([^\]]+)\]\([^)]+\)")


@dataclass(frozen=True, slots=True)
class Key:
    """One key of the configuration, in Markdown. `default` is empty where it must be written."""

    section: str
    name: str
    kind: str
    default: str
    meaning: str

    @property
    def row(self) -> str:
        """Its line in the table; rules have one kind and one default, told above theirs."""
        if self.section == RULES:
            return f"| `{self.name}` | {self.meaning} |"
        default = f"{self.default} " if self.default else ""
        return f"| `{self.name}` | {self.kind} | {default}| {self.meaning} |"

    @property
    def dotted(self) -> str:
        """`policy.ban_first`, as it is asked for."""
        section = self.section.strip("[]").removesuffix(".NAME")
        return self.name if self.section == TOP else f"{section}.{self.name}"


def reference() -> str:
    """The whole reference in Markdown: `docs/config.md`."""
    return "".join(f"{line if isinstance(line, str) else line.row}\n" for line in _lines())


def keys() -> list[Key]:
    """All keys, in the order of the reference."""
    return [line for line in _lines() if isinstance(line, Key)]


def find(name: str) -> list[Key]:
    """The keys called `name`, or `SECTION.name`. Raises `ConfigError` where there is none."""
    known = keys()
    wanted = name.replace("[", "").replace("]", "")
    found = [key for key in known if wanted in {key.dotted, key.name}]
    if not found:
        words = {word for key in known for word in (key.dotted, key.name)}
        raise ConfigError(f"no such key: {name}{nearest(name, sorted(words))}")
    return found


def in_plain_words(key: Key) -> str:
    """A key for a terminal."""
    where = "" if key.section == TOP else f"{key.section} "
    default = f", default {_plain(key.default)}" if key.default else ", must be written"
    return f"{where}{key.name}\n    {_plain(key.kind)}{default}\n    {_plain(key.meaning)}"


def _plain(text: str) -> str:
    return _LINK.sub(r"\1", text).replace("`", "")


def _lines() -> Iterator[str | Key]:
    section = ""
    text = files("gatekeeper.config").joinpath("reference.md").read_text(encoding="utf-8")
    for line in text.replace(_SHORT_HEAD, _LONG_HEAD).splitlines():
        if heading := _HEADING.fullmatch(line):
            section = heading[1]
        row = _ROW.fullmatch(line)
        if row and section in RECORDS:
            yield _key(section, row[1], _CELL.split(row[2]))
        elif row and section == RULES:
            yield _rule(row[1], row[2])
        else:
            yield line


def _key(section: str, name: str, cells: list[str]) -> Key:
    if len(cells) == 1:
        field, kind = field_of(RECORDS[section], name)
        return Key(section, name, kind_of(field.name, kind), _default_of(field), cells[0])
    kind_text, default, meaning = cells
    return Key(section, name, kind_text, default, meaning)


def _rule(name: str, meaning: str) -> Key:
    default = f"`{settings.Treatment.OBSERVE.value}`" if name in _OBSERVED else "as `mode` says"
    return Key(RULES, name, kind_of(name, settings.Treatment), default, meaning)


def field_of(record: type, name: str) -> tuple["dataclasses.Field[object]", object]:
    """The field that a key sets, and its type; a duration's ends in `_s`. Raises `KeyError`."""
    fields = {field.name: field for field in dataclasses.fields(record)}
    field = fields[name] if name in fields else fields[f"{name}_s"]
    return field, typing.get_type_hints(record)[field.name]


def kind_of(name: str, hint: object) -> str:
    """What is to be written for a field of this type."""
    if isinstance(hint, types.UnionType):
        hint = next(one for one in typing.get_args(hint) if one is not type(None))
    if typing.get_origin(hint) is tuple:
        return f"list of {_plural(typing.get_args(hint)[0])}"
    if hint is float and name.endswith("_s"):
        return "duration"
    if isinstance(hint, type) and issubclass(hint, Enum):
        *words, last = (f"`{member.value}`" for member in hint)
        return f"{', '.join(words)} or {last}"
    return _KINDS[hint]


_KINDS: Final[dict[object, str]] = {
    bool: "`true` or `false`",
    float: "number",
    int: "number",
    Path: "path",
    Prefix: "prefix",
}


def _plural(hint: object) -> str:
    kind = _KINDS[hint]
    return f"{kind}es" if kind.endswith("x") else f"{kind}s"


def _default_of(field: "dataclasses.Field[object]") -> str:
    value = field.default
    match value:
        case dataclasses.MISSING:
            return ""
        case None:
            return "none"
        case ():
            return "`[]`"
        case bool():
            return f"`{str(value).lower()}`"
        case Enum():
            return f"`{value.value}`"
        case float() if field.name.endswith("_s"):
            return f"`{format_duration(value)}`"
        case float() | int():
            return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"
        case _:
            return f"`{value}`"
