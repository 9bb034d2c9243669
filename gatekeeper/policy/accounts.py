"""What is known of each account that has ever logged in: its nets, its passwords, its conduct.

Only a success makes an entry, so strangers cannot fill the table, and what they do to an account
costs its entry a fixed number of octets.

A password that was right is remembered as `MARK_BITS` bits of a hash mixed with the account: enough
to tell nearly every guess from it, too few to find it by trying a dictionary against the memory of
this process (one word in 65,536 fits). It is never stored, and a restart forgets it.
"""

from collections.abc import Iterator
from enum import Enum
from typing import Final

from gatekeeper.policy.distinct import Distinct
from gatekeeper.policy.keys import Place, wide_of

FAMILIAR_S: Final = 30 * 86_400.0
MAX_ACCOUNTS: Final = 100_000  # about 100 MB where as many people log in; nobody else makes entries
MAX_NETS: Final = 32  # of one account
MAX_PASSWORDS: Final = 4  # of one account: app passwords, and the one before a change
MARK_BITS: Final = 16
_MARK_SHIFT: Final = 64 - MARK_BITS
ORDERED_S: Final = 3600.0  # how exactly accounts are in order of their last login
FRESH_S: Final = 6 * 3600.0  # a password right within this time ought to be right still
GUESSES_WINDOW_S: Final = 86_400.0
NEW_NETS_S: Final = 3600.0
MAX_NEW_NETS: Final = 16
DAY_S: Final = 86_400.0
VOTE_EVERY_S: Final = 300.0  # a mail program's poll: one account alone needs days to be a majority
_NO_NET: Final = (0, 0.0, 0)  # (net, first login, recipients since)


class Standing(Enum):
    """How an account knows the place an attempt comes from."""

    FAMILIAR = "familiar"  # it logged in from this /24 or /64
    SEMI = "semi-familiar"  # from its provider's network, or from where many others log in
    STRANGER = "stranger"


class Knowledge(Enum):
    """What is known of a password before the backend is asked."""

    RIGHT = "right"  # it was right the last time
    FORMER = "former"  # it was right, and has failed since: a password was changed
    WRONG = "wrong"  # the account's password is known, and this is another
    UNKNOWN = "unknown"  # nothing is known, or the mechanism does not show it


class _Good:
    """A password that was right."""

    __slots__ = ("failed", "mark", "right_at")

    def __init__(self, mark: int, right_at: float) -> None:
        self.mark = mark
        self.right_at = right_at
        self.failed = False


class Account:
    """One account that has logged in. Instants are the policy's `now`."""

    __slots__ = (
        "credit_day",
        "credits",
        "day_places",
        "guesses",
        "key",
        "lane_until",
        "last_at",
        "name",
        "nets",
        "new_nets",
        "newest_net",
        "ordered_at",
        "passwords",
        "rare_day",
        "rcpt_at",
        "voted_at",
    )

    def __init__(self, key: int) -> None:
        self.key = key
        self.name = ""  # as the last success gave it; in memory only
        self.nets: dict[int, tuple[float, float]] = {}  # (first, last) success
        self.passwords: list[_Good] = []  # the one used last stands last
        self.guesses: Distinct | None = None  # wrong passwords by strangers
        self.lane_until = 0.0
        self.last_at = self.ordered_at = self.voted_at = 0.0
        self.credit_day = self.rare_day = -1
        self.credits = self.day_places = 0
        self.new_nets: list[tuple[float, int]] = []  # (instant, net) never seen before
        self.newest_net = _NO_NET
        self.rcpt_at = (0.0, 0.0)  # theoretical arrival times: burst, day

    def standing(self, place: Place, now: float) -> Standing:
        """How the account knows `place` from its own logins."""
        seen = self.nets.get(place.net)
        if seen is not None and now - seen[1] <= FAMILIAR_S:
            return Standing.FAMILIAR
        for net, (_, last_at) in self.nets.items():
            if wide_of(net) == place.wide and now - last_at <= FAMILIAR_S:
                return Standing.SEMI
        return Standing.STRANGER

    def knowledge(self, pair: int) -> Knowledge:
        """What is known of the password in this pair of account and password."""
        mark = pair >> _MARK_SHIFT
        known = False
        for good in self.passwords:
            if good.mark == mark:
                return Knowledge.FORMER if good.failed else Knowledge.RIGHT
            known = known or not good.failed
        return Knowledge.WRONG if known else Knowledge.UNKNOWN

    @property
    def has_right_password(self) -> bool:
        """Whether a password is known that has not failed since it was right."""
        return any(not good.failed for good in self.passwords)

    def ought_to_be_right(self, pair: int, now: float) -> bool:
        """Whether this password was right a short while ago, whatever came since."""
        mark = pair >> _MARK_SHIFT
        return any(g.mark == mark and now - g.right_at <= FRESH_S for g in self.passwords)

    def was_right(self, pair: int, now: float) -> None:
        """The backend took this password."""
        mark = pair >> _MARK_SHIFT
        for good in self.passwords:
            if good.mark == mark:
                good.right_at = now
                good.failed = False
                return
        self.passwords.append(_Good(mark, now))
        if len(self.passwords) > MAX_PASSWORDS:
            failed = [good for good in self.passwords if good.failed]
            oldest = min(failed or self.passwords, key=lambda good: good.right_at)
            self.passwords.remove(oldest)

    def has_failed(self, pair: int) -> None:
        """The backend refused this password; one that was right is a former one now."""
        mark = pair >> _MARK_SHIFT
        for good in self.passwords:
            if good.mark == mark:
                good.failed = True

    def enter(self, place: Place, now: float) -> None:
        """A success from `place`."""
        self.know_net(place.net, now, now)
        self.last_at = now

    def know_net(self, net: int, first_at: float, last_at: float) -> None:
        """It logged in from `net`, first and last at these instants; what is known of it already
        is not made shorter. Overflow: the net without a login for the longest goes first."""
        first, last = self.nets.get(net, (first_at, last_at))
        self.nets[net] = min(first, first_at), max(last, last_at)
        if len(self.nets) > MAX_NETS:
            del self.nets[min(self.nets, key=lambda net: self.nets[net][1])]

    def is_due(self, net: int, now: float, every_s: float) -> bool:
        """Whether a success from `net` is worth writing down: the first in each `every_s`."""
        seen = self.nets.get(net)
        return seen is None or int(seen[1] / every_s) != int(now / every_s)

    def came_from_new_net(self, net: int, now: float) -> int:
        """A success from a net unlike any before; from how many such within the last hour."""
        self.newest_net = (net, now, 0)
        recent = [each for each in self.new_nets if now - each[0] <= NEW_NETS_S]
        self.new_nets = [*recent[-MAX_NEW_NETS + 1 :], (now, net)]
        return len({each for _, each in self.new_nets})

    def sent_from(self, net: int, now: float, within_s: float) -> int:
        """One more recipient; how many there are within `within_s` of the first login from this
        net, where it is a new one, else 0."""
        newest, since, recipients = self.newest_net
        if net != newest or now - since > within_s:
            return 0
        self.newest_net = (newest, since, recipients + 1)
        return recipients + 1

    def forget_new_nets(self) -> None:
        """What it did from new nets is not held against it any more."""
        self.new_nets.clear()
        self.newest_net = _NO_NET

    def guessed(self, pair: int, now: float) -> int:
        """A stranger's wrong password; how many different ones there are within a day."""
        if self.guesses is None:
            self.guesses = Distinct()
        return self.guesses.add(pair, now, GUESSES_WINDOW_S)

    def guess_count(self, now: float) -> int:
        """How many different passwords strangers tried within a day."""
        return 0 if self.guesses is None else self.guesses.count(now, GUESSES_WINDOW_S)

    def take_credit(self, now: float, most: int) -> bool:
        """Whether a success may still take something off a score today."""
        self._begin_day(now)
        self.credits += 1
        return self.credits <= most

    def take_place(self, now: float, most: int) -> bool:
        """Whether the account may make one more place look inhabited today."""
        self._begin_day(now)
        self.day_places += 1
        return self.day_places <= most

    def has_vote(self, now: float) -> bool:
        """Whether this login counts in what is learnt of all good ones: one in each `VOTE_EVERY_S`,
        so that one account does not speak for everybody."""
        if now - self.voted_at < VOTE_EVERY_S:
            return False
        self.voted_at = now
        return True

    def is_first_rare(self, now: float) -> bool:
        """Whether this is the first unfamiliar login of the day: an account has one vote a day on
        how rare such logins are."""
        day = int(now / DAY_S)
        first, self.rare_day = day != self.rare_day, day
        return first

    def _begin_day(self, now: float) -> None:
        day = int(now / DAY_S)
        if day != self.credit_day:
            self.credit_day, self.credits, self.day_places = day, 0, 0


class Accounts:
    """All accounts by key. Overflow: the one without a login for the longest goes first."""

    __slots__ = ("_accounts", "_capacity")

    def __init__(self, capacity: int = MAX_ACCOUNTS) -> None:
        self._accounts: dict[int, Account] = {}
        self._capacity = capacity

    def __len__(self) -> int:
        return len(self._accounts)

    def get(self, key: int) -> Account | None:
        """The account, None where it never logged in."""
        return self._accounts.get(key)

    def touch(self, key: int, now: float) -> tuple[Account, bool]:
        """The account for a success of its, made where it is new; whether it was."""
        account = self._accounts.get(key)
        if account is not None:
            if now - account.ordered_at > ORDERED_S:
                account.ordered_at = now
                del self._accounts[key]
                self._accounts[key] = account  # last in order
            return account, False
        if len(self._accounts) >= self._capacity:
            del self._accounts[next(iter(self._accounts))]
        account = self._accounts[key] = Account(key)
        account.ordered_at = now
        return account, True

    def __iter__(self) -> Iterator[Account]:
        """All of them, longest without a login first."""
        return iter(self._accounts.values())
