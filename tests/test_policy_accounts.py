"""Accounts: where one is at home, which of its passwords are known, and what is bounded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.policy import accounts as module
from gatekeeper.policy.accounts import Account, Accounts, Knowledge, Standing
from gatekeeper.policy.keys import mixed, place
from gatekeeper.prefix import entity

NOW = 1_700_000_000.0
DAY_S = 86_400.0
HOME = place(entity("203.0.113.9"))
RIGHT, OTHER, NEW = (mixed(number, 1) for number in range(3))


@pytest.fixture
def account() -> Account:
    return Account(7)


# -- standing ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("home", "seen_from", "standing"),
    [
        ("203.0.113.9", "203.0.113.9", Standing.FAMILIAR),
        ("203.0.113.9", "203.0.113.77", Standing.FAMILIAR),
        ("203.0.113.9", "203.0.200.1", Standing.SEMI),
        ("203.0.113.9", "203.1.113.9", Standing.STRANGER),
        ("2001:db8:1:2::9", "2001:db8:1:2:ffff::1", Standing.FAMILIAR),
        ("2001:db8:1:2::9", "2001:db8:ffff::1", Standing.SEMI),
        ("2001:db8:1:2::9", "2001:db9:1:2::9", Standing.STRANGER),
        ("203.0.113.9", "2001:db8:1:2::9", Standing.STRANGER),
    ],
)
def test_account_knows_its_net_and_its_providers(
    account: Account, home: str, seen_from: str, standing: Standing
) -> None:
    account.enter(place(entity(home)), NOW)
    assert account.standing(place(entity(seen_from)), NOW) is standing


def test_nets_are_forgotten_after_a_month_without_a_login(account: Account) -> None:
    account.enter(HOME, NOW)
    last = NOW + module.FAMILIAR_S
    assert account.standing(HOME, last) is Standing.FAMILIAR
    assert account.standing(HOME, last + 1) is Standing.STRANGER
    account.enter(HOME, last)
    assert account.standing(HOME, last + module.FAMILIAR_S) is Standing.FAMILIAR


def test_net_in_use_outlives_any_number_of_others(account: Account) -> None:
    for number in range(10 * module.MAX_NETS):
        account.enter(HOME, NOW + number)
        account.enter(place(entity(f"10.{number % 256}.{number // 256}.1")), NOW + number)
        assert len(account.nets) <= module.MAX_NETS
    assert account.standing(HOME, NOW + 1000) is Standing.FAMILIAR


def test_first_login_from_a_net_is_kept(account: Account) -> None:
    account.enter(HOME, NOW)
    account.enter(HOME, NOW + 60)
    assert account.nets == {HOME.net: (NOW, NOW + 60)}
    assert account.last_at == NOW + 60


# -- passwords -----------------------------------------------------------------------------------


def test_nothing_is_known_before_the_first_login(account: Account) -> None:
    assert account.knowledge(RIGHT) is Knowledge.UNKNOWN
    account.has_failed(RIGHT)
    assert account.knowledge(RIGHT) is Knowledge.UNKNOWN


def test_right_password_is_known_and_others_are_surely_wrong(account: Account) -> None:
    account.was_right(RIGHT, NOW)
    assert account.knowledge(RIGHT) is Knowledge.RIGHT
    assert account.knowledge(OTHER) is Knowledge.WRONG


def test_password_that_has_failed_since_is_a_former_one_and_others_may_be_right(
    account: Account,
) -> None:
    account.was_right(RIGHT, NOW)
    account.has_failed(OTHER)
    assert account.knowledge(RIGHT) is Knowledge.RIGHT
    account.has_failed(RIGHT)
    assert account.knowledge(RIGHT) is Knowledge.FORMER
    assert account.knowledge(NEW) is Knowledge.UNKNOWN, "it was changed, perhaps to this"


def test_former_password_that_is_right_again_is_right(account: Account) -> None:
    account.was_right(RIGHT, NOW)
    account.has_failed(RIGHT)
    account.was_right(RIGHT, NOW)
    assert account.knowledge(RIGHT) is Knowledge.RIGHT


def test_app_passwords_are_right_beside_each_other(account: Account) -> None:
    for password in range(module.MAX_PASSWORDS):
        account.was_right(mixed(password, 1), NOW + password)
    known = {account.knowledge(mixed(password, 1)) for password in range(module.MAX_PASSWORDS)}
    assert known == {Knowledge.RIGHT}


def test_overflow_of_passwords_drops_failed_ones_first_then_the_oldest(account: Account) -> None:
    passwords = [mixed(number, 1) for number in range(module.MAX_PASSWORDS + 2)]
    for number, password in enumerate(passwords[:-2]):
        account.was_right(password, NOW + number)
    account.has_failed(passwords[1])
    account.was_right(passwords[-2], NOW + 10)
    assert account.knowledge(passwords[1]) is Knowledge.WRONG
    assert account.knowledge(passwords[0]) is Knowledge.RIGHT
    account.was_right(passwords[-1], NOW + 11)
    assert account.knowledge(passwords[0]) is Knowledge.WRONG
    assert len(account.passwords) == module.MAX_PASSWORDS


def test_password_ought_to_be_right_for_some_hours_whatever_came_since(account: Account) -> None:
    account.was_right(RIGHT, NOW)
    account.has_failed(RIGHT)
    assert account.ought_to_be_right(RIGHT, NOW + module.FRESH_S)
    assert not account.ought_to_be_right(RIGHT, NOW + module.FRESH_S + 1)
    assert not account.ought_to_be_right(OTHER, NOW)


def test_memory_of_a_password_is_too_short_to_find_it_by_trying(account: Account) -> None:
    """One key in 65,536 fits what is remembered: many words of any dictionary, hardly a guess."""
    account.was_right(RIGHT, NOW)
    assert account.knowledge(RIGHT ^ 0xFFFF_FFFF_FFFF) is Knowledge.RIGHT
    guesses = (mixed(word, 2) for word in range(20_000))
    assert sum(account.knowledge(guess) is Knowledge.RIGHT for guess in guesses) < 10


# -- conduct -------------------------------------------------------------------------------------


def test_new_nets_are_counted_within_an_hour(account: Account) -> None:
    counts = [account.came_from_new_net(net, NOW + net) for net in range(5)]
    assert counts == [1, 2, 3, 4, 5]
    assert account.came_from_new_net(4, NOW + 5) == 5, "the same net twice is one"
    assert account.came_from_new_net(9, NOW + 10 + module.NEW_NETS_S) == 1


def test_memory_of_new_nets_is_bounded(account: Account) -> None:
    for net in range(10 * module.MAX_NEW_NETS):
        account.came_from_new_net(net, NOW)
    assert len(account.new_nets) <= module.MAX_NEW_NETS


def test_recipients_are_counted_from_the_newest_net_only(account: Account) -> None:
    assert account.sent_from(HOME.net, NOW, 600.0) == 0
    account.came_from_new_net(HOME.net, NOW)
    assert [account.sent_from(HOME.net, NOW + 1, 600.0) for _ in range(3)] == [1, 2, 3]
    assert account.sent_from(HOME.net + 1, NOW + 1, 600.0) == 0
    assert account.sent_from(HOME.net, NOW + 601, 600.0) == 0


def test_guesses_are_counted_once_for_each_password_within_a_day(account: Account) -> None:
    assert account.guess_count(NOW) == 0
    for _ in range(3):
        for password in range(5):
            account.guessed(mixed(password, 1), NOW)
    assert account.guess_count(NOW) == 5
    assert account.guess_count(NOW + 2 * module.GUESSES_WINDOW_S) == 0


def test_credits_places_and_votes_are_a_days(account: Account) -> None:
    for day in range(3):
        now = NOW + day * DAY_S
        assert [account.take_credit(now, 2) for _ in range(4)] == [True, True, False, False]
        assert [account.take_place(now, 1) for _ in range(2)] == [True, False]
        assert [account.is_first_rare(now) for _ in range(2)] == [True, False]


def test_account_votes_as_often_as_a_mail_program_polls(account: Account) -> None:
    votes = sum(account.has_vote(NOW + second) for second in range(3600))
    assert votes == 3600 / module.VOTE_EVERY_S


# -- the table -----------------------------------------------------------------------------------


def test_account_is_new_once() -> None:
    accounts = Accounts()
    assert accounts.get(1) is None
    account, new = accounts.touch(1, NOW)
    assert new
    assert accounts.touch(1, NOW + 1) == (account, False)
    assert accounts.get(1) is account
    assert list(accounts) == [account]


def test_overflow_drops_the_account_without_a_login_for_the_longest() -> None:
    accounts = Accounts(capacity=3)
    for step, key in enumerate((1, 2, 3, 1, 4)):
        account, _ = accounts.touch(key, NOW + step * DAY_S)
        account.enter(HOME, NOW + step * DAY_S)
    assert [account.key for account in accounts] == [3, 1, 4]


def test_account_that_logs_in_all_the_time_is_not_taken_for_an_idle_one() -> None:
    """It polls each minute, so it is never long since its last login."""
    accounts = Accounts(capacity=10)
    for minute in range(24 * 60):
        now = NOW + 60.0 * minute
        account, new = accounts.touch(1, now)
        assert new is (minute == 0)
        account.enter(HOME, now)
        if minute % 70 == 0:  # somebody new, now and then
            accounts.touch(1000 + minute, now)
    assert len(accounts) == 10


@given(st.lists(st.tuples(st.integers(0, 20), st.floats(0.0, 1e5)), max_size=100))
def test_table_is_bounded_and_the_latest_is_in(logins: list[tuple[int, float]]) -> None:
    accounts, now = Accounts(capacity=5), NOW
    for key, elapsed in logins:
        now += elapsed
        account, new = accounts.touch(key, now)
        account.enter(HOME, now)
        assert accounts.get(key) is account
        assert len(accounts) <= 5
        assert new or len(account.nets) == 1
