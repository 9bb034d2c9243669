"""Where the configuration names a file that cannot be used.

Whoever looks at such a file knows nothing of the configuration's lines. So the places are looked up
when there is something to tell: the files are read once more, and each line of a message that names
one of their files gets its place.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gatekeeper.config import values
from gatekeeper.config.reading import Array, Item, Place, Table, Value, read
from gatekeeper.errors import GatekeeperError

# Keys of single files and directories, in any table.
_KEYS: Final = frozenset(
    {
        "certificate",
        "private_key",
        "tls_ca",
        "token_file",
        "exec",
        "webhook_authorization",
        "webhook_ca",
        "hooks",
        "files",
        "root",
        "run_dir",
        "state_dir",
    }
)


def placed(message: str, path: Path) -> str:
    """`message` about the configuration at `path`, where each line that names a file of it ends
    with where it stands. Never raises: what cannot be looked up stays as it is."""
    try:
        tree, files = read(path, [])
    except GatekeeperError:
        return message
    places: dict[str, list[Place]] = {}
    for name, place in _named(tree):
        places.setdefault(name, []).append(place)
    return "\n".join(_placed(line, places, files) for line in message.splitlines())


def _placed(line: str, places: dict[str, list[Place]], files: tuple[Path, ...]) -> str:
    if any(line.startswith(f"{file}:") for file in files):
        return line
    for name in sorted(places, key=len, reverse=True):  # of a file before its directory
        if any(f"{name}{end}" in f"{line}\n" for end in (":", " ", "\n")):
            where = dict.fromkeys(f"{at.file}:{at.line}" for at in places[name])
            return f"{line} (named in {', '.join(where)})"
    return line


def _named(item: Item, key: str = "") -> Iterator[tuple[str, Place]]:
    """Every file below `item`, as messages have it."""
    match item:
        case Table(entries=entries):
            for name, entry in entries.items():
                yield from _named(entry, name)
        case Array(items=items):
            for each in items:
                yield from _named(each, key)
        case Value(at=at) if key in _KEYS:
            try:
                yield str(values.path(item)), at
            except ValueError:
                return
