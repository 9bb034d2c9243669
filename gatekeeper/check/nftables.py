"""Whether this kernel has nf_tables: asked of the kernel itself, by one netlink message.

The library is not asked: where the kernel lacks it, libnftables ends the whole process.
"""

import os
import socket
import struct
from collections.abc import Callable
from typing import Final

_NETLINK_NETFILTER: Final = 12
_SUBSYSTEM: Final = 10  # NFNL_SUBSYS_NFTABLES
_GET_GENERATION: Final = _SUBSYSTEM << 8 | 16  # NFT_MSG_GETGEN
_NLM_F_REQUEST: Final = 1
_NLMSG_ERROR: Final = 2
_DEADLINE_S: Final = 2.0  # the kernel may load the module first

Ask = Callable[[bytes], bytes]


def _ask(packet: bytes) -> bytes:
    """The kernel's answer. Raises `OSError`."""
    with socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER
    ) as link:
        link.settimeout(_DEADLINE_S)
        link.send(packet)
        return link.recv(4096)


def nf_tables_trouble(ask: Ask = _ask) -> str:
    """What keeps nf_tables from answering here; empty where it does."""
    packet = struct.pack("=IHHIIBBH", 20, _GET_GENERATION, _NLM_F_REQUEST, 1, 0, 0, 0, 0)
    try:
        answer = ask(packet)
    except OSError as error:
        return f"this kernel has no nfnetlink ({error.strerror or error})"
    _, kind = struct.unpack_from("=IH", answer)
    if kind != _NLMSG_ERROR:
        return ""
    number = -int(struct.unpack_from("=i", answer, 16)[0])
    return f"this kernel has no nf_tables ({os.strerror(number)})" if number else ""
