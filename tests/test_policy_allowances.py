"""Allowances: how many doubtful credentials go on, and how many right ones are asked to wait."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.policy import allowances as module
from gatekeeper.policy.accounts import Knowledge
from gatekeeper.policy.allowances import (
    ALL_PROOFS,
    FIRST_PATIENCE,
    MOST_PATIENCE,
    PROOFS,
    Allowances,
    Doubt,
    Pool,
    pool_of,
)

NOW = 1_700_000_000.0
DAY_S = 86_400.0
ANN, BOB = 1, 2
OWN_POOLS = [pool for pool in Pool if pool is not Pool.PERSISTENT]


def let_through(allowances: Allowances, accounts: list[int], pool: Pool, now: float = NOW) -> int:
    """How many go on, of one each from `accounts` in turn."""
    gone = 0
    for account in accounts:
        if allowances.proof_left(account, pool, now):
            allowances.use_proof(account, pool, now)
            gone += 1
    return gone


# -- proofs --------------------------------------------------------------------------------------


@pytest.mark.parametrize("pool", OWN_POOLS)
def test_account_has_a_few_proofs_of_its_own(pool: Pool) -> None:
    allowances = Allowances()
    assert let_through(allowances, [ANN] * 50, pool) == PROOFS.burst
    assert let_through(allowances, [BOB] * 50, pool) == PROOFS.burst
    assert let_through(allowances, [ANN] * 50, pool, NOW + PROOFS.period_s) == 1


def test_newcomer_who_is_persistent_needs_none_of_his_own() -> None:
    """Several clients of one new account, all set up on one day."""
    allowances = Allowances()
    burst = ALL_PROOFS[Pool.PERSISTENT].burst
    assert let_through(allowances, [ANN] * 100, Pool.PERSISTENT) == burst > PROOFS.burst


@pytest.mark.parametrize("pool", [Pool.GUESSED, Pool.PERSISTENT])
def test_guesser_of_many_accounts_shares_with_himself(pool: Pool) -> None:
    allowances, rate = Allowances(), ALL_PROOFS[pool]
    assert let_through(allowances, list(range(10_000)), pool) == rate.burst
    a_day = sum(
        let_through(allowances, [10_000 + second], pool, NOW + second)
        for second in range(1, int(DAY_S), 10)
    )
    assert a_day == pytest.approx(DAY_S / rate.period_s, abs=2)


def test_what_guessers_use_up_is_left_to_passwords_of_which_nothing_is_known() -> None:
    """The owner whose mechanism shows no password does not share with them."""
    allowances = Allowances()
    let_through(allowances, list(range(1000, 2000)), Pool.GUESSED)
    assert not allowances.proof_left(ANN, Pool.GUESSED, NOW)
    assert allowances.proof_left(ANN, Pool.PLAIN, NOW)
    assert allowances.proof_left(ANN, Pool.PERSISTENT, NOW)


def test_asking_uses_nothing() -> None:
    allowances = Allowances()
    for _ in range(1000):
        assert allowances.proof_left(ANN, Pool.GUESSED, NOW)
    assert let_through(allowances, [ANN] * 50, Pool.GUESSED) == PROOFS.burst


def test_memory_of_proofs_is_bounded() -> None:
    allowances = Allowances()
    for account in range(module.MAX_ACCOUNTS + 500):
        allowances.use_proof(account, Pool.PLAIN, NOW)
    assert len(allowances._proofs) <= module.MAX_ACCOUNTS
    assert len(allowances._pools[Pool.PLAIN]) == 1


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from(OWN_POOLS), st.floats(0.0, 4000.0)),
        max_size=200,
    )
)
def test_no_account_has_more_than_its_rate(steps: list[tuple[int, Pool, float]]) -> None:
    allowances, now, gone = Allowances(), NOW, dict.fromkeys(range(4), 0)
    for account, pool, elapsed in steps:
        now += elapsed
        gone[account] += let_through(allowances, [account], pool, now)
    most = PROOFS.burst + (now - NOW) / PROOFS.period_s + 0.01
    assert max(gone.values()) <= most


@pytest.mark.parametrize(
    ("knowledge", "known", "pool"),
    [
        (Knowledge.UNKNOWN, True, Pool.PLAIN),
        (Knowledge.FORMER, True, Pool.PLAIN),
        (Knowledge.WRONG, True, Pool.GUESSED),
        (Knowledge.UNKNOWN, False, Pool.GUESSED),
    ],
)
def test_pool_is_that_of_who_makes_such_credentials(
    knowledge: Knowledge, known: bool, pool: Pool
) -> None:
    later = Pool.PERSISTENT if pool is Pool.GUESSED else pool
    for asked_ago_s in (None, 0.0, module.PERSISTENT_S - 0.1):
        assert pool_of(knowledge, asked_ago_s, known=known, repeated=False) is pool
    for asked_ago_s in (module.PERSISTENT_S, 1e6):
        assert pool_of(knowledge, asked_ago_s, known=known, repeated=False) is later
    assert pool_of(knowledge, 1e6, known=known, repeated=True) is Pool.PLAIN


# -- patience ------------------------------------------------------------------------------------


def asked(allowances: Allowances, doubt: Doubt) -> int:
    """How many right passwords in a row are asked to come again."""
    for number in range(1000):
        if not allowances.patience_left(doubt):
            return number
        allowances.spend_patience(again=False)
    return 1000


def test_the_more_speaks_against_one_the_sooner_he_is_asked() -> None:
    counts = []
    for doubt in Doubt:
        allowances = Allowances()
        allowances.patience = MOST_PATIENCE
        counts.append(asked(allowances, doubt))
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]
    assert asked(Allowances(), Doubt.SLIGHT) == FIRST_PATIENCE


def test_where_all_is_spent_only_a_clear_doubt_is_heard() -> None:
    allowances = Allowances()
    asked(allowances, Doubt.SLIGHT)
    assert not allowances.patience_left(Doubt.SLIGHT)
    assert allowances.patience_left(Doubt.CLEAR)


def test_share_of_those_asked_is_kept_to() -> None:
    allowances, share, logins = Allowances(), 1 / 1000, 50_000
    asked_back = 0
    for _ in range(logins):
        allowances.earn_patience(share)
        if allowances.patience_left(Doubt.SLIGHT):
            allowances.spend_patience(again=False)
            asked_back += 1
    assert asked_back == pytest.approx(logins * share + FIRST_PATIENCE, abs=1)


def test_haste_spends_what_is_saved_and_makes_no_debts() -> None:
    allowances = Allowances()
    for _ in range(100):
        allowances.spend_patience(again=True)
    assert allowances.patience == 0.0
    allowances.spend_patience(again=False)
    owed = allowances.patience
    allowances.spend_patience(again=True)
    assert allowances.patience == owed < 0.0


@given(st.lists(st.one_of(st.booleans(), st.floats(0.0, 1.0)), max_size=300))
def test_neither_what_is_saved_nor_what_is_owed_grows_without_end(
    steps: list[bool | float],
) -> None:
    """True and False spend, again or for the first time; else it is earned."""
    allowances = Allowances()
    for step in steps:
        if isinstance(step, bool):
            allowances.spend_patience(again=step)
        else:
            allowances.earn_patience(step)
        assert -MOST_PATIENCE <= allowances.patience <= MOST_PATIENCE
