"""Forward-confirmed reverse DNS, as far as it is reading."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.events import ReverseDns, ReverseState
from gatekeeper.policy.reverse_dns import (
    MAX_NAMES,
    forward_questions,
    read_reverse,
    reverse_question,
)
from gatekeeper.records import Answer, Question, RecordType

V4, V6 = "203.0.113.9", "2001:db8::25"
MX = "mx.sender.example"


def answer(*records: str) -> Answer:
    return Answer(records, 60.0)


def test_the_names_of_an_address_stand_in_its_reverse_tree() -> None:
    """RFC 1035 3.5, RFC 3596 2.5."""
    assert reverse_question(V4) == Question("9.113.0.203.in-addr.arpa", RecordType.PTR)
    nibbles = "5.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2"
    assert reverse_question(V6) == Question(f"{nibbles}.ip6.arpa", RecordType.PTR)


@pytest.mark.parametrize(("address", "type_"), [(V4, RecordType.A), (V6, RecordType.AAAA)])
def test_a_name_is_asked_for_addresses_of_the_clients_kind(address: str, type_: RecordType) -> None:
    assert forward_questions(address, ["MX.Sender.Example"]) == {MX: Question(MX, type_)}


def test_few_names_are_asked_and_always_the_same() -> None:
    names = [f"host{number}.example" for number in range(9)]
    asked = forward_questions(V4, names)
    assert list(asked) == names[:MAX_NAMES]
    assert forward_questions(V4, [*reversed(names), *names]) == asked


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "localhost",
        "a..example",
        "a b.example",
        "a\\032b.example",
        'x" rip=192.0.2.1.example',
        "a\n.example",
        "ä.example",
        f"{'a' * 64}.example",
        ".".join(["a" * 60] * 5),
    ],
)
def test_what_is_no_name_of_a_host_is_not_asked_and_not_told(name: str) -> None:
    assert forward_questions(V4, [name]) == {}
    assert read_reverse(V4, [name], {}) == ReverseDns(ReverseState.UNCONFIRMED)


def test_names_with_an_underscore_are_in_use() -> None:
    assert list(forward_questions(V4, ["mail_1.sender.example"])) == ["mail_1.sender.example"]


def test_no_name_is_missing() -> None:
    assert read_reverse(V4, [], {}) == ReverseDns(ReverseState.MISSING)


@pytest.mark.parametrize(
    ("address", "records"),
    [(V4, (V4,)), (V4, ("192.0.2.1", V4)), (V6, ("2001:db8:0:0::25",))],
)
def test_a_name_that_has_the_address_is_confirmed(address: str, records: tuple[str, ...]) -> None:
    found = read_reverse(address, [MX], {MX: answer(*records)})
    assert found == ReverseDns(ReverseState.CONFIRMED, MX)


def test_one_name_of_several_is_enough_whatever_the_others_are() -> None:
    answers = {"a.example": None, "b.example": answer(), MX: answer(V4)}
    found = read_reverse(V4, list(answers), answers)
    assert found == ReverseDns(ReverseState.CONFIRMED, MX)


@pytest.mark.parametrize("records", [(), ("203.0.113.90",)])
def test_a_name_that_has_it_not_is_a_lie(records: tuple[str, ...]) -> None:
    found = read_reverse(V4, [MX], {MX: answer(*records)})
    assert found == ReverseDns(ReverseState.UNCONFIRMED, MX)


def test_another_address_of_the_same_64_confirms_nothing() -> None:
    found = read_reverse(V6, [MX], {MX: answer("2001:db8::26")})
    assert found is not None
    assert found.state is ReverseState.UNCONFIRMED


def test_what_was_not_answered_leaves_it_open() -> None:
    answers = {"a.example": answer("192.0.2.1"), "b.example": None}
    assert read_reverse(V4, list(answers), answers) is None


def test_names_that_were_not_looked_at_leave_it_open() -> None:
    names = [f"host{number}.example" for number in range(MAX_NAMES + 1)]
    answers = dict.fromkeys(forward_questions(V4, names), answer("192.0.2.1"))
    assert read_reverse(V4, names, answers) is None


@given(st.lists(st.text(max_size=80), max_size=6))
def test_names_of_any_text_are_read_and_none_reaches_a_log_unread(names: list[str]) -> None:
    asked = forward_questions(V4, names)
    assert len(asked) <= MAX_NAMES
    for name in asked:
        assert name.isascii()
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_.")
    found = read_reverse(V4, names, dict.fromkeys(asked, answer("192.0.2.1")))
    assert found is None or found.state is not ReverseState.CONFIRMED
