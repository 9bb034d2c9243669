"""The clients: `guess ADDRESS COUNT`, `log-in ADDRESS`, `knock` and `load ADDRESS SECONDS`.

Each prints one JSON object of what it saw.
"""

import json
import socket
import ssl
import sys
import threading
import time
from collections import Counter
from typing import Final

GUARD: Final = "198.51.100.1"
PATIENCE_S: Final = 70.0  # above the drain and a start: a client waits for its greeting
KNOCK_S: Final = 0.3  # a dropped SYN is not waited for longer
SENDERS: Final = 8


def connect(address: str, port: int, patience_s: float = PATIENCE_S) -> socket.socket:
    """A connection from `address`."""
    return socket.create_connection((GUARD, port), patience_s, source_address=(address, 0))


def imap(address: str, patience_s: float = PATIENCE_S) -> ssl.SSLSocket:
    """An IMAP session past its greeting."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    sock = context.wrap_socket(connect(address, 993, patience_s))
    if not sock.recv(4096).startswith(b"* OK"):
        raise ConnectionError("no greeting")
    return sock


def guess(address: str, count: str) -> dict[str, int]:
    """Wrong passwords; what they were answered."""
    seen: Counter[str] = Counter()
    for number in range(int(count)):
        try:
            with imap(address, 3.0) as sock:
                sock.sendall(f"a LOGIN user{number}@example.org wrong{number}\r\n".encode())
                seen[sock.recv(4096).decode().split("]")[0].strip()] += 1
        except OSError as error:
            seen[type(error).__name__] += 1
    return dict(seen)


def log_in(address: str) -> dict[str, str]:
    """The right password; what it was answered."""
    with imap(address) as sock:
        sock.sendall(b"a LOGIN anna@example.org right\r\n")
        return {"answer": sock.recv(4096).decode().strip()}


def knock(address: str, seconds: str) -> dict[str, int]:
    """Connections in a row to IMAP, each until its greeting; how they ended."""
    seen: Counter[str] = Counter()
    end = time.monotonic() + float(seconds)
    while time.monotonic() < end:
        try:
            imap(address, KNOCK_S).close()
            seen["greeted"] += 1
        except OSError as error:
            seen[type(error).__name__] += 1
        time.sleep(0.02)
    return dict(seen)


class Load:
    """Senders of mail, one message a session, until a time."""

    def __init__(self, address: str, end: float) -> None:
        self.seen: Counter[str] = Counter()
        self.acknowledged: list[str] = []
        self.longest_s = 0.0
        self._address = address
        self._end = end

    def send(self, sender: int) -> None:
        """One sender."""
        stamp = time.monotonic_ns()
        number = 0
        while time.monotonic() < self._end:
            number += 1
            begun = time.monotonic()
            try:
                with connect(self._address, 25) as sock:
                    self._send_one(sock, f"{stamp}-{sender}-{number}")
            except OSError as error:
                self.seen[f"no answer: {type(error).__name__}"] += 1
            self.longest_s = max(self.longest_s, time.monotonic() - begun)

    def _send_one(self, sock: socket.socket, ident: str) -> None:
        lines = sock.makefile("rb")
        greeting = lines.readline()
        if not greeting.startswith((b"220", b"421")):
            self.seen[f"no answer: {greeting!r}"] += 1
            return
        self.seen["answered"] += 1
        content = f"X-Id: {ident}\r\n\r\nhello\r\n."
        steps = ("EHLO c", "MAIL FROM:<a@example.org>", "RCPT TO:<b@example.org>", "DATA", content)
        for step in steps:
            try:
                sock.sendall(f"{step}\r\n".encode())
                while (line := lines.readline())[3:4] == b"-":
                    pass
            except OSError:
                line = b""
            if not line.startswith((b"250", b"354")):
                self.seen["sent away before the message was acknowledged"] += 1
                return
        self.acknowledged.append(ident)


def load(address: str, seconds: str) -> dict[str, object]:
    """What senders saw, and which messages were acknowledged."""
    work = Load(address, time.monotonic() + float(seconds))
    threads = [threading.Thread(target=work.send, args=(number,)) for number in range(SENDERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    longest = round(work.longest_s, 2)
    return {"seen": dict(work.seen), "acknowledged": work.acknowledged, "longest_s": longest}


if __name__ == "__main__":
    verbs = {"guess": guess, "log-in": log_in, "knock": knock, "load": load}
    print(json.dumps(verbs[sys.argv[1]](*sys.argv[2:])))  # type: ignore[operator]  # by its words
