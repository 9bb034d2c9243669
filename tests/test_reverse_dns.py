"""Names of clients through a resolver: at once where they are known, never longer than the time."""

from typing import Final

import pytest
import trio
from fake_resolver import FakeResolver
from rig import virtual_time

from gatekeeper.events import ReverseDns, ReverseState
from gatekeeper.policy.reverse_dns import reverse_question
from gatekeeper.records import Answer, Question, RecordType
from gatekeeper.reverse_dns import MAX_LOOKUPS, ReverseNames
from gatekeeper.settings import DnsSettings

DEADLINE_S: Final = DnsSettings().deadline_s
ADDRESS, MX, OTHER = "203.0.113.9", "mx.sender.example", "other.example"
POINTER = reverse_question(ADDRESS).name


def resolver(*names: str, address: str = ADDRESS) -> FakeResolver:
    """One that knows the address by `names`, and the first of them by `address`."""
    found = FakeResolver()
    found.put(POINTER, *names, type_=RecordType.PTR)
    if names:
        found.put(names[0], address)
    return found


def names_of(found: FakeResolver) -> ReverseNames:
    return ReverseNames(DnsSettings(), found)


@virtual_time
async def test_a_confirmed_name_takes_two_questions() -> None:
    found = resolver(MX)
    names = names_of(found)
    assert await names.lookup(ADDRESS) == ReverseDns(ReverseState.CONFIRMED, MX)
    assert found.asked == [POINTER, MX]
    assert names.unanswered == 0


@virtual_time
async def test_an_address_without_a_name_takes_one() -> None:
    found = resolver()
    assert await names_of(found).lookup(ADDRESS) == ReverseDns(ReverseState.MISSING)
    assert found.asked == [POINTER]


@virtual_time
async def test_a_lie_is_told_as_one() -> None:
    found = resolver(MX, address="192.0.2.1")
    assert await names_of(found).lookup(ADDRESS) == ReverseDns(ReverseState.UNCONFIRMED, MX)


@virtual_time
async def test_several_names_are_asked_at_once_and_the_first_that_confirms_is_enough() -> None:
    found = resolver(MX, OTHER, "third.example")
    found.delays_s = {MX: 0.5, OTHER: 1.9, "third.example": 0.1}
    assert await names_of(found).lookup(ADDRESS) == ReverseDns(ReverseState.CONFIRMED, MX)
    assert trio.current_time() == pytest.approx(0.5)


@pytest.mark.parametrize("name", [POINTER, MX])
@pytest.mark.parametrize("how", ["SERVFAIL", "silence"])
@virtual_time
async def test_no_answer_is_no_opinion(name: str, how: str) -> None:
    found = resolver(MX)
    if how == "silence":
        found.silent.add(name)
    else:
        found.failures[name] = how
    names = names_of(found)
    assert await names.lookup(ADDRESS) is None
    assert trio.current_time() <= DEADLINE_S
    assert names.unanswered == 1


@virtual_time
async def test_both_steps_together_have_one_deadline() -> None:
    found = resolver(MX)
    found.delay_s = 0.9 * DEADLINE_S
    assert await names_of(found).lookup(ADDRESS) is None
    assert trio.current_time() == pytest.approx(DEADLINE_S)


@virtual_time
async def test_a_name_that_was_confirmed_in_time_counts_whatever_is_late() -> None:
    found = resolver("b.example", "a.example", OTHER)
    found.delays_s = {"a.example": 99.0, OTHER: 99.0}
    confirmed = ReverseDns(ReverseState.CONFIRMED, "b.example")
    assert await names_of(found).lookup(ADDRESS) == confirmed


@virtual_time
async def test_too_many_questions_are_no_opinion() -> None:
    found = resolver(MX)
    found.overloaded = True
    assert await names_of(found).lookup(ADDRESS) is None


@virtual_time
async def test_a_crowd_of_clients_with_silent_servers_leaves_questions_for_others() -> None:
    found = FakeResolver()
    crowd = [f"203.0.{number >> 8}.{number & 255}" for number in range(MAX_LOOKUPS + 1)]
    found.silent.update(reverse_question(address).name for address in crowd)
    names = names_of(found)
    async with trio.open_nursery() as nursery:
        for address in crowd:
            nursery.start_soon(names.lookup, address)
        await trio.sleep(DEADLINE_S / 2)
        assert len(found.asked) == MAX_LOOKUPS
        nursery.cancel_scope.cancel()
    names = names_of(resolver(MX))
    assert await names.lookup(ADDRESS) == ReverseDns(ReverseState.CONFIRMED, MX)


@virtual_time
async def test_many_connections_of_one_client_take_one_place() -> None:
    """They all wait for the same answer; two clients with silent servers took all places."""
    found = resolver(MX)
    found.silent.update(reverse_question(f"192.0.2.{number}").name for number in range(2))
    names = names_of(found)
    async with trio.open_nursery() as nursery:
        for number in range(MAX_LOOKUPS):
            nursery.start_soon(names.lookup, f"192.0.2.{number % 2}")
        await trio.sleep(DEADLINE_S / 2)
        assert await names.lookup(ADDRESS) == ReverseDns(ReverseState.CONFIRMED, MX)
        nursery.cancel_scope.cancel()


@virtual_time
async def test_who_is_cancelled_makes_room() -> None:
    found = resolver(MX)
    found.silent.add(POINTER)
    names = names_of(found)
    for _ in range(MAX_LOOKUPS):
        with trio.move_on_after(0.001):
            await names.lookup(ADDRESS)
    found.silent.clear()
    assert await names.lookup(ADDRESS) == ReverseDns(ReverseState.CONFIRMED, MX)


@virtual_time
async def test_new_settings_have_a_new_deadline() -> None:
    found = resolver(MX)
    found.delay_s = 0.5
    names = names_of(found)
    names.reconfigure(DnsSettings(deadline_s=0.1))
    assert await names.lookup(ADDRESS) is None
    assert trio.current_time() == pytest.approx(0.1)


@pytest.mark.parametrize("names", [(), (MX,), (MX, OTHER)])
def test_what_is_remembered_is_known_without_asking(names: tuple[str, ...]) -> None:
    found = resolver(*names)
    asking = names_of(found)
    assert asking.known(ADDRESS) is None
    found.remembered.add(reverse_question(ADDRESS))
    for name in reversed(names):
        assert asking.known(ADDRESS) is None
        question = Question(name, RecordType.A)
        found.answers.setdefault(question, Answer((), 60.0))
        found.remembered.add(question)
    expected = ReverseDns(ReverseState.CONFIRMED, MX) if names else ReverseDns(ReverseState.MISSING)
    assert asking.known(ADDRESS) == expected
    assert found.asked == []
