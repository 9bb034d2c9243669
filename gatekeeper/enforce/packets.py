"""Packets of the kernel process's socket, and what is in them, in our words."""

import contextlib
import socket
import struct
from collections.abc import Iterator, Sequence
from typing import Any, Final

import trio

from gatekeeper.abc import HeldBan
from gatekeeper.ban import Scope
from gatekeeper.errors import EnforcerError
from gatekeeper.kernel.protocol import PACKET_MAX_OCTETS, RECORDS
from gatekeeper.prefix import Prefix, pack_address

_DESCRIPTOR: Final = struct.Struct("@i")


async def receive(sock: trio.socket.SocketType) -> tuple[bytes, socket.socket | None]:
    """A packet, empty at the end, and the socket that came with it. Raises `OSError`."""
    packet, ancillary, _flags, _address = await sock.recvmsg(
        PACKET_MAX_OCTETS, socket.CMSG_SPACE(_DESCRIPTOR.size), socket.MSG_CMSG_CLOEXEC
    )
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            (descriptor,) = _DESCRIPTOR.unpack_from(data)
            return packet, socket.socket(fileno=descriptor)
    return packet, None


def entry(prefix: Prefix, scope: Scope) -> list[object]:
    """A prefix and scope as a question names them."""
    return [prefix.network, prefix.length, scope.value]


def held(entry: Sequence[Any]) -> HeldBan:
    """A ban as an event tells it. Raises as `page` does."""
    network, length, scope, left_ms = entry
    return HeldBan(Prefix(pack_address(network), length), Scope(scope), left_ms / 1000)


def page(answer: dict[str, Any]) -> list[HeldBan]:
    """What a page of `list` says. Raises `ValueError`, `KeyError` or `TypeError` for nonsense."""
    length, scope = answer["length"], Scope(answer["scope"])
    host = bytes(8) if length in {48, 64} else b""
    records = RECORDS[length].iter_unpack(bytes.fromhex(answer["records"]))
    return [HeldBan(Prefix(key + host, length), scope, left / 1000) for key, left in records]


@contextlib.contextmanager
def understood() -> Iterator[None]:
    """Turns what a broken kernel process says into `EnforcerError`."""
    try:
        yield
    except (ValueError, KeyError, TypeError) as error:
        raise EnforcerError("the kernel process makes no sense") from error
