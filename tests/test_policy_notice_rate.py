"""How often an operator is told, and what becomes of the rest."""

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.policy.notice_rate import (
    AT_ONCE,
    AT_ONCE_OF_ONE,
    MAX_HELD,
    WINDOW_S,
    NoticeRate,
    Summary,
)


def flood(rate: NoticeRate[str], number: int, now: float = 0.0, kind: str = "k") -> list[str]:
    """So many notices of different subjects; those that went out."""
    names = [f"s{each}" for each in range(number)]
    return [name for name in names if rate.admits(kind, name, name, now)]


def test_few_go_out_at_once_and_nothing_follows() -> None:
    rate: NoticeRate[str] = NoticeRate()
    assert len(flood(rate, AT_ONCE)) == AT_ONCE
    assert rate.next_at() == inf
    assert len(flood(rate, AT_ONCE, WINDOW_S)) == AT_ONCE, "nobody need ask for summaries"
    assert list(rate.due(2 * WINDOW_S)) == []


def test_a_flood_is_summed_up_at_the_end_of_its_window() -> None:
    rate: NoticeRate[str] = NoticeRate()
    assert flood(rate, AT_ONCE + 38) == [f"s{each}" for each in range(AT_ONCE)]
    assert rate.next_at() == WINDOW_S
    assert list(rate.due(WINDOW_S - 0.1)) == []
    [summary] = rate.due(WINDOW_S)
    assert summary.latest == f"s{AT_ONCE + 37}"
    assert summary.more == 37
    assert len(summary.others) == MAX_HELD - 1
    assert summary.others[0] == f"s{AT_ONCE + 36}"
    assert rate.next_at() == inf


def test_a_summary_is_one_of_the_next_window() -> None:
    rate: NoticeRate[str] = NoticeRate()
    flood(rate, AT_ONCE + 1)
    assert len(list(rate.due(WINDOW_S))) == 1
    assert len(flood(rate, AT_ONCE + 1, WINDOW_S)) == AT_ONCE - 1


def test_who_comes_and_goes_has_his_last_word_told_and_takes_no_room_from_others() -> None:
    rate: NoticeRate[str] = NoticeRate()
    sent = [each for each in range(21) if rate.admits("zone", "zen", f"word {each}", 0.0)]
    assert sent == list(range(AT_ONCE_OF_ONE))
    assert rate.admits("zone", "other", "off", 0.0)
    assert list(rate.due(WINDOW_S)) == [Summary("word 20", (), 21 - AT_ONCE_OF_ONE - 1)]


def test_no_later_word_overtakes_one_that_is_held() -> None:
    rate: NoticeRate[str] = NoticeRate()
    flood(rate, AT_ONCE)
    assert not rate.admits("k", "zen", "off", 0.0)
    [summary] = rate.due(WINDOW_S)
    assert (summary.latest, summary.more) == ("off", 0)
    assert rate.admits("k", "zen", "on", WINDOW_S)


def test_kinds_have_windows_of_their_own() -> None:
    rate: NoticeRate[str] = NoticeRate()
    flood(rate, AT_ONCE + 5, kind="a")
    assert len(flood(rate, AT_ONCE, 1.0, kind="b")) == AT_ONCE


@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), st.floats(0, 600)), max_size=120
    )
)
def test_nothing_is_lost_and_nothing_told_twice(steps: list[tuple[str, str, float]]) -> None:
    rate: NoticeRate[int] = NoticeRate()
    now, sent, summed = 0.0, 0, 0
    for number, (kind, subject, wait) in enumerate(steps):
        now += wait
        summed += sum(1 + each.more for each in rate.due(now))
        sent += rate.admits(kind, subject, number, now)
    for _ in range(2):
        now += WINDOW_S
        summed += sum(1 + each.more for each in rate.due(now))
    assert sent + summed == len(steps)
    assert rate.next_at() == inf
