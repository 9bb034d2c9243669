"""Giving up every right but CAP_NET_ADMIN (capabilities(7)), which covers nf_tables, sock_diag's
SOCK_DESTROY and SO_SNDBUFFORCE."""

import ctypes
import os
import struct
from typing import Final

_CAP_NET_ADMIN: Final = 12
_CAPABILITY_VERSION_3: Final = 0x20080522
_PR_SET_DUMPABLE: Final = 4
_PR_CAPBSET_READ: Final = 23
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
_CAPABILITIES_MAX: Final = 64  # the masks have 64 bits


def keep_net_admin_only() -> None:
    """Drop all else for good, from this process and whatever it might execute.

    Raises `PermissionError` where CAP_NET_ADMIN is not held to begin with.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    # The bounding set can only be cut with CAP_SETPCAP; where that is missing, no_new_privs and
    # a user other than root bind as well.
    for capability in range(_CAPABILITIES_MAX):
        if capability != _CAP_NET_ADMIN and libc.prctl(_PR_CAPBSET_READ, capability, 0, 0, 0) == 1:
            libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    _check(libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))
    mask = 1 << _CAP_NET_ADMIN
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    data = struct.pack("=IIIIII", mask, mask, 0, 0, 0, 0)  # effective, permitted, inheritable
    _check(libc.capset(header, data))
    _check(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    _check(libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0))


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
