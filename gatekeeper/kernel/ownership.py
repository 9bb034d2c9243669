"""Whether somebody other than root could change what runs here as root."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_MODULES: Final = ("__init__.py", "kernel")  # of the package, what is run here


def changeable(package: Path) -> Path | None:
    """The first file or directory that others than root may write; None where there is none.

    Looks at the modules, their compiled forms and all directories above. A directory with the
    sticky bit, as /tmp has it, lets nobody replace what is root's. Unreadable is not ours to judge.
    """
    return next((path for path in _all(package) if _is_changeable(path)), None)


def _all(package: Path) -> Iterator[Path]:
    yield from (package, *package.parents)
    for name in _MODULES:
        path = package / name
        yield path
        if path.is_dir():
            yield from sorted(path.rglob("*"))


def _is_changeable(path: Path) -> bool:
    try:
        status = os.lstat(path)
    except OSError:
        return False
    if status.st_uid != 0:
        return True
    mode = status.st_mode
    if stat.S_ISLNK(mode) or (stat.S_ISDIR(mode) and mode & stat.S_ISVTX):
        return False
    return bool(mode & stat.S_IWOTH or (mode & stat.S_IWGRP and status.st_gid != 0))
