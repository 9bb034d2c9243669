"""What logins teach: what became of an attempt, told once, changes what is known (`policy.logins`).

Theory of operation. Of an attempt one of three things becomes:

* a Rule refused it (`refused`): it counts as a guess as far as it surely is one;
* the backend refused it (`failed`): it counts, but for passwords that were right before, repeated
  ones and outages;
* the backend took it (`succeeded`): the account knows this place and password from now on.
"""

from typing import Final

from gatekeeper.ban import Scope
from gatekeeper.policy.accounts import Account, Knowledge, Standing
from gatekeeper.policy.allowances import pool_of
from gatekeeper.policy.changes import MIN_SCORE, SAVED_EVERY_S
from gatekeeper.policy.facts import LoginFacts
from gatekeeper.policy.keys import Place, mixed
from gatekeeper.policy.logins import Credential, Logins, home_keys
from gatekeeper.policy.weights import guess_weight
from gatekeeper.remembered import AccountLock, LockKind

MAX_NAME_CHARACTERS: Final = 256  # of an account, as it is shown
SUCCESS_CREDIT: Final = 3.0
CREDITS_A_DAY: Final = 2  # of one account, so that a valid mailbox cannot wash guesses away
PLACES_A_DAY: Final = 64
MAYBE: Final = 0.5  # the weight of a credential that may be right after all


class Lessons:
    """Changes what `logins` knows."""

    __slots__ = ("_logins",)

    def __init__(self, logins: Logins) -> None:
        self._logins = logins

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
        self._logins.allowances.use_proof(credential.account, pool, now)

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
            self._logins.askings.ask_right(credential.pair, place, now)
            self._logins.allowances.spend_patience(again=facts.asked_ago_s is not None)
            return 0.0
        self._logins.askings.ask(credential.pair, place, now)
        if facts.repeated or facts.asked_ago_s is not None or self._logins.outages.outage(now):
            return 0.0
        sure = facts.knowledge is Knowledge.WRONG or facts.trap
        share = 1.0 if sure else MAYBE
        return self._count(credential, place, facts, share, now, trapped=trapped)

    def unavailable(self, now: float) -> None:
        """The backend could not tell."""
        self._logins.outages.unavailable(now)

    def failed(self, credential: Credential, place: Place, facts: LoginFacts, now: float) -> float:
        """The backend refused it; what it adds to the address's score."""
        self._logins.outages.answered()
        account = self._logins.accounts.get(credential.account)
        if account is not None and self._ought_to_be_right(account, credential, facts, now):
            self._logins.outages.note(account.key, success=False, now=now)
        if self._logins.outages.outage(now):
            self._logins.bad_pairs.clear()
            return 0.0
        if credential.password is not None:
            self._logins.bad_pairs.add(credential.pair, now)
            if account is not None:
                account.has_failed(credential.pair)
        if facts.repeated:
            return 0.0
        return self._count(credential, place, facts, 1.0, now)

    def succeeded(
        self, credential: Credential, place: Place, facts: LoginFacts, name: str, now: float
    ) -> AccountLock | None:
        """The backend took it. The lock the account gets for how it roams, if it gets one."""
        account, new = self._logins.accounts.touch(credential.account, now)
        account.name = name[:MAX_NAME_CHARACTERS]
        self._logins.outages.answered()
        self._logins.outages.note(account.key, success=True, now=now)
        self._logins.bad_pairs.discard(credential.pair)
        if credential.comparable and credential.password is not None:
            account.was_right(credential.pair, now)
        self._logins.allowances.earn_patience(self._logins.settings.asked_back_ppm / 1e6)
        stranger = facts.standing is Standing.STRANGER
        self._learn(account, now, new=new, stranger=stranger)
        if account.take_credit(now, CREDITS_A_DAY):
            self._logins.neighbourhood.scores.sources.take_off(place.source, SUCCESS_CREDIT, now)
        lock = self._roams(account, place, now) if stranger and not new else None
        if account.is_due(place.net, now, SAVED_EVERY_S):
            self._logins.changes.pair(account.key, place.net)
        account.enter(place, now)
        if facts.standing is Standing.FAMILIAR or account.take_place(now, PLACES_A_DAY):
            self._logins.neighbourhood.enter(place, account.key, now)
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
        sources = self._logins.neighbourhood.scores.sources
        at_home = self._logins.neighbourhood.accounts(place, now)
        weight = share * guess_weight(
            facts,
            newcomers_learned=self._logins.newcomers.learned,
            accounts_failed=sources.different(place.source, credential.account) / (1 + at_home),
            settings=self._logins.settings,
            trapped=trapped,
        )
        if weight > 0:
            after = sources.add(place.source, weight, now)
            sources.mark(place.source, credential.account)
            self._logins.pace.use(place.source, now)
            if after >= MIN_SCORE:
                self._logins.changes.score(Scope.AUTH, place.source, parent=False)
        if facts.standing is Standing.FAMILIAR:
            for key in home_keys(credential, place):
                self._logins.homes.use(key, now)
        else:
            self._count_stranger(credential, place, facts, share, now)
        return weight

    def _count_stranger(
        self, credential: Credential, place: Place, facts: LoginFacts, share: float, now: float
    ) -> None:
        for parent, score in self._logins.neighbourhood.scores.add_to_networks(place, share, now):
            if score >= MIN_SCORE:
                self._logins.changes.score(Scope.AUTH, parent, parent=True)
        if credential.password is not None:
            self._logins.sprays.add(credential.password, credential.account, now)
        account = self._logins.accounts.get(credential.account)
        counts = facts.knowledge is Knowledge.WRONG or facts.learned
        if counts and not self._logins.neighbourhood.is_crowd(place, now):
            self._logins.level.guessed(share, now)
        if account is None:
            return
        # Where the password is not shown, guesses from different addresses are different ones.
        hidden = credential.password is None
        guess = mixed(place.source, credential.account) if hidden else credential.pair
        if account.guessed(guess, now) >= self._logins.settings.lane_guesses:
            until = now + self._logins.settings.lane_lock_s
            if account.lane_until <= now:
                self._logins.besieged = AccountLock(account.key, LockKind.LANE, now, until)
            account.lane_until = until
            self._logins.changes.lock(account.key, LockKind.LANE)

    def _learn(self, account: Account, now: float, *, new: bool, stranger: bool) -> None:
        """How rare newcomers and strangers are among good logins, and how many strangers there are;
        each account votes for rare once a day, and now and then for common."""
        has_vote = account.has_vote(now)
        if has_vote:
            self._logins.newcomers.note(rare=new)
        if stranger and account.is_first_rare(now):
            self._logins.familiarity.note(rare=True)
            self._logins.level.logged_in(now)
        elif has_vote and not stranger:
            self._logins.familiarity.note(rare=False)

    def _roams(self, account: Account, place: Place, now: float) -> AccountLock | None:
        nets = account.came_from_new_net(place.net, now)
        if not self._logins.familiarity.learned or nets < self._logins.settings.new_nets_hour:
            return None
        return self._logins.hold(account, "new-networks", now)

    @staticmethod
    def _ought_to_be_right(
        account: Account, credential: Credential, facts: LoginFacts, now: float
    ) -> bool:
        if credential.comparable and credential.password is not None:
            return account.ought_to_be_right(credential.pair, now)
        return facts.standing is Standing.FAMILIAR and not facts.repeated
