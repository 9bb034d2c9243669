"""Listening Unix sockets: whose file replaces that of a guard that is gone, and no other's."""

import contextlib
import errno
import socket
from pathlib import Path
from typing import Final

from gatekeeper.errors import PermissionMissing

CONTROL_NAME: Final = "control.sock"  # in the run directory
MODE: Final = 0o660  # the file's mode is the right to connect: owner and group
LONGEST_PATH_OCTETS: Final = 107  # sun_path with its final NUL (unix(7))
_BACKLOG: Final = 16


def listen_at(path: Path) -> socket.socket:
    """A listening socket at `path`; before its mode is set it does not listen.

    Raises `PermissionMissing` where the file cannot be made, and `OSError`, with EADDRINUSE where
    somebody answers there.
    """
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(str(path))
        path.chmod(MODE)
        sock.listen(_BACKLOG)
    except PermissionError as error:
        sock.close()
        raise PermissionMissing(f"{path}: may not be made by this user") from error
    except OSError as error:
        sock.close()
        raise OSError(error.errno, error.strerror, str(path)) from error  # bind(2) names no file
    return sock


def inode_of(path: Path) -> int:
    """Tells the socket's file from a later one. Raises `OSError`."""
    return path.stat().st_ino


def remove(path: Path, inode: int) -> None:
    """Remove our socket's file, but not that of a guard that came after us."""
    with contextlib.suppress(OSError):
        if inode_of(path) == inode:
            path.unlink()


def answers(path: Path) -> bool:
    """Whether somebody listens at `path`; not where that cannot be told."""
    try:
        _probe(path)
    except OSError:
        return False
    return True


def _probe(path: Path) -> None:
    """Raises `OSError`, which says why nobody answers at `path`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        # Where the backlog is full somebody is there.
        with contextlib.suppress(BlockingIOError):
            probe.connect(str(path))


def _remove_stale(path: Path) -> None:
    """Remove the socket file at `path` unless somebody answers behind it."""
    try:
        _probe(path)
    except ConnectionRefusedError:  # also where the file is no socket at all
        if path.is_socket():
            path.unlink()
        return
    except (FileNotFoundError, PermissionError):
        return
    raise OSError(errno.EADDRINUSE, "another guard answers on this socket", str(path))
