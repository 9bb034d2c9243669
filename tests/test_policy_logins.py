"""What logins teach: what counts, what does not, and what is known afterwards."""

from dataclasses import replace

import pytest

from gatekeeper.ban import Scope
from gatekeeper.events import AuthAttempt
from gatekeeper.policy import lessons, levels, neighbourhood
from gatekeeper.policy.accounts import Knowledge, Standing
from gatekeeper.policy.allowances import MOST_PATIENCE, Doubt
from gatekeeper.policy.facts import LoginFacts
from gatekeeper.policy.keys import Place, place
from gatekeeper.policy.lessons import Lessons
from gatekeeper.policy.levels import Learning
from gatekeeper.policy.logins import Credential, Logins
from gatekeeper.policy.weights import FAMILIAR_SHARE
from gatekeeper.prefix import entity
from gatekeeper.remembered import AccountLock, LockKind
from gatekeeper.secret import Secret
from gatekeeper.settings import PolicySettings

NOW = 1_700_000_000.0
POLICY = PolicySettings()


def at(address: str) -> Place:
    return place(entity(address))


HOME = at("203.0.113.9")
ELSEWHERE = at("198.51.100.7")


class Story:
    """Logins told one after another; the clock moves when told to."""

    def __init__(self, policy: PolicySettings = POLICY) -> None:
        self.now = NOW
        self.logins = Logins(policy, account_secret=b"a", password_secret=b"password")
        self.lessons = Lessons(self.logins)

    def credential(self, account: str, password: str | None, mechanism: str) -> Credential:
        secret = None if password is None else Secret(password.encode())
        return self.logins.credential(AuthAttempt(mechanism, account, secret=secret))

    def facts(
        self,
        where: Place = HOME,
        password: str | None = "right",
        account: str = "ann",
        mechanism: str = "PLAIN",
    ) -> LoginFacts:
        return self.logins.facts(self.credential(account, password, mechanism), where, self.now)

    def succeeds(
        self,
        where: Place = HOME,
        password: str | None = "right",
        account: str = "ann",
        mechanism: str = "PLAIN",
    ) -> AccountLock | None:
        facts = self.facts(where, password, account, mechanism)
        credential = self.credential(account, password, mechanism)
        return self.lessons.succeeded(credential, where, facts, account, self.now)

    def fails(
        self,
        where: Place = ELSEWHERE,
        password: str | None = "wrong",
        account: str = "ann",
        mechanism: str = "PLAIN",
    ) -> float:
        facts = self.facts(where, password, account, mechanism)
        return self.lessons.failed(
            self.credential(account, password, mechanism), where, facts, self.now
        )

    def is_refused(
        self, where: Place = ELSEWHERE, password: str = "wrong", account: str = "ann"
    ) -> float:
        facts = self.facts(where, password, account)
        credential = self.credential(account, password, "PLAIN")
        return self.lessons.refused(credential, where, facts, self.now)

    def learn(self) -> None:
        """Nearly everybody has been seen, and where he is at home."""
        self.logins.familiarity = Learning(levels.FAMILIARITY, share=0.0)
        self.logins.newcomers = Learning(levels.NEWCOMERS, share=0.0)

    def learned(self) -> tuple[bool, bool]:
        """Whether it is known who is at home where, and who there is."""
        return self.logins.familiarity.learned, self.logins.newcomers.learned

    def score(self, where: Place) -> float:
        return self.logins.neighbourhood.scores.sources.value(where.source, self.now)


@pytest.fixture
def story() -> Story:
    return Story()


# -- what is known -------------------------------------------------------------------------------


def test_account_that_never_logged_in_is_unknown_everywhere(story: Story) -> None:
    facts = story.facts()
    assert (facts.standing, facts.knowledge) == (Standing.STRANGER, Knowledge.UNKNOWN)
    assert not facts.account_known


def test_login_makes_a_place_and_a_password_known(story: Story) -> None:
    story.succeeds()
    assert story.facts().at_home
    assert story.facts(password="other").knowledge is Knowledge.WRONG
    assert story.facts(ELSEWHERE).standing is Standing.STRANGER
    assert story.facts(ELSEWHERE).knowledge is Knowledge.RIGHT
    assert story.facts(account="ANN").at_home, "names have no case"


def test_password_that_is_not_shown_is_never_known(story: Story) -> None:
    """SCRAM shows none; a token is new each time."""
    story.succeeds(password=None, mechanism="SCRAM-SHA-256")
    story.succeeds(password="token", mechanism="XOAUTH2")
    assert story.facts(password=None, mechanism="SCRAM-SHA-256").knowledge is Knowledge.UNKNOWN
    assert story.facts(password="token", mechanism="XOAUTH2").knowledge is Knowledge.UNKNOWN
    assert story.facts(password="token", mechanism="XOAUTH2").standing is Standing.FAMILIAR


def test_cold_start_has_learnt_nothing_of_unknown_passwords(story: Story) -> None:
    assert not story.facts().learned
    story.succeeds()
    assert not story.facts(ELSEWHERE).learned
    assert story.facts(ELSEWHERE, "wrong").learned, "surely wrong is wrong on the first day"
    story.learn()
    assert story.facts(ELSEWHERE).learned
    assert story.facts(account="nobody").learned


def test_where_many_log_in_strangers_are_to_be_expected(story: Story) -> None:
    for number in range(neighbourhood.CROWD):
        story.succeeds(HOME, account=f"guest{number}")
    story.succeeds(ELSEWHERE)
    assert story.facts(HOME).standing is Standing.SEMI
    assert story.facts(at("203.0.113.200")).standing is Standing.SEMI, "the net is theirs"
    assert story.facts(at("203.0.114.200")).standing is Standing.STRANGER


def test_crowd_from_which_much_is_guessed_is_none(story: Story) -> None:
    for number in range(neighbourhood.CROWD):
        story.succeeds(HOME, account=f"guest{number}")
    story.succeeds(ELSEWHERE)
    for guess in range(60):
        story.fails(HOME, f"guess {guess}", account=f"nobody{guess}")
    assert story.facts(HOME).standing is Standing.STRANGER


def test_ban_score_grows_with_the_accounts_at_home(story: Story) -> None:
    assert story.logins.neighbourhood.ban_score(HOME, NOW) == POLICY.auth_ban_score
    for number in range(5):
        story.succeeds(HOME, account=f"user{number}")
    expected = POLICY.auth_ban_score + 5 * POLICY.auth_ban_score_per_account
    assert story.logins.neighbourhood.ban_score(HOME, NOW) == expected
    assert story.logins.neighbourhood.ban_score(ELSEWHERE, NOW) == POLICY.auth_ban_score


def test_address_is_spared_for_a_while_after_a_login(story: Story) -> None:
    assert not story.logins.neighbourhood.spared(HOME, NOW)
    story.succeeds(HOME)
    assert story.logins.neighbourhood.spared(HOME, NOW + POLICY.ban_spares_s)
    assert not story.logins.neighbourhood.spared(HOME, NOW + POLICY.ban_spares_s + 1)
    assert not story.logins.neighbourhood.spared(at("203.0.113.10"), NOW), "its neighbour is not"


# -- guesses -------------------------------------------------------------------------------------


def test_wrong_password_counts_once_in_its_window(story: Story) -> None:
    story.succeeds()
    assert story.fails() > 0
    assert [story.fails() for _ in range(5)] == [0.0] * 5
    assert story.facts(ELSEWHERE, "wrong").repeated
    story.now += POLICY.repeat_window_s + 1
    assert story.fails() > 0


def test_same_password_of_another_account_is_another_guess(story: Story) -> None:
    assert story.fails(account="ann") > 0
    assert story.fails(account="bob") > 0


def test_failures_without_a_visible_password_each_count(story: Story) -> None:
    assert all(story.fails(password=None, mechanism="SCRAM-SHA-256") > 0 for _ in range(5))


def test_mistype_at_home_weighs_little(story: Story) -> None:
    story.succeeds()
    assert story.fails(HOME) == pytest.approx(FAMILIAR_SHARE * POLICY.auth_failure_weight)


def test_password_that_was_right_before_is_no_guess(story: Story) -> None:
    story.succeeds()
    assert story.fails(HOME, "right") == 0.0
    story.now += POLICY.repeat_window_s + 1
    assert story.fails(ELSEWHERE, "right") == 0.0
    assert story.facts(password="right").knowledge is Knowledge.FORMER


def test_list_of_accounts_weighs_more_with_each(story: Story) -> None:
    weights = [story.fails(account=f"user{number}") for number in range(4)]
    assert weights == sorted(weights)
    assert weights[-1] >= 3 * weights[0]


def test_guess_refused_unseen_counts_as_far_as_it_surely_is_one(story: Story) -> None:
    story.succeeds()
    assert story.is_refused(password="wrong") == POLICY.auth_failure_weight
    assert story.is_refused(account="unknown", where=HOME) < POLICY.auth_failure_weight
    assert story.is_refused(password="right") == 0.0


def test_guess_refused_again_does_not_count_again(story: Story) -> None:
    story.succeeds()
    assert story.is_refused() > 0
    assert story.is_refused() == 0.0
    assert story.facts(ELSEWHERE, "wrong").asked_ago_s == 0.0


def test_network_is_suspect_after_guesses_from_all_over_it(story: Story) -> None:
    story.succeeds()
    for host in range(int(POLICY.network_suspect_score) + 1):
        assert not story.facts(at("198.51.100.250")).network_suspect
        story.fails(at(f"198.51.100.{host + 1}"), f"guess {host}")
    assert story.facts(at("198.51.100.250")).network_suspect
    assert not story.facts(at("198.51.101.250")).network_suspect


def test_password_tried_on_many_accounts_is_sprayed(story: Story) -> None:
    for number in range(POLICY.sprayed_accounts):
        assert not story.facts(password="Summer2026!").sprayed
        story.fails(at(f"10.0.{number}.1"), "Summer2026!", f"user{number}")
    assert story.facts(password="Summer2026!").sprayed
    assert not story.facts(password="another").sprayed


def test_mistypes_at_home_make_no_spray_and_no_attack(story: Story) -> None:
    for number in range(40):
        story.succeeds(HOME, account=f"user{number}")
        story.fails(HOME, "changeme", f"user{number}")
        story.fails(HOME, f"tpyo {number}", "user0")
    facts = story.facts(ELSEWHERE, "changeme", "user0")
    assert not facts.sprayed
    assert not facts.attacked
    assert not facts.level_high


def test_account_that_strangers_guess_at_is_attacked_then_lane_locked(story: Story) -> None:
    story.succeeds()
    attacked_at = locked_at = None
    for guess in range(2 * POLICY.lane_guesses):
        facts = story.facts(at("192.0.2.1"))
        attacked_at = guess if attacked_at is None and facts.attacked else attacked_at
        locked_at = guess if locked_at is None and facts.lane_locked else locked_at
        story.fails(at(f"10.{guess}.0.1"), f"guess {guess}")
    assert attacked_at is not None
    assert locked_at is not None
    assert POLICY.attacked_guesses <= attacked_at <= 1.3 * POLICY.attacked_guesses
    assert POLICY.lane_guesses <= locked_at <= 1.2 * POLICY.lane_guesses
    story.now += POLICY.lane_lock_s + 1
    assert not story.facts(at("192.0.2.1")).lane_locked


def test_guesses_whose_password_is_not_shown_are_counted_by_their_addresses(story: Story) -> None:
    """SCRAM: else nobody would notice that an account is guessed at."""
    story.succeeds(password=None, mechanism="SCRAM-SHA-256")
    for _ in range(2 * POLICY.lane_guesses):
        story.fails(ELSEWHERE, None, mechanism="SCRAM-SHA-256")
    assert not story.facts(at("192.0.2.1")).attacked, "one phone with a dead password"
    for number in range(2 * POLICY.attacked_guesses):
        story.fails(at(f"10.{number}.0.1"), None, mechanism="SCRAM-SHA-256")
    assert story.facts(at("192.0.2.1")).attacked
    assert not story.facts(at("192.0.2.1")).lane_locked
    for number in range(2 * POLICY.lane_guesses):
        story.fails(at(f"10.{number}.0.1"), None, mechanism="SCRAM-SHA-256")
    assert story.facts(at("192.0.2.1")).lane_locked


def test_the_same_guess_from_everywhere_is_one(story: Story) -> None:
    """A botnet's list, or one stale phone that roams."""
    story.succeeds()
    for network in range(100):
        story.fails(at(f"10.{network}.0.1"), "wrong")
    assert not story.facts(ELSEWHERE).attacked


def test_level_rises_with_strangers_guesses_once_people_are_learnt(story: Story) -> None:
    for guess in range(3 * int(levels.LEVEL_FLOOR)):
        story.fails(at(f"10.{guess}.0.1"), f"guess {guess}", f"nobody{guess}")
    assert not story.facts(ELSEWHERE).level_high, "a cold start cannot tell strangers"
    story.learn()
    for guess in range(3 * int(levels.LEVEL_FLOOR)):
        story.fails(at(f"10.{guess}.1.1"), f"more {guess}", f"nobody{guess}")
    assert story.facts(ELSEWHERE).level_high


def test_too_many_wrong_passwords_at_home_are_noticed(story: Story) -> None:
    story.succeeds()
    for guess in range(POLICY.familiar_guesses_hour):
        assert not story.facts().guessing_at_home or guess > 0
        story.fails(HOME, f"guess {guess}")
    facts = story.facts(HOME, "one more")
    assert facts.guessing_at_home
    assert not story.facts(ELSEWHERE, "one more").guessing_at_home


def test_too_many_wrong_passwords_of_one_account_are_noticed_from_all_over_its_net(
    story: Story,
) -> None:
    """A guesser among the neighbours changes his address with each guess."""
    story.succeeds()
    story.succeeds(account="bob")
    for guess in range(POLICY.familiar_guesses_hour):
        story.fails(at(f"203.0.113.{100 + guess}"), f"guess {guess}")
    assert story.facts(at("203.0.113.99"), "one more").guessing_at_home
    assert not story.facts(at("203.0.113.99"), "one more", "bob").guessing_at_home
    assert story.facts(HOME, "right").at_home
    story.now += 2 * 3600
    assert not story.facts(at("203.0.113.99"), "one more").guessing_at_home


# -- doubtful credentials ------------------------------------------------------------------------


def test_allowance_for_doubtful_credentials_is_an_accounts_own(story: Story) -> None:
    story.succeeds(account="ann")
    story.succeeds(account="bob")
    proofs = 0
    while story.facts(ELSEWHERE, "new").proof_left:
        story.is_refused(ELSEWHERE, "new")
        facts = story.facts(ELSEWHERE, "new")
        credential = story.credential("ann", "new", "PLAIN")
        story.lessons.let_through(credential, facts, story.now)
        proofs += 1
    assert 1 <= proofs <= 5
    assert story.facts(ELSEWHERE, "new", "bob").proof_left
    story.now += 86_400.0
    assert story.facts(ELSEWHERE, "new").proof_left


def test_what_was_not_put_off_costs_no_allowance(story: Story) -> None:
    story.succeeds()
    for number in range(50):
        credential = story.credential("ann", f"new {number}", "PLAIN")
        story.lessons.let_through(credential, story.facts(ELSEWHERE, f"new {number}"), story.now)
    assert story.facts(ELSEWHERE, "new").proof_left


def test_pairs_sent_over_and_over_use_up_nothing_that_others_share(story: Story) -> None:
    """They weigh nothing, so nothing would ever stop who sends them."""
    story.succeeds(account="bob")
    for number in range(50):
        account = f"user{number}"
        story.succeeds(account=account)
        story.fails(ELSEWHERE, "stale", account)
        story.is_refused(ELSEWHERE, "stale", account)
        facts = story.facts(ELSEWHERE, "stale", account)
        assert facts.repeated
        credential = story.credential(account, "stale", "PLAIN")
        story.lessons.let_through(credential, facts, story.now)
        assert story.facts(ELSEWHERE, "changed", "bob").proof_left
        assert story.facts(ELSEWHERE, "first", "newcomer").proof_left


def test_guessers_do_not_push_out_that_a_right_password_was_asked_back(story: Story) -> None:
    story.succeeds()
    story.is_refused(ELSEWHERE, "right")
    for guess in range(2000):
        story.is_refused(ELSEWHERE, f"guess {guess}", f"nobody{guess}")
    story.now += POLICY.retry_after_s
    assert story.facts(ELSEWHERE, "right").asked_ago_s == POLICY.retry_after_s


@pytest.mark.parametrize("before", [MOST_PATIENCE, 1.0, -1.0])
def test_hasty_return_of_a_right_password_makes_no_debts(story: Story, before: float) -> None:
    """A mail program that tries each second does not spend what is kept for clear doubts."""
    story.succeeds()
    allowances = story.logins.allowances
    allowances.patience = before
    for _ in range(100):
        story.is_refused(ELSEWHERE, "right")
        story.now += POLICY.retry_after_s / 200
    assert allowances.patience == min(0.0, before - 1.0), "asked once, and hasty beyond it"
    assert allowances.patience_left(Doubt.CLEAR)


def test_wrong_password_costs_no_patience(story: Story) -> None:
    story.succeeds()
    before = story.logins.allowances.patience
    for number in range(100):
        story.is_refused(ELSEWHERE, f"guess {number}")
    assert story.logins.allowances.patience == before


def test_right_password_that_was_asked_back_may_come_from_anywhere(story: Story) -> None:
    """A phone goes from one network to the next; guessers share their lists."""
    story.succeeds()
    story.is_refused(ELSEWHERE, "right")
    assert story.facts(at("10.0.0.1"), "right").asked_ago_s == 0.0
    story.is_refused(ELSEWHERE, "other")
    assert story.facts(at("198.51.100.99"), "other").asked_ago_s == 0.0
    assert story.facts(at("10.0.0.1"), "other").asked_ago_s is None


def test_password_is_replaced_once_another_is_right(story: Story) -> None:
    story.succeeds(password="old")
    story.fails(HOME, "old")
    former = story.facts(password="old")
    assert (former.knowledge, former.replaced) == (Knowledge.FORMER, False)
    story.succeeds(password="new")
    assert story.facts(password="old").replaced
    assert not story.facts(password="new").replaced


# -- successes -----------------------------------------------------------------------------------


def test_success_takes_something_off_a_few_times_a_day(story: Story) -> None:
    for guess in range(20):
        story.fails(ELSEWHERE, f"guess {guess}")
    before = story.score(ELSEWHERE)
    for _ in range(20):
        story.succeeds(ELSEWHERE, "own", "own")
    most = lessons.CREDITS_A_DAY * lessons.SUCCESS_CREDIT
    assert story.score(ELSEWHERE) == pytest.approx(before - most)


def test_one_account_makes_few_places_look_inhabited(story: Story) -> None:
    for number in range(3 * lessons.PLACES_A_DAY):
        story.succeeds(at(f"10.0.{number}.1"), account="own")
    inhabited = sum(
        story.logins.neighbourhood.sources.knows(at(f"10.0.{number}.1").source)
        for number in range(3 * lessons.PLACES_A_DAY)
    )
    assert inhabited <= lessons.PLACES_A_DAY


def test_name_is_kept_as_it_is_shown_and_cut(story: Story) -> None:
    story.succeeds(account="Ann" + "x" * 65_536)
    (account,) = story.logins.accounts
    assert account.name == "Ann" + "x" * (lessons.MAX_NAME_CHARACTERS - 3)


def test_corrected_password_is_forgiven(story: Story) -> None:
    story.fails(HOME, "right")
    assert story.facts(HOME, "right").refused_ago_s == 0.0
    story.succeeds(HOME, "right")
    assert story.facts(HOME, "right").refused_ago_s is None


def test_account_in_many_new_networks_within_an_hour_is_held_once(story: Story) -> None:
    story.learn()
    story.succeeds(HOME)
    locks = []
    for number in range(2 * POLICY.new_nets_hour):
        story.now += 60
        locks.append(story.succeeds(at(f"10.{number}.0.1")))
    (lock,) = [lock for lock in locks if lock is not None]
    assert lock.kind is LockKind.HELD
    assert lock.until is not None
    assert lock.until > story.now
    assert locks.index(lock) == POLICY.new_nets_hour - 1


def test_traveller_is_not_held_while_everybody_is_a_stranger_still(story: Story) -> None:
    story.succeeds(HOME)
    for number in range(2 * POLICY.new_nets_hour):
        assert story.succeeds(at(f"10.{number}.0.1")) is None


def test_one_account_does_not_make_the_guard_think_that_it_has_seen_everybody(
    story: Story,
) -> None:
    """On the first day: else its owner could have all others put off as strangers."""
    for _ in range(3600):
        story.succeeds(HOME, "own", "mallory")
        story.now += 1
    assert story.learned() == (False, False)
    for number in range(40 * 60):
        account = number % 60
        story.succeeds(at(f"10.{account}.0.1"), "own", f"user{account}")
        story.now += 5
    assert story.learned() == (True, True)


def test_slow_traveller_is_not_held(story: Story) -> None:
    story.learn()
    story.succeeds(HOME)
    for number in range(2 * POLICY.new_nets_hour):
        story.now += 1800
        assert story.succeeds(at(f"10.{number}.0.1")) is None


def test_one_guess_is_not_worth_writing_down(story: Story) -> None:
    story.fails()
    assert not story.logins.changes.scores
    for number in range(3):
        story.fails(password=f"guess {number}")
    assert (Scope.AUTH, ELSEWHERE.source, False) in story.logins.changes.scores


# -- outages -------------------------------------------------------------------------------------


def test_backend_that_refuses_everybody_is_recognised_and_nothing_counts(story: Story) -> None:
    people = [f"user{number}" for number in range(10)]
    for number, account in enumerate(people):
        story.succeeds(at(f"10.{number}.0.1"), account=account)
    for number, account in enumerate(people):
        story.fails(at(f"10.{number}.0.1"), "right", account)
    assert story.logins.outages.outage(story.now)
    assert story.fails(password="guess", account="user1") == 0.0
    assert story.is_refused(password="guess 2", account="user1") == 0.0
    assert story.score(ELSEWHERE) == 0.0
    facts = [story.facts(at(f"10.{n}.0.1"), "right", account) for n, account in enumerate(people)]
    assert {each.refused_ago_s for each in facts} == {None}, "nobody is refused here afterwards"


def test_outage_is_seen_where_passwords_are_not(story: Story) -> None:
    for number in range(levels.OUTAGE_ACCOUNTS):
        where, account = at(f"10.{number}.0.1"), f"user{number}"
        story.succeeds(where, None, account, "SCRAM-SHA-256")
    for number in range(levels.OUTAGE_ACCOUNTS):
        where, account = at(f"10.{number}.0.1"), f"user{number}"
        story.fails(where, None, account, "SCRAM-SHA-256")
    assert story.logins.outages.outage(story.now)


def test_guessing_at_many_accounts_is_no_outage(story: Story) -> None:
    for number in range(50):
        story.succeeds(at(f"10.{number}.0.1"), account=f"user{number}")
    for number in range(50):
        story.fails(ELSEWHERE, "guess", f"user{number}")
        story.fails(at(f"10.{number}.0.1"), "guess from home", f"user{number}")
    assert not story.logins.outages.outage(story.now)


def test_settings_may_be_replaced_at_any_time(story: Story) -> None:
    story.logins.settings = replace(POLICY, auth_ban_score=99.0)
    assert story.logins.neighbourhood.ban_score(HOME, NOW) == 99.0
