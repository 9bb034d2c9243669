"""The tree of files about domains, read as the guard reads it and as the guard's user."""

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from gatekeeper.check.as_user import as_user
from gatekeeper.check.finding import Finding, warning
from gatekeeper.domains_tree import Tree
from gatekeeper.domains_tree.lists import KINDS
from gatekeeper.settings import Settings

MAX_STRAYS: Final = 100  # places that are named for being none, in the whole tree
MANY_FILES: Final = 100_000  # in one directory: each is an inode of the disk and its backups
_PARTS: Final = {
    "": frozenset({"users", "checks", "whitelisted", "blacklisted"}),
    "users": frozenset({"valid", "invalid"}),
} | {
    part: frozenset(kind.path.partition("/")[2] for kind in KINDS if kind.path.startswith(part))
    for part in ("whitelisted", "blacklisted")
}


def check_domains(settings: Settings) -> Iterator[Finding]:
    """What is of no use in the tree, each with its path and why. The guard serves all the same: a
    part that cannot be read says nothing, or what it last held."""
    root = settings.domains.root
    if root is None:
        return
    with as_user(settings.user):
        tree = Tree(root)
        tree.look(at_once=True)
        found = [(trouble.path, trouble.why) for trouble in tree.troubles]
        found += islice(_strays(root), MAX_STRAYS)
    for path, why in found:
        yield warning(_printable(path), _printable(why))
    files, path = tree.largest_directory
    if files > MANY_FILES:
        text = f"{files} files are read, but one file with a name a line says the same"
        yield warning(_printable(path), text)


def _strays(root: Path) -> Iterator[tuple[str, str]]:
    """Places below domains that are none of the layout, and links that lead nowhere."""
    for domain in _entries(root):
        for part, expected in _PARTS.items():
            for place in _entries(domain / part):
                if place.name not in expected:
                    yield str(place), f"is none of {', '.join(sorted(expected))}"
                elif place.is_symlink() and not os.path.lexists(os.path.realpath(place)):
                    yield str(place), "a link that leads nowhere"


def _entries(directory: Path) -> list[Path]:
    """The first entries of a directory; none where it cannot be read, which the look has told."""
    try:
        with os.scandir(directory) as entries:
            names = sorted(entry.name for entry in islice(entries, 20_000))
    except OSError:
        return []
    return [directory / name for name in names if not name.startswith(".")]


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
