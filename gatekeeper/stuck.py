"""A look-out for the one thing that can stop the whole guard: TLS records that hold no data.

Theory of operation. OpenSSL reads on, inside one call, for as long as records come that give the
caller nothing: KeyUpdate (RFC 8446 4.6.3) or, in TLS 1.2, the ClientHello of a renegotiation that
is refused. A client that sends them as fast as they are read, about a megabyte a second, keeps the
thread in that call, and with it every session; CPython has no way to turn the reading on off.
So a second thread looks a few times a second where the first one is. If it is in the same call on
the same TLS socket as at the last look, and has spent its time computing rather than waiting, the
connection is shut down from outside: the call fails, and the session ends like any other that
broke. The data path is not touched. The thread that looks needs no lock: it holds the interpreter's
while it does, so the other cannot get any further than the end of its call.
"""

import contextlib
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Final

import trio

LOOK_S: Final = 0.1
# Of processor time between two looks. An honest read decrypts one record, in microseconds, and the
# dearest handshake takes some milliseconds; a busy machine makes a call last, but not compute.
STUCK_CPU_S: Final = 0.05


class Lookout:
    """Watches the thread it is made in."""

    __slots__ = ("_call", "_clock", "_cpu_s", "_over", "_thread")

    def __init__(self) -> None:
        self._thread = threading.get_ident()
        self._clock = time.pthread_getcpuclockid(self._thread)
        self._call: FrameType | None = None  # the TLS call seen at the last look
        self._cpu_s = 0.0
        self._over = threading.Event()

    async def run(self, on_stuck: Callable[[str], None]) -> None:
        """Look out until cancelled. `on_stuck` hears, in Trio's thread, the address of each peer
        that was cut off."""
        token = trio.lowlevel.current_trio_token()

        def look_forever() -> None:
            while not self._over.wait(LOOK_S):
                if (address := self.look()) is not None:
                    with contextlib.suppress(trio.RunFinishedError):
                        token.run_sync_soon(on_stuck, address)

        thread = threading.Thread(target=look_forever, name="lookout", daemon=True)
        thread.start()
        try:
            await trio.sleep_forever()
        finally:
            self._over.set()

    def look(self) -> str | None:
        """Compare with the last look; the address of the peer that was cut off, if one was."""
        call = sys._current_frames().get(self._thread)  # documented, in spite of its name
        cpu_s = time.clock_gettime(self._clock)
        spent_s, self._cpu_s = cpu_s - self._cpu_s, cpu_s
        last, self._call = self._call, None
        if call is None or call.f_code not in _READS:
            return None
        if call is not last or spent_s < STUCK_CPU_S:
            self._call = call
            return None
        return _cut_off(call.f_locals["self"])


# Where the thread is while OpenSSL reads: the innermost methods that call it.
_READS: Final = frozenset((ssl.SSLSocket.read.__code__, ssl.SSLSocket.unwrap.__code__))


def _cut_off(sock: socket.socket) -> str | None:
    """Shut the connection of `sock` down; its peer's address. What is still queued is read yet."""
    with contextlib.suppress(OSError):
        address = str(sock.getpeername()[0])
        socket.socket.shutdown(sock, socket.SHUT_RDWR)  # the rest of what it sends is answered RST
        return address
    return None
