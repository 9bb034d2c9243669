"""People who use the mail server, and one who should not: Python's own mail clients, calling from
a given address."""

import contextlib
import imaplib
import smtplib
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Final

TIMEOUT_S: Final = 15.0  # above the longest tarpit of the demo's guard


@dataclass(frozen=True, slots=True)
class Origin:
    """Where somebody calls from: `address` to `server`.

    `pretended` is for the demo without namespaces: the call comes from loopback, behind a PROXY
    header (version 1) that names `address`, as from a balancer.
    """

    address: str
    server: str
    pretended: bool = False

    def connect(self, port: int, timeout_s: float = TIMEOUT_S) -> socket.socket:
        """A TCP connection. Raises `OSError`."""
        source = None if self.pretended else (self.address, 0)
        sock = socket.create_connection((self.server, port), timeout_s, source)
        if self.pretended:
            own_port = sock.getsockname()[1]
            line = f"PROXY TCP4 {self.address} {self.server} {own_port} {port}\r\n"
            sock.sendall(line.encode())
        return sock


class _Submission(smtplib.SMTP):
    """SMTP on a connection that is made elsewhere."""

    def __init__(self, sock: socket.socket) -> None:
        self._given = sock
        super().__init__("guard", 1, local_hostname="client.example.org", timeout=TIMEOUT_S)

    def _get_socket(self, *_: object) -> socket.socket:
        return self._given


class _Imap(imaplib.IMAP4):
    """IMAP on a connection that is made elsewhere."""

    def __init__(self, sock: socket.socket) -> None:
        self._given = sock
        super().__init__()

    def _create_socket(self, *_: object) -> socket.socket:
        return self._given


@dataclass(frozen=True, slots=True)
class Account:
    """What somebody logs in with; `user` is the mail address."""

    user: str
    password: str


class Somebody:
    """A caller at one address, who verifies the server's certificate."""

    def __init__(self, origin: Origin, context: ssl.SSLContext) -> None:
        self.origin = origin
        self._context = context

    def _tls(self, port: int) -> ssl.SSLSocket:
        sock = self.origin.connect(port)
        try:
            return self._context.wrap_socket(sock, server_hostname=self.origin.server)
        except OSError:
            sock.close()
            raise

    # -- SMTP -------------------------------------------------------------------------------

    def submit(self, port: int, account: Account, message: EmailMessage, *, starttls: bool) -> str:
        """Send a message after a login; the TLS version. Raises `smtplib.SMTPException`, OSError"""
        with _Submission(self.origin.connect(port) if starttls else self._tls(port)) as smtp:
            if starttls:
                self._start_tls(smtp)
            smtp.login(account.user, account.password)
            smtp.send_message(message)
            return str(smtp.sock.version()) if isinstance(smtp.sock, ssl.SSLSocket) else "no TLS"

    def deliver(self, port: int, message: EmailMessage) -> None:
        """Hand a message in as another mail server does: STARTTLS, no login. Raises as above."""
        with _Submission(self.origin.connect(port)) as smtp:
            self._start_tls(smtp)
            smtp.send_message(message)

    def _start_tls(self, smtp: _Submission) -> None:
        smtp._host = self.origin.server  # type: ignore[attr-defined]  # the name it verifies
        smtp.starttls(context=self._context)

    # -- IMAP -------------------------------------------------------------------------------

    def imap(self, port: int) -> imaplib.IMAP4:
        """A session over implicit TLS, not logged in. Raises `imaplib.IMAP4.error`, OSError."""
        return _Imap(self._tls(port))

    def newest(self, port: int, account: Account) -> bytes:
        """The newest message in INBOX."""
        with self.imap(port) as imap:
            imap.login(account.user, account.password)
            _, (count,) = imap.select("INBOX", readonly=True)
            _, parts = imap.fetch((count or b"0").decode(), "(BODY.PEEK[])")
            part = parts[0]
            return part[1] if isinstance(part, tuple) else b""

    def login_s(self, port: int, account: Account) -> float:
        """Connect, shake hands, log in, log out; the seconds until the login was answered."""
        begun = time.monotonic()
        with self.imap(port) as imap:
            imap.login(account.user, account.password)
            return time.monotonic() - begun

    @contextlib.contextmanager
    def idling(self, port: int, account: Account) -> Iterator["Idling"]:
        """A session that waits for new mail."""
        imap = self.imap(port)
        try:
            imap.login(account.user, account.password)
            imap.select("INBOX")
            yield Idling(imap)
        finally:
            imap.shutdown()


class Idling:
    """An IMAP session in IDLE (RFC 2177)."""

    def __init__(self, imap: imaplib.IMAP4) -> None:
        """Raises `OSError` where the server will not idle."""
        self._imap = imap
        imap.send(b"wait IDLE\r\n")
        if not imap.readline().startswith(b"+"):
            raise OSError("IDLE was refused")

    def notice(self, within_s: float) -> str:
        """What the server tells, waited for up to `within_s`. Raises `TimeoutError`, `OSError`."""
        self._imap.sock.settimeout(within_s)
        line = self._imap.readline()
        if not line:
            raise OSError("the session has ended")
        return line.decode("ascii", "replace").strip()

    def done(self) -> str:
        """End IDLE; the server's answer. Raises `OSError`."""
        self._imap.sock.settimeout(TIMEOUT_S)
        self._imap.send(b"DONE\r\n")
        return self._imap.readline().decode("ascii", "replace").strip()
