"""An SMTP server that fails on purpose, at the point a test names."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum


class Failure(Enum):
    """What goes wrong."""

    CLOSES_IN_CONTENT = "closes after the first content it reads"
    CLOSES_AFTER_CONTENT = "closes when the content has ended, without a reply"
    STOPS_READING = "reads no content, and keeps the connection"
    TALKS_NONSENSE = "answers MAIL with a line that is no reply"
    ENDLESS_REPLY = "answers MAIL with a line that never ends"


class _Connection:
    def __init__(self, peer: socket.socket, failure: Failure, over: threading.Event) -> None:
        self._peer = peer
        self._failure = failure
        self._over = over

    def serve(self) -> None:
        with self._peer, self._peer.makefile("rb") as lines:
            try:
                self._peer.sendall(b"220 fake.example.test ESMTP\r\n")
                while (line := lines.readline()) and self._answer(line.strip().upper()):
                    pass
                if line.strip().upper() == b"DATA":
                    self._take_content()
            except OSError:
                return

    def _answer(self, command: bytes) -> bool:
        """Answer one command; False when commands are over."""
        if command.startswith(b"EHLO"):
            self._peer.sendall(b"250-fake.example.test\r\n250-8BITMIME\r\n250 PIPELINING\r\n")
        elif command.startswith(b"MAIL") and self._failure is Failure.TALKS_NONSENSE:
            self._peer.sendall(b"it is 250 degrees here\r\n")
        elif command.startswith(b"MAIL") and self._failure is Failure.ENDLESS_REPLY:
            while not self._over.is_set():
                self._peer.sendall(b"250-" + b"x" * 4096)
        elif command == b"DATA":
            self._peer.sendall(b"354 go on\r\n")
            return False
        elif command == b"QUIT":
            self._peer.sendall(b"221 bye\r\n")
            return False
        else:
            self._peer.sendall(b"250 ok\r\n")
        return True

    def _take_content(self) -> None:
        if self._failure is Failure.STOPS_READING:
            self._over.wait()
            return
        tail = b""
        while octets := self._peer.recv(65536):
            tail = (tail + octets)[-5:]
            if self._failure is Failure.CLOSES_IN_CONTENT or tail == b"\r\n.\r\n":
                return


@contextmanager
def fake_backend(failure: Failure) -> Iterator[int]:
    """Run it; yields its port on 127.0.0.1."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept() -> None:
            while True:
                try:
                    peer, _ = listening.accept()
                except OSError:
                    return
                threading.Thread(target=_Connection(peer, failure, over).serve, daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            over.set()
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()
