"""The demo backend's IMAP server: one INBOX that is read, flagged, and waited on (RFC 9051).

Enough for imaplib, curl, and mbsync pulling. Plain text behind a PROXY header, as a server behind
the guard speaks it.
"""

import base64
import binascii
import re
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from demo.imap_syntax import BadSyntax, fetch_items, reads_body, render, sequence, tokens
from demo.mailbox import Accounts, Mailbox, Message, read_plain
from demo.wire import LINE_MAX_OCTETS, Hangup, Wire

_CAPABILITIES: Final = "IMAP4rev1 SASL-IR AUTH=PLAIN LITERAL+ ID IDLE"
_LITERAL: Final = re.compile(rb"\{(\d{1,9})(\+?)\}\r\n\Z")
_LITERAL_MAX_OCTETS: Final = 4096  # user names, passwords, mailbox names
_FLAGS: Final = {flag.lower(): flag for flag in (r"\Seen", r"\Answered", r"\Flagged")}

Answer = Callable[[list[bytes]], Awaitable[str]]


class ImapSession:
    """One connection."""

    def __init__(self, wire: Wire, accounts: Accounts, client: str) -> None:
        """`client` is the address that the PROXY header told."""
        self._wire = wire
        self._accounts = accounts
        self._client = client
        self._mailbox: Mailbox | None = None  # of the user who logged in
        self._selected: Mailbox | None = None
        self._told = 0  # messages this client knows of
        self._over = False
        self._always: dict[bytes, Answer] = {
            b"CAPABILITY": self._capability,
            b"ID": self._id,
            b"NOOP": self._noop,
            b"LOGOUT": self._logout,
        }
        self._before: dict[bytes, Answer] = {
            b"LOGIN": self._login,
            b"AUTHENTICATE": self._authenticate,
        }
        self._after: dict[bytes, Answer] = {
            b"LIST": self._list,
            b"LSUB": self._list,
            b"STATUS": self._status,
            b"SELECT": self._select,
            b"EXAMINE": self._select,
        }
        self._in_mailbox: dict[bytes, Answer] = {
            b"FETCH": self._fetch,
            b"STORE": self._store,
            b"SEARCH": self._search,
            b"UID": self._uid,
            b"IDLE": self._idle,
            b"CHECK": self._noop,
            b"EXPUNGE": self._noop,
            b"CLOSE": self._close,
        }

    async def run(self) -> None:
        """Converse until LOGOUT. Raises `Hangup`."""
        await self._untagged(f"OK [CAPABILITY {_CAPABILITIES}] the demo's mailbox")
        while not self._over:
            command = await self._command()
            tag, _, _ = command.partition(b" ")
            try:
                _, verb, *words = tokens(command)
                answer = self._find(verb.upper())
                text = await answer(words) if answer else "BAD Not now, or not known"
            except (BadSyntax, ValueError):
                text = "BAD Not understood"
            if self._selected is not None:
                await self._tell_arrivals(self._selected)
            await self._wire.send(tag.strip() + b" " + text.encode() + b"\r\n")

    def _find(self, verb: bytes) -> Answer | None:
        tables = [self._always, self._before if self._mailbox is None else self._after]
        if self._selected is not None:
            tables.append(self._in_mailbox)
        return next((table[verb] for table in tables if verb in table), None)

    async def _command(self) -> bytes:
        """A whole command, its literals inline."""
        command = await self._wire.line()
        while (literal := _LITERAL.search(command)) is not None:
            size = int(literal[1])
            if size > _LITERAL_MAX_OCTETS or len(command) > LINE_MAX_OCTETS:
                raise Hangup
            if not literal[2]:
                await self._wire.send(b"+ Ready\r\n")
            command += await self._wire.exactly(size)
            command += await self._wire.line()
        return command

    async def _untagged(self, text: str) -> None:
        await self._wire.send(f"* {text}\r\n".encode())

    # -- any state --------------------------------------------------------------------------

    async def _capability(self, _words: list[bytes]) -> str:
        await self._untagged(f"CAPABILITY {_CAPABILITIES}")
        return "OK Done"

    async def _id(self, _words: list[bytes]) -> str:
        await self._untagged('ID ("name" "gatekeeper demo backend")')
        return "OK Done"

    async def _noop(self, _words: list[bytes]) -> str:
        return "OK Done"

    async def _logout(self, _words: list[bytes]) -> str:
        await self._untagged("BYE See you")
        self._over = True
        return "OK Done"

    # -- login ------------------------------------------------------------------------------

    async def _login(self, words: list[bytes]) -> str:
        user, password = words
        return self._let_in((user.decode(), password))

    async def _authenticate(self, words: list[bytes]) -> str:
        mechanism, *initial = words
        if mechanism.upper() != b"PLAIN":
            return "NO [CANNOT] Unsupported mechanism"
        if not initial:
            await self._wire.send(b"+ \r\n")
            initial = [(await self._wire.line()).rstrip(b"\r\n")]
        try:
            return self._let_in(read_plain(base64.b64decode(initial[0], validate=True)))
        except binascii.Error:
            return "BAD Cannot decode response"

    def _let_in(self, credential: tuple[str, bytes] | None) -> str:
        self._mailbox = None
        if credential is not None:
            self._mailbox = self._accounts.login(*credential, self._client)
        if self._mailbox is None:
            return "NO [AUTHENTICATIONFAILED] Authentication failed."
        return f"OK [CAPABILITY {_CAPABILITIES}] Logged in"

    # -- logged in --------------------------------------------------------------------------

    async def _list(self, words: list[bytes]) -> str:
        _, pattern = words
        if not pattern:
            await self._untagged('LIST (\\Noselect) "/" ""')
        elif pattern.upper() in {b"INBOX", b"*", b"%"}:
            await self._untagged('LIST () "/" INBOX')
        return "OK Done"

    async def _status(self, words: list[bytes]) -> str:
        if words[0].upper() != b"INBOX" or self._mailbox is None:
            return "NO [NONEXISTENT] There is only INBOX"
        messages = self._mailbox.messages
        unseen = sum(r"\Seen" not in message.flags for message in messages)
        numbers = f"MESSAGES {len(messages)} UNSEEN {unseen} UIDNEXT {len(messages) + 1}"
        await self._untagged(f"STATUS INBOX ({numbers} UIDVALIDITY 1)")
        return "OK Done"

    async def _select(self, words: list[bytes]) -> str:
        if words[0].upper() != b"INBOX" or self._mailbox is None:
            return "NO [NONEXISTENT] There is only INBOX"
        self._selected = self._mailbox
        self._told = len(self._mailbox.messages)
        flags = " ".join(_FLAGS.values())
        for text in (
            f"FLAGS ({flags})",
            f"{self._told} EXISTS",
            "0 RECENT",
            f"OK [PERMANENTFLAGS ({flags})] Kept as long as the demo runs",
            "OK [UIDVALIDITY 1] One life",
            f"OK [UIDNEXT {self._told + 1}] Next",
        ):
            await self._untagged(text)
        return "OK [READ-WRITE] Done"

    # -- in a mailbox -----------------------------------------------------------------------

    async def _uid(self, words: list[bytes]) -> str:
        verb, *rest = words
        match verb.upper():
            case b"FETCH":
                return await self._fetch(rest, extra=("UID",))
            case b"STORE":
                return await self._store(rest, extra=("UID",))
            case b"SEARCH":
                return await self._search(rest)
        raise BadSyntax

    async def _fetch(self, words: list[bytes], extra: tuple[str, ...] = ()) -> str:
        asked, *rest = words
        items = list(dict.fromkeys((*extra, *fetch_items(rest))))
        messages = self._messages()
        for number in sequence(asked, len(messages)):
            message = messages[number - 1]
            if any(map(reads_body, items)):
                message.flags.add(r"\Seen")
            parts = [render(item, message, number) for item in items]
            await self._wire.send(b"* %d FETCH (%b)\r\n" % (number, b" ".join(parts)))
        return "OK Done"

    async def _store(self, words: list[bytes], extra: tuple[str, ...] = ()) -> str:
        asked, action, *names = words
        wanted = {_FLAGS.get(name.decode().lower(), "") for name in names} - {""}
        messages = self._messages()
        for number in sequence(asked, len(messages)):
            message = messages[number - 1]
            match action.upper().removesuffix(b".SILENT"):
                case b"+FLAGS":
                    message.flags |= wanted
                case b"-FLAGS":
                    message.flags -= wanted
                case b"FLAGS":
                    message.flags = set(wanted)
                case _:
                    raise BadSyntax
            parts = [render(item, message, number) for item in (*extra, "FLAGS")]
            await self._wire.send(b"* %d FETCH (%b)\r\n" % (number, b" ".join(parts)))
        return "OK Done"

    async def _search(self, words: list[bytes]) -> str:
        if words[:1] == [b"CHARSET"]:
            words = words[2:]
        messages = self._messages()
        match [word.upper() for word in words]:
            case [b"ALL"]:
                found = list(range(1, len(messages) + 1))
            case [b"UNSEEN"]:
                unseen = enumerate(messages, 1)
                found = [number for number, each in unseen if r"\Seen" not in each.flags]
            case [b"UID", asked] | [asked]:
                found = sequence(asked, len(messages))
            case _:
                raise BadSyntax
        await self._untagged(" ".join(["SEARCH", *map(str, found)]))
        return "OK Done"

    async def _close(self, _words: list[bytes]) -> str:
        self._selected = None
        return "OK Done"

    async def _idle(self, _words: list[bytes]) -> str:
        """Tell of each arrival until the client says DONE (RFC 2177)."""
        await self._wire.send(b"+ idling\r\n")
        mailbox = self._selected
        assert mailbox is not None, "IDLE is a command of the selected state"
        done = b""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._tell_while_idle, mailbox)
            done = await self._wire.line()
            nursery.cancel_scope.cancel()
        if done.strip().upper() != b"DONE":
            raise BadSyntax
        return "OK Done"

    async def _tell_while_idle(self, mailbox: Mailbox) -> None:
        while True:
            await mailbox.wait_for_more_than(self._told)
            await self._tell_arrivals(mailbox)

    async def _tell_arrivals(self, mailbox: Mailbox) -> None:
        count = len(mailbox.messages)
        if count > self._told:
            self._told = count
            await self._untagged(f"{count} EXISTS")

    def _messages(self) -> list[Message]:
        assert self._selected is not None, "these are commands of the selected state"
        return self._selected.messages[: self._told]
