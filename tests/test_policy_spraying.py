"""SpraySketch: on how many accounts a password failed, never too few but for shared bits."""

from hypothesis import given, settings
from hypothesis import strategies as st

from gatekeeper.policy import spraying
from gatekeeper.policy.keys import mixed
from gatekeeper.policy.spraying import EPOCH_S, SpraySketch

SALT = 0x1234_5678_9ABC_DEF0
DAY = 19_000 * EPOCH_S
PASSWORD = 77


def test_unknown_password_was_tried_on_nobody() -> None:
    assert SpraySketch(SALT).accounts(PASSWORD, DAY) == 0


def test_each_account_counts_once() -> None:
    sketch = SpraySketch(SALT)
    counts = []
    for account in (1, 2, 2, 3, 1, 4):
        sketch.add(PASSWORD, mixed(account, 9), DAY)
        counts.append(sketch.accounts(PASSWORD, DAY))
    assert counts == [1, 2, 2, 3, 3, 4]


def test_many_passwords_on_one_account_are_no_spray() -> None:
    sketch = SpraySketch(SALT)
    for password in range(5000):
        sketch.add(mixed(password, 5), 1, DAY)
    assert {sketch.accounts(mixed(password, 5), DAY) for password in range(5000)} == {1}


@settings(max_examples=20)
@given(st.sets(st.integers(0, 2**64 - 1), max_size=60), st.integers(0, 2**64 - 1))
def test_never_tells_more_than_there_were_among_few_passwords(
    accounts: set[int], password: int
) -> None:
    sketch = SpraySketch(SALT)
    for account in accounts:
        sketch.add(password, account, DAY)
    bits = {mixed(account, sketch._current.salt) % 64 for account in accounts}
    assert sketch.accounts(password, DAY) == len(bits) <= len(accounts)


def test_others_in_the_sketch_do_not_make_a_password_sprayed() -> None:
    sketch = SpraySketch(SALT)
    for number in range(20_000):
        sketch.add(mixed(number, 1), mixed(number, 2), DAY)
    fresh = [sketch.accounts(mixed(number, 3), DAY) for number in range(2000)]
    assert max(fresh) < 4


def test_yesterday_is_remembered_and_the_day_before_is_not() -> None:
    sketch = SpraySketch(SALT)
    for account in range(5):
        sketch.add(PASSWORD, mixed(account, 9), DAY)
    today = sketch.accounts(PASSWORD, DAY)
    assert sketch.accounts(PASSWORD, DAY + EPOCH_S) == today
    assert sketch.accounts(PASSWORD, DAY + 2 * EPOCH_S) == 0


def test_rest_of_days_forgets_all() -> None:
    sketch = SpraySketch(SALT)
    sketch.add(PASSWORD, 1, DAY)
    assert sketch.accounts(PASSWORD, DAY + 5 * EPOCH_S) == 0


def test_each_epoch_has_a_salt_of_its_own() -> None:
    """Who learns today's cells cannot look yesterday's passwords up in them."""
    sketch = SpraySketch(SALT)
    salts = set()
    for day in range(4):
        sketch.add(PASSWORD, 1, DAY + day * EPOCH_S)
        salts.add(sketch._current.salt)
    assert len(salts) == 4
    assert SALT not in salts


def test_flood_of_pairs_ends_the_notes_of_an_epoch() -> None:
    sketch = SpraySketch(SALT)
    sketch.add(PASSWORD, 1, DAY)
    sketch._current.pairs = spraying.MOST_PAIRS
    sketch.add(PASSWORD, 2, DAY)
    assert sketch.accounts(PASSWORD, DAY) == 1
    sketch.add(PASSWORD, 3, DAY + EPOCH_S)
    assert sketch.accounts(PASSWORD, DAY + EPOCH_S) == 1, "a new day, a new account of it"
