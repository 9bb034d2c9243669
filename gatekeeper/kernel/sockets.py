"""Resetting a banned client's open connections: SOCK_DESTROY over sock_diag (sock_diag(7)).

The kernel's ban stops a client's packets; this frees what the packets had opened, at once and for
sockets of any process. Sockets are found by a dump the kernel filters by far address, and each is
destroyed **with its cookie**: without one, a connection that ended meanwhile makes the kernel match
the listener instead and destroy that.
"""

import errno
import socket
import struct
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from gatekeeper.kernel import messages
from gatekeeper.kernel.element import Element, masked
from gatekeeper.kernel.nfnetlink import KernelRefused

_NETLINK_SOCK_DIAG: Final = 4
_SOCK_DIAG_BY_FAMILY: Final = 20
_SOCK_DESTROY: Final = 21
_REQ_BYTECODE: Final = 1
_BC_D_COND: Final = 8  # far address and port
_TCP_LISTEN: Final = 10
_TCP_TIME_WAIT: Final = 6  # nothing to free, and it protects the next connection
_STATES: Final = 0xFFF & ~(1 << _TCP_LISTEN | 1 << _TCP_TIME_WAIT)
_REQUEST: Final = struct.Struct("=BBBBI48s")
_ID: Final = slice(4, 52)  # struct inet_diag_sockid inside struct inet_diag_msg
_MAPPED: Final = b"\x00" * 10 + b"\xff\xff"  # an IPv4 connection of a dual-stack listener
_REPLY_TIMEOUT_S: Final = 5
_RECEIVE_OCTETS: Final = 32_768


def kill(targets: Sequence[Element], ports: Mapping[str, Collection[int]]) -> int:
    """Reset every connection of the `targets`' networks to one of the `ports` of their scopes; how
    many there were.

    Walks all TCP sockets of the namespace: about 10 ms for a few thousand. Raises `KernelRefused`.
    """
    if not targets:
        return 0
    one = targets[0] if len(targets) == 1 else None
    wanted = _Wanted(targets, ports)
    try:
        with _open() as link:
            # A dual-stack listener's IPv4 connections are IPv6 sockets.
            found = {
                (family, ident)
                for family in (socket.AF_INET, socket.AF_INET6)
                for ident in _dumped(link, family, one)
                if wanted.has(family, ident)
            }
            return sum(_destroy(link, family, ident) for family, ident in found)
    except OSError as error:
        raise KernelRefused(error.errno or errno.EIO) from error


class _Wanted:
    """Which sockets are to go."""

    def __init__(self, targets: Sequence[Element], ports: Mapping[str, Collection[int]]) -> None:
        self._scopes = {port: scope for scope, each in ports.items() for port in each}
        self._targets = frozenset(targets)
        self._lengths = {(len(each.packed), each.length) for each in targets}

    def has(self, family: int, ident: bytes) -> bool:
        """Whether a connection, by its struct inet_diag_sockid, is one of them."""
        scope = self._scopes.get(int.from_bytes(ident[:2], "big"))
        if scope is None:
            return False
        far = ident[20:24] if family == socket.AF_INET else ident[20:36]
        far = far[12:] if far.startswith(_MAPPED) else far
        return any(
            Element(scope, masked(far, length), length) in self._targets
            for octets, length in self._lengths
            if octets == len(far)
        )


def _open() -> socket.socket:
    link = socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG
    )
    link.settimeout(_REPLY_TIMEOUT_S)
    return link


def _dumped(link: socket.socket, family: int, target: Element | None) -> list[bytes]:
    """The socket ids of a family, those with a far address in `target` where one is given."""
    body = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, 0, _STATES, bytes(48))
    if target is not None:
        body += messages.attribute(_REQ_BYTECODE, _condition(target))
    link.send(_message(_SOCK_DIAG_BY_FAMILY, messages.DUMP, body))
    return [answer.body[_ID] for answer in _answers(link)]


def _condition(target: Element) -> bytes:
    """The kernel's own filter: the far address lies in `target`."""
    host = struct.pack("=BBxxi", _family(target), target.length, -1) + target.packed
    # One condition; on a match go on behind it, which is the end and accepts; else jump past it.
    size = 4 + len(host)
    return struct.pack("=BBH", _BC_D_COND, size, size + 4) + host


def _destroy(link: socket.socket, family: int, ident: bytes) -> bool:
    """Reset one socket; False where it had ended by itself."""
    body = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, 0, 0xFFF, ident)
    link.send(_message(_SOCK_DESTROY, messages.ACK, body))
    try:
        list(_answers(link))
    except KernelRefused as refused:
        if refused.errno in {errno.ENOENT, errno.ESTALE}:
            return False
        raise
    return True


def _message(kind: int, flags: int, body: bytes) -> bytes:
    header = struct.pack("=IHHII", len(body) + 16, kind, flags | messages.REQUEST, 0, 0)
    return header + body


def _answers(link: socket.socket) -> Iterator[messages.Message]:
    while True:
        for answer in messages.messages(link.recv(_RECEIVE_OCTETS)):
            if answer.type in {messages.NLMSG_ERROR, messages.NLMSG_DONE}:
                if answer.errno:
                    raise KernelRefused(answer.errno)
                return
            yield answer


def _family(target: Element) -> int:
    return socket.AF_INET if len(target.packed) == 4 else socket.AF_INET6
