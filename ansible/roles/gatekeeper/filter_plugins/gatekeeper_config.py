"""Filters of the role: settings as TOML, and what a change of them takes.

They run on the controller, on any Python that Ansible has. Wrong values are not their business:
`gatekeeper check` looks at the text they make before it replaces the old.
"""

import json
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

_LISTEN: Final = re.compile(r"^ListenStream=(\S+)$", re.MULTILINE)
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
# What a reload does not carry out, beside the addresses of listeners and of transparent backends.
AT_START: Final = {
    "": ("state_dir", "run_dir", "user", "enforce", "store"),
    "policy": (
        "auth_half_life",
        "mx_half_life",
        "repeat_window",
        "familiar_guesses_hour",
        "recipients_per_address_day",
    ),
    "limits": ("relay_idle",),
}


def to_toml(settings: Mapping[str, Any]) -> str:
    """`settings` as the text of a TOML file: plain keys first, then a table for each mapping.

    Raises `TypeError` for what TOML has no word for, as null.
    """
    return "\n".join(_lines(settings)) + "\n"


def files_of(settings: Mapping[str, Any], conf_d: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of each file, by its path from the configuration's folder on."""
    drop_ins = {f"conf.d/{name}.toml": each for name, each in conf_d.items() if each}
    return {"gatekeeper.toml": settings, **drop_ins}


def elsewhere(listeners: Sequence[Mapping[str, Any]], units: str) -> list[Mapping[str, Any]]:
    """Those of `listeners` whose socket unit in the folder `units` names other addresses."""
    found = []
    for listener in listeners:
        unit = Path(units) / f"gatekeeper-{listener['name']}.socket"
        if unit.is_file() and sorted(_LISTEN.findall(unit.read_text())) != sorted(listener["bind"]):
            found.append(listener)
    return found


def tls_of(certificates: Sequence[Mapping[str, Any]], directory: str) -> dict[str, Any]:
    """`[tls]` of certificates that lie in `directory`, each in a folder of its name.

    The first is for clients that name no server, or none of the others'.
    """
    first, *others = certificates
    return {
        **_pair(f"{directory}/{first['name']}"),
        "sni": [
            {"names": each.get("names") or [each["name"]], **_pair(f"{directory}/{each['name']}")}
            for each in others
        ],
    }


def handlers_of(old: str, new: str) -> list[str]:
    """The handlers that carry out the change from the file `old` to `new`: a reload where it does.

    An `old` that is no TOML was never in force, so that everything starts anew.
    """
    after = tomllib.loads(new)
    try:
        before = tomllib.loads(old)
    except tomllib.TOMLDecodeError:
        return ["Restart the kernel process", "Restart the guard"]
    kernel = _kernels_part(before) != _kernels_part(after)
    guard = _guards_part(before) != _guards_part(after)
    return [
        *(["Restart the kernel process"] if kernel else []),
        "Restart the guard" if guard else "Reload the guard",
    ]


def _pair(folder: str) -> dict[str, str]:
    return {"certificate": f"{folder}/fullchain.pem", "private_key": f"{folder}/privkey.pem"}


def _lines(settings: Mapping[str, Any]) -> Iterator[str]:
    tables: list[tuple[str, Mapping[str, Any]]] = []
    for key, value in settings.items():
        if isinstance(value, Mapping):
            tables += _tables(_key(key), value)
        elif _is_array_of_tables(value):
            tables += [(f"[{_key(key)}]", each) for each in value]
        else:
            yield f"{_key(key)} = {_value(value)}"
    for name, table in tables:
        yield f"\n[{name}]"
        yield from (f"{_key(key)} = {_value(value)}" for key, value in table.items())


def _tables(name: str, table: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """`[backend.mx]` rather than an inline table in `[backend]`; deeper ones stay inline."""
    inner = {key: value for key, value in table.items() if isinstance(value, Mapping)}
    if own := {key: value for key, value in table.items() if key not in inner}:
        yield name, own
    yield from ((f"{name}.{_key(key)}", value) for key, value in inner.items())


def _is_array_of_tables(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(it, Mapping) for it in value)


def _key(key: object) -> str:
    text = str(key)
    return text if _BARE_KEY.fullmatch(text) else _string(text)


def _value(value: object) -> str:
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, bool):  # before int, which it is
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items()) + " }"
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return "[" + ", ".join(_value(each) for each in value) + "]"
    raise TypeError(f"TOML has no word for {value!r}")


def _string(text: str) -> str:
    # JSON's escapes are TOML's, but for DEL, which JSON leaves as it is.
    return json.dumps(str(text), ensure_ascii=False).replace("\x7f", "\\u007f")


def _guards_part(settings: Mapping[str, Any]) -> list[object]:
    tables = {name: settings if not name else settings.get(name) for name in AT_START}
    return [
        *(_get(tables[name], key) for name, keys in AT_START.items() for key in keys),
        {str(it.get("name")): it.get("bind") for it in _mappings(settings.get("listener"))},
        [
            it.get("address")
            for it in _mappings(settings.get("backend"))
            if it.get("announce") == "transparent"
        ],
    ]


def _kernels_part(settings: Mapping[str, Any]) -> list[object]:
    """The kernel process knows ports from its start, and whom it bans for nobody: who has left
    `allow` could not be banned by it, and so on."""
    listeners = _mappings(settings.get("listener"))
    return [
        settings.get("allow"),
        settings.get("enforce"),
        [(it.get("protocol"), it.get("bind"), it.get("proxy_protocol_from")) for it in listeners],
        [it.get("address") for it in _mappings(settings.get("backend"))],
    ]


def _get(table: object, key: str) -> object:
    return table.get(key) if isinstance(table, Mapping) else None


def _mappings(value: object) -> list[Mapping[str, Any]]:
    """The tables of a list or a table, none where it is neither: `check` says what is wrong."""
    found = value.values() if isinstance(value, Mapping) else value
    return [it for it in found if isinstance(it, Mapping)] if isinstance(found, Iterable) else []


class FilterModule:
    """How Ansible finds them."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name and function of each."""
        return {
            "gatekeeper_elsewhere": elsewhere,
            "gatekeeper_files": files_of,
            "gatekeeper_handlers": handlers_of,
            "gatekeeper_tls": tls_of,
            "gatekeeper_toml": to_toml,
        }
