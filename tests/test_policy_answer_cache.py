"""The cache of DNS answers: how long they hold, and who goes when it is full."""

import pytest

from gatekeeper.policy.answer_cache import (
    LEAST_S,
    LISTED_MOST_S,
    UNLISTED_MOST_S,
    AnswerCache,
)
from gatekeeper.records import Answer, Question, RecordType

QUESTION = Question("2.0.0.127.list.example", RecordType.A)
LISTED = ("127.0.0.2",)


@pytest.mark.parametrize(
    ("records", "ttl_s", "holds_s"),
    [
        (LISTED, 100.0, 100.0),
        (LISTED, 0.0, LEAST_S),
        (LISTED, 1e6, LISTED_MOST_S),
        ((), 100.0, 100.0),
        ((), 0.0, LEAST_S),
        ((), 1e6, UNLISTED_MOST_S),
    ],
)
def test_answers_hold_as_long_as_they_say_within_limits(
    records: tuple[str, ...], ttl_s: float, holds_s: float
) -> None:
    cache = AnswerCache()
    answer = Answer(records, ttl_s)
    cache.put(QUESTION, answer, 1000.0)
    assert cache.get(QUESTION, 1000.0 + holds_s - 0.1) is answer
    assert cache.get(QUESTION, 1000.0 + holds_s) is None
    assert len(cache) == 0


def test_types_are_apart() -> None:
    cache = AnswerCache()
    cache.put(QUESTION, Answer(LISTED, 60.0), 0.0)
    assert cache.get(Question(QUESTION.name, RecordType.TXT), 0.0) is None


def test_the_one_longest_unused_goes_first() -> None:
    cache = AnswerCache(capacity=3)
    first, second, third, fourth = (Question(f"{n}.example", RecordType.A) for n in range(4))
    for question in (first, second, third):
        cache.put(question, Answer(LISTED, 60.0), 0.0)
    assert cache.get(first, 1.0) is not None
    cache.put(second, Answer((), 60.0), 1.0)
    cache.put(fourth, Answer(LISTED, 60.0), 1.0)
    assert cache.get(third, 1.0) is None
    assert cache.get(second, 1.0) == Answer((), 60.0)
    assert len(cache) == 3


def test_what_is_discarded_is_gone() -> None:
    cache = AnswerCache()
    cache.discard(QUESTION)
    cache.put(QUESTION, Answer(LISTED, 60.0), 0.0)
    cache.discard(QUESTION)
    assert cache.get(QUESTION, 0.0) is None


def test_long_answers_of_strangers_take_no_more_memory_than_short_ones() -> None:
    """50,000 of 8 KiB each took 380 MB."""
    cache = AnswerCache(octets=100_000)
    texts = [("x" * 8_000,), ("\u20ac" * 8_000,), tuple(f"127.0.{n}.2" for n in range(200))]
    for number in range(300):
        cache.put(Question(f"{number}.example", RecordType.TXT), Answer(texts[number % 3], 60.0), 0)
        assert cache.octets <= 100_000
    assert 4 <= len(cache) <= 10
    assert cache.get(Question("299.example", RecordType.TXT), 0.0) is not None
    for number in range(300):
        cache.discard(Question(f"{number}.example", RecordType.TXT))
    assert (len(cache), cache.octets) == (0, 0)


def test_what_is_put_again_counts_once() -> None:
    cache = AnswerCache()
    for _ in range(3):
        cache.put(QUESTION, Answer(LISTED, 60.0), 0.0)
        once = cache.octets
    cache.put(QUESTION, Answer((), 60.0), 0.0)
    assert 0 < cache.octets < once
    assert cache.get(QUESTION, 99.0) is None
    assert cache.octets == 0


def test_an_answer_longer_than_the_whole_table_is_not_kept() -> None:
    cache = AnswerCache(octets=10_000)
    cache.put(QUESTION, Answer(("x" * 20_000,), 60.0), 0.0)
    assert (len(cache), cache.octets) == (0, 0)
