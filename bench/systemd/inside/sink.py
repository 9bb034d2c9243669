"""The backend: SMTP on 10025, IMAP on 10143. A message is on the disk before it is acknowledged."""

import os
import re
import socketserver
import threading
from pathlib import Path
from typing import Final

SPOOL: Final = Path("/var/spool/sink")
ID: Final = re.compile(rb"(?m)^X-Id: (\S+)\r$")


class Smtp(socketserver.StreamRequestHandler):
    """Takes everything, behind a PROXY line."""

    def handle(self) -> None:
        """One session."""
        self.rfile.readline()
        self._say("220 sink ESMTP")
        while line := self.rfile.readline():
            match line.strip().upper():
                case b"DATA":
                    self._say("354 go on")
                    keep(self._content())
                case b"QUIT":
                    self._say("221 bye")
                    return
            self._say("250 sink")

    def _content(self) -> bytes:
        content = b""
        while (line := self.rfile.readline()) != b".\r\n":
            if not line:
                raise ConnectionError("the content has no end")
            content += line
        return content

    def _say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())


class Imap(socketserver.StreamRequestHandler):
    """Knows one password, behind a PROXY line."""

    def handle(self) -> None:
        """One session."""
        self.rfile.readline()
        self.wfile.write(b"* OK [CAPABILITY IMAP4rev1] sink\r\n")
        while line := self.rfile.readline():
            tag, _, rest = line.strip().partition(b" ")
            if rest.upper().startswith(b"LOGIN") and b"right" not in rest:
                self.wfile.write(tag + b" NO [AUTHENTICATIONFAILED] no\r\n")
            else:
                self.wfile.write(tag + b" OK done\r\n")


class Server(socketserver.ThreadingTCPServer):
    """With a thread for each session."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128


def keep(content: bytes) -> None:
    """Have a message on the disk under its X-Id."""
    found = ID.search(content)
    if found is None:
        raise ValueError("it has no X-Id")
    with (SPOOL / found[1].decode()).open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


if __name__ == "__main__":
    SPOOL.mkdir(exist_ok=True)
    threading.Thread(target=Server(("127.0.0.1", 10143), Imap).serve_forever).start()
    Server(("127.0.0.1", 10025), Smtp).serve_forever()
