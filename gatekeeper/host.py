"""What the guard asks of its host: rights, descriptors, and the addresses that are its own."""

import contextlib
import ctypes
import grp
import os
import pwd
import resource
from pathlib import Path
from typing import Final

from gatekeeper.errors import ConfigError, PermissionMissing
from gatekeeper.prefix import Prefix

DESCRIPTORS_PER_SESSION: Final = 2
SPARE_DESCRIPTORS: Final = 256
LOOPBACK: Final = (Prefix.parse("127.0.0.0/8"), Prefix.parse("::1"))

_PR_SET_DUMPABLE: Final = 4
_PR_SET_NO_NEW_PRIVS: Final = 38
_LOCAL_V4: Final = Path("/proc/net/fib_trie")
_LOCAL_V6: Final = Path("/proc/net/if_inet6")


def raise_descriptor_limit(sessions: int) -> int:
    """Allow as many open files as `sessions` need, as far as the hard limit lets us; the limit."""
    wanted = sessions * DESCRIPTORS_PER_SESSION + SPARE_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if os.geteuid() == 0 and hard != resource.RLIM_INFINITY and hard < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
            return wanted
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if limit > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return max(limit, soft)


def own_directory(path: Path, user: str) -> None:
    """Make `path` (mode 0750) and give it to `user` where we may. Raises `PermissionMissing`, and
    `ConfigError` where a file is in its place."""
    try:
        path.mkdir(mode=0o750, parents=True, exist_ok=True)
        if os.geteuid() == 0:
            account = _account(user)
            os.chown(path, account.pw_uid, account.pw_gid)
    except FileExistsError as error:
        raise ConfigError(f"{path}: not a directory") from error
    except OSError as error:
        raise PermissionMissing(f"{path}: {error.strerror}") from error


def drop_rights(user: str) -> None:
    """Become `user` for good: groups, gid, uid, no new privileges, no core dumps.

    As an ordinary user already, only the last two. Raises `ConfigError` for an unknown user.
    """
    if os.geteuid() == 0:
        account = _account(user)
        os.setgroups([group.gr_gid for group in grp.getgrall() if user in group.gr_mem])
        os.setresgid(account.pw_gid, account.pw_gid, account.pw_gid)
        os.setresuid(account.pw_uid, account.pw_uid, account.pw_uid)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)  # credentials are in this memory


def own_addresses() -> set[Prefix]:
    """The addresses of this host's interfaces, from /proc; empty where that is not mounted."""
    found: set[Prefix] = set()
    with contextlib.suppress(OSError):
        previous = ""
        for line in _LOCAL_V4.read_text().splitlines():
            if "host LOCAL" in line:
                found.add(Prefix.parse(previous.rsplit(maxsplit=1)[-1]))
            previous = line
    with contextlib.suppress(OSError):
        for line in _LOCAL_V6.read_text().splitlines():
            found.add(Prefix(bytes.fromhex(line.split()[0]), 128))
    return found


def _account(user: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(user)
    except KeyError:
        raise ConfigError(f"user: there is no account {user!r} on this host") from None
