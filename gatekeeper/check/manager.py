"""Whether the service manager holds a port: socket units do, while the guard is down, too."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gatekeeper.prefix import pack_address
from gatekeeper.settings import Endpoint

_LISTENING: Final = "0A"  # TCP_LISTEN, <net/tcp_states.h>
_WORD_DIGITS: Final = 8


def held_by_manager(endpoint: Endpoint, manager: Path = Path("/proc/1")) -> bool:
    """Whether process 1 listens there; False also where that may not be looked at."""
    wanted = {f"socket:[{inode}]" for inode in _inodes(endpoint)}
    try:
        descriptors = list((manager / "fd").iterdir())
    except OSError:
        return False
    return any(_target(descriptor) in wanted for descriptor in descriptors)


def _inodes(endpoint: Endpoint) -> Iterator[str]:
    """The listening sockets at an address, as proc(5) has them in net/tcp and net/tcp6."""
    packed = pack_address(endpoint.host)
    table = Path("/proc/net/tcp" if len(packed) == 4 else "/proc/net/tcp6")
    here = f"{_words(packed)}:{endpoint.port:04X}"
    try:
        lines = table.read_text().splitlines()[1:]
    except OSError:
        return
    for line in lines:
        fields = line.split()
        if fields[1] == here and fields[3] == _LISTENING:
            yield fields[9]


def _words(packed: bytes) -> str:
    """An address as the kernel prints it: words of 32 bits in this machine's order."""
    words = (packed[at : at + 4] for at in range(0, len(packed), 4))
    return "".join(f"{socket.ntohl(int.from_bytes(word)):0{_WORD_DIGITS}X}" for word in words)


def _target(descriptor: Path) -> str:
    try:
        return os.readlink(descriptor)
    except OSError:  # closed meanwhile
        return ""
