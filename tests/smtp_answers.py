"""Servers for `gatekeeper check` to ask: threads on loopback that answer by a function."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

# The reply to one line without its CRLF; None for silence.
Answer = Callable[[str], str | None]


@dataclass
class Server:
    """A running server. `sessions` holds the lines of each connection, in their order."""

    port: int
    sessions: list[list[str]] = field(default_factory=list)

    @property
    def lines(self) -> list[str]:
        """Those of the only session."""
        (lines,) = self.sessions
        return lines


@contextmanager
def server(greeting: str, answer: Answer) -> Iterator[Server]:
    """Run it for the block. A PROXY header is noted and not answered. The end of the block waits
    until all its connections have ended."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        running = Server(listening.getsockname()[1])
        threads: list[threading.Thread] = []

        def accept() -> None:
            while True:
                try:
                    peer, _ = listening.accept()
                except OSError:
                    return
                lines: list[str] = []
                running.sessions.append(lines)
                threads.append(
                    threading.Thread(target=_serve, args=(peer, greeting, answer, lines))
                )
                threads[-1].start()

        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield running
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            accepting.join()
            for thread in threads:
                thread.join()


def _serve(peer: socket.socket, greeting: str, answer: Answer, lines: list[str]) -> None:
    with peer, peer.makefile("rb") as stream, suppress(OSError):
        peer.sendall(greeting.encode() + b"\r\n")
        for octets in stream:
            line = octets.decode().rstrip("\r\n")
            lines.append(line)
            if line.startswith("PROXY "):
                continue
            said = answer(line)
            if said is not None:
                peer.sendall(said.encode() + b"\r\n")
            if line == "QUIT" or line.endswith(" LOGOUT"):
                return
