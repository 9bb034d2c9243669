"""A non-blocking socket, plain or TLS, as sessions and the relay use it.

A TLS leg is a raw `ssl.SSLSocket` on the socket itself, not a pair of memory buffers: OpenSSL reads
and writes the descriptor, and no byte is copied through Python on its way. Only public methods of
`ssl` are used.

Two faces: `*_nowait` for the relay, which never waits, and `receive`/`send` for dialogue tasks,
which park in the session's `Waiter`.
"""

import contextlib
import errno
import select
import socket
import ssl
import struct
from typing import Final

import trio

from gatekeeper.errors import DeadlineExceeded, PeerBroken, PeerClosed
from gatekeeper.readiness import IN, OUT, Readiness, Waiter

DIALOGUE_READ_OCTETS: Final = 16 * 1024  # one TLS record; command lines are far shorter
_PEEK_OCTETS: Final = 4096  # a whole ClientHello in one call, mostly
_LINGER_OCTETS: Final = 1024 * 1024  # what a peer may have under way when it is refused
_LINGER_RST: Final = struct.pack("ii", 1, 0)


class Channel:
    """One leg of a session.

    `more` says that the last read took all it was allowed: more may be there without an event, else
    a reader waits before it tries, because a read in vain costs an exception.
    `wants` is what the last `*_nowait` call that could not go on waits for: `IN`, or `OUT`; with
    TLS a read may have to wait for writing and the reverse.
    """

    __slots__ = (
        "_armed",
        "_closed",
        "_waiter",
        "fd",
        "more",
        "readiness",
        "ready",
        "sock",
        "tls",
        "wants",
    )

    def __init__(self, sock: socket.socket, readiness: Readiness, waiter: Waiter) -> None:
        """Take `sock` over: it is made non-blocking and closed by `close` or `abort`."""
        sock.setblocking(False)
        self.sock = sock
        self.fd = sock.fileno()
        self.readiness = readiness
        self.tls: ssl.SSLSocket | None = None
        self.wants = IN
        self.more = False
        self.ready = False  # an event came since a dialogue last cleared this
        self._waiter = waiter
        self._armed = 0  # what the epoll was asked for and has not told yet
        self._closed = False
        readiness.add(self.fd, self._on_event)

    # -- without waiting --------------------------------------------------------------------

    def receive_nowait(self, limit_octets: int) -> bytes | None:
        """What is there, up to `limit_octets`; `b""` at the end of the stream, None if nothing.

        Raises `PeerBroken`.
        """
        self.more = False
        try:
            octets = self.sock.recv(limit_octets)
            self.more = len(octets) == limit_octets
            return octets
        except (ssl.SSLWantReadError, BlockingIOError):
            self.wants = IN
        except ssl.SSLWantWriteError:
            self.wants = OUT
        except ssl.SSLEOFError:
            return b""
        except OSError as error:
            raise _broken(error) from error
        return None

    def receive_into_nowait(self, view: memoryview) -> int | None:
        """As `receive_nowait`, into `view`; the count of octets, 0 at the end of the stream."""
        try:
            return self.sock.recv_into(view)
        except (ssl.SSLWantReadError, BlockingIOError):
            self.wants = IN
        except ssl.SSLWantWriteError:
            self.wants = OUT
        except ssl.SSLEOFError:
            return 0
        except OSError as error:
            raise _broken(error) from error
        return None

    def send_nowait(self, octets: bytes | memoryview) -> int:
        """Send what can be sent; the count, 0 if the peer does not take any now.

        After 0 the same octets must be given again (OpenSSL's rule for a retried write).
        Raises `PeerBroken`.
        """
        try:
            sent = self.sock.send(octets)
            if sent < len(octets):
                self.wants = OUT
            return sent
        except (ssl.SSLWantWriteError, BlockingIOError):
            self.wants = OUT
        except ssl.SSLWantReadError:
            self.wants = IN
        except OSError as error:
            raise _broken(error) from error
        return 0

    def half_close_nowait(self) -> None:
        """Tell the peer that nothing more comes, and go on reading. Never raises.

        FIN alone, also on TLS: the library's way to send close_notify looks for the peer's at
        once, and throws away what the peer has said meanwhile.
        """
        with contextlib.suppress(OSError):
            # Not SSLSocket.shutdown, which would forget the TLS state that reading still needs.
            socket.socket.shutdown(self.sock, socket.SHUT_WR)

    def _say_end(self) -> None:
        if self.tls is not None:
            try:
                self.tls.unwrap()  # sends close_notify, then wants the peer's: not waited for
            except ssl.SSLWantReadError:
                pass
            except (OSError, ValueError) as error:
                _forget_tls_errors(error)

    # -- from a dialogue task ---------------------------------------------------------------

    async def receive(self, deadline: float, limit_octets: int = DIALOGUE_READ_OCTETS) -> bytes:
        """At least one octet. Raises `PeerClosed`, `PeerBroken` or `DeadlineExceeded`."""
        self.wants = IN
        if not self.more:
            self.arm(IN)
            await self._waiter.wait(deadline)
        while True:
            octets = self.receive_nowait(limit_octets)
            if octets:
                return octets
            if octets is not None:
                raise PeerClosed("the peer ended the stream")
            await self.pause(deadline)

    async def receive_bulk(self, deadline: float, limit_octets: int) -> bytes:
        """As `receive`, gathering whole TLS records up to about `limit_octets`: one system call
        and one pass of the content filter for many records."""
        octets = await self.receive(deadline)
        if not self.more:
            return octets
        view = _bulk_view(limit_octets)
        view[: len(octets)] = octets
        gathered = len(octets)
        while gathered <= limit_octets - DIALOGUE_READ_OCTETS:
            got = self.receive_into_nowait(view[gathered : gathered + DIALOGUE_READ_OCTETS])
            if not got:  # nothing now; or an end, which the next receive sees: no event tells it
                self.more = got is not None
                break
            gathered += got
            if got < DIALOGUE_READ_OCTETS:
                self.more = False
                break
        return bytes(view[:gathered])

    async def send(self, octets: bytes, deadline: float) -> None:
        """All of `octets`. Raises `PeerBroken` or `DeadlineExceeded`; then some may be sent."""
        sent = self.send_nowait(octets)
        if sent == len(octets):
            return
        view = memoryview(octets)[sent:]
        while view:
            await self.pause(deadline)
            view = view[self.send_nowait(view) :]

    async def pause(self, deadline: float) -> None:
        """Wait until the last `*_nowait` call may be worth trying again."""
        self.arm(self.wants)
        await self._waiter.wait(deadline)

    async def own_event(self, mask: int, deadline: float) -> None:
        """Wait for an event of this leg: one of the session's other leg wakes the task too."""
        self.ready = False
        while not self.ready:
            self.arm(mask)
            await self._waiter.wait(deadline)

    async def peek(self, enough_octets: int, deadline: float) -> bytes:
        """The first octets of a plain stream, left in the kernel: `enough_octets` or more, or fewer
        if the stream ends there.

        SO_RCVLOWAT keeps the level-triggered epoll silent until that many are there (socket(7)).
        Raises `PeerBroken` or `DeadlineExceeded`.
        """
        octets = self._peek_nowait(enough_octets)
        if octets is not None and len(octets) >= enough_octets:
            return octets
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, enough_octets)
        seen = -1
        while octets is None or seen < len(octets) < enough_octets:
            seen = -1 if octets is None else len(octets)  # woken without more: the stream ended
            await self.own_event(IN | select.EPOLLRDHUP, deadline)
            octets = self._peek_nowait(enough_octets)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        return octets

    def _peek_nowait(self, enough_octets: int) -> bytes | None:
        try:
            return self.sock.recv(max(enough_octets, _PEEK_OCTETS), socket.MSG_PEEK)
        except BlockingIOError:
            return None
        except OSError as error:
            raise _broken(error) from error

    async def handshake(
        self, context: ssl.SSLContext, deadline: float, *, server_name: str | None = None
    ) -> None:
        """Become a TLS leg: as client verifying `server_name` if that is given, else as server.

        Raises `PeerBroken` (OpenSSL has sent its alert) or `DeadlineExceeded`.
        """
        try:
            self.sock.getpeername()  # else the wrapper closes the descriptor under us
            tls = context.wrap_socket(
                self.sock,
                server_side=server_name is None,
                do_handshake_on_connect=False,
                server_hostname=server_name,
            )
        except (OSError, ValueError) as error:  # the peer went away in the meantime
            self._drop()
            raise _broken(error) from error
        self.sock = self.tls = tls
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                self.wants = IN
            except ssl.SSLWantWriteError:
                self.wants = OUT
            except OSError as error:
                raise _broken(error) from error
            else:
                return
            await self.pause(deadline)

    def arm(self, mask: int) -> None:
        """Ask for one event of `mask`, if that was not asked for already."""
        if self._armed != mask:
            self._armed = mask
            self.readiness.arm(self.fd, mask)

    def _on_event(self, mask: int) -> None:
        self.ready = True
        self._armed = 0
        self._waiter.wake(mask)

    # -- the end ----------------------------------------------------------------------------

    def close(self) -> None:
        """Close in order, without waiting: close_notify and FIN. Safe to call twice.

        A peer that is still sending gets RST, and may lose what it was sent last: where that
        matters, `linger` first.
        """
        if not self._closed:
            self._say_end()
            self._drop()

    async def linger(self, deadline: float) -> None:
        """End our side and read the peer's to its end, so that it gets to read our last words.

        Gives up silently at `deadline` or after `_LINGER_OCTETS`.
        """
        self._say_end()
        self.half_close_nowait()
        left = _LINGER_OCTETS
        with contextlib.suppress(OSError, DeadlineExceeded):
            while left > 0 and (count := await self._discard(deadline)):
                left -= count

    async def _discard(self, deadline: float) -> int:
        """Read below TLS, which reads no more once it found data behind its end."""
        self.wants = IN
        while True:
            await self.pause(deadline)
            with contextlib.suppress(BlockingIOError):
                return len(socket.socket.recv(self.sock, DIALOGUE_READ_OCTETS))

    def abort(self) -> None:
        """Close with RST: whatever is in flight is lost, and the peer knows at once."""
        if not self._closed:
            close_by_reset(self.sock)
            self._drop()

    @property
    def closed(self) -> bool:
        """Whether this leg was let go."""
        return self._closed

    def _drop(self) -> None:
        self._closed = True
        self.readiness.forget(self.fd)
        try:  # noqa: SIM105  # as above
            self.sock.close()
        except OSError:
            pass


def close_by_reset(sock: socket.socket) -> None:
    """Have the next close of `sock` send RST instead of FIN. Never raises."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RST)


_bulk = bytearray()


def _bulk_view(limit_octets: int) -> memoryview:
    """A buffer that all channels share: it is filled and copied from without a wait between."""
    if len(_bulk) < limit_octets:
        _bulk.extend(bytes(limit_octets - len(_bulk)))
    return memoryview(_bulk)


async def connect(
    sock: socket.socket, address: tuple[str, int], channel: Channel, deadline: float
) -> None:
    """Connect `sock`, which `channel` holds, to a numeric `address`.

    Raises `PeerBroken` or `DeadlineExceeded`.
    """
    code = sock.connect_ex(address)
    if code == errno.EINPROGRESS:
        await connected(channel, deadline)
    elif code:
        raise PeerBroken(_describe(OSError(code, "")))


async def connected(channel: Channel, deadline: float) -> None:
    """Wait until the connect that has begun on `channel`'s socket is done.

    Raises `PeerBroken` or `DeadlineExceeded`.
    """
    with contextlib.suppress(OSError):
        channel.sock.getpeername()
        return  # a backend on this host has answered before connect returned
    await channel.own_event(OUT, deadline)
    code = channel.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise PeerBroken(_describe(OSError(code, "")))


def deadline_in(seconds: float) -> float:
    """The Trio time `seconds` from now."""
    return trio.current_time() + seconds


_spare_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _broken(error: Exception) -> PeerBroken:
    """What to raise for a leg that an error has ended."""
    _forget_tls_errors(error)
    return PeerBroken(_describe(error))


def _forget_tls_errors(error: Exception) -> None:
    """Keep the error of one connection from another.

    OpenSSL notes errors by thread. From 3.5 on a write to a peer that has reset leaves its note
    behind where CPython 3.13 raises the plain `OSError`, and the next read that finds nothing, on
    whatever connection, is told of it. A cipher list that cannot be has CPython empty the notes.
    """
    if not isinstance(error, ssl.SSLError):
        with contextlib.suppress(ssl.SSLError):
            _spare_context.set_ciphers("!ALL")


def _describe(error: Exception) -> str:
    """A short text without addresses or file names: OpenSSL's reason, or the errno's name."""
    if isinstance(error, ssl.SSLError):
        return (error.reason or "TLS failure").lower().replace("_", " ")
    if isinstance(error, OSError) and error.errno is not None:
        return errno.errorcode.get(error.errno, str(error.errno))
    return type(error).__name__
