"""Small files that the configuration names, read so that nobody waits.

A running guard reads them again at SIGHUP, in the thread that holds every session: a pipe that
nobody writes to would hold up all of them, and a device that never ends would fill the memory.
"""

import errno
import os
import stat
from pathlib import Path
from typing import Final

LARGEST_OCTETS: Final = 4 << 20  # bundles of all authorities have a quarter of a MiB


def read_plain(path: Path) -> bytes:
    """The octets of a regular file.

    Raises `OSError`, whose `strerror` is for people: also for what is no regular file, and for one
    of more than `LARGEST_OCTETS`.
    """
    with open(path, "rb", opener=_open_at_once) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "is no regular file", str(path))
        octets = file.read(LARGEST_OCTETS + 1)
    if len(octets) > LARGEST_OCTETS:
        raise OSError(errno.EFBIG, f"has more than {LARGEST_OCTETS >> 20} MiB", str(path))
    return octets


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)
