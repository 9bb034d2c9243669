"""What logins teach: everything counted about credentials, and the Facts made of it.

Theory of operation. An attempt is looked at before the backend sees it (`facts`). Then one of three
things happens to it, and each is told here once:

* it was refused by a Rule (`refused`): it counts as a guess as far as it surely is one;
* the backend refused it (`failed`): it counts, but for passwords that were right before, repeated
  ones and outages;
* the backend took it (`succeeded`): the account knows this place and password from now on.

Tables that strangers fill (scores, pairs, comebacks) are apart from those that only a success can
fill (accounts, places), so a flood of guesses pushes out guesses.

`now` is Unix time that never goes back. Nothing here is ever asked about a banned client.
"""

from typing import Final, NamedTuple

from gatekeeper.ban import Scope
from gatekeeper.events import AuthAttempt
from gatekeeper.policy.accounts import Account, Accounts, Knowledge, Standing
from gatekeeper.policy.allowances import Allowances, Doubt, pool_of
from gatekeeper.policy.changes import MIN_SCORE, SAVED_EVERY_S, Changes
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
from gatekeeper.policy.weights import guess_weight
from gatekeeper.remembered import AccountLock, LockKind
from gatekeeper.settings import PolicySettings

MAX_NAME_CHARACTERS: Final = 256  # of an account, as it is shown
SUCCESS_CREDIT: Final = 3.0
CREDITS_A_DAY: Final = 2  # of one account, so that a valid mailbox cannot wash guesses away
PLACES_A_DAY: Final = 64
MAYBE: Final = 0.5  # the weight of a credential that may be right after all
MAX_HOMES: Final = 20_000  # sources, and accounts, with wrong passwords from where one is at home
_COMPARABLE: Final = frozenset({"PLAIN", "LOGIN"})  # tokens are new each time


class Credential(NamedTuple):
    """An attempt in keys. `password` is None where the mechanism does not show it."""

    account: int
    password: int | None
    comparable: bool  # a right one can be known again
    pair: int  # account and password


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
        self._account_secret = account_secret
        self._password_secret = password_secret
        self._bad_pairs = BadPairs(settings.repeat_window_s)
        self._askings = Askings()
        self._sprays = SpraySketch(int.from_bytes(password_secret[:8], "big"))
        self._homes: RateTable[int] = RateTable(
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

    # -- keys -------------------------------------------------------------------------------

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
        knowledge, replaced, standing = Knowledge.UNKNOWN, False, Standing.STRANGER
        if account is not None:
            standing = account.standing(place, now)
            if credential.comparable:
                knowledge = account.knowledge(credential.pair)
                replaced = knowledge is Knowledge.FORMER and account.has_right_password
        trap = credential.account in self.traps
        locked = self.locks.find(credential.account, LockKind.OPERATOR, now) is not None
        refused_ago_s = None
        if credential.password is not None:
            refused_ago_s = self._bad_pairs.ago_s(credential.pair, now)
        at_home = standing is Standing.FAMILIAR and knowledge is Knowledge.RIGHT
        if at_home and not (trap or locked or refused_ago_s is not None):
            return _AT_HOME  # most logins: nothing else is asked of them
        neighbourhood = self.neighbourhood
        if standing is Standing.STRANGER and neighbourhood.is_crowd(place, now):
            standing = Standing.SEMI
        sprayed = self._sprayed(credential, now)
        guesses = 0 if account is None else account.guess_count(now)
        clear = sprayed or not neighbourhood.is_clean(place, now)
        doubt = Doubt.CLEAR if clear else Doubt.SLIGHT if guesses else Doubt.NONE
        asked_ago_s = self._askings.ago_s(credential.pair, place, now)
        if knowledge is Knowledge.RIGHT:
            asked_ago_s = self._askings.right_ago_s(credential.pair, place, doubt, now)
        homes = _home_keys(credential, place)
        known, repeated = account is not None, refused_ago_s is not None
        pool = pool_of(knowledge, asked_ago_s, known=known, repeated=repeated)
        return LoginFacts(
            standing=standing,
            knowledge=knowledge,
            account_known=known,
            learned=self._learned(account, knowledge),
            trap=trap,
            locked=locked,
            refused_ago_s=refused_ago_s,
            replaced=replaced,
            repeated=repeated,
            asked_ago_s=asked_ago_s,
            sprayed=sprayed,
            attacked=guesses >= self._settings.attacked_guesses,
            lane_locked=account is not None and account.lane_until > now,
            level_high=self.level.high(now),
            network_suspect=neighbourhood.network_share(place, now) >= 1.0,
            guessing_at_home=not all(self._homes.allows(home, now) for home in homes),
            proof_left=self.allowances.proof_left(credential.account, pool, now),
            patience_left=self.allowances.patience_left(doubt),
        )

    # -- what became of it ------------------------------------------------------------------

    def let_through(self, credential: Credential, facts: LoginFacts, now: float) -> None:
        """A doubtful credential was let through on the allowance for such."""
        if facts.asked_ago_s is None or facts.knowledge is Knowledge.RIGHT:
            return
        pool = pool_of(
            facts.knowledge,
            facts.asked_ago_s,
            known=facts.account_known,
            repeated=facts.repeated,
        )
        self.allowances.use_proof(credential.account, pool, now)

    def refused(
        self,
        credential: Credential,
        place: Place,
        facts: LoginFacts,
        now: float,
        *,
        trapped: bool = False,
    ) -> float:
        """A Rule refused it without the backend, `trapped` the one on trap accounts; what it adds
        to the address's score."""
        if facts.knowledge is Knowledge.RIGHT:
            self._askings.ask_right(credential.pair, place, now)
            self.allowances.spend_patience(again=facts.asked_ago_s is not None)
            return 0.0
        self._askings.ask(credential.pair, place, now)
        if facts.repeated or facts.asked_ago_s is not None or self.outages.outage(now):
            return 0.0
        sure = facts.knowledge is Knowledge.WRONG or facts.trap
        share = 1.0 if sure else MAYBE
        return self._count(credential, place, facts, share, now, trapped=trapped)

    def unavailable(self, now: float) -> None:
        """The backend could not tell."""
        self.outages.unavailable(now)

    def failed(self, credential: Credential, place: Place, facts: LoginFacts, now: float) -> float:
        """The backend refused it; what it adds to the address's score."""
        self.outages.answered()
        account = self.accounts.get(credential.account)
        if account is not None and self._ought_to_be_right(account, credential, facts, now):
            self.outages.note(account.key, success=False, now=now)
        if self.outages.outage(now):
            self._bad_pairs.clear()
            return 0.0
        if credential.password is not None:
            self._bad_pairs.add(credential.pair, now)
            if account is not None:
                account.has_failed(credential.pair)
        if facts.repeated:
            return 0.0
        return self._count(credential, place, facts, 1.0, now)

    def succeeded(
        self, credential: Credential, place: Place, facts: LoginFacts, name: str, now: float
    ) -> AccountLock | None:
        """The backend took it. The lock the account gets for how it roams, if it gets one."""
        account, new = self.accounts.touch(credential.account, now)
        account.name = name[:MAX_NAME_CHARACTERS]
        self.outages.answered()
        self.outages.note(account.key, success=True, now=now)
        self._bad_pairs.discard(credential.pair)
        if credential.comparable and credential.password is not None:
            account.was_right(credential.pair, now)
        self.allowances.earn_patience(self._settings.asked_back_ppm / 1e6)
        stranger = facts.standing is Standing.STRANGER
        self._learn(account, now, new=new, stranger=stranger)
        if stranger:
            self.level.logged_in(now)
        if account.take_credit(now, CREDITS_A_DAY):
            self.neighbourhood.scores.sources.take_off(place.source, SUCCESS_CREDIT, now)
        lock = self._roams(account, place, now) if stranger and not new else None
        if account.is_due(place.net, now, SAVED_EVERY_S):
            self.changes.pair(account.key, place.net)
        account.enter(place, now)
        if facts.standing is Standing.FAMILIAR or account.take_place(now, PLACES_A_DAY):
            self.neighbourhood.enter(place, account.key, now)
        return lock

    # -- the parts --------------------------------------------------------------------------

    def _count(
        self,
        credential: Credential,
        place: Place,
        facts: LoginFacts,
        share: float,
        now: float,
        *,
        trapped: bool = False,
    ) -> float:
        """Hold a guess against all it was made by and at; what it adds to the address's score."""
        if facts.knowledge is Knowledge.RIGHT or facts.knowledge is Knowledge.FORMER:
            return 0.0
        sources = self.neighbourhood.scores.sources
        at_home = self.neighbourhood.accounts(place, now)
        weight = share * guess_weight(
            facts,
            newcomers_learned=self.newcomers.learned,
            accounts_failed=sources.different(place.source, credential.account) / (1 + at_home),
            settings=self._settings,
            trapped=trapped,
        )
        if weight > 0:
            after = sources.add(place.source, weight, now)
            sources.mark(place.source, credential.account)
            if after >= MIN_SCORE:
                self.changes.score(Scope.AUTH, place.source, parent=False)
        if facts.standing is Standing.FAMILIAR:
            for key in _home_keys(credential, place):
                self._homes.use(key, now)
        else:
            self._count_stranger(credential, place, facts, share, now)
        return weight

    def _count_stranger(
        self, credential: Credential, place: Place, facts: LoginFacts, share: float, now: float
    ) -> None:
        self.neighbourhood.scores.add_to_networks(place, share, now)
        for parent in place.parents:
            if self.neighbourhood.scores.networks.value(parent, now) >= MIN_SCORE:
                self.changes.score(Scope.AUTH, parent, parent=True)
        if credential.password is not None:
            self._sprays.add(credential.password, credential.account, now)
        account = self.accounts.get(credential.account)
        counts = facts.knowledge is Knowledge.WRONG or facts.learned
        if counts and not self.neighbourhood.is_crowd(place, now):
            self.level.guessed(share, now)
        if account is None:
            return
        # Where the password is not shown, guesses from different addresses are different ones.
        hidden = credential.password is None
        guess = mixed(place.source, credential.account) if hidden else credential.pair
        if account.guessed(guess, now) >= self._settings.lane_guesses:
            account.lane_until = now + self._settings.lane_lock_s
            self.changes.lock(account.key, LockKind.LANE)

    def _learn(self, account: Account, now: float, *, new: bool, stranger: bool) -> None:
        """How rare newcomers and strangers are among good logins; each account votes for rare once
        a day, and now and then for common."""
        has_vote = account.has_vote(now)
        if has_vote:
            self.newcomers.note(rare=new)
        if stranger and account.is_first_rare(now):
            self.familiarity.note(rare=True)
        elif has_vote and not stranger:
            self.familiarity.note(rare=False)

    def _roams(self, account: Account, place: Place, now: float) -> AccountLock | None:
        nets = account.came_from_new_net(place.net, now)
        if not self.familiarity.learned or nets < self._settings.new_nets_hour:
            return None
        return self.hold(account, "new-networks", now)

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

    def _sprayed(self, credential: Credential, now: float) -> bool:
        if credential.password is None:
            return False
        return self._sprays.accounts(credential.password, now) >= self._settings.sprayed_accounts

    @staticmethod
    def _ought_to_be_right(
        account: Account, credential: Credential, facts: LoginFacts, now: float
    ) -> bool:
        if credential.comparable and credential.password is not None:
            return account.ought_to_be_right(credential.pair, now)
        return facts.standing is Standing.FAMILIAR and not facts.repeated


def _home_keys(credential: Credential, place: Place) -> tuple[int, int]:
    """Under which guesses from where an account is at home are counted: the address, and the
    account in this net, whose other addresses a guesser may have as well."""
    return place.source, mixed(credential.account, place.net)


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
