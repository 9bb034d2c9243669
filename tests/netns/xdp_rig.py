"""What tests of XDP share: a bpffs of their own, frames by the octet, the kernel's test run."""

import ctypes
import os
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gatekeeper.kernel import libbpf

from .namespace import Ns

_CLONE_NEWNS: Final = 0x20000
_CLONE_FS: Final = 0x200
_MS_PRIVATE_ALL: Final = 1 << 18 | 1 << 14  # and MS_REC
PASS: Final = 2
DROP: Final = 1
NAMES: Final = {PASS: "pass", DROP: "drop"}

_libc = ctypes.CDLL(None, use_errno=True)


def mount_bpffs(host: Ns, directory: Path) -> str:
    """Mount one that only this host sees, and that goes with it; what `join_mounts` wants."""
    host.run(_mount, directory)
    return host.run(lambda: f"/proc/self/task/{threading.get_native_id()}/ns/mnt")


def join_mounts(host: Ns, mounts: str) -> None:
    """Let a host see what another has mounted."""
    host.run(_join, mounts)


def _mount(directory: Path) -> None:
    _check(_libc.unshare(_CLONE_NEWNS))
    _check(_libc.mount(b"none", b"/", None, ctypes.c_ulong(_MS_PRIVATE_ALL), None))
    _check(_libc.mount(b"bpf", os.fsencode(directory), b"bpf", ctypes.c_ulong(0), None))


def _join(mounts: str) -> None:
    _check(_libc.unshare(_CLONE_FS))
    fd = os.open(mounts, os.O_RDONLY)
    try:
        _check(_libc.setns(fd, _CLONE_NEWNS))
    finally:
        os.close(fd)


def _check(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def until(condition: Callable[[], bool], within_s: float = 15.0) -> None:
    """Wait until `condition`, which asks the kernel and takes its time, holds."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline


# -- frames ----------------------------------------------------------------------------------------


def ethernet(kind: int, payload: bytes) -> bytes:
    return bytes(12) + struct.pack("!H", kind) + payload


def tagged(kind: int, inner: int, payload: bytes) -> bytes:
    """One VLAN tag: `kind` stands before it, `inner` in it."""
    return ethernet(kind, struct.pack("!HH", 7, inner) + payload)


def tcp(port: int) -> bytes:
    return struct.pack("!HHIIBBHHH", 40_000, port, 1, 0, 5 << 4, 2, 1024, 0, 0)


def ipv4(
    source: str, payload: bytes, protocol: int = 6, options: bytes = b"", fragment: int = 0
) -> bytes:
    first = 4 << 4 | 5 + len(options) // 4
    length = 20 + len(options) + len(payload)
    header = struct.pack("!BBHHHBBH", first, 0, length, 1, fragment, 64, protocol, 0)
    return header + socket.inet_aton(source) + bytes(4) + options + payload


def ipv6(source: str, payload: bytes, following: int = 6) -> bytes:
    header = struct.pack("!IHBB", 6 << 28, len(payload), following, 64)
    return header + socket.inet_pton(socket.AF_INET6, source) + bytes(16) + payload


def extension(following: int, payload: bytes, units: int = 0) -> bytes:
    """Hop-by-hop, routing or destination options: 8 octets and `units` times 8 more."""
    return struct.pack("!BB", following, units) + bytes(6 + 8 * units) + payload


def authentication(following: int, payload: bytes) -> bytes:
    """An AH of 24 octets: its length counts fours, less two."""
    return struct.pack("!BB", following, 4) + bytes(22) + payload


def fragment6(following: int, payload: bytes, offset: int) -> bytes:
    return struct.pack("!BBHI", following, 0, offset << 3 | 1, 9) + payload


# -- the kernel's test run -------------------------------------------------------------------------


# struct bpf_test_run_opts: its own size, addresses and sizes of frame and context, in and out, then
# the verdict (at 56), how often, the mean duration (at 64), and three we leave at nought.
_OPTIONS: Final = struct.Struct("=QQQIIQQIIIiIIII")
_VERDICT, _DURATION = 9, 11


@dataclass(frozen=True)
class Ran:
    """What the program made of a frame, and in how many ns on average."""

    verdict: str
    nanoseconds: int


def run_program(program_fd: int, frame: bytes, repeat: int = 1) -> Ran:
    """BPF_PROG_TEST_RUN: the loaded program, run by the kernel on this frame."""
    data = ctypes.create_string_buffer(frame, len(frame))
    size = _OPTIONS.size
    head = (size, ctypes.addressof(data), 0, len(frame), 0, 0, 0, 0, 0)
    options = ctypes.create_string_buffer(_OPTIONS.pack(*head, 0, repeat, 0, 0, 0, 0), size)
    libbpf.call("test run", "bpf_prog_test_run_opts", program_fd, options)
    fields = _OPTIONS.unpack(options.raw)
    return Ran(NAMES[fields[_VERDICT]], fields[_DURATION])
