"""Filters of the role: settings as TOML, and what a change of them takes.

They run on the controller, on any Python that Ansible has. Wrong values are not their business:
`gatekeeper check` looks at the text they make before it replaces the old.
"""

import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

_LISTEN: Final = re.compile(r"^ListenStream=(\S+)$", re.MULTILINE)
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
# What a reload does not carry out; of listeners the addresses, of backends the transparent ones.
_RESTART_KEYS: Final = ("state_dir", "run_dir", "user", "enforce", "store")


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


def takes_restart(old: str, new: str) -> bool:
    """Whether going from the file `old` to `new` needs the guard started anew, or a reload will do.

    An `old` that is no TOML was never in force, so that it does.
    """
    try:
        before = tomllib.loads(old)
    except tomllib.TOMLDecodeError:
        return True
    return _restart_part(before) != _restart_part(tomllib.loads(new))


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


def _restart_part(settings: Mapping[str, Any]) -> dict[str, Any]:
    part: dict[str, Any] = {key: settings.get(key) for key in _RESTART_KEYS}
    part["bind"] = {it.get("name"): it.get("bind") for it in settings.get("listener", [])}
    part["transparent"] = {
        name: backend.get("address")
        for name, backend in settings.get("backend", {}).items()
        if backend.get("announce") == "transparent"
    }
    return part


class FilterModule:
    """How Ansible finds them."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name and function of each."""
        return {
            "gatekeeper_elsewhere": elsewhere,
            "gatekeeper_files": files_of,
            "gatekeeper_takes_restart": takes_restart,
            "gatekeeper_tls": tls_of,
            "gatekeeper_toml": to_toml,
        }
