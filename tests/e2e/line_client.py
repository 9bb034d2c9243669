"""A client that sends exactly the octets it is told to, and keeps what was answered."""

import base64
import contextlib
import socket
import ssl
import struct
from types import TracebackType

TIMEOUT_S = 10.0


def plain(address: str, password: str) -> bytes:
    """A PLAIN message in base64 (RFC 4616)."""
    return base64.b64encode(f"\0{address}\0{password}".encode())


class LineClient:
    """A connection to an SMTP or IMAP server; use it in a `with` block."""

    def __init__(
        self,
        port: int,
        *,
        host: str = "127.0.0.1",
        source: str = "",
        tls: ssl.SSLContext | None = None,
        name: str = "localhost",
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """Connect from `source`; with `tls` begin TLS at once, for the server's `name`.

        Connecting, and each wait for octets, may take `timeout_s`."""
        origin = (source, 0) if source else None
        self._name = name
        self.sock = socket.create_connection((host, port), timeout_s, origin)
        self._buffer = bytearray()
        if tls:
            self.start_tls(tls)

    def __enter__(self) -> "LineClient":
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.sock.close()

    def start_tls(self, context: ssl.SSLContext) -> None:
        """Shake hands now. What came before it must have been read."""
        assert not self._buffer, f"octets ahead of TLS: {bytes(self._buffer)!r}"
        self.sock = context.wrap_socket(self.sock, server_hostname=self._name)

    def send(self, octets: bytes) -> None:
        """Send just these octets."""
        try:
            self.sock.sendall(octets)
        except OSError:
            _forget_errors()
            raise

    def line(self) -> bytes:
        """The next line with its end; what is left, perhaps nothing, at the end of the stream."""
        while (end := self._buffer.find(b"\n") + 1) == 0:
            try:
                received = self.sock.recv(65536)
            except (ConnectionError, ssl.SSLError):
                received = b""
            if not received:
                end = len(self._buffer)
                break
            self._buffer += received
        line = bytes(self._buffer[:end])
        del self._buffer[:end]
        return line

    def rest(self) -> bytes:
        """All up to the end of the stream."""
        lines = []
        while line := self.line():
            lines.append(line)
        return b"".join(lines)

    def reply(self) -> bytes:
        """One SMTP reply, perhaps of several lines; empty at the end of the stream."""
        lines = []
        while line := self.line():
            lines.append(line)
            if line[3:4] != b"-":
                break
        return b"".join(lines)

    def command(self, command: bytes) -> bytes:
        """The SMTP reply to a command."""
        self.send(command + b"\r\n")
        return self.reply()

    def tagged(self, tag: bytes = b"") -> bytes:
        """All IMAP responses up to that with `tag` (or to a `+`); short at the end of the stream.

        Literals are not understood: do not FETCH with this.
        """
        lines = []
        while line := self.line():
            lines.append(line)
            if (tag and line.startswith(tag + b" ")) or line.startswith(b"+"):
                break
        return b"".join(lines)

    def ask(self, command: bytes) -> bytes:
        """The IMAP responses to a command that begins with its tag."""
        self.send(command + b"\r\n")
        return self.tagged(command.partition(b" ")[0])

    def finish(self) -> None:
        """Close only the sending half, where the peer has not ended the connection already."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Close with a TCP reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


_spare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _forget_errors() -> None:
    """Empty OpenSSL's list of this thread's errors.

    Python 3.13 leaves what a failed write adds to it with OpenSSL 3.5, and then reports that for
    the next read of any other connection that merely has nothing to give yet. This refusal of
    a list of ciphers empties it as a side effect.
    """
    with contextlib.suppress(ssl.SSLError):
        _spare.set_ciphers("!ALL")


def smtp_login(client: LineClient, address: str, password: str) -> bytes:
    """EHLO and AUTH PLAIN after the greeting has been read; the reply to AUTH."""
    client.command(b"EHLO client.example.test")
    return client.command(b"AUTH PLAIN " + plain(address, password))


def smtp_over_tls(port: int, context: ssl.SSLContext, source: str = "") -> LineClient:
    """A client whose STARTTLS is done, before its EHLO."""
    client = LineClient(port, source=source)
    assert client.reply().startswith(b"220 ")
    assert b"STARTTLS" in client.command(b"EHLO client.example.test")
    assert client.command(b"STARTTLS").startswith(b"220 ")
    client.start_tls(context)
    return client
