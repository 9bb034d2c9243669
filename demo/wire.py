"""Octets for the demo backend's servers: lines, literals, and the PROXY header before them."""

from typing import Final

import trio

from gatekeeper.events import Violation
from gatekeeper.wire.need_more import NeedMore
from gatekeeper.wire.proxy_header import ProxyHeader, read_proxy_header

LINE_MAX_OCTETS: Final = 64 * 1024  # a guard passes on at most 64 KiB; also a line of a message
_RECEIVE_OCTETS: Final = 64 * 1024


class Hangup(Exception):  # the end of a conversation, not always an error
    """The peer is gone, or does not speak the protocol; there is nobody to answer."""


class Wire:
    """One connection, read in lines or by count. Errors are `Hangup`."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._buffer = bytearray()
        self._searched = 0  # octets known to hold no line end

    async def send(self, octets: bytes) -> None:
        """Send all of `octets`."""
        try:
            await self._stream.send_all(octets)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise Hangup from error

    async def line(self) -> bytes:
        """The next line, with its line end."""
        while (lf := self._buffer.find(b"\n", self._searched)) < 0:
            self._searched = len(self._buffer)
            if self._searched > LINE_MAX_OCTETS:
                raise Hangup
            await self._receive()
        return self._take(lf + 1)

    async def exactly(self, count: int) -> bytes:
        """The next `count` octets."""
        while len(self._buffer) < count:
            await self._receive()
        return self._take(count)

    async def client_address(self) -> str:
        """Read the PROXY header (either version) that opens the connection: the client's address,
        or `unknown` where the header speaks of nobody."""
        while True:
            match read_proxy_header(bytes(self._buffer)):
                case ProxyHeader(source=source, size_octets=size_octets):
                    self._take(size_octets)
                    return source or "unknown"
                case NeedMore():
                    await self._receive()
                case Violation():
                    raise Hangup

    async def _receive(self) -> None:
        try:
            octets = await self._stream.receive_some(_RECEIVE_OCTETS)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise Hangup from error
        if not octets:
            raise Hangup
        self._buffer += octets

    def _take(self, count: int) -> bytes:
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        self._searched = 0
        return taken
