"""The shared resolver: one memory, one flight for each question, and faults contained."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from contracts import resolver as world
from contracts.resolver import LISTED, SILENT, failure
from fake_resolver import FakeResolver
from rig import virtual_time
from test_fake_resolver import fake
from test_resolver_stub import stub_of_the_world

from gatekeeper.abc import Resolver
from gatekeeper.errors import ResolverError, ResolverOverloaded
from gatekeeper.records import Answer, Question, RecordType
from gatekeeper.resolver import shared as module
from gatekeeper.resolver.shared import SharedResolver


@asynccontextmanager
async def sharing(stub: Resolver) -> AsyncIterator[SharedResolver]:
    """A running resolver over `stub`, asked for names of strangers' choice."""
    async with sharing_both(stub) as (resolver, _):
        yield resolver


@asynccontextmanager
async def sharing_both(stub: Resolver) -> AsyncIterator[tuple[SharedResolver, SharedResolver]]:
    """The same, and its witness."""
    witness = SharedResolver(stub)
    resolver = SharedResolver(stub, witness)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(resolver.run)
        nursery.start_soon(witness.run)
        await trio.testing.wait_all_tasks_blocked()
        yield resolver, witness
        nursery.cancel_scope.cancel()


class TestOverTheStub(world.ResolverContract):
    @asynccontextmanager
    async def resolver(self) -> AsyncIterator[Resolver]:
        async with stub_of_the_world() as stub, sharing(stub) as resolver:
            yield resolver


class TestOverTheFake(world.ResolverContract):
    @asynccontextmanager
    async def resolver(self) -> AsyncIterator[Resolver]:
        async with sharing(fake()) as resolver:
            yield resolver


def asked(stub: FakeResolver) -> list[str]:
    """What others wanted to know."""
    return [name for name in stub.asked if name != module.OUR_OWN.name]


async def collect(resolver: Resolver, question: Question, into: list[Answer | str]) -> None:
    try:
        into.append(await resolver.resolve(question))
    except ResolverError as error:
        into.append(str(error))


@virtual_time
async def test_many_who_ask_the_same_ask_once() -> None:
    stub = fake()
    stub.delay_s = 1.0
    heard: list[Answer | str] = []
    async with sharing(stub) as resolver:
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(collect, resolver, LISTED, heard)
        assert asked(stub) == [LISTED.name]
        assert len(heard) == 50
        assert heard.count(heard[0]) == 50
        await resolver.resolve(LISTED)
        assert asked(stub) == [LISTED.name]
        assert resolver.report() == {"asked": 2, "remembered": 1, "under_way": 0, "silent": 0}


@virtual_time
async def test_an_answer_holds_for_its_time() -> None:
    stub = fake()
    async with sharing(stub) as resolver:
        await resolver.resolve(LISTED)
        await trio.sleep(59.0)
        assert resolver.known(LISTED) is not None
        await trio.sleep(2.0)
        assert resolver.known(LISTED) is None


@virtual_time
async def test_failures_are_told_to_all_and_not_remembered() -> None:
    stub = fake()
    heard: list[Answer | str] = []
    async with sharing(stub) as resolver:
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(collect, resolver, SILENT, heard)
        assert heard == ["no answer in time"] * 3
        stub.silent.clear()
        assert (await resolver.resolve(SILENT)).records == ()


@virtual_time
async def test_an_answer_that_comes_too_late_is_there_next_time() -> None:
    stub = fake()
    stub.delay_s = 1.0
    async with sharing(stub) as resolver:
        with trio.move_on_after(0.5):
            await resolver.resolve(LISTED)
        assert resolver.known(LISTED) is None
        await trio.sleep(1.0)
        assert resolver.known(LISTED) is not None


class Faulty(FakeResolver):
    """A library with a fault."""

    async def resolve(self, question: Question) -> Answer:
        """Raise what nobody expects."""
        await trio.lowlevel.checkpoint()
        raise ZeroDivisionError(question.name)


@virtual_time
async def test_a_fault_costs_one_answer() -> None:
    async with sharing(Faulty()) as resolver:
        for _ in range(2):
            assert await failure(resolver, LISTED) == "a fault: ZeroDivisionError"


@virtual_time
async def test_questions_under_way_are_bounded() -> None:
    stub = fake()
    stub.delay_s = 1.0
    heard: list[Answer | str] = []
    async with sharing(stub) as resolver:
        async with trio.open_nursery() as nursery:
            for number in range(module.MAX_FLIGHTS + 1):
                question = Question(f"{number}.example", RecordType.A)
                nursery.start_soon(collect, resolver, question, heard)
        assert heard.count("too many questions are under way") == 1
        assert len(asked(stub)) == module.MAX_FLIGHTS
        assert (await resolver.resolve(LISTED)).records


@virtual_time
async def test_nobody_waits_for_a_resolver_that_has_ended() -> None:
    stub = fake()
    resolver = SharedResolver(stub)
    assert await failure(resolver, LISTED) == "the resolver is not running"
    stub.delay_s = 1.0
    heard: list[Answer | str] = []
    running = trio.CancelScope()

    async def run() -> None:
        with running:
            await resolver.run()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(collect, resolver, LISTED, heard)
        await trio.sleep(0.1)
        running.cancel()
    assert heard == ["the resolver has ended"]


def test_a_key_in_a_name_is_never_printed() -> None:
    question = Question("2.0.0.127.secretkey.zen.dq.spamhaus.net", RecordType.A)
    for text in (repr(question), str(question), f"{question}", repr({question: 1})):
        assert "secretkey" not in text


# -- servers that are dead ----------------------------------------------------------------------


DEAD = "no server answers anything"


def nth(number: int) -> Question:
    return Question(f"n{number}.example", RecordType.A)


async def is_dead(resolver: SharedResolver, stub: FakeResolver) -> None:
    """The servers answer nothing from now on, and a first question has found it out."""
    stub.silent = {nth(number).name for number in range(1000)} | {module.OUR_OWN.name}
    started = trio.current_time()
    why = await failure(resolver, nth(0))
    assert why in {DEAD, "no answer in time"}  # its end, or our own question's, comes first
    assert trio.current_time() - started == pytest.approx(stub.deadline_s)
    await trio.testing.wait_all_tasks_blocked()
    assert resolver.dead


@virtual_time
async def test_who_finds_the_servers_dead_waits_once_and_nobody_after_him() -> None:
    stub = fake()
    async with sharing(stub) as resolver:
        await is_dead(resolver, stub)
        started = trio.current_time()
        for number in range(100, 300):
            with pytest.raises(ResolverOverloaded):  # which switches no blocklist off
                await resolver.resolve(nth(number))
        assert trio.current_time() == started
        await trio.testing.wait_all_tasks_blocked()
        assert nth(100).name in stub.asked
        assert nth(101).name not in stub.asked
        assert resolver.report()["under_way"] == 1


@virtual_time
async def test_who_asked_before_waits_no_longer_than_the_first() -> None:
    stub = fake()
    async with sharing(stub) as resolver, trio.open_nursery() as nursery:
        nursery.start_soon(is_dead, resolver, stub)
        await trio.sleep(stub.deadline_s * 0.9)
        started = trio.current_time()
        assert await failure(resolver, nth(1)) == DEAD
        assert trio.current_time() - started == pytest.approx(stub.deadline_s * 0.1)
        stub.silent.clear()
        await trio.sleep(stub.deadline_s)
        assert await resolver.resolve(nth(1)) == Answer((), 60.0), "asked anew"


@pytest.mark.parametrize("heard", ["an answer", "an error"])
@virtual_time
async def test_whatever_is_heard_ends_it(heard: str) -> None:
    stub = fake()
    async with sharing(stub) as resolver:
        await is_dead(resolver, stub)
        stub.silent = {module.OUR_OWN.name}
        if heard == "an error":
            stub.failures[nth(101).name] = "SERVFAIL"
        assert await failure(resolver, nth(101)) == DEAD, "a trial is for those who come after it"
        await trio.testing.wait_all_tasks_blocked()
        assert not resolver.dead
        assert resolver.report()["silent"] == 0
        assert await resolver.resolve(nth(102)) == Answer((), 60.0)


@virtual_time
async def test_servers_that_are_back_are_found_so_though_no_client_comes() -> None:
    stub = fake()
    async with sharing(stub) as resolver:
        await is_dead(resolver, stub)
        stub.silent.clear()
        await trio.sleep(module.AGAIN_S * 1.1)
        assert await resolver.resolve(nth(100)) == Answer((), 60.0)


@virtual_time
async def test_a_trial_in_vain_is_followed_by_another() -> None:
    stub = fake()
    async with sharing(stub) as resolver:
        await is_dead(resolver, stub)
        for number in (100, 101):
            assert await failure(resolver, nth(number)) == DEAD
        await trio.sleep(stub.deadline_s * 1.1)
        assert await failure(resolver, nth(102)) == DEAD
        await trio.testing.wait_all_tasks_blocked()
        assert [nth(number).name in stub.asked for number in (100, 101, 102)] == [True, False, True]


@virtual_time
async def test_silent_domains_however_many_are_no_dead_server() -> None:
    stub = fake()
    stub.silent = {nth(number).name for number in range(100)}
    heard: list[Answer | str] = []
    async with sharing(stub) as resolver:
        for _ in range(3):
            async with trio.open_nursery() as nursery:
                for number in range(100):
                    nursery.start_soon(collect, resolver, nth(number), heard)
            assert not resolver.dead
    assert heard == ["no answer in time"] * 300


@virtual_time
async def test_our_own_question_is_not_asked_while_others_are_answered() -> None:
    """Nor is it more than once at a time."""
    stub = fake()
    stub.delay_s = 0.02
    async with sharing(stub) as resolver:
        for number in range(100):
            await resolver.resolve(nth(number))
        assert stub.asked.count(module.OUR_OWN.name) == 1
        await trio.sleep(module.QUIET_S)
        async with trio.open_nursery() as nursery:
            for number in range(100, 200):
                nursery.start_soon(resolver.resolve, nth(number))
        assert stub.asked.count(module.OUR_OWN.name) == 2


@virtual_time
async def test_an_answer_to_another_question_says_that_servers_are_there() -> None:
    """Where they reach a part of the world only, and our own question is in the other."""
    stub = fake()
    stub.silent = {module.OUR_OWN.name, nth(0).name}
    async with sharing(stub) as resolver, trio.open_nursery() as nursery:
        nursery.start_soon(failure, resolver, nth(0))
        await trio.sleep(stub.deadline_s / 2)
        await resolver.resolve(LISTED)
        await trio.sleep(stub.deadline_s)
        assert not resolver.dead


@virtual_time
async def test_what_was_in_vain_before_a_reload_says_nothing_of_other_servers() -> None:
    stub = fake()
    async with sharing(stub) as resolver, trio.open_nursery() as nursery:
        stub.silent = {module.OUR_OWN.name, nth(0).name}
        nursery.start_soon(failure, resolver, nth(0))
        await trio.sleep(stub.deadline_s / 2)
        resolver.stub = other = fake()
        resolver.begin_anew()
        await trio.sleep(stub.deadline_s)
        assert not resolver.dead
        assert await resolver.resolve(nth(0)) == Answer((), 60.0)
        assert set(other.asked) == {nth(0).name, module.OUR_OWN.name}, "found out about anew"


@virtual_time
async def test_what_is_dead_for_the_witness_is_dead_also_for_who_waits_already() -> None:
    stub = fake()
    async with sharing_both(stub) as (resolver, witness):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(is_dead, witness, stub)
            await trio.sleep(stub.deadline_s / 2)
            started = trio.current_time()
            assert await failure(resolver, nth(500)) == DEAD
            assert trio.current_time() - started == pytest.approx(stub.deadline_s / 2)
        assert await failure(resolver, nth(501)) == DEAD
        stub.silent.clear()
        assert await failure(witness, nth(503)) == DEAD
        await trio.testing.wait_all_tasks_blocked()
        assert await resolver.resolve(nth(504)) == Answer((), 60.0)


@virtual_time
async def test_strangers_make_nothing_look_dead_to_the_witness() -> None:
    """Not even where our own question is in vain, too."""
    stub = fake()
    async with sharing_both(stub) as (resolver, witness):
        await is_dead(resolver, stub)
        assert not witness.dead
        await witness.resolve(LISTED)
        assert not resolver.dead, "what it hears is heard by both"
