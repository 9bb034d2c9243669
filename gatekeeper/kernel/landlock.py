"""What the privileged process may see and change of the file system (landlock(7)).

It is root by name, so files of root's are open to it whatever capabilities it lacks: a filter of
system calls sees that a file is to be written and not which. Landlock sees paths. Where the kernel
has none, `filtering`, which forbids writing altogether, has to do.
"""

import ctypes
import os
import struct
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on all machines
_VERSION: Final = 1
_PATH_BENEATH: Final = 1

# LANDLOCK_ACCESS_FS_*, <linux/landlock.h>
_READ_FILE: Final = 1 << 2
_READ_DIRECTORY: Final = 1 << 3
_REMOVE_DIRECTORY: Final = 1 << 4
_REMOVE_FILE: Final = 1 << 5
_MAKE_DIRECTORY: Final = 1 << 7
_MAKE_REGULAR: Final = 1 << 8
READ: Final = _READ_FILE | _READ_DIRECTORY
# What is done in a bpffs: a directory and pins, made and removed.
PIN: Final = READ | _REMOVE_DIRECTORY | _REMOVE_FILE | _MAKE_DIRECTORY | _MAKE_REGULAR
_OF_FILES: Final = _READ_FILE
# How many rights each version of the interface knows: to none of them anybody has a right unless a
# rule gives it. Later versions added other things than rights to files.
_RIGHTS: Final = {1: 13, 2: 14, 3: 15, 4: 15}
_RIGHTS_LATEST: Final = 16

# What is read: libraries and Python; what libc and libnftables look up names and numbers in.
_PATHS: Final = (
    *("/usr", "/lib", "/lib64"),
    *("/etc/ld.so.cache", "/etc/ld.so.preload", "/etc/localtime", "/etc/nsswitch.conf"),
    *("/etc/iproute2", "/etc/connlabel.conf", "/etc/protocols", "/etc/services"),
)
_XDP_PATHS: Final = ("/proc", "/sys")  # mounts; CPUs and the kernel's types
_BPFFS: Final = "/sys/fs/bpf"


def paths(package: Path, *, pins: bool) -> dict[str, int]:
    """What may be done where; `pins` where XDP has any to make or remove. Reads nothing."""
    found = dict.fromkeys((*_PATHS, sys.base_prefix, sys.base_exec_prefix, str(package)), READ)
    # In a checkout, the ruleset is where administrators look for it.
    found[str(package.parent / "nft")] = READ
    if pins:
        # libbpf opens the root directory, of all, to have a descriptor it can put another on.
        found |= dict.fromkeys(_XDP_PATHS, READ) | {_BPFFS: PIN, "/": _READ_DIRECTORY}
    return found


def restrict(allowed: Mapping[str, int]) -> str:
    """Allow this thread, and what it forks, no more than this, for good; empty, or why not.

    Paths that are not there are passed over; descriptors that are open already stay as they are.
    Needs no_new_privs.
    """
    try:
        version = _call(_CREATE_RULESET, None, 0, _VERSION)
        handled = (1 << _RIGHTS.get(version, _RIGHTS_LATEST)) - 1
        attributes = struct.pack("=Q", handled)
        ruleset = _call(_CREATE_RULESET, attributes, len(attributes), 0)
    except OSError as error:
        return f"no Landlock: {error.strerror}"
    try:
        _add(ruleset, allowed.items())
        _call(_RESTRICT_SELF, ruleset, 0, 0)
    except OSError as error:
        return f"no Landlock: {error.strerror}"
    finally:
        os.close(ruleset)
    return ""


def _add(ruleset: int, allowed: Iterable[tuple[str, int]]) -> None:
    for path, rights in allowed:
        try:
            fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            given = rights if os.path.isdir(path) else rights & _OF_FILES
            _call(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", given, fd), 0)
        finally:
            os.close(fd)


def _call(number: int, *arguments: bytes | int | None) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    # Numbers as longs, for syscall(2) takes its arguments in any type without asking.
    wide = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    answer = int(libc.syscall(ctypes.c_long(number), *wide))
    if answer < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return answer
