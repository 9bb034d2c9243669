"""What the tests of the shell stand on: socket pairs on loopback, and the epoll running."""

import functools
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ParamSpec

import trio
from rig_ends import HOSTNAME, PATIENCE_S, authority

from gatekeeper.channel import Channel
from gatekeeper.events import Client, MailProtocol
from gatekeeper.prefix import entity
from gatekeeper.readiness import Readiness, Waiter
from gatekeeper.sessions import Session

P = ParamSpec("P")

SMALL_BUFFER_OCTETS = 16 * 1024  # the kernel doubles it
SMALL_SEGMENT_OCTETS = 1400  # a window smaller than a segment waits for timers of the kernel
FAR = 10_000.0  # virtual seconds; no test waits for it


@asynccontextmanager
async def running() -> AsyncIterator[Readiness]:
    """A Readiness that hands out events while the block lasts."""
    readiness = Readiness()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(readiness.run)
        yield readiness
        nursery.cancel_scope.cancel()
    readiness.close()


def tcp_pair(*, small: bool = False) -> tuple[socket.socket, socket.socket]:
    """Two connected TCP sockets on loopback; `small` keeps the kernel from buffering much."""
    with socket.socket() as listener:
        if small:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER_OCTETS)
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SMALL_SEGMENT_OCTETS)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        near = socket.socket()
        if small:
            near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER_OCTETS)
        near.connect(listener.getsockname())
        far, _ = listener.accept()
    for sock in (near, far):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return near, far


def reset(sock: socket.socket | trio.socket.SocketType) -> None:
    """Close with RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@dataclass
class Far:
    """The far end of a channel: a raw socket, and TLS on it where the test wants that."""

    sock: trio.socket.SocketType
    stream: trio.SocketStream | trio.SSLStream[trio.SocketStream] = field(init=False)

    def __post_init__(self) -> None:
        self.stream = trio.SocketStream(self.sock)

    async def send(self, octets: bytes) -> None:
        """All of `octets`."""
        with trio.fail_after(PATIENCE_S):
            await self.stream.send_all(octets)

    async def hear(self, count_octets: int) -> bytes:
        """Exactly so many octets, or fewer where the stream ends."""
        got = bytearray()
        with trio.fail_after(PATIENCE_S):
            while len(got) < count_octets:
                more = await self.stream.receive_some(count_octets - len(got))
                if not more:
                    break
                got += more
        return bytes(got)

    async def hear_all(self) -> bytes:
        """Everything up to the end of the stream, which for TLS needs its close_notify."""
        got = bytearray()
        with trio.fail_after(PATIENCE_S):
            while more := await self.stream.receive_some(65536):
                got += more
        return bytes(got)

    def close(self) -> None:
        """Let go."""
        self.sock.close()


def contexts(
    version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's and a client's context that speak exactly `version`."""
    server, client = authority().server_context(HOSTNAME), authority().client_context()
    for context in (server, client):
        context.minimum_version = context.maximum_version = version
    return server, client


@dataclass
class Legs:
    """Channels of one session and their far ends."""

    readiness: Readiness
    waiter: Waiter
    _far: list[Far] = field(default_factory=list)
    _near: list[Channel] = field(default_factory=list)

    def plain(self, *, small: bool = False) -> tuple[Channel, Far]:
        """A plain channel."""
        near, far = tcp_pair(small=small)
        channel = Channel(near, self.readiness, self.waiter)
        peer = Far(trio.socket.from_stdlib_socket(far))
        self._near.append(channel)
        self._far.append(peer)
        return channel, peer

    async def tls(
        self,
        version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
        *,
        small: bool = False,
        as_client: bool = False,
    ) -> tuple[Channel, Far]:
        """A channel that is a TLS server, or `as_client`."""
        server, client = contexts(version)
        channel, peer = self.plain(small=small)
        plain = peer.stream
        assert isinstance(plain, trio.SocketStream)
        peer.stream = trio.SSLStream(
            plain,
            server if as_client else client,
            server_hostname=None if as_client else HOSTNAME,
            server_side=as_client,
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.stream.do_handshake)
            if as_client:
                await channel.handshake(client, FAR, server_name=HOSTNAME)
            else:
                await channel.handshake(server, FAR)
        return channel, peer

    def keep(self, channel: Channel) -> Channel:
        """Have `channel` closed with the others."""
        self._near.append(channel)
        return channel

    def close(self) -> None:
        """Let go of all that a test left open."""
        for channel in self._near:
            channel.abort()
        for peer in self._far:
            peer.close()


@asynccontextmanager
async def legs() -> AsyncIterator[Legs]:
    """A session's channels on a running Readiness."""
    async with running() as readiness:
        made = Legs(readiness, Waiter(readiness))
        try:
            yield made
        finally:
            made.close()


def a_client(
    address: str = "192.0.2.1",
    protocol: MailProtocol = MailProtocol.IMAP,
    listener: str = "imaps",
) -> Client:
    """A client as a session knows it."""
    return Client(address, 40_000, "198.51.100.1", 993, entity(address), listener, protocol)


def a_session(address: str = "192.0.2.1", protocol: MailProtocol = MailProtocol.IMAP) -> Session:
    """A session of that client; inside a Trio run."""
    return Session(a_client(address, protocol))


@contextmanager
def listening(host: str = "127.0.0.1") -> Iterator[trio.socket.SocketType]:
    """A listening socket that accepts as Trio does."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as sock:
        yield trio.socket.from_stdlib_socket(sock)


@contextmanager
def full_backlog() -> Iterator[tuple[str, int]]:
    """The address of a listener that answers no SYN, because its backlog is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        waiting = [socket.socket() for _ in range(3)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(address)
        yield address
        for sock in waiting:
            sock.close()


def inside_trio(test: Callable[P, None]) -> Callable[P, None]:
    """Run a test that waits for nothing but needs Trio's clock."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        async def main() -> None:
            await trio.lowlevel.checkpoint()
            test(*args, **kwargs)

        trio.run(main)

    return run


def written(path: Path, octets: bytes) -> Path:
    """`path`, holding `octets`."""
    path.write_bytes(octets)
    return path
