"""A backend for benches that counts who calls it and what it is given: threads on loopback."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO


class Mailbox:
    """It awaits a PROXY header of version 1, and takes every message."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.connections = 0
        self.messages = 0
        self._lock = threading.Lock()

    @classmethod
    @contextmanager
    def running(cls) -> Iterator["Mailbox"]:
        """Run one for the block."""
        with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:
            box = cls(listening.getsockname()[1])
            thread = threading.Thread(target=box._accept, args=(listening,), daemon=True)
            thread.start()
            try:
                yield box
            finally:
                listening.shutdown(socket.SHUT_RDWR)
                thread.join()

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                peer, _ = listening.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
            threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer: socket.socket) -> None:
        with peer, peer.makefile("rb") as lines, suppress(OSError):
            lines.readline()  # the PROXY header
            peer.sendall(b"220 mailbox.bench.test ESMTP\r\n")
            for line in lines:
                verb = line[:4].upper()
                if verb == b"DATA":
                    peer.sendall(b"354 go on\r\n")
                    self._take(lines)
                peer.sendall(b"221 bye\r\n" if verb == b"QUIT" else b"250 ok\r\n")
                if verb == b"QUIT":
                    return

    def _take(self, lines: BinaryIO) -> None:
        for line in lines:
            if line == b".\r\n":
                with self._lock:
                    self.messages += 1
                return
