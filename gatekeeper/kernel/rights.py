"""Giving up every right that is not needed (capabilities(7)).

CAP_NET_ADMIN covers nf_tables, sock_diag's SOCK_DESTROY, transparent sockets and XDP's attaching;
CAP_BPF and CAP_PERFMON are for XDP alone: the first to load a program, the second since the
verifier takes ours, which computes with addresses of packets, from nobody else.
"""

import ctypes
import os
import resource
import struct
from collections.abc import Collection
from typing import Final

NET_ADMIN: Final = 12
PERFMON: Final = 38
BPF: Final = 39
_CAPABILITY_VERSION_3: Final = 0x20080522
_PR_SET_DUMPABLE: Final = 4
_PR_CAPBSET_READ: Final = 23
_PR_CAPBSET_DROP: Final = 24
_PR_SET_SECUREBITS: Final = 28
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
_CAPABILITIES_MAX: Final = 64  # the masks have 64 bits
# No root by user id, no capabilities by changes of it, none kept over one and none ambient; locked.
_SECUREBITS: Final = 0b1110_1111

# A connection and a netlink socket for the listing of each peer, and some twenty besides.
_DESCRIPTORS_MAX: Final = 256
# Some 25 MiB are used. libnftables may read the sets of other tables, whatever they hold.
_ADDRESS_SPACE_OCTETS: Final = 1 << 30


def keep(capabilities: Collection[int]) -> None:
    """Drop all but these for good, from this process and whatever it might execute.

    Raises `PermissionError` where CAP_NET_ADMIN is not held to begin with; of the others those
    that are not held are done without.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    # Both take CAP_SETPCAP; where that is missing, no_new_privs and a user other than root bind.
    libc.prctl(_PR_SET_SECUREBITS, _SECUREBITS, 0, 0, 0)
    for capability in range(_CAPABILITIES_MAX):
        if capability not in capabilities and libc.prctl(_PR_CAPBSET_READ, capability, 0, 0, 0) > 0:
            libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    _check(libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))
    _set(libc, {each for each in capabilities if each == NET_ADMIN or _permitted(libc, each)})
    _check(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    _check(libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0))


def narrow(capabilities: Collection[int]) -> None:
    """Of what `keep` kept, keep these alone. Raises `OSError`."""
    libc = ctypes.CDLL(None, use_errno=True)
    _set(libc, {each for each in capabilities if _permitted(libc, each)})


def limit() -> None:
    """Bound what a fault could take: descriptors, memory, and no core file with what was in it.

    The size of files is not: stderr may be one, and all writing to others is forbidden elsewhere.
    """
    for kind, most in (
        (resource.RLIMIT_NOFILE, _DESCRIPTORS_MAX),
        (resource.RLIMIT_AS, _ADDRESS_SPACE_OCTETS),
        (resource.RLIMIT_CORE, 0),
    ):
        _, ceiling = resource.getrlimit(kind)
        wanted = most if ceiling == resource.RLIM_INFINITY else min(most, ceiling)
        resource.setrlimit(kind, (wanted, wanted))
    os.chdir("/")
    os.umask(0o077)


def _permitted(libc: ctypes.CDLL, capability: int) -> bool:
    data = ctypes.create_string_buffer(24)
    _check(libc.capget(struct.pack("=Ii", _CAPABILITY_VERSION_3, 0), data))
    _, low, _, _, high, _ = struct.unpack("=IIIIII", data.raw)
    return bool((low | high << 32) >> capability & 1)


def _set(libc: ctypes.CDLL, capabilities: Collection[int]) -> None:
    mask = sum(1 << each for each in capabilities)
    low, high = mask & 0xFFFF_FFFF, mask >> 32
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    # Effective, permitted and inheritable: first of the lower 32, then of the upper.
    _check(libc.capset(header, struct.pack("=IIIIII", low, low, 0, high, high, 0)))


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
