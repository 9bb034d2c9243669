"""The tree as a snapshot, kept up to date look by look.

Theory of operation. A look asks for the status of each place a list can be at, a handful for each
domain, and reads only the lists whose status is another than before. In a running guard a change
is taken when two looks see the same, so that a file that is being written is not taken for a short
list: a user who is missing from it would be refused for good. A list that cannot be read keeps what
it last held; where it never was read it says nothing, and the backend decides.

Links are followed where a list or a domain may be, to no depth of our own: nothing is walked, and
the kernel ends a loop with ELOOP.
"""

import errno
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from gatekeeper.domains_tree.checks import FILES, Checks, read_checks
from gatekeeper.domains_tree.lists import (
    BLACK_DOMAINS,
    BLACK_IPS,
    BLACK_SENDERS,
    BLACK_TLD,
    KINDS,
    NOTHING,
    USERS_INVALID,
    USERS_VALID,
    WHITE_DOMAINS,
    WHITE_IPS,
    WHITE_RECIPIENTS,
    WHITE_SENDERS,
    Contents,
    Kind,
    ListUnusable,
    pace,
    read_list,
)
from gatekeeper.policy.domains import NO_LISTS, DomainLists, Domains, Listed
from gatekeeper.policy.mailboxes import canonical_domain

GLOBAL: Final = "_global_"
MAX_DOMAINS: Final = 10_000  # a look at them takes a second or so
MAX_ENTRIES: Final = 2 * MAX_DOMAINS  # of the root that are looked at
MAX_NAMES_ALL: Final = 5_000_000  # of all lists: 160 MB at most
MAX_TROUBLES: Final = 1_000  # told of one look
UNSETTLED_LOOKS: Final = 12  # a list that changes at each of so many looks is taken as it is
FRESH_S: Final = 2.0  # what was changed so lately may change again within the clock's grain

_CHECKS: Final = "checks"
_PARENTS: Final = {
    parent: tuple(kind for kind in KINDS if kind.path.startswith(f"{parent}/"))
    for parent in ("users", "whitelisted", "blacklisted")
}
_LOOKS_APART: Final = 20  # domains, between two pauses


class Trouble(NamedTuple):
    """A part of the tree that is of no use, and why."""

    path: str
    why: str


class _Stamp(NamedTuple):
    """A place's status, as far as a change shows in it; `error` where it could not be had."""

    error: int = 0
    inode: int = 0
    device: int = 0
    changed_ns: int = 0
    modified_ns: int = 0
    octets: int = 0
    more: tuple["_Stamp", ...] = ()

    @property
    def gone(self) -> bool:
        """Whether there is nothing at that place."""
        return self.error == errno.ENOENT


_ABSENT: Final = _Stamp(errno.ENOENT)


@dataclass(slots=True)
class _Slot:
    """One list, or the checks, of one domain."""

    contents: Contents = NOTHING
    checks: Checks | None = None
    taken: _Stamp | None = _ABSENT  # at which it was read; None: to be read again
    seen: _Stamp = _ABSENT
    waited: int = 0
    troubles: tuple[Trouble, ...] = ()


@dataclass(slots=True)
class _Domain:
    """One directory of the root."""

    directory: str  # a string, since of many domains many paths are made at each look
    name: str  # in its one form, empty for `_global_`
    slots: dict[str, _Slot] = field(default_factory=dict)
    lists: DomainLists = NO_LISTS


class Tree:
    """The tree below `root`. Used by one thread at a time."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.domains = Domains()
        self.troubles: tuple[Trouble, ...] = ()
        self.users = 0  # names in all lists
        self.largest_directory = (0, "")  # files in one list's directory, and its path
        self._known: dict[str, _Domain] = {}  # by the directory's name

    def look(self, *, at_once: bool) -> bool:
        """Read what has changed; whether `domains` is another now. `at_once` takes changes as they
        are, without a second look. Never raises for what is in the tree. While the root itself
        cannot be read everything stays."""
        try:
            names = self._names()
        except OSError as error:
            self.troubles = (Trouble(str(self.root), _reason(error)),)
            return False
        troubles = list(self._find(names))
        changed = False
        for count, domain in enumerate(list(self._known.values()), 1):
            if count % _LOOKS_APART == 0:
                pace(0)
            changed |= self._look_at(domain, at_once=at_once)
            troubles += [one for slot in domain.slots.values() for one in slot.troubles]
        if changed:
            self.domains = self._snapshot()
        self.troubles = tuple(troubles[:MAX_TROUBLES])
        return changed

    def __len__(self) -> int:
        """How many domains there are, `_global_` not counted."""
        return sum(directory != GLOBAL for directory in self._known)

    # -- the root ---------------------------------------------------------------------------

    def _names(self) -> list[str]:
        with os.scandir(self.root) as entries:
            names = (entry.name for entry in entries if not entry.name.startswith("."))
            return sorted(islice(names, MAX_ENTRIES))

    def _find(self, names: list[str]) -> Iterator[Trouble]:
        """Make known the domains that are new. Those that are gone are found out list by list."""
        owners = {domain.name: directory for directory, domain in self._known.items()}
        for name in names:
            why = "" if name in self._known else self._admit(name, owners)
            if why:
                yield Trouble(str(self.root / name), why)

    def _admit(self, directory: str, owners: dict[str, str]) -> str:
        """Make one directory known, or say why it is not."""
        name = "" if directory == GLOBAL else canonical_domain(directory)
        path = self.root / directory
        try:
            is_directory = path.is_dir()
        except OSError as error:
            return _reason(error)
        if not is_directory:
            return _reason_of_link(path) or "no directory: each domain has one"
        if directory != GLOBAL and (not name or " " in name or "@" in name):
            return "not the name of a domain"
        if name in owners:
            return f"the same domain as {owners[name]}, which is taken"
        if len(self._known) >= MAX_DOMAINS:
            return f"more than {MAX_DOMAINS} domains"
        self._known[directory] = _Domain(str(path), name)
        owners[name] = directory
        return ""

    # -- one domain -------------------------------------------------------------------------

    def _look_at(self, domain: _Domain, *, at_once: bool) -> bool:
        """Bring one domain up to date; whether its lists are others now."""
        changed = False
        for parent, kinds in _PARENTS.items():
            above = _stamp(f"{domain.directory}/{parent}")
            if above.gone and not domain.slots:
                continue
            for kind in kinds:
                stamp = above if above.error else _stamp(f"{domain.directory}/{kind.path}")
                changed |= self._follow(domain, kind.path, kind, stamp, at_once=at_once)
        stamp = _checks_stamp(f"{domain.directory}/{_CHECKS}")
        changed |= self._follow(domain, _CHECKS, None, stamp, at_once=at_once)
        if changed:
            domain.lists = _assembled(domain.slots)
        if not domain.slots and _stamp(domain.directory).gone:
            del self._known[os.path.basename(domain.directory)]
            return True
        return changed

    def _follow(
        self, domain: _Domain, path: str, kind: Kind | None, stamp: _Stamp, *, at_once: bool
    ) -> bool:
        """Take one list as it is now, where it has changed; whether it says something else."""
        slot = domain.slots.get(path)
        if slot is None:
            if stamp.gone:
                return False
            slot = domain.slots[path] = _Slot()
        if stamp == slot.taken:
            slot.waited = 0
            return False
        if not at_once and stamp != slot.seen and slot.waited < UNSETTLED_LOOKS:
            slot.seen = stamp
            slot.waited += 1
            return False
        slot.seen, slot.waited = stamp, 0
        if stamp.gone:
            del domain.slots[path]
            return True
        return self._read(domain, slot, path, kind, stamp)

    def _read(
        self, domain: _Domain, slot: _Slot, path: str, kind: Kind | None, stamp: _Stamp
    ) -> bool:
        place = f"{domain.directory}/{path}"
        slot.taken = stamp if _settled(stamp) else None
        try:
            if kind is None:
                slot.checks, odd = read_checks(place)
            else:
                slot.contents = self._bounded(slot, read_list(place, kind, domain.name))
                files = slot.contents.files
                self.largest_directory = max(self.largest_directory, (files, place))
                odd = list(slot.contents.odd)
        except ListUnusable as error:
            slot.troubles = (Trouble(place, str(error)),)
            return False
        except OSError as error:
            slot.taken = None  # rights may change without a change of what is looked at
            slot.troubles = (Trouble(place, _reason(error)),)
            return False
        slot.troubles = tuple(Trouble(place, f"{where}: {why}") for where, why in odd)
        if kind is USERS_VALID and not slot.contents.size and not odd:
            slot.troubles = (Trouble(place, "empty, so it says nothing of anybody"),)
        return True

    def _bounded(self, slot: _Slot, contents: Contents) -> Contents:
        total = self.users - slot.contents.size + contents.size
        if total > MAX_NAMES_ALL:
            raise ListUnusable(f"with it all lists would hold more than {MAX_NAMES_ALL} names")
        self.users = total
        return contents

    # -- the snapshot -----------------------------------------------------------------------

    def _snapshot(self) -> Domains:
        by_name = {one.name: one.lists for one in self._known.values() if one.name}
        everywhere = self._known.get(GLOBAL)
        slots = (slot for domain in self._known.values() for slot in domain.slots.values())
        self.users = sum(slot.contents.size for slot in slots)
        return Domains(by_name, NO_LISTS if everywhere is None else everywhere.lists)


def _assembled(slots: dict[str, _Slot]) -> DomainLists:
    def of(kind: Kind) -> Contents:
        slot = slots.get(kind.path)
        return NOTHING if slot is None else slot.contents

    checks = slots.get(_CHECKS)
    return DomainLists(
        valid=of(USERS_VALID).names,
        invalid=of(USERS_INVALID).names,
        white=Listed(
            senders=of(WHITE_SENDERS).names,
            domains=of(WHITE_DOMAINS).names,
            recipients=of(WHITE_RECIPIENTS).names,
            ips=of(WHITE_IPS).networks,
        ),
        black=Listed(
            senders=of(BLACK_SENDERS).names,
            domains=of(BLACK_DOMAINS).names,
            tld=of(BLACK_TLD).names,
            ips=of(BLACK_IPS).networks,
        ),
        checks=None if checks is None else checks.checks,
    )


def _stamp(path: str) -> _Stamp:
    try:
        status = os.stat(path)
    except OSError as error:
        return _Stamp(error.errno or errno.EIO)
    return _Stamp(
        0,
        status.st_ino,
        status.st_dev,
        status.st_ctime_ns,
        status.st_mtime_ns,
        status.st_size,
    )


def _checks_stamp(directory: str) -> _Stamp:
    """The directory's and, since a word may change in place, those of the files in it."""
    stamp = _stamp(directory)
    if stamp.error:
        return stamp
    return stamp._replace(more=tuple(_stamp(f"{directory}/{name}") for name in FILES))


def _settled(stamp: _Stamp) -> bool:
    """Whether the last change is so long ago that a later one shows."""
    latest = max(one.changed_ns for one in (stamp, *stamp.more))
    return abs(time.time() - latest / 1e9) > FRESH_S


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _reason_of_link(path: Path) -> str:
    """Why a link leads nowhere, where that is why a place is no directory."""
    try:
        os.stat(path)
    except OSError as error:
        return _reason(error)
    return ""
