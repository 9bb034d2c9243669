"""The demo backend's accounts and their messages, in memory.

Nothing is ever expunged, so a message's UID and its sequence number are the same number.
"""

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import trio

MESSAGE_MAX_OCTETS: Final = 10 * 1024 * 1024  # what SIZE announces
MAILBOX_MAX_OCTETS: Final = 64 * 1024 * 1024  # a demo left running must not eat the machine
MAILBOX_MAX_MESSAGES: Final = 1_000


@dataclass(slots=True)
class Message:
    """A message as it was delivered, and the flags IMAP clients put on it."""

    octets: bytes
    received_at: datetime
    flags: set[str] = field(default_factory=set)


class Mailbox:
    """One account's INBOX."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self._octets = 0
        self._arrival = trio.Event()

    def deliver(self, octets: bytes, received_at: datetime) -> bool:
        """Keep a message and wake who waits for it; False where the mailbox is full."""
        full = len(self.messages) >= MAILBOX_MAX_MESSAGES
        if full or self._octets + len(octets) > MAILBOX_MAX_OCTETS:
            return False
        self._octets += len(octets)
        self.messages.append(Message(octets, received_at))
        self._arrival.set()
        self._arrival = trio.Event()
        return True

    async def wait_for_more_than(self, count: int) -> None:
        """Return when there are more than `count` messages."""
        while len(self.messages) <= count:
            await self._arrival.wait()


def _unheard(client: str, user: str) -> None:
    """What is called for a refused login where nobody listens."""


class Accounts:
    """Who may log in, and whose addresses take mail. User names are the mail addresses."""

    def __init__(
        self, passwords: Mapping[str, str], on_refused: Callable[[str, str], None] = _unheard
    ) -> None:
        """`on_refused(client, user)` is called for each wrong name or password."""
        self._on_refused = on_refused
        self._passwords = {user.lower(): word.encode() for user, word in passwords.items()}
        self._mailboxes = {user: Mailbox() for user in self._passwords}

    def mailbox(self, address: str) -> Mailbox | None:
        """The mailbox of a user name or address, None where there is no such account."""
        return self._mailboxes.get(address.lower())

    def login(self, user: str, password: bytes, client: str) -> Mailbox | None:
        """The user's mailbox, None for a wrong name or password; `client` is who asks."""
        expected = self._passwords.get(user.lower())
        if expected is None or not hmac.compare_digest(expected, password):
            self._on_refused(client, user)
            return None
        return self._mailboxes[user.lower()]


def read_plain(response: bytes) -> tuple[str, bytes] | None:
    """User name and password of a decoded SASL PLAIN response (RFC 4616); None where it is none.

    Acting as somebody else (an authzid of another name) is not offered.
    """
    authzid, separator, rest = response.partition(b"\0")
    authcid, second, password = rest.partition(b"\0")
    if not separator or not second or b"\0" in password or authzid not in {b"", authcid}:
        return None
    try:
        return authcid.decode(), password
    except UnicodeDecodeError:
        return None
