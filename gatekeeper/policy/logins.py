"""What is known of logins: the tables, and the Facts made of them before a backend is asked.

Tables that strangers fill (scores, pairs, askings) are apart from those that only a success can
fill (accounts, places), so a flood of guesses pushes out guesses. `policy.lessons` fills them.

`now` is Unix time that never goes back. Nothing here is ever asked about a banned client.
"""

from typing import Final, NamedTuple

from gatekeeper.events import AuthAttempt
from gatekeeper.policy.accounts import Account, Accounts, Knowledge, Standing
from gatekeeper.policy.allowances import Allowances, Doubt, pool_of
from gatekeeper.policy.changes import Changes
from gatekeeper.policy.facts import LoginFacts
from gatekeeper.policy.keys import Place, account_key, mixed, password_key
from gatekeeper.policy.levels import (
    FAMILIARITY,
    NEWCOMERS,
    AttackLevel,
    Learning,
    OutageWatch,
)
from gatekeeper.policy.locks import Locks
from gatekeeper.policy.neighbourhood import Neighbourhood
from gatekeeper.policy.pairs import Askings, BadPairs
from gatekeeper.policy.rates import Rate, RateTable
from gatekeeper.policy.spraying import SpraySketch
from gatekeeper.remembered import AccountLock, LockKind
from gatekeeper.settings import PolicySettings

PACE: Final = Rate(8, 75.0)  # guesses of one address; who is slower needs no kernel to stop him
MAX_PACED: Final = 20_000  # about 3 MB
MAX_HOMES: Final = 20_000  # sources, and accounts, with wrong passwords from where one is at home
_COMPARABLE: Final = frozenset({"PLAIN", "LOGIN"})  # tokens are new each time


class Credential(NamedTuple):
    """An attempt in keys. `password` is None where the mechanism does not show it."""

    account: int
    password: int | None
    comparable: bool  # a right one can be known again
    pair: int  # account and password


def home_keys(credential: Credential, place: Place) -> tuple[int, int]:
    """Under which guesses from where an account is at home are counted: the address, and the
    account in this net, whose other addresses a guesser may have as well."""
    return place.source, mixed(credential.account, place.net)


class Logins:
    """All that is known of logins. `settings` may be replaced at any time."""

    def __init__(
        self, settings: PolicySettings, *, account_secret: bytes, password_secret: bytes
    ) -> None:
        """`account_secret` is kept over restarts, `password_secret` is made anew at each start;
        both have at most 64 octets."""
        self._settings = settings
        self.traps: frozenset[int] = frozenset()
        self.accounts = Accounts()
        self.locks = Locks()
        self.neighbourhood = Neighbourhood(settings)
        self.allowances = Allowances()
        self.level = AttackLevel()
        self.familiarity = Learning(FAMILIARITY)
        self.newcomers = Learning(NEWCOMERS)
        self.outages = OutageWatch()
        self.changes = Changes()
        self.besieged: AccountLock | None = (
            None  # what the last guess began; whoever tells takes it
        )
        self._account_secret = account_secret
        self._password_secret = password_secret
        self.bad_pairs = BadPairs(settings.repeat_window_s)
        self.askings = Askings()
        self.sprays = SpraySketch(int.from_bytes(password_secret[:8], "big"))
        self.pace: RateTable[int] = RateTable(PACE, MAX_PACED)
        self.homes: RateTable[int] = RateTable(
            Rate(settings.familiar_guesses_hour, 3600.0 / settings.familiar_guesses_hour), MAX_HOMES
        )

    @property
    def settings(self) -> PolicySettings:
        """The numbers in force."""
        return self._settings

    @settings.setter
    def settings(self, settings: PolicySettings) -> None:
        """Judge by these numbers from now on."""
        self._settings = self.neighbourhood.settings = settings

    def account_key(self, authcid: str) -> int:
        """The key of an account's name."""
        return account_key(authcid, self._account_secret)

    def credential(self, attempt: AuthAttempt) -> Credential:
        """The keys of an attempt."""
        account = self.account_key(attempt.authcid)
        if attempt.secret is None:
            return Credential(account, None, False, account)
        password = password_key(attempt.secret, self._password_secret)
        comparable = attempt.mechanism in _COMPARABLE
        return Credential(account, password, comparable, mixed(password, account))

    # -- facts ------------------------------------------------------------------------------

    def facts(self, credential: Credential, place: Place, now: float) -> LoginFacts:
        """What is known of an attempt, before it is counted."""
        account = self.accounts.get(credential.account)
        standing = Standing.STRANGER if account is None else account.standing(place, now)
        knowledge = _knowledge(account, credential)
        trap = credential.account in self.traps
        locked = self.locks.find(credential.account, LockKind.OPERATOR, now) is not None
        hidden = credential.password is None
        refused_ago_s = None if hidden else self.bad_pairs.ago_s(credential.pair, now)
        at_home = standing is Standing.FAMILIAR and knowledge is Knowledge.RIGHT
        if at_home and not (trap or locked or refused_ago_s is not None):
            return _AT_HOME  # most logins: nothing else is asked of them
        neighbourhood = self.neighbourhood
        if standing is Standing.STRANGER and neighbourhood.is_crowd(place, now):
            standing = Standing.SEMI
        sprayed = self._sprayed(credential, now)
        guesses = 0 if account is None else account.guess_count(now)
        known, repeated = account is not None, refused_ago_s is not None
        proof_left = patience_left = True  # where nothing hangs on them they are not looked up
        if knowledge is Knowledge.RIGHT:
            doubt = self._doubt(place, now, sprayed=sprayed, guesses=guesses)
            asked_ago_s = self.askings.right_ago_s(credential.pair, place, doubt, now)
            patience_left = self.allowances.patience_left(doubt)
        else:
            asked_ago_s = self.askings.ago_s(credential.pair, place, now)
            if asked_ago_s is not None:
                pool = pool_of(knowledge, asked_ago_s, known=known, repeated=repeated)
                proof_left = self.allowances.proof_left(credential.account, pool, now)
        return LoginFacts(
            standing=standing,
            knowledge=knowledge,
            account_known=known,
            learned=self._learned(account, knowledge),
            trap=trap,
            locked=locked,
            refused_ago_s=refused_ago_s,
            replaced=account is not None
            and knowledge is Knowledge.FORMER
            and account.has_right_password,
            repeated=repeated,
            asked_ago_s=asked_ago_s,
            sprayed=sprayed,
            attacked=guesses >= self._settings.attacked_guesses,
            lane_locked=account is not None and account.lane_until > now,
            level_high=self.level.high(now),
            network_suspect=neighbourhood.network_share(place, now) >= 1.0,
            guessing_at_home=not self._home_left(credential, place, standing, now),
            proof_left=proof_left,
            patience_left=patience_left,
        )

    def hold(self, account: Account, note: str, now: float) -> AccountLock | None:
        """Keep an account from sending; the lock, None where it was held already."""
        if self.locks.find(account.key, LockKind.HELD, now) is not None:
            return None
        until = now + self._settings.account_hold_s
        lock = AccountLock(account.key, LockKind.HELD, now, until, note)
        self.lock(lock)
        return lock

    def lock(self, lock: AccountLock) -> None:
        """Keep an account back."""
        self.locks.put(lock)
        self.changes.lock(lock.account, lock.kind)

    def unlock(self, account: int, kind: LockKind) -> bool:
        """Take a lock away and forget what led to it; whether there was one."""
        known = self.accounts.get(account)
        if kind is LockKind.LANE:
            found = known is not None and known.lane_until > 0
            if known is not None:
                known.lane_until, known.guesses = 0.0, None
        else:
            found = self.locks.take(account, kind) is not None
            if known is not None:
                known.forget_new_nets()
        if found:
            self.changes.lock(account, kind)
        return found

    def _learned(self, account: Account | None, knowledge: Knowledge) -> bool:
        if knowledge is Knowledge.WRONG:
            return True  # whoever the account is at home with, this is not its password
        return (self.newcomers if account is None else self.familiarity).learned

    def _doubt(self, place: Place, now: float, *, sprayed: bool, guesses: int) -> Doubt:
        """What speaks against a right password besides the times."""
        if sprayed or not self.neighbourhood.is_clean(place, now):
            return Doubt.CLEAR
        return Doubt.SLIGHT if guesses else Doubt.NONE

    def _home_left(
        self, credential: Credential, place: Place, standing: Standing, now: float
    ) -> bool:
        """Whether one more wrong password may come from where its account is at home."""
        if standing is not Standing.FAMILIAR:
            return True
        return all(self.homes.allows(home, now) for home in home_keys(credential, place))

    def _sprayed(self, credential: Credential, now: float) -> bool:
        if credential.password is None:
            return False
        return self.sprays.accounts(credential.password, now) >= self._settings.sprayed_accounts


def _knowledge(account: Account | None, credential: Credential) -> Knowledge:
    if account is None or not credential.comparable:
        return Knowledge.UNKNOWN
    return account.knowledge(credential.pair)


_AT_HOME: Final = LoginFacts(
    standing=Standing.FAMILIAR,
    knowledge=Knowledge.RIGHT,
    account_known=True,
    learned=True,
    trap=False,
    locked=False,
    refused_ago_s=None,
    replaced=False,
    repeated=False,
    asked_ago_s=None,
    sprayed=False,
    attacked=False,
    lane_locked=False,
    level_high=False,
    network_suspect=False,
    guessing_at_home=False,
    proof_left=True,
    patience_left=True,
)
