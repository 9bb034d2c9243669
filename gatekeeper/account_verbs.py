"""Verbs of the control socket about accounts: list, show, lock, unlock, and seeding familiar nets.

An account is named as people log in; the case does not count. Where only its key is known, because
it has not logged in since the start, it is shown as `#` and 16 hexadecimal digits, and can be named
so too. Instants are Unix time.
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final, Protocol

from gatekeeper.control_words import Arguments, Code, Pieces, Refusal, Verb, listing, whole
from gatekeeper.guard import Guard
from gatekeeper.policy.accounts import FAMILIAR_S, Account
from gatekeeper.policy.keys import familiar_net, net_key, net_prefix
from gatekeeper.policy.recollection import recall
from gatekeeper.prefix import entity
from gatekeeper.remembered import AccountLock, FamiliarPair, LockKind
from gatekeeper.sessions import End
from gatekeeper.settings import Treatment
from gatekeeper.verdict import Reason

MAX_FAMILIAR_ROWS: Final = 500  # per request, which has a bound of its own
MAX_NAME_OCTETS: Final = 1024  # as much as a login may have
MAX_NOTE_CHARACTERS: Final = 200
MAX_NAMES: Final = 10_000  # locked by name before their first login
MAX_INSTANT: Final = 1 << 40  # Unix time; what is beyond it is a slip, or no number one can take
_KEY: Final = re.compile(r"#([0-9a-f]{16})")

Row = dict[str, object]


class Sessions(Protocol):
    """What is needed of the table of sessions."""

    def end_account(self, authcid: str, end: End) -> int:
        """End the sessions of an account; the count."""
        ...


class AccountVerbs:
    """The verbs, over a guard's memory. `clock` gives Unix time: the system's, which people read,
    where the guard's own goes on evenly."""

    def __init__(
        self, guard: Guard, sessions: Sessions, clock: Callable[[], float] = time.time
    ) -> None:
        self._guard = guard
        self._logins = guard.evidence.logins
        self._sessions = sessions
        self._clock = clock
        self._names: dict[int, str] = {}  # as the operator wrote them

    def verbs(self) -> Mapping[str, Verb]:
        """By name."""
        return {
            "account-list": self._do_list,
            "account-show": self._do_show,
            "account-lock": self._do_lock,
            "account-unlock": self._do_unlock,
            "familiar-add": self._do_familiar_add,
        }

    async def _do_list(self, arguments: Arguments) -> Pieces:
        """What is out of the ordinary; with `all` set to "yes" every account that has logged in."""
        everybody = arguments.text("all", "no") == "yes"
        arguments.done()
        now = round(self._clock(), 3)
        extra = {"now": now, "attacked_at": self._logins.settings.attacked_guesses}
        return listing("accounts", self._rows(everybody=everybody), extra)

    def _rows(self, *, everybody: bool) -> Iterator[Row | None]:
        """Accounts that have logged in, then locked ones that have not. Read in pieces, between
        which accounts and locks come and go."""
        locks = self._logins.locks.in_force(self._guard.now)
        locked = [lock.account for lock in locks if self._logins.accounts.get(lock.account) is None]
        for account in list(self._logins.accounts):
            unusual = everybody or self._unusual(account)
            yield self._row(account.key, account) if unusual else None
        for key in dict.fromkeys(locked):
            yield self._row(key, self._logins.accounts.get(key))

    def _unusual(self, account: Account) -> bool:
        return self._attacked(account) or bool(self._locks(account.key, account))

    async def _do_show(self, arguments: Arguments) -> Pieces:
        name = _name(arguments)
        arguments.done()
        key = self.key_of(name)
        if not self.is_known(key):
            raise Refusal(Code.NOT_FOUND, f"{name} has not logged in and is not locked")
        return whole({"account": self.describe(key)})

    async def _do_lock(self, arguments: Arguments) -> Pieces:
        """Refuse every login of an account and end its sessions."""
        name = _name(arguments)
        seconds = arguments.seconds("seconds")
        note = arguments.text("note", "")[:MAX_NOTE_CHARACTERS]
        arguments.done()
        key, now = self.key_of(name), self._guard.now
        if key == self._logins.account_key(name):
            self._keep_name(key, name)
        until = None if seconds is None else now + seconds
        self._logins.lock(AccountLock(key, LockKind.OPERATOR, now, until, _storable(note)))
        ended = self._sessions.end_account(self.name_of(key), End.LOCKED)
        return whole(
            {
                "account": self.name_of(key),
                "known": self._logins.accounts.get(key) is not None,
                "ended": ended,
                "until": None if until is None else self.unix(until),
                "enforced": self._guard.treatment(Reason.ACCOUNT_LOCKED) is Treatment.ENFORCE,
            }
        )

    async def _do_unlock(self, arguments: Arguments) -> Pieces:
        """Take every lock off, and forget what led to it."""
        name = _name(arguments)
        arguments.done()
        key = self.key_of(name)
        account = self._logins.accounts.get(key)
        guesses = 0 if account is None else account.guess_count(self._guard.now)
        lifted = [row["kind"] for row in self._locks(key, account)]
        if not (lifted or guesses):
            raise Refusal(Code.NOT_FOUND, f"{name} is not locked")
        for kind in LockKind:
            self._logins.unlock(key, kind)
        return whole({"account": self.name_of(key), "lifted": lifted, "guesses": guesses})

    async def _do_familiar_add(self, arguments: Arguments) -> Pieces:
        """Take in logins of the past, `[account, address, Unix time]` each."""
        rows = arguments.rows("rows", MAX_FAMILIAR_ROWS)
        arguments.done()
        now = self._guard.now
        pairs = [pair for row in rows if (pair := self._pair(row, now)) is not None]
        recall(self._guard.evidence, pairs, now)
        for pair in pairs:
            self._logins.changes.pair(pair.account, net_key(pair.net))
        return whole({"added": len(pairs)})

    def _pair(self, row: list[object], now: float) -> FamiliarPair | None:
        match row:
            case [str() as name, str() as address, (int() | float()) as at] if _is_instant(at):
                if not name or now - at > FAMILIAR_S:
                    return None
                net = familiar_net(entity(address))
                return FamiliarPair(self._logins.account_key(name), net, float(at), float(at))
            case _:
                raise Refusal(Code.BAD_REQUEST, "a row is an account, an address and an instant")

    # -- for `explain` too ------------------------------------------------------------------

    def key_of(self, name: str) -> int:
        """The key of the account of this name; where nobody is known by it, what is written like a
        key is one."""
        key = self._logins.account_key(name)
        written = _KEY.fullmatch(name)
        return int(written[1], 16) if written and not self.is_known(key) else key

    def name_of(self, key: int) -> str:
        """An account's name, or `#` and its key where it is not known."""
        account = self._logins.accounts.get(key)
        name = "" if account is None else account.name
        return name or self._names.get(key, f"#{key:016x}")

    def is_known(self, key: int) -> bool:
        """Whether the account has logged in or is locked."""
        account = self._logins.accounts.get(key)
        return account is not None or bool(self._locks(key, account))

    def unix(self, at: float) -> float:
        """An instant of the guard's clock, by the system's."""
        return round(at + self._clock() - self._guard.now, 3)

    def describe(self, key: int) -> Row:
        """All that is known of an account. Holds no password and nothing made of one."""
        account = self._logins.accounts.get(key)
        row = self._row(key, account)
        row["now"] = round(self._clock(), 3)
        row["key"] = f"#{key:016x}"
        row["known"] = account is not None
        row["trap"] = key in self._logins.traps
        row["attacked_at"] = self._logins.settings.attacked_guesses
        row["lane_at"] = self._logins.settings.lane_guesses
        nets = {} if account is None else account.nets
        row["familiar"] = [
            {"net": str(net_prefix(net)), "first_at": self.unix(first), "last_at": self.unix(last)}
            for net, (first, last) in sorted(nets.items(), key=lambda item: -item[1][1])
        ]
        return row

    # -- the parts --------------------------------------------------------------------------

    def _keep_name(self, key: int, name: str) -> None:
        """Know a locked account by its name, though nobody may have logged in to it."""
        self._names.pop(key, None)
        if len(self._names) >= MAX_NAMES:
            del self._names[next(iter(self._names))]
        self._names[key] = name

    def _row(self, key: int, account: Account | None) -> Row:
        now = self._guard.now
        return {
            "account": self.name_of(key),
            "locks": self._locks(key, account),
            "attacked": account is not None and self._attacked(account),
            "guesses": 0 if account is None else account.guess_count(now),
            "nets": 0 if account is None else len(account.nets),
            "last_at": None if account is None else self.unix(account.last_at),
        }

    def _attacked(self, account: Account) -> bool:
        guesses = account.guess_count(self._guard.now)
        return guesses >= self._logins.settings.attacked_guesses

    def _locks(self, key: int, account: Account | None) -> list[Row]:
        """The locks in force. Nobody notes since when strangers keep their lane shut."""
        now, find = self._guard.now, self._logins.locks.find
        found = (find(key, kind, now) for kind in LockKind)
        rows = [
            self._lock_row(lock.kind, self.unix(lock.since), lock.until, lock.note)
            for lock in found
            if lock is not None
        ]
        if account is not None and account.lane_until > now:
            rows.append(self._lock_row(LockKind.LANE, None, account.lane_until, ""))
        return rows

    def _lock_row(self, kind: LockKind, since: float | None, until: float | None, note: str) -> Row:
        return {
            "kind": kind.value,
            "since": since,
            "until": None if until is None else self.unix(until),
            "remaining_s": None if until is None else round(until - self._guard.now, 1),
            "note": note,
        }


def _name(arguments: Arguments) -> str:
    name = arguments.text("account")
    if len(name.encode("utf-8", "surrogatepass")) > MAX_NAME_OCTETS:
        raise Refusal(Code.BAD_REQUEST, f"an account has at most {MAX_NAME_OCTETS} octets")
    return name


def _is_instant(at: float) -> bool:
    return abs(at) <= MAX_INSTANT


def _storable(note: str) -> str:
    return note.encode("utf-8", "replace").decode()
