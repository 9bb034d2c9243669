"""Greylisting: what a doubtful credential hears when it comes first, too soon, and in time."""

import pytest
from facts import LATER_S, SOON_S, facts, login
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.policy.accounts import Knowledge
from gatekeeper.policy.greylisting import put_off
from gatekeeper.verdict import Action, Reason, Verdict

REASON = Reason.ATTACK_LEVEL
NOT_NOW = Verdict(Action.DEFER, REASON)
DECOY = Verdict(Action.DECOY, REASON)


@pytest.mark.parametrize("knowledge", Knowledge)
@pytest.mark.parametrize("asked_ago_s", [None, 0.0, SOON_S, LATER_S - 0.1])
def test_first_sight_and_hasty_return_are_put_off(
    knowledge: Knowledge, asked_ago_s: float | None
) -> None:
    assert put_off(facts(), login(knowledge=knowledge, asked_ago_s=asked_ago_s), REASON) == NOT_NOW


@pytest.mark.parametrize("knowledge", Knowledge)
def test_return_in_time_goes_on(knowledge: Knowledge) -> None:
    assert put_off(facts(), login(knowledge=knowledge, asked_ago_s=LATER_S), REASON) is None


def test_surely_wrong_password_needs_the_allowance() -> None:
    wrong = login(knowledge=Knowledge.WRONG, asked_ago_s=LATER_S, proof_left=False)
    assert put_off(facts(), wrong, REASON) == NOT_NOW
    assert put_off(facts(), wrong, REASON, strict=True) == DECOY


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("knowledge", [Knowledge.UNKNOWN, Knowledge.WRONG])
def test_with_the_allowance_any_goes_on(knowledge: Knowledge, strict: bool) -> None:
    doubtful = login(knowledge=knowledge, asked_ago_s=LATER_S, proof_left=True)
    assert put_off(facts(), doubtful, REASON, strict=strict) is None


@pytest.mark.parametrize("strict", [False, True])
def test_account_that_never_logged_in_needs_it_too(strict: bool) -> None:
    new = login(account_known=False, asked_ago_s=LATER_S, proof_left=False)
    assert put_off(facts(), new, REASON, strict=strict) == NOT_NOW


@pytest.mark.parametrize("knowledge", [Knowledge.UNKNOWN, Knowledge.FORMER])
def test_unknown_password_needs_it_where_the_rule_is_strict(knowledge: Knowledge) -> None:
    unknown = login(knowledge=knowledge, asked_ago_s=LATER_S, proof_left=False)
    assert put_off(facts(), unknown, REASON) is None
    assert put_off(facts(), unknown, REASON, strict=True) == NOT_NOW


@pytest.mark.parametrize("strict", [False, True])
def test_what_may_be_right_is_never_told_that_it_is_wrong(strict: bool) -> None:
    """The owner whose mechanism shows no password would throw it away (RFC 4954 6)."""
    for knowledge in (Knowledge.UNKNOWN, Knowledge.FORMER):
        for asked_ago_s in (None, SOON_S, LATER_S, 1e6):
            seen = login(knowledge=knowledge, asked_ago_s=asked_ago_s, proof_left=False)
            assert put_off(facts(), seen, REASON, strict=strict) in {None, NOT_NOW}


@pytest.mark.parametrize("strict", [False, True])
def test_right_password_never_needs_it(strict: bool) -> None:
    right = login(knowledge=Knowledge.RIGHT, asked_ago_s=LATER_S, proof_left=False)
    assert put_off(facts(), right, REASON, strict=strict) is None


def test_right_password_goes_on_at_once_where_enough_were_asked() -> None:
    right = login(knowledge=Knowledge.RIGHT, patience_left=False)
    assert put_off(facts(), right, REASON) is None
    others = [each for each in Knowledge if each is not Knowledge.RIGHT]
    for knowledge in others:
        doubtful = login(knowledge=knowledge, patience_left=False)
        assert put_off(facts(), doubtful, REASON) == NOT_NOW


@given(st.one_of(st.none(), st.floats(0.0, 1e6)), st.booleans(), st.booleans(), st.booleans())
def test_right_password_is_never_refused_as_wrong(
    asked_ago_s: float | None, proof_left: bool, patience_left: bool, strict: bool
) -> None:
    right = login(
        knowledge=Knowledge.RIGHT,
        asked_ago_s=asked_ago_s,
        proof_left=proof_left,
        patience_left=patience_left,
    )
    assert put_off(facts(), right, REASON, strict=strict) in {None, NOT_NOW}
