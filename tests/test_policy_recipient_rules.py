"""Rules for recipients: harvesters, senders beyond measure, stolen accounts."""

import pytest
from facts import POLICY, facts, of_recipient

from gatekeeper.ban import Scope
from gatekeeper.events import RcptAttempt, RcptOutcome, RcptResult
from gatekeeper.policy import recipient_rules
from gatekeeper.policy.recipient_rules import FREE_UNKNOWN, HOPELESS
from gatekeeper.verdict import Action, Reason, Verdict

RCPT = RcptAttempt("someone@example.org")
UNKNOWN = RcptOutcome(RCPT, RcptResult.UNKNOWN)
DENIED = RcptOutcome(RCPT, RcptResult.RELAY_DENIED)
ACCEPTED = RcptOutcome(RCPT, RcptResult.ACCEPTED)
PUT_OFF = Verdict(Action.DEFER, Reason.UNKNOWN_RECIPIENTS)


def delay_s(unknown: int) -> float:
    verdict = recipient_rules.unknown_recipients(UNKNOWN, of_recipient(unknown=unknown))
    if verdict is None:
        return 0.0
    assert verdict == Verdict(Action.DELAY, Reason.TARPIT, verdict.delay_s)
    return verdict.delay_s


def test_unknown_recipients_are_answered_later_and_later() -> None:
    delays = [delay_s(unknown) for unknown in range(HOPELESS * 3)]
    assert set(delays[: FREE_UNKNOWN + 1]) == {0.0}
    assert delays[FREE_UNKNOWN + 1] == POLICY.tarpit_base_s
    assert delays == sorted(delays)
    assert delays[-1] == POLICY.tarpit_max_s


def test_relay_denied_has_the_same_ladder() -> None:
    seen = of_recipient(unknown=FREE_UNKNOWN + 1)
    assert recipient_rules.unknown_recipients(DENIED, seen) is not None


def test_accepted_recipient_is_not_delayed_by_earlier_ones() -> None:
    seen = of_recipient(unknown=HOPELESS, none_accepted=True)
    assert recipient_rules.unknown_recipients(ACCEPTED, seen) is None


def test_session_that_found_nobody_is_over() -> None:
    hopeless = of_recipient(unknown=HOPELESS, none_accepted=True)
    expected = Verdict(Action.CLOSE, Reason.UNKNOWN_RECIPIENTS)
    assert recipient_rules.unknown_recipients(UNKNOWN, hopeless) == expected
    found = recipient_rules.unknown_recipients(UNKNOWN, of_recipient(unknown=HOPELESS))
    assert found is not None
    assert found.action is Action.DELAY


def test_harvester_is_put_off_before_the_backend_is_asked() -> None:
    harvester = of_recipient(unknown=POLICY.harvest_defer, mostly_unknown=True)
    assert recipient_rules.unknown_recipients(RCPT, harvester) == PUT_OFF
    fewer = of_recipient(unknown=POLICY.harvest_defer - 1, mostly_unknown=True)
    assert recipient_rules.unknown_recipients(RCPT, fewer) is None


def test_now_and_then_one_is_asked_to_see_if_the_sender_has_mended() -> None:
    probe = of_recipient(unknown=POLICY.harvest_defer, mostly_unknown=True, probe=True)
    assert recipient_rules.unknown_recipients(RCPT, probe) is None


def test_harvester_is_banned_in_the_end_and_first_for_longer_than_a_guesser() -> None:
    harvester = of_recipient(unknown=POLICY.harvest_ban, mostly_unknown=True)
    verdict = recipient_rules.harvest_ban(UNKNOWN, harvester)
    assert verdict is not None
    assert verdict.ban
    assert verdict.ban_first_s == POLICY.harvest_ban_first_s
    fewer = of_recipient(unknown=POLICY.harvest_ban - 1, mostly_unknown=True)
    assert recipient_rules.harvest_ban(UNKNOWN, fewer) is None


@pytest.mark.parametrize("unknown", [POLICY.harvest_defer, POLICY.harvest_ban, 10**6])
def test_sender_to_many_is_never_put_off_for_a_stale_list(unknown: int) -> None:
    stale = of_recipient(unknown=unknown, mostly_unknown=False)
    assert recipient_rules.unknown_recipients(RCPT, stale) is None
    assert recipient_rules.harvest_ban(UNKNOWN, stale) is None


def test_users_mistypes_have_no_consequence() -> None:
    user = of_recipient(Scope.AUTH, unknown=10**6, mostly_unknown=True, none_accepted=True)
    for event in (RCPT, UNKNOWN, DENIED):
        assert recipient_rules.unknown_recipients(event, user) is None
        assert recipient_rules.harvest_ban(event, user) is None


@pytest.mark.parametrize("scope", Scope)
def test_recipients_beyond_the_rate_are_put_off(scope: Scope) -> None:
    over = of_recipient(scope, over_rate=True)
    expected = Verdict(Action.DEFER, Reason.RECIPIENT_RATE)
    assert recipient_rules.recipient_rate(RCPT, over) == expected
    assert recipient_rules.recipient_rate(ACCEPTED, over) is None, "it was within the rate"
    assert recipient_rules.recipient_rate(RCPT, of_recipient(scope)) is None


def test_held_account_has_every_recipient_put_off() -> None:
    held = of_recipient(Scope.AUTH, held=True)
    expected = Verdict(Action.DEFER, Reason.ACCOUNT_HELD)
    assert recipient_rules.account_held(RCPT, held) == expected
    assert recipient_rules.account_held(ACCEPTED, held) is None
    assert recipient_rules.account_held(RCPT, of_recipient(Scope.AUTH)) is None


def test_nothing_is_said_where_no_recipient_is_concerned() -> None:
    for rule in (
        recipient_rules.unknown_recipients,
        recipient_rules.harvest_ban,
        recipient_rules.recipient_rate,
        recipient_rules.account_held,
    ):
        assert rule(RCPT, facts()) is None
