"""How tickets are spelt, read back, and put into replies."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.wire.ticket import COUNT, LENGTH, LETTERS, read_ticket, spell, with_ticket


@given(st.integers(0, COUNT - 1))
def test_a_ticket_is_read_as_it_is_spelt(number: int) -> None:
    ticket = spell(number)
    assert len(ticket) == LENGTH
    assert set(ticket) <= set(LETTERS)
    assert read_ticket(ticket) == (ticket, False)


def test_no_two_numbers_have_one_ticket() -> None:
    step = 997  # every number would take a minute
    numbers = range(0, COUNT, step)
    assert len({spell(number) for number in numbers}) == len(numbers)
    assert spell(COUNT - 1) == LETTERS[-1] * LENGTH


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("7F3K2", ("7f3k2", False)),
        (" 7f3k2\n", ("7f3k2", False)),
        ("(ref 7f3k2)", ("7f3k2", True)),
        ("ref=7f3k2", ("7f3k2", True)),
        ("Ref: 7F3K2", ("7f3k2", True)),
        ("7f3k", None),
        ("7f3k22", None),
        ("7f3ko", None),  # no o: it would be taken for a nought
        ("7f3k1", None),
        ("reference", None),
        ("ann@example.org", None),
        ("", None),
    ],
)
def test_a_ticket_is_read_as_people_write_it(text: str, read: tuple[str, bool] | None) -> None:
    assert read_ticket(text) == read


def test_letters_cannot_be_taken_for_each_other_nor_make_words() -> None:
    assert len(set(LETTERS)) == len(LETTERS)
    assert not set(LETTERS) & set("01aeilou")


def test_a_reply_keeps_its_words_and_its_line() -> None:
    assert with_ticket(b"450 4.7.1 Later\r\n", "7f3k2") == b"450 4.7.1 Later (ref 7f3k2)\r\n"
    assert with_ticket(b"450 4.7.1 Later\r\n", "") == b"450 4.7.1 Later\r\n"
