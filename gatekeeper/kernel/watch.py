"""What others do to the table, and what the kernel did by itself: two netlink sockets.

Theory of operation. The kernel announces every change of nf_tables to the group NFTABLES, with the
netlink address of whoever made it. Our own changes, thousands in a flood of bans, would fill the
socket; a socket filter (socket(7), SO_ATTACH_FILTER) throws those away in the kernel, so what is
left is other people's. Deleted and added elements of our sets are somebody's wish; anything else
that concerns our table is a reason to look at it (`Table.mend`).

The meter's rule logs a flood's first packet to a group of NFLOG, with enough of it to see the
source. Nobody but root may listen to either. Overflow: announcements lost are one `missed`, and the
guard compares everything; lost floods are in the kernel's own set anyway.
"""

import ctypes
import errno
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from gatekeeper.kernel import messages
from gatekeeper.kernel.element import SETS, Element
from gatekeeper.kernel.nfnetlink import KernelRefused
from gatekeeper.kernel.nft import LOG_GROUP

_NETLINK_NETFILTER: Final = 12
_GROUP_NFTABLES: Final = 1 << 7 - 1  # NFNLGRP_NFTABLES
_SO_RCVBUFFORCE: Final = 33
_SO_ATTACH_FILTER: Final = 26
_BUFFER_OCTETS: Final = 4 * 2**20  # some 100,000 elements of other people's, in one go
_RECEIVE_OCTETS: Final = 65_536
_READS_MAX: Final = 64  # in one go: bans wait meanwhile

_SUBSYSTEM_NFTABLES: Final = 10
_SUBSYSTEM_LOG: Final = 4
_LOG_PACKET: Final = _SUBSYSTEM_LOG << 8
_LOG_CONFIG: Final = _SUBSYSTEM_LOG << 8 | 1
_CONFIG_COMMAND: Final = 1
_CONFIG_MODE: Final = 2
_CONFIG_THRESHOLD: Final = 5
_BIND: Final = b"\x01"
_COPY_PACKET: Final = 2
_PAYLOAD: Final = 9


@dataclass(slots=True)
class Changes:
    """What others did. `missed` says that there was more than could be read."""

    lifted: list[Element] = field(default_factory=list)
    added: list[tuple[Element, int]] = field(default_factory=list)  # with their milliseconds
    table: bool = False  # something else about it; it may be gone
    missed: bool = False


class ChangeWatch:
    """Changes of the table that come from any other netlink socket than `own_port`."""

    def __init__(self, own_port: int) -> None:
        """Raises `KernelRefused`."""
        self.socket = _open()
        _ignore(self.socket, own_port)
        self.socket.bind((0, _GROUP_NFTABLES))

    def read(self) -> Changes:
        """What was announced since the last call; never waits."""
        changes = Changes()
        for datagram in _datagrams(self.socket):
            if datagram is None:
                changes.missed = True
                continue
            for each in messages.messages(datagram):
                _note(changes, each)
        return changes


class FloodWatch:
    """Sources of floods, as the meter logs them."""

    def __init__(self) -> None:
        """Raises `KernelRefused`, also where another program listens to the group."""
        self.socket = _open()
        self.socket.bind((0, 0))
        for kind, value in (
            (_CONFIG_COMMAND, _BIND),
            (_CONFIG_MODE, struct.pack(">IBx", _RECEIVE_OCTETS, _COPY_PACKET)),
            (_CONFIG_THRESHOLD, struct.pack(">I", 1)),  # at once: else they wait for company
        ):
            self._configure(messages.attribute(kind, value))

    def read(self) -> list[bytes]:
        """Packed source addresses, each once, of the floods since the last call; never waits."""
        found: dict[bytes, None] = {}
        for datagram in _datagrams(self.socket):
            for each in messages.messages(datagram or b""):
                source = _source(each) if each.type == _LOG_PACKET else b""
                if source:
                    found[source] = None
        return list(found)

    def _configure(self, attributes: bytes) -> None:
        length = 20 + len(attributes)
        flags = messages.REQUEST | messages.ACK
        header = struct.pack("=IHHII", length, _LOG_CONFIG, flags, 0, 0)
        try:
            self.socket.send(header + struct.pack(">BBH", 0, 0, LOG_GROUP) + attributes)
            answers = list(messages.messages(self.socket.recv(_RECEIVE_OCTETS)))
        except OSError as error:
            raise KernelRefused(error.errno or errno.EIO) from error
        if answers and answers[0].errno:
            raise KernelRefused(answers[0].errno)


def _note(changes: Changes, message: messages.Message) -> None:
    if message.type >> 8 != _SUBSYSTEM_NFTABLES or message.body[:1] != messages.FAMILY:
        return
    name = messages.read_table(message.body)
    if name != messages.TABLE:
        return
    if message.type in {messages.NEW_ELEMENTS, messages.DELETE_ELEMENTS}:
        if messages.read_name(message.body) not in SETS:
            return  # lists and ports: loaded whole, by us
        elements = messages.read_elements(message.body)
        if message.type == messages.NEW_ELEMENTS:
            changes.added += elements
        else:
            changes.lifted += [each for each, _ in elements]
    else:
        changes.table = True


def _source(message: messages.Message) -> bytes:
    """The packed source of the packet a log message carries; empty where there is none."""
    packet = messages.read_attributes(message.body[4:]).get(_PAYLOAD, b"")
    match packet[:1] and packet[0] >> 4:
        case 4 if len(packet) >= 20:
            return packet[12:16]
        case 6 if len(packet) >= 40:
            return packet[8:24]
        case _:
            return b""


def _datagrams(link: socket.socket) -> Iterator[bytes | None]:
    """What waits on `link`; None for what did not fit."""
    for _ in range(_READS_MAX):
        try:
            yield link.recv(_RECEIVE_OCTETS, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                return
            yield None


def _open() -> socket.socket:
    try:
        link = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER
        )
    except OSError as error:
        raise KernelRefused(error.errno or errno.EIO) from error
    try:
        link.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_OCTETS)
    except PermissionError:  # root of a user namespace only: the system's limit has to do
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_OCTETS)
    return link


def _ignore(link: socket.socket, port: int) -> None:
    """Have the kernel throw away messages whose header names `port` as who caused them."""
    # A filter reads octets in network order; the header has the port in the host's.
    number = int.from_bytes(struct.pack("=I", port), "big")
    program = b"".join(
        struct.pack("=HBBI", *step)
        for step in (
            (0x20, 0, 0, 12),  # A = the word at octet 12, nlmsg_pid
            (0x15, 0, 1, number),  # equal: go on, else skip one
            (0x06, 0, 0, 0),  # take nothing
            (0x06, 0, 0, 0xFFFF_FFFF),  # take all
        )
    )
    buffer = (ctypes.c_char * len(program)).from_buffer_copy(program)
    fprog = struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer))
    link.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, fprog)
