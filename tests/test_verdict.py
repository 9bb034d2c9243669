"""Of several opinions the strongest wins."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.verdict import PASS, Action, Reason, Verdict, strongest

VERDICTS = st.builds(
    Verdict,
    st.sampled_from(Action),
    st.sampled_from(Reason),
    st.floats(0, 60),
    st.booleans(),
)


def test_actions_grow_stronger_in_this_order() -> None:
    assert sorted(Action) == [
        Action.PASS,
        Action.DELAY,
        Action.DEFER,
        Action.DECOY,
        Action.REJECT,
        Action.CLOSE,
    ]


def test_no_opinion_is_pass() -> None:
    assert strongest([]) is PASS


@given(VERDICTS)
def test_one_opinion_is_the_verdict(verdict: Verdict) -> None:
    assert strongest([verdict]) == verdict


def test_of_equal_actions_the_first_gives_the_reason() -> None:
    first = Verdict(Action.REJECT, Reason.AUTH_FAILURES)
    second = Verdict(Action.REJECT, Reason.OPERATOR)
    assert strongest([PASS, first, second]).reason is Reason.AUTH_FAILURES


def test_the_longest_delay_and_any_ban_hold_whoever_asked() -> None:
    verdict = strongest(
        [
            Verdict(Action.DELAY, Reason.TARPIT, delay_s=4.0),
            Verdict(Action.CLOSE, Reason.BANNED, delay_s=1.0),
            Verdict(Action.PASS, Reason.NONE, ban=True),
        ]
    )
    assert verdict == Verdict(Action.CLOSE, Reason.BANNED, delay_s=4.0, ban=True)


def test_of_bans_the_longest_holds() -> None:
    short = Verdict(Action.CLOSE, Reason.AUTH_FAILURES, ban=True)
    harvest = Verdict(Action.CLOSE, Reason.UNKNOWN_RECIPIENTS, ban=True, ban_first_s=3600.0)
    idle = Verdict(Action.PASS, Reason.NONE, ban_first_s=9999.0)
    assert strongest([short, harvest, idle]).ban_first_s == 3600.0
    assert strongest([short, idle]).ban_first_s is None


@given(st.lists(VERDICTS, min_size=1, max_size=5))
def test_no_opinion_makes_the_verdict_weaker(verdicts: list[Verdict]) -> None:
    top = strongest(verdicts)
    assert top.action is max(verdict.action for verdict in verdicts)
    assert all(top.delay_s >= verdict.delay_s for verdict in verdicts)
    assert top.ban is any(verdict.ban for verdict in verdicts)


def test_a_verdict_is_not_changed() -> None:
    with pytest.raises(AttributeError):
        PASS.ban = True  # type: ignore[misc]  # the point of the test
