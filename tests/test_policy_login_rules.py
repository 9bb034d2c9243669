"""Rules for logins: one opinion each, and who is left alone."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from facts import ATTEMPT, FAILURE, LATER_S, POLICY, SOON_S, SUCCESS, facts, login, of_login

from gatekeeper.events import AuthOutcome, AuthResult, JudgedEvent, Listing
from gatekeeper.policy import login_rules
from gatekeeper.policy.accounts import Knowledge, Standing
from gatekeeper.policy.facts import Facts
from gatekeeper.verdict import Action, Reason, Verdict

Rule = Callable[[JudgedEvent, Facts], Verdict | None]

SUSPECT = POLICY.auth_ban_score * POLICY.auth_suspect_share
ABOUT_STRANGERS: dict[Rule, dict[str, Any]] = {
    login_rules.suspect_network: {"network_suspect": True},
    login_rules.sprayed_password: {"sprayed": True},
    login_rules.account_attacked: {"attacked": True},
    login_rules.attack_level: {"level_high": True},
}


# -- who is on lists of guessers ----------------------------------------------------------------

LISTED = replace(ATTEMPT, listings=(Listing("authbl.example", ("127.0.0.20",), 1.0),))
FAINTLY = replace(ATTEMPT, listings=(Listing("authbl.example", ("127.0.0.20",), 0.5),))
OBSERVED = replace(
    ATTEMPT, listings=(Listing("authbl.example", ("127.0.0.20",), 1.0, observed=True),)
)
LISTED_STRANGER = Verdict(Action.DEFER, Reason.AUTH_LISTED)


@pytest.mark.parametrize("knowledge", Knowledge)
def test_strangers_at_a_listed_address_are_put_off(knowledge: Knowledge) -> None:
    assert login_rules.auth_listed(LISTED, of_login(knowledge=knowledge)) == LISTED_STRANGER


def test_a_right_password_is_let_in_when_it_comes_again() -> None:
    again = of_login(knowledge=Knowledge.RIGHT, asked_ago_s=LATER_S)
    assert login_rules.auth_listed(LISTED, again) is None


def test_wrong_ones_are_not_when_their_allowance_is_used() -> None:
    again = of_login(knowledge=Knowledge.WRONG, asked_ago_s=LATER_S, proof_left=False)
    verdict = login_rules.auth_listed(LISTED, again)
    assert verdict == Verdict(Action.DECOY, Reason.AUTH_LISTED)


@pytest.mark.parametrize("knowledge", Knowledge)
def test_who_is_at_home_at_a_listed_address_is_left_alone(knowledge: Knowledge) -> None:
    at_home = of_login(standing=Standing.FAMILIAR, knowledge=knowledge)
    assert login_rules.auth_listed(LISTED, at_home) is None


@pytest.mark.parametrize("event", [ATTEMPT, FAINTLY, FAILURE, SUCCESS])
def test_nobody_else_is_touched_by_lists(event: JudgedEvent) -> None:
    assert login_rules.auth_listed(event, of_login()) is None


def test_a_list_that_is_observed_is_only_told() -> None:
    verdict = login_rules.auth_listed(OBSERVED, of_login())
    assert verdict == replace(LISTED_STRANGER, watched=True)


# -- what the backend refused ------------------------------------------------------------------


def test_failure_at_the_ban_score_bans() -> None:
    counted = facts(score_before=0.0, score=POLICY.auth_ban_score)
    verdict = login_rules.auth_failures(FAILURE, counted)
    assert verdict == Verdict(Action.CLOSE, Reason.AUTH_FAILURES, ban=True)


@pytest.mark.parametrize(
    "result", [AuthResult.SUCCESS, AuthResult.UNAVAILABLE, AuthResult.PROTOCOL]
)
def test_nothing_but_a_failure_is_delayed(result: AuthResult) -> None:
    high = facts(score_before=9.0, score=9.0)
    assert login_rules.auth_failures(AuthOutcome(ATTEMPT, result), high) is None


def test_guess_refused_here_bans_as_one_the_backend_refused() -> None:
    before = facts(score_before=POLICY.auth_ban_score, score=POLICY.auth_ban_score)
    assert login_rules.auth_failures(ATTEMPT, before) is None, "it has not been counted yet"
    counted = facts(score_before=0.0, score=POLICY.auth_ban_score)
    verdict = login_rules.auth_failures(ATTEMPT, counted)
    assert verdict is not None
    assert verdict.ban


# -- traps, locks, repeated passwords ----------------------------------------------------------


def test_trap_account_is_refused_as_the_backend_would() -> None:
    expected = Verdict(Action.DECOY, Reason.TRAP_ACCOUNT)
    assert login_rules.trap_account(ATTEMPT, of_login(trap=True)) == expected
    assert login_rules.trap_account(ATTEMPT, of_login()) is None
    assert login_rules.trap_account(FAILURE, of_login(trap=True)) is None


@pytest.mark.parametrize("standing", Standing)
@pytest.mark.parametrize("knowledge", Knowledge)
def test_locked_account_is_refused_wherever_it_comes_from(
    standing: Standing, knowledge: Knowledge
) -> None:
    locked = of_login(locked=True, standing=standing, knowledge=knowledge)
    expected = Verdict(Action.REJECT, Reason.ACCOUNT_LOCKED)
    assert login_rules.account_locked(ATTEMPT, locked) == expected
    assert login_rules.account_locked(SUCCESS, locked) == expected, "locked while it was asked"
    assert login_rules.account_locked(FAILURE, locked) is None


def test_account_that_is_not_locked_has_no_opinion_on_it() -> None:
    assert login_rules.account_locked(ATTEMPT, of_login()) is None
    assert login_rules.account_locked(ATTEMPT, facts()) is None


@pytest.mark.parametrize("standing", Standing)
def test_pair_the_backend_has_just_refused_is_refused_here(standing: Standing) -> None:
    expected = Verdict(Action.REJECT, Reason.REPEATED_PASSWORD)
    for ago_s in (0.0, POLICY.refused_for_s - 0.1):
        repeated = of_login(standing=standing, knowledge=Knowledge.WRONG, refused_ago_s=ago_s)
        assert login_rules.repeated_password(ATTEMPT, repeated) == expected


def test_it_is_soon_asked_again_whether_the_pair_is_right_by_now() -> None:
    repeated = of_login(refused_ago_s=POLICY.refused_for_s, repeated=True)
    assert login_rules.repeated_password(ATTEMPT, repeated) is None


@pytest.mark.parametrize("knowledge", [Knowledge.FORMER, Knowledge.RIGHT])
def test_password_that_was_right_is_asked_again_sooner(knowledge: Knowledge) -> None:
    """It may be an outage that nobody told of."""
    doubt_s = POLICY.refused_for_s * login_rules.DOUBT_SHARE
    repeated = of_login(knowledge=knowledge, refused_ago_s=doubt_s)
    assert login_rules.repeated_password(ATTEMPT, repeated) is None
    just_now = of_login(knowledge=knowledge, refused_ago_s=doubt_s - 0.1)
    assert login_rules.repeated_password(ATTEMPT, just_now) is not None


def test_password_that_was_replaced_is_in_no_doubt() -> None:
    """The account has another that is right: the phone's is stale."""
    stale = {"knowledge": Knowledge.FORMER, "replaced": True}
    before = of_login(**stale, refused_ago_s=POLICY.refused_for_s - 0.1)
    assert login_rules.repeated_password(ATTEMPT, before) is not None
    after = of_login(**stale, refused_ago_s=POLICY.refused_for_s)
    assert login_rules.repeated_password(ATTEMPT, after) is None


# -- strangers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ABOUT_STRANGERS)
def test_stranger_is_put_off_where_something_speaks_against_him(rule: Rule) -> None:
    against = ABOUT_STRANGERS[rule]
    verdict = rule(ATTEMPT, of_login(**against))
    assert verdict is not None
    assert verdict.action is Action.DEFER
    assert rule(ATTEMPT, of_login()) is None
    assert rule(ATTEMPT, of_login(**against, asked_ago_s=LATER_S)) is None
    assert rule(FAILURE, of_login(**against)) is None


@pytest.mark.parametrize("rule", ABOUT_STRANGERS)
def test_who_is_at_home_is_left_alone(rule: Rule) -> None:
    for knowledge in Knowledge:
        at_home = of_login(**ABOUT_STRANGERS[rule], standing=Standing.FAMILIAR, knowledge=knowledge)
        assert rule(ATTEMPT, at_home) is None


@pytest.mark.parametrize("rule", ABOUT_STRANGERS)
def test_half_known_place_is_doubted_only_with_a_surely_wrong_password(rule: Rule) -> None:
    for knowledge in Knowledge:
        semi = of_login(**ABOUT_STRANGERS[rule], standing=Standing.SEMI, knowledge=knowledge)
        assert (rule(ATTEMPT, semi) is not None) is (knowledge is Knowledge.WRONG)


def test_address_close_to_a_ban_is_suspect() -> None:
    suspect = facts(score_before=SUSPECT, score=SUSPECT, login=login())
    verdict = login_rules.suspect_source(ATTEMPT, suspect)
    assert verdict == Verdict(Action.DEFER, Reason.SUSPECT_SOURCE)
    good = facts(score_before=SUSPECT / 2, score=SUSPECT / 2, login=login())
    assert login_rules.suspect_source(ATTEMPT, good) is None


def test_people_at_home_at_a_suspect_address_are_left_alone() -> None:
    suspect = facts(score_before=1e3, score=1e3, login=login(standing=Standing.FAMILIAR))
    assert login_rules.suspect_source(ATTEMPT, suspect) is None


@pytest.mark.parametrize("score", [0.0, 1.0, SUSPECT, POLICY.auth_ban_score])
def test_sprayed_password_is_put_off_alike_right_or_wrong_whatever_the_address_did(
    score: float,
) -> None:
    """An answer that differs would tell the sprayer which account has it."""
    verdicts = {
        login_rules.sprayed_password(
            ATTEMPT,
            facts(score_before=score, score=score, login=login(sprayed=True, knowledge=knowledge)),
        )
        for knowledge in Knowledge
    }
    assert verdicts == {Verdict(Action.DEFER, Reason.SPRAYED_PASSWORD)}


def test_lane_lock_asks_strangers_for_more_than_to_come_again() -> None:
    back = {"asked_ago_s": LATER_S, "proof_left": False}
    attacked = of_login(attacked=True, **back)
    assert login_rules.account_attacked(ATTEMPT, attacked) is None
    answers = {
        knowledge: login_rules.account_attacked(
            ATTEMPT, of_login(attacked=True, lane_locked=True, knowledge=knowledge, **back)
        )
        for knowledge in Knowledge
    }
    not_now = Verdict(Action.DEFER, Reason.ACCOUNT_LANE_LOCKED)
    assert answers == {
        Knowledge.RIGHT: None,
        Knowledge.FORMER: not_now,
        Knowledge.WRONG: Verdict(Action.DECOY, Reason.ACCOUNT_LANE_LOCKED),
        Knowledge.UNKNOWN: not_now,
    }


# -- wrong passwords at home -------------------------------------------------------------------


def test_many_surely_wrong_passwords_at_home_are_put_off() -> None:
    at_home = {"standing": Standing.FAMILIAR, "guessing_at_home": True}
    wrong = of_login(**at_home, knowledge=Knowledge.WRONG)
    verdict = login_rules.familiar_guessing(ATTEMPT, wrong)
    assert verdict == Verdict(Action.DEFER, Reason.FAMILIAR_GUESSING)
    for knowledge in (Knowledge.RIGHT, Knowledge.UNKNOWN, Knowledge.FORMER):
        other = of_login(**at_home, knowledge=knowledge)
        assert login_rules.familiar_guessing(ATTEMPT, other) is None


# -- in all circumstances ----------------------------------------------------------------------

ALL_RULES: tuple[Rule, ...] = (
    login_rules.auth_failures,
    login_rules.trap_account,
    login_rules.account_locked,
    login_rules.repeated_password,
    login_rules.familiar_guessing,
    login_rules.suspect_source,
    *ABOUT_STRANGERS,
)
FLAGS = ("sprayed", "attacked", "lane_locked", "level_high", "network_suspect", "guessing_at_home")
ALLOWANCES = ("proof_left", "patience_left")


def every_case() -> Iterator[Facts]:
    """A right password under all that can speak against it."""
    names = (*FLAGS, *ALLOWANCES)
    for values in product((False, True), repeat=len(names)):
        for standing, asked_ago_s in product(Standing, (None, SOON_S, LATER_S)):
            about = login(
                standing=standing,
                asked_ago_s=asked_ago_s,
                knowledge=Knowledge.RIGHT,
                **dict(zip(names, values, strict=True)),
            )
            for score in (0.0, SUSPECT, 10 * POLICY.auth_ban_score):
                yield facts(score_before=score, score=score, login=about)


def test_right_password_is_never_refused_for_good_by_what_strangers_do() -> None:
    """Put off at most, and the first time only."""
    for seen in every_case():
        about = seen.login
        assert about is not None
        verdicts = [verdict for rule in ALL_RULES if (verdict := rule(ATTEMPT, seen))]
        if about.at_home or about.asked_ago_s == LATER_S:
            assert verdicts == []
        assert {verdict.action for verdict in verdicts} <= {Action.DEFER}
