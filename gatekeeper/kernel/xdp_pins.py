"""What keeps XDP alive without us: maps and links pinned in a directory of a bpffs.

    DIRECTORY/ban4_auth …        a map under its own name
    DIRECTORY/link_3             the link to the interface of index 3; bpffs takes no dots

A link that nobody holds is detached, so removing the directory removes everything. Indexes are of
one network namespace while a bpffs may be seen from several. So a link counts as ours only where
the interface of that index, here, runs that link's program.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from gatekeeper.kernel import libbpf
from gatekeeper.kernel.libbpf import BpfError

PINS: Final = Path("/sys/fs/bpf/gatekeeper")
LINK: Final = "link_"


class PinError(Exception):
    """Nothing can be pinned there; the text says why."""


class Link(NamedTuple):
    """A pinned link; `ifindex` is 0 where its interface is gone."""

    path: Path
    ifindex: int


def prepare(directory: Path) -> None:
    """Make the directory, for us alone. Raises `PinError`."""
    if not on_bpffs(directory):
        raise PinError(f"no bpffs is mounted at {directory.parent} (mount -t bpf bpf /sys/fs/bpf)")
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        if directory.stat().st_uid != os.geteuid():
            raise PinError(f"{directory} belongs to another user")
        directory.chmod(0o700)
    except OSError as error:
        raise PinError(f"{directory}: {error.strerror}") from error


def on_bpffs(directory: Path, mounts: Path = Path("/proc/thread-self/mountinfo")) -> bool:
    """Whether the parent of `directory` is in a bpffs (proc_pid_mountinfo(5))."""
    wanted = directory.parent
    longest, kind = -1, ""
    for line in mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        fields = line.split(" ")
        point = Path(fields[4].encode().decode("unicode_escape"))
        if wanted.is_relative_to(point) and len(point.parts) >= longest:  # the last one is on top
            longest, kind = len(point.parts), fields[fields.index("-") + 1]
    return kind == "bpf"


def link_path(directory: Path, ifindex: int) -> Path:
    """Where the link to that interface is pinned."""
    return directory / f"{LINK}{ifindex}"


def our_links(directory: Path) -> list[Link]:
    """The links pinned there. Raises `PinError` where one is another namespace's, or cannot be
    read: then all that is pinned there may be in use."""
    try:
        return list(_links(directory))
    except BpfError as error:
        raise PinError(f"{directory}: {error}") from error


def _links(directory: Path) -> Iterator[Link]:
    for path in sorted(directory.glob(f"{LINK}*")):
        with libbpf.opened(path) as fd:
            info = libbpf.link_info(fd)
        if not info.is_xdp:
            raise PinError(f"{path} is not what we pin")
        if info.ifindex and not _runs(info):
            raise PinError(f"{path} is in use in another network namespace")
        yield Link(path, info.ifindex)


def _runs(info: libbpf.LinkInfo) -> bool:
    try:
        return info.program_id in libbpf.attached(info.ifindex).program_ids
    except BpfError:  # no such index here
        return False


def repin(fd: int, path: Path) -> None:
    """Pin in place of what is pinned there. Raises `BpfError`, and `OSError`."""
    path.unlink(missing_ok=True)
    libbpf.pin(fd, path)


def detach(path: Path) -> None:
    """Take a pinned link off its interface and remove the pin, which alone would do, but later:
    the kernel gets round to it. Raises `OSError`."""
    with contextlib.suppress(BpfError), libbpf.opened(path) as fd:
        libbpf.link_detach(fd)
    path.unlink(missing_ok=True)


def remove(directory: Path) -> None:
    """Detach, and remove all that is pinned there. Raises `OSError`."""
    if directory.is_dir():
        for path in directory.glob(f"{LINK}*"):
            detach(path)
        for path in directory.iterdir():
            path.unlink()
        directory.rmdir()


def present(directory: Path = PINS) -> bool:
    """Whether something is pinned there. Who may not look, since a bpffs is usually root's alone,
    has pinned nothing either, and could not remove it."""
    try:
        return directory.is_dir()
    except PermissionError:
        return False


def remove_stale(directory: Path = PINS) -> bool:
    """Remove what an earlier start, with XDP switched on, left; whether there was something.

    Raises `PinError` where it cannot be removed or another namespace uses it.
    """
    if not present(directory) or not on_bpffs(directory):
        return False
    our_links(directory)
    try:
        remove(directory)
    except OSError as error:
        raise PinError(f"{directory}: {error.strerror}") from error
    return True
