"""Whether a hooks file may be trusted: who could have written it.

What is in a hooks file runs inside the guard, beside every credential. So nobody may be able to
write it who could not change the configuration anyway. Not the guard's own user either, where the
guard has it only since it dropped root's rights: whoever takes the guard over must find no place
in which to leave code for its next start.
"""

import os
import stat
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH


def distrust(path: Path, held: os.stat_result, owners: Collection[int]) -> str:
    """Why the file at `path`, whose status is `held`, is not to be trusted; empty where it is.

    `owners` are the uids that may own it and the directories it lies in. Raises `OSError`.
    """
    if not stat.S_ISREG(held.st_mode):
        return "is no regular file"
    if held.st_uid not in owners:
        return f"belongs to uid {held.st_uid}; it must belong to {_named(owners)}: chown root"
    if held.st_mode & _OTHERS:
        return f"may be written by others (mode {stat.S_IMODE(held.st_mode):04o}): chmod go-w"
    for directory, status in _directories(path):
        sticky = bool(status.st_mode & stat.S_ISVTX)  # nobody else's files can be replaced there
        if status.st_mode & _OTHERS and not sticky:
            return f"lies in {directory}, which others may write: chmod go-w {directory}"
        if status.st_uid not in owners and not sticky:
            return f"lies in {directory}, which belongs to uid {status.st_uid}"
    return ""


def _directories(path: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Each directory on the way to the file, links followed, and to the link that names it."""
    for directory in dict.fromkeys((*path.absolute().parents, *path.resolve().parents)):
        yield directory, directory.stat()


def _named(owners: Collection[int]) -> str:
    return " or ".join("root" if uid == 0 else f"uid {uid}" for uid in sorted(owners))
