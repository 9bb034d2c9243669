"""Attaching the program to one interface, as well as its driver can."""

import contextlib
import errno
import fcntl
import os
import socket
import struct
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from gatekeeper.kernel import libbpf, xdp_pins
from gatekeeper.kernel.libbpf import BpfError

_SIOCGIFHWADDR: Final = 0x8927
# ARPHRD_ETHER and ARPHRD_LOOPBACK: the kinds whose frames begin with an Ethernet header. On others
# (tunnels, PPP) the program would take an address for a type.
_ETHERNET: Final = frozenset({1, 772})
_FOREIGN: Final = frozenset({errno.EBUSY, errno.EEXIST})


class Mode(Enum):
    """How packets of an interface come to the program."""

    NATIVE = "native"  # in the driver, before the kernel has made anything of them
    GENERIC = "generic"  # after the kernel made its own record of them, still before nftables
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class State:
    """One interface. `why`: of an absent one what is wrong, of a generic one why not native."""

    mode: Mode
    why: str = ""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A state, and the descriptor of the link behind it: -1 where there is none."""

    state: State
    fd: int = -1

    def now(self) -> State:
        """The state now: an interface may have gone. Raises nothing."""
        if self.fd >= 0:
            with contextlib.suppress(BpfError):
                if not libbpf.link_info(self.fd).ifindex:
                    return State(Mode.ABSENT, "the interface is gone")
        return self.state

    def close(self) -> None:
        """Let go of the link; what is pinned stays."""
        if self.fd >= 0:
            os.close(self.fd)


def index_of(interface: str) -> int:
    """An interface's index in this thread's namespace, 0 where there is none of this name."""
    try:
        return socket.if_nametoindex(interface)
    except (OSError, ValueError):
        return 0


def attach(interface: str, program_fd: int, directory: Path) -> Attachment:
    """Run the program on an interface, in place of the one whose link is pinned there, without a
    gap; pins a new link. Never raises for what one interface has: then its state says it."""
    ifindex = index_of(interface)
    if not ifindex:
        return _absent("there is no such interface")
    if not _is_ethernet(interface):
        return _absent("its frames have no Ethernet header")
    path = xdp_pins.link_path(directory, ifindex)
    try:
        return _swap(path, ifindex, program_fd) or _create(path, ifindex, program_fd)
    except BpfError as error:
        foreign = _whose(ifindex) if error.errno in _FOREIGN else ""
        return _absent(foreign or str(error))
    except OSError as error:
        return _absent(f"{path}: {error.strerror}")


def _swap(path: Path, ifindex: int, program_fd: int) -> Attachment | None:
    """Swap the program of a pinned link; None, and no pin, where it is of no more use."""
    if not path.exists():
        return None
    fd = libbpf.get(path)
    try:
        libbpf.link_update(fd, program_fd)
    except BpfError:
        os.close(fd)
        path.unlink()
        return None
    if libbpf.attached(ifindex).native:
        return Attachment(State(Mode.NATIVE), fd)
    return Attachment(State(Mode.GENERIC, "as it was attached before"), fd)


def _create(path: Path, ifindex: int, program_fd: int) -> Attachment:
    state = State(Mode.NATIVE)
    try:
        fd = libbpf.link_create(program_fd, ifindex, libbpf.NATIVE)
    except BpfError as error:
        if error.errno in _FOREIGN:
            raise
        # Drivers say no in many words: EOPNOTSUPP, EINVAL, ERANGE (MTU), ENOMEM (queues).
        state = State(Mode.GENERIC, f"no native mode: {os.strerror(error.errno)}")
        fd = libbpf.link_create(program_fd, ifindex, libbpf.GENERIC)
    try:
        xdp_pins.repin(fd, path)
    except (BpfError, OSError):
        os.close(fd)
        raise
    return Attachment(state, fd)


def _whose(ifindex: int) -> str:
    """Who is there already; empty where nobody is any more."""
    try:
        ids = sorted(libbpf.attached(ifindex).program_ids)
    except BpfError:
        return ""
    named = [f'"{libbpf.program_name(each)}" (id {each})' for each in ids]
    return f"another XDP program is attached: {', '.join(named)}" if named else ""


def _is_ethernet(interface: str) -> bool:
    request = struct.pack("16s24x", interface.encode())
    try:
        # Any socket will do; the process's filter has no others left for this.
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
            answer = fcntl.ioctl(probe, _SIOCGIFHWADDR, request)
    except OSError:
        return False
    return struct.unpack_from("=16xH", answer)[0] in _ETHERNET


def _absent(why: str) -> Attachment:
    return Attachment(State(Mode.ABSENT, why))
