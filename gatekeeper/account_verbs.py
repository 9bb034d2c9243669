"""Verbs of the control socket about accounts: list, show, lock, unlock, and seeding familiar nets.

An account is named as people log in; the case does not count. Where only its key is known, because
it has not logged in since the start, it is shown as `#` and 16 hexadecimal digits.
"""

from collections.abc import Iterator, Mapping
from typing import Final, Protocol

from gatekeeper.control_words import Arguments, Code, Pieces, Refusal, Verb, listing, whole
from gatekeeper.guard import Guard
from gatekeeper.policy.accounts import FAMILIAR_S, Account
from gatekeeper.policy.keys import familiar_net, net_key, net_prefix
from gatekeeper.policy.recollection import recall
from gatekeeper.prefix import entity
from gatekeeper.remembered import AccountLock, FamiliarPair, LockKind
from gatekeeper.sessions import End

MAX_FAMILIAR_ROWS: Final = 500  # per request, which has a bound of its own
MAX_NAME_OCTETS: Final = 1024  # as much as a login may have
MAX_NOTE_CHARACTERS: Final = 200
MAX_NAMES: Final = 10_000  # locked by name before their first login

Row = dict[str, object]


class Sessions(Protocol):
    """What is needed of the table of sessions."""

    def end_account(self, authcid: str, end: End) -> int:
        """End the sessions of an account; the count."""
        ...


class AccountVerbs:
    """The verbs, over a guard's memory."""

    def __init__(self, guard: Guard, sessions: Sessions) -> None:
        self._guard = guard
        self._logins = guard.evidence.logins
        self._sessions = sessions
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
        return listing("accounts", self._rows(everybody=everybody), {})

    def _rows(self, *, everybody: bool) -> Iterator[Row]:
        now = self._guard.now
        locks: dict[int, list[AccountLock]] = {}
        for lock in self._logins.locks.in_force(now):
            locks.setdefault(lock.account, []).append(lock)
        for account in list(self._logins.accounts):
            attacked = account.guess_count(now) >= self._logins.settings.attacked_guesses
            if everybody or attacked or account.lane_until > now or account.key in locks:
                yield self._row(account.key, account, locks.pop(account.key, []), now)
        for key, rest in locks.items():
            yield self._row(key, None, rest, now)

    def _row(self, key: int, account: Account | None, locks: list[AccountLock], now: float) -> Row:
        lane = account is not None and account.lane_until > now
        return {
            "account": self.name_of(key),
            "locks": [lock.kind.value for lock in locks] + [LockKind.LANE.value] * lane,
            "until": max((lock.until or 0.0 for lock in locks), default=None),
            "note": "; ".join(lock.note for lock in locks if lock.note),
            "guesses": 0 if account is None else account.guess_count(now),
            "nets": 0 if account is None else len(account.nets),
            "last_at": None if account is None else round(account.last_at, 3),
        }

    async def _do_show(self, arguments: Arguments) -> Pieces:
        name = _name(arguments)
        arguments.done()
        key = self._logins.account_key(name)
        known = self._logins.accounts.get(key)
        locks = self.locks_of(key)
        if known is None and not locks:
            raise Refusal(Code.NOT_FOUND, f"{name} has not logged in and is not locked")
        return whole({"account": self.describe(key)})

    async def _do_lock(self, arguments: Arguments) -> Pieces:
        """Refuse every login of an account and end its sessions."""
        name = _name(arguments)
        seconds = arguments.seconds("seconds")
        note = arguments.text("note", "")[:MAX_NOTE_CHARACTERS]
        arguments.done()
        key, now = self._logins.account_key(name), self._guard.now
        if len(self._names) >= MAX_NAMES:
            self._names.clear()
        self._names[key] = name
        until = None if seconds is None else now + seconds
        self._logins.lock(AccountLock(key, LockKind.OPERATOR, now, until, _storable(note)))
        ended = self._sessions.end_account(name, End.LOCKED)
        known = self._logins.accounts.get(key) is not None
        return whole({"account": name, "ended": ended, "known": known})

    async def _do_unlock(self, arguments: Arguments) -> Pieces:
        """Take every lock off, and forget what led to it."""
        name = _name(arguments)
        arguments.done()
        key = self._logins.account_key(name)
        lifted = [kind.value for kind in LockKind if self._logins.unlock(key, kind)]
        if not lifted:
            raise Refusal(Code.NOT_FOUND, f"{name} is not locked")
        return whole({"account": name, "lifted": lifted})

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
            case [str() as name, str() as address, (int() | float()) as at]:
                if not name or now - at > FAMILIAR_S:
                    return None
                net = familiar_net(entity(address))
                return FamiliarPair(self._logins.account_key(name), net, float(at), float(at))
            case _:
                raise Refusal(Code.BAD_REQUEST, "a row is an account, an address and an instant")

    # -- for `explain` too ------------------------------------------------------------------

    def name_of(self, key: int) -> str:
        """An account's name, or `#` and its key where it is not known."""
        account = self._logins.accounts.get(key)
        name = "" if account is None else account.name
        return name or self._names.get(key, f"#{key:016x}")

    def locks_of(self, key: int) -> list[AccountLock]:
        """The locks of an account in force."""
        now = self._guard.now
        found = (self._logins.locks.find(key, kind, now) for kind in LockKind)
        return [lock for lock in found if lock is not None]

    def describe(self, key: int) -> Row:
        """All that is known of an account."""
        now, account = self._guard.now, self._logins.accounts.get(key)
        row = self._row(key, account, self.locks_of(key), now)
        row["attacked_at"] = self._logins.settings.attacked_guesses
        row["lane_locked_until"] = (
            account.lane_until if account is not None and account.lane_until > now else None
        )
        nets = {} if account is None else account.nets
        row["familiar"] = [
            {"net": str(net_prefix(net)), "first_at": round(first, 3), "last_at": round(last, 3)}
            for net, (first, last) in sorted(nets.items(), key=lambda item: -item[1][1])
        ]
        return row


def _name(arguments: Arguments) -> str:
    name = arguments.text("account")
    if len(name.encode("utf-8", "surrogatepass")) > MAX_NAME_OCTETS:
        raise Refusal(Code.BAD_REQUEST, f"an account has at most {MAX_NAME_OCTETS} octets")
    return name


def _storable(note: str) -> str:
    return note.encode("utf-8", "replace").decode()
