"""A backend that keeps messages in memory before it acknowledges them, and believes all logins."""

import re
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

_ID = re.compile(rb"(?m)^X-Id: (\S+)\r$")


@dataclass
class Sink:
    """Its ports, and the messages it has, by the X-Id each has in its header."""

    smtp_port: int = 0
    imap_port: int = 0
    taken: set[str] = field(default_factory=set)

    def take(self, content: bytes) -> None:
        """Keep one message."""
        found = _ID.search(content)
        assert found, "every message has its X-Id"
        self.taken.add(found[1].decode())


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, handler: type[socketserver.BaseRequestHandler], kept: Sink) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.kept = kept

    def handle_error(self, request: object, client_address: object) -> None:
        """A session was cut: the guard's clients tell whether that was right."""


class _Smtp(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self._say("220 sink.example.test ESMTP")
        while line := self.rfile.readline():
            match line.strip().upper():
                case b"DATA":
                    self._say("354 go on")
                    assert isinstance(self.server, _Server)
                    self.server.kept.take(self._content())
                case b"QUIT":
                    self._say("221 bye")
                    return
            self._say("250 sink.example.test")

    def _content(self) -> bytes:
        content = b""
        while (line := self.rfile.readline()) != b".\r\n":
            if not line:
                raise ConnectionError("the content has no end")
            content += line
        return content

    def _say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())


class _Imap(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.wfile.write(b"* OK [CAPABILITY IMAP4rev1] sink\r\n")
        while line := self.rfile.readline():
            self.wfile.write(line.partition(b" ")[0] + b" OK done\r\n")


@contextmanager
def sink() -> Iterator[Sink]:
    """Serve on loopback until the block ends."""
    kept = Sink()
    with _Server(_Smtp, kept) as smtp, _Server(_Imap, kept) as imap:
        kept.smtp_port, kept.imap_port = smtp.server_address[1], imap.server_address[1]
        for server in (smtp, imap):
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield kept
        finally:
            smtp.shutdown()
            imap.shutdown()
