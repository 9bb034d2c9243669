"""The settings in force as a configuration file: what `gatekeeper config show` prints.

What is shown can be read again and means the same, but for the keys of lists and the path of a
webhook, which are hidden.
"""

import dataclasses
import json
import re
from collections.abc import Iterable, Iterator
from enum import Enum
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from gatekeeper.config.durations import format_duration, parse_duration
from gatekeeper.prefix import Prefix
from gatekeeper.secret import Secret
from gatekeeper.settings import (
    AccountSettings,
    BackendSettings,
    CertificatePair,
    Endpoint,
    Settings,
    SniSettings,
    StoreSettings,
    TlsSettings,
)

HIDDEN: Final = "hidden"  # in place of a secret: letters, so that what is shown can be read again
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")

Pair = tuple[str, object]
_OF_THEIR_OWN: Final = frozenset({"tls", "store"})  # tables whose keys are no fields of a record


@dataclasses.dataclass(frozen=True, slots=True)
class Block:
    """A table: its heading, empty for the top level, its keys and those of the defaults."""

    heading: str
    pairs: tuple[Pair, ...]
    usual: tuple[Pair, ...] = ()

    def lines(self, *, changed: bool) -> Iterator[str]:
        """The table; only what is `changed`, nothing where that is nothing."""
        shown = [pair for pair in self.pairs if not changed or pair not in self.usual]
        if not shown and (changed or not self.pairs):
            return
        if self.heading:
            yield ""
            yield self.heading
        for name, value in shown:
            yield f"{_key(name.removesuffix('_s'))} = {_written(name, value)}"


def show(settings: Settings, *, changed: bool = False) -> str:
    """TOML; with `changed` only what is not the default."""
    lines = [line for block in _blocks(settings) for line in block.lines(changed=changed)]
    return "".join(f"{line}\n" for line in lines).lstrip("\n")


def _blocks(settings: Settings) -> Iterator[Block]:
    usual = Settings("", TlsSettings(), (), {})
    yield Block("", tuple(_top(settings)), tuple(_top(usual)))
    yield Block("[tls]", tuple(_pairs_of(settings.tls.pairs)))
    for sni in settings.tls.sni:
        yield Block("[[tls.sni]]", tuple(_sni(sni)))
    for listener in settings.listeners:
        yield _of_record("[[listener]]", listener)
    for name, backend in settings.backends.items():
        yield _of_record(f"[backend.{_key(name)}]", backend, BackendSettings("", ()))
    for field in dataclasses.fields(settings):
        record = getattr(settings, field.name)
        if dataclasses.is_dataclass(record) and field.name not in _OF_THEIR_OWN:
            yield _of_record(f"[{field.name}]", record, getattr(usual, field.name))
    yield Block("[store]", (_store(settings.store),), (_store(_usual_store(settings)),))
    for zone in settings.dnsbl:
        yield _of_record("[[dnsbl]]", zone)
    yield Block("[rules]", tuple((one.value, how) for one, how in settings.rules.items()))
    for name, account in settings.accounts.items():
        yield _of_record(f"[account.{_key(name)}]", account, AccountSettings())


def _of_record(heading: str, record: object, usual: object = None) -> Block:
    return Block(heading, tuple(_fields(record)), tuple(_fields(usual)) if usual else ())


def _fields(record: object) -> Iterator[Pair]:
    """A record's keys and values; those that are not set have no key. A backend's `name` is in the
    heading of its table."""
    assert dataclasses.is_dataclass(record), "settings are records"
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        in_heading = isinstance(record, BackendSettings) and field.name == "name"
        absent = value is None or (isinstance(value, str) and not value)
        if not (absent or in_heading):
            yield field.name, value


def _top(settings: Settings) -> Iterator[Pair]:
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        tables = dataclasses.is_dataclass(value) or isinstance(value, dict)
        if not tables and field.name not in {"listeners", "dnsbl", "files"}:
            yield field.name, value


def _pairs_of(pairs: tuple[CertificatePair, ...]) -> Iterator[Pair]:
    if pairs:
        yield "certificate", tuple(pair.certificate for pair in pairs)
        yield "private_key", tuple(pair.private_key for pair in pairs)


def _sni(sni: SniSettings) -> Iterator[Pair]:
    yield "names", sni.names
    yield from _pairs_of(sni.pairs)


def _usual_store(settings: Settings) -> StoreSettings:
    from gatekeeper.config.building import DATABASE_NAME

    return StoreSettings(settings.state_dir / DATABASE_NAME)


def _store(store: StoreSettings) -> Pair:
    return "url", "memory:" if store.path is None else f"sqlite://{store.path}"


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else _quoted(name)


def _quoted(text: str) -> str:
    """A string of TOML: one of JSON, but that DEL is to be escaped, too."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _figure(name: str, value: float) -> str:
    """A number, or a duration where its name says so, that is the same when it is read again."""
    if name.endswith("_s") and parse_duration(shown := format_duration(value)) == value:
        return f'"{shown}"'
    return str(int(value)) if value == int(value) else repr(value)


def _written(name: str, value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return _figure(name, value)
        case Secret() if name == "webhook":
            return f'"https://{urlsplit(value.declassify().decode()).netloc}/{HIDDEN}"'
        case Secret():
            return f'"{HIDDEN}"'
        case Enum():
            return json.dumps(value.value)
        case Prefix() | Endpoint() | Path() | str():
            prefix = "unix:" if name == "bind" and isinstance(value, Path) else ""
            return _quoted(f"{prefix}{value}")
        case Iterable():
            return f"[{', '.join(_written('', one) for one in value)}]"
        case _:
            raise AssertionError(f"no setting is a {type(value).__name__}")
