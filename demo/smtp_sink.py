"""The demo backend's SMTP server: takes mail for its own accounts and relays nowhere (RFC 5321).

It speaks plain text behind a PROXY header, as a server behind the guard does. On the submission
port a login comes first and the accounts may write to each other; on the mx port anybody may.
"""

import base64
import binascii
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Final

from demo.mailbox import MESSAGE_MAX_OCTETS, Accounts, Mailbox, read_plain
from demo.wire import Wire

NAME: Final = "demo-backend.example.org"
RECIPIENTS_MAX: Final = 100  # RFC 5321 4.5.3.1.8 asks for as many

_PATH: Final = re.compile(rb"(?:FROM|TO):\s*<([^<>\s]*)>(?:\s+(.*))?", re.IGNORECASE)
_SIZE: Final = re.compile(rb"(?:^|\s)SIZE=(\d{1,20})(?:\s|$)", re.IGNORECASE)


def read_path(argument: bytes) -> tuple[str, int] | None:
    """Address and SIZE (0 where not given) of what follows MAIL or RCPT; None for bad syntax."""
    match = _PATH.fullmatch(argument)
    if match is None:
        return None
    size = _SIZE.search(match[2] or b"")
    return match[1].decode("utf-8", "replace"), int(size[1]) if size else 0


class SmtpSession:
    """One connection."""

    def __init__(self, wire: Wire, accounts: Accounts, client: str, *, submission: bool) -> None:
        """`client` is the address that the PROXY header told."""
        self._wire = wire
        self._accounts = accounts
        self._client = client
        self._submission = submission
        self._hello = ""
        self._user = ""
        self._sender: str | None = None
        self._recipients: list[Mailbox] = []
        self._over = False
        self._verbs: dict[bytes, Callable[[bytes], Awaitable[str]]] = {
            b"EHLO": self._ehlo,
            b"HELO": self._helo,
            b"AUTH": self._auth,
            b"MAIL": self._mail,
            b"RCPT": self._rcpt,
            b"DATA": self._data,
            b"RSET": self._rset,
            b"NOOP": self._noop,
            b"QUIT": self._quit,
        }

    async def run(self) -> None:
        """Converse until QUIT. Raises `Hangup`."""
        await self._reply(f"220 {NAME} ESMTP, the demo's sink")
        while not self._over:
            line = (await self._wire.line()).rstrip(b"\r\n")
            verb, _, argument = line.partition(b" ")
            answer = self._verbs.get(verb.upper())
            if answer is None:
                await self._reply("502 5.5.1 Command not implemented")
            else:
                await self._reply(await answer(argument))

    async def _reply(self, text: str) -> None:
        await self._wire.send(text.encode() + b"\r\n")

    async def _ehlo(self, argument: bytes) -> str:
        await self._helo(argument)
        lines = [NAME, "PIPELINING", f"SIZE {MESSAGE_MAX_OCTETS}", "8BITMIME"]
        lines += ["AUTH PLAIN LOGIN"] * self._submission + ["ENHANCEDSTATUSCODES"]
        head = "\r\n".join(f"250-{line}" for line in lines[:-1])
        return f"{head}\r\n250 {lines[-1]}"

    async def _helo(self, argument: bytes) -> str:
        self._hello = argument.decode("ascii", "replace")
        await self._rset(b"")
        return f"250 {NAME}"

    # -- AUTH (RFC 4954) --------------------------------------------------------------------

    async def _auth(self, argument: bytes) -> str:
        if not self._submission or self._user:
            return "503 5.5.1 Not now"
        mechanism, _, initial = argument.partition(b" ")
        try:
            match mechanism.upper():
                case b"PLAIN":
                    credential = read_plain(await self._response(b"", initial))
                case b"LOGIN":
                    user = await self._response(b"Username:", initial)
                    credential = (user.decode(), await self._response(b"Password:", b""))
                case _:
                    return "504 5.5.4 Unrecognized authentication type"
        except (binascii.Error, UnicodeDecodeError):
            return "501 5.5.2 Cannot decode response"
        if credential is None or self._accounts.login(*credential, self._client) is None:
            return "535 5.7.8 Authentication credentials invalid"
        self._user = credential[0]
        return "235 2.7.0 Authentication successful"

    async def _response(self, challenge: bytes, initial: bytes) -> bytes:
        """A SASL response, asked for where it did not come with the command."""
        if not initial:
            await self._reply(f"334 {base64.b64encode(challenge).decode()}")
            initial = (await self._wire.line()).rstrip(b"\r\n")
        return b"" if initial == b"=" else base64.b64decode(initial, validate=True)

    # -- a mail transaction -----------------------------------------------------------------

    async def _mail(self, argument: bytes) -> str:
        if self._submission and not self._user:
            return "530 5.7.0 Authentication required"
        if self._sender is not None or not self._hello:
            return "503 5.5.1 Bad sequence of commands"
        path = read_path(argument)
        if path is None:
            return "501 5.5.4 Syntax: MAIL FROM:<address>"
        if path[1] > MESSAGE_MAX_OCTETS:
            return "552 5.3.4 Message too big"
        self._sender = path[0]
        return "250 2.1.0 Ok"

    async def _rcpt(self, argument: bytes) -> str:
        if self._sender is None:
            return "503 5.5.1 Bad sequence of commands"
        path = read_path(argument)
        if path is None:
            return "501 5.5.4 Syntax: RCPT TO:<address>"
        mailbox = self._accounts.mailbox(path[0])
        if mailbox is None:
            return "550 5.1.1 User unknown (the demo relays nowhere)"
        if len(self._recipients) >= RECIPIENTS_MAX:
            return "452 4.5.3 Too many recipients"
        self._recipients.append(mailbox)
        return "250 2.1.5 Ok"

    async def _data(self, _argument: bytes) -> str:
        if not self._recipients:
            return "503 5.5.1 Bad sequence of commands"
        await self._reply("354 End data with <CR><LF>.<CR><LF>")
        content = await self._content()
        sender, recipients = self._sender, self._recipients
        await self._rset(b"")
        if content is None:
            return "552 5.3.4 Message too big"
        now = datetime.now(UTC)
        message = self._trace(now, sender or "") + content
        kept = [mailbox.deliver(message, now) for mailbox in recipients]
        if not all(kept):
            return "452 4.3.1 Mailbox full"
        return "250 2.0.0 Ok: kept in memory"

    async def _content(self) -> bytes | None:
        """The message without its dot-stuffing; None where it is too big, read to its end."""
        lines: list[bytes] = []
        octets = 0
        while (line := await self._wire.line()) != b".\r\n":
            octets += len(line)
            if octets <= MESSAGE_MAX_OCTETS:
                lines.append(line.removeprefix(b"."))
        return b"".join(lines) if octets <= MESSAGE_MAX_OCTETS else None

    def _trace(self, now: datetime, sender: str) -> bytes:
        """Return-Path and Received (RFC 5321 4.4), which names the client the guard announced."""
        hello = re.sub(r"[^\w.:\[\]-]", "?", self._hello)[:255]
        return (
            f"Return-Path: <{sender}>\r\nReceived: from {hello} ([{self._client}])\r\n"
            f"\tby {NAME} with ESMTP; {format_datetime(now)}\r\n"
        ).encode()

    async def _rset(self, _argument: bytes) -> str:
        self._sender, self._recipients = None, []
        return "250 2.0.0 Ok"

    async def _noop(self, _argument: bytes) -> str:
        return "250 2.0.0 Ok"

    async def _quit(self, _argument: bytes) -> str:
        self._over = True
        return "221 2.0.0 Bye"
