"""One list of the tree: a file with one entry a line, or a directory with one file an entry.

Nothing below a list is opened and no entry is ever used as a path, so what an entry is called,
and what a link among them points to, does no harm. Lists are opened without waiting: no FIFO is
read.

A list is read by a thread beside the sessions. Python runs one thread at a time and hands over
after 5 ms; `pace` gives way much sooner.
"""

import os
import stat
import time
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from gatekeeper.policy.domains import BELOW, EVERYBODY
from gatekeeper.policy.mailboxes import (
    canonical_domain,
    canonical_local,
    listable,
    read_mailbox,
)
from gatekeeper.policy.name_set import NameSet, name_key
from gatekeeper.policy.prefix_set import PrefixSet
from gatekeeper.prefix import Prefix

MAX_NAMES: Final = 2_000_000  # of one list: 64 MB, twice what one domain has been asked to hold
MAX_NETWORKS: Final = 100_000  # of `ips`: about 20 MB, for these are kept as they are
MAX_FILE_OCTETS: Final = 128 << 20  # `MAX_NAMES` lines of 64 octets, the longest local part
MAX_LINE_OCTETS: Final = 1024  # a mailbox in UTF-8 with room to spare (RFC 5321 4.5.3.1)
MAX_ODD: Final = 10  # entries that are named, of those that are of no use in one list

_BREATH: Final = 250  # entries: less than a millisecond
_PAUSE_S: Final = 0.0001  # any time at all lets a waiting thread in
_ANYWHERE: Final = "list.invalid"

Entry = Callable[[str, str], str]  # an entry and the list's domain; raises ValueError with why not


class ListUnusable(Exception):
    """A list cannot be used as it is, and why."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A list's place below its domain and what its entries are; `entry` None: networks."""

    path: str
    entry: Entry | None


@dataclass(frozen=True, slots=True)
class Contents:
    """What a list says, and which of its entries were passed over: where, and why."""

    names: NameSet
    networks: PrefixSet
    odd: tuple[tuple[str, str], ...] = ()
    files: int = 0  # of a directory

    @property
    def size(self) -> int:
        """Names that are held in memory."""
        return len(self.names)


NOTHING: Final = Contents(NameSet(), PrefixSet())


def pace(count: int) -> None:
    """Give way to other threads now and then; `count` is how many entries there were."""
    if count % _BREATH == 0:
        time.sleep(_PAUSE_S)


def read_list(path: str, kind: Kind, domain: str) -> Contents:
    """All of a list. Takes about a second for each million entries.

    Raises `ListUnusable`, or `OSError` where it cannot be read.
    """
    odd: list[tuple[str, str]] = []
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(fd)
        if stat.S_ISDIR(status.st_mode):
            found = _directory(fd)
        elif not stat.S_ISREG(status.st_mode):
            raise ListUnusable("neither a file nor a directory")
        elif status.st_size > MAX_FILE_OCTETS:
            raise ListUnusable(f"{status.st_size} octets: {MAX_FILE_OCTETS} at most")
        else:
            found = _lines(fd)
        if kind.entry is None:
            networks = PrefixSet(_networks(found, odd))
            return Contents(NOTHING.names, networks, tuple(odd[:MAX_ODD]))
        keys = array("Q", _keys(found, kind.entry, domain, odd))
    finally:
        os.close(fd)
    names = NameSet(_paced(keys), len(keys))
    files = len(keys) if stat.S_ISDIR(status.st_mode) else 0
    return Contents(names, NOTHING.networks, tuple(odd[:MAX_ODD]), files)


# -- where entries come from ------------------------------------------------------------------


def _directory(fd: int) -> Iterator[tuple[str, str]]:
    """The names in a directory, whatever they are names of; hidden ones are editors' and tools'."""
    with os.scandir(fd) as entries:
        for entry in entries:
            if not entry.name.startswith("."):
                yield entry.name, entry.name


def _lines(fd: int) -> Iterator[tuple[str, str]]:
    """The lines of a file and where they stand, without blank ones and comments."""
    with open(fd, "rb", closefd=False) as file:
        number = octets = 0
        while line := file.readline(MAX_LINE_OCTETS + 1):
            number, octets = number + 1, octets + len(line)
            if len(line) > MAX_LINE_OCTETS:
                raise ListUnusable(f"line {number} has more than {MAX_LINE_OCTETS} octets")
            if octets > MAX_FILE_OCTETS:
                raise ListUnusable(f"it grows beyond {MAX_FILE_OCTETS} octets")
            text = line.strip().decode("utf-8", "surrogateescape")
            if text and not text.startswith("#"):
                yield f"line {number}", text


# -- what they become -------------------------------------------------------------------------


def _keys(
    found: Iterator[tuple[str, str]], entry: Entry, domain: str, odd: list[tuple[str, str]]
) -> Iterator[int]:
    for count, (where, text) in enumerate(found, 1):
        if count > MAX_NAMES:
            raise ListUnusable(f"more than {MAX_NAMES} entries")
        pace(count)
        try:
            yield name_key(entry(text, domain))
        except ValueError as error:
            if len(odd) < MAX_ODD:
                odd.append((where, str(error)))


def _networks(found: Iterator[tuple[str, str]], odd: list[tuple[str, str]]) -> Iterator[Prefix]:
    for count, (where, text) in enumerate(found, 1):
        if count > MAX_NETWORKS:
            raise ListUnusable(f"more than {MAX_NETWORKS} networks")
        pace(count)
        try:
            yield Prefix.parse(text)
        except ValueError:
            if len(odd) < MAX_ODD:
                odd.append((where, "not an address or a network"))


def _paced(keys: "array[int]") -> Iterator[int]:
    for count, key in enumerate(keys, 1):
        pace(count)
        yield key


def _user(text: str, _domain: str) -> str:
    if text == EVERYBODY:
        return text
    quoted = read_mailbox(f"{text}@{_ANYWHERE}") if text.startswith('"') else None
    if "@" in text and quoted is None:
        raise ValueError("a user is what stands before the @")
    name = canonical_local(text) if quoted is None else quoted.local
    if not listable(name):
        raise ValueError("not a name of a user")
    return name


def _mailbox(text: str, _domain: str) -> str:
    mailbox = read_mailbox(text)
    if mailbox is None or not listable(mailbox.local):
        raise ValueError("not an address of mail")
    return str(mailbox)


def _recipient(text: str, domain: str) -> str:
    """A mailbox; what stands before the @ is enough below a domain."""
    return _mailbox(text if "@" in text or not domain else f"{text}@{domain}", domain)


def _domain(text: str, _domain: str) -> str:
    mark = BELOW if text.startswith(BELOW) else ""
    name = canonical_domain(text.removeprefix(mark))
    if not name or "@" in name:
        raise ValueError("not a domain")
    return mark + name


def _end_of_name(text: str, _domain: str) -> str:
    return _domain_of_end(text.removeprefix("*").removeprefix("."))


def _domain_of_end(text: str) -> str:
    name = canonical_domain(text)
    if not name or "@" in name or name.startswith("*"):
        raise ValueError("not the end of a host's name")
    return name


USERS_VALID: Final = Kind("users/valid", _user)
USERS_INVALID: Final = Kind("users/invalid", _user)
WHITE_SENDERS: Final = Kind("whitelisted/senders", _mailbox)
WHITE_RECIPIENTS: Final = Kind("whitelisted/recipients", _recipient)
WHITE_DOMAINS: Final = Kind("whitelisted/domains", _domain)
WHITE_IPS: Final = Kind("whitelisted/ips", None)
BLACK_SENDERS: Final = Kind("blacklisted/senders", _mailbox)
BLACK_DOMAINS: Final = Kind("blacklisted/domains", _domain)
BLACK_TLD: Final = Kind("blacklisted/tld", _end_of_name)
BLACK_IPS: Final = Kind("blacklisted/ips", None)
KINDS: Final = (
    USERS_VALID,
    USERS_INVALID,
    WHITE_SENDERS,
    WHITE_RECIPIENTS,
    WHITE_DOMAINS,
    WHITE_IPS,
    BLACK_SENDERS,
    BLACK_DOMAINS,
    BLACK_TLD,
    BLACK_IPS,
)
