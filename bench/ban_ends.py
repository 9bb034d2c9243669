"""Both ends of the guard's IMAP sessions, driven in turns by one thread.

Client and backend never run at the same time as each other, so one thread can be both: it sends a
LOGIN, receives it at the backend, answers there and reads the answer. So the instant at which the
backend answers and what is seen afterwards come from one clock and one place, and between the two
nobody but the guard has anything to do.
"""

import contextlib
import socket
import ssl
from collections.abc import Iterator
from typing import Final

from bench.measure import Wrong
from demo.namespaces import GUARD, Namespaces

GUARD_PORT: Final = 993  # the namespace is ours alone
BACKEND_PORT: Final = 143

_STEP_S: Final = 10.0  # no step of a session takes a hundredth of it; more is a failure
_LINE_OCTETS: Final = 4096
_GREETING: Final = b"* OK [CAPABILITY IMAP4rev1] ready\r\n"


class Session:
    """One session: the client's socket and the backend's."""

    def __init__(self, client: ssl.SSLSocket, backend: socket.socket) -> None:
        self.client = client
        self.backend = backend

    def offer(self, password: str) -> None:
        """The client sends a LOGIN and the backend has received it. Raises `Wrong`."""
        self.client.sendall(b"a LOGIN someone " + password.encode() + b"\r\n")
        _expect(_line(self.backend), b"a LOGIN ")

    def answer(self, *, welcome: bool) -> None:
        """The backend says yes or no."""
        self.backend.sendall(b"a OK in\r\n" if welcome else b"a NO [AUTHENTICATIONFAILED] no\r\n")

    def hear(self, *, welcome: bool) -> None:
        """The client reads the answer. Raises `Wrong` where it is another."""
        _expect(_line(self.client), b"a OK" if welcome else b"a NO")


class Ends:
    """Where sessions begin (the world's namespace) and end (the guard's)."""

    def __init__(self, namespaces: Namespaces) -> None:
        """To be used in the thread that made the namespaces."""
        with namespaces.guard_side():
            self._listener = socket.create_server(("127.0.0.1", BACKEND_PORT))
        self._listener.settimeout(_STEP_S)
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._tls.check_hostname = False  # what is measured comes after the handshake
        self._tls.verify_mode = ssl.CERT_NONE

    @contextlib.contextmanager
    def session(self, source: str) -> Iterator[Session]:
        """A session from the address `source`, greeted.

        Raises `ConnectionRefusedError` where nobody listens, `Wrong` and `OSError` for the rest.
        """
        raw = socket.create_connection((GUARD, GUARD_PORT), _STEP_S, (source, 0))
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._tls.wrap_socket(raw) as client, self._listener.accept()[0] as backend:
            backend.settimeout(_STEP_S)
            backend.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _expect(_line(backend), b"PROXY TCP4 " + source.encode())
            backend.sendall(_GREETING)
            _expect(_line(client), b"* OK")
            yield Session(client, backend)

    def login(self, source: str) -> None:
        """A person logs in and leaves. Raises as `session` does."""
        with self.session(source) as session:
            session.offer("right")
            session.answer(welcome=True)
            session.hear(welcome=True)

    def close(self) -> None:
        """No more sessions."""
        self._listener.close()


def _line(sock: socket.socket) -> bytes:
    """What comes up to a line's end; the other side then waits for us."""
    line = b""
    while not line.endswith(b"\n") and len(line) < _LINE_OCTETS:
        octets = sock.recv(_LINE_OCTETS)
        if not octets:
            break
        line += octets
    return line


def _expect(line: bytes, start: bytes) -> None:
    if not line.startswith(start):
        raise Wrong(f"ban: {start!r} was expected, not {line!r}")
