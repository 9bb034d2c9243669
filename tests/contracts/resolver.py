"""The contract every Resolver passes; see `gatekeeper.abc.Resolver`."""

from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager

import pytest
import trio
from rig import virtual_time

from gatekeeper.abc import Resolver
from gatekeeper.errors import ResolverError
from gatekeeper.records import Answer, Question, RecordType

DEADLINE_S = 2.0  # what the Resolver is made with
SLACK_S = 0.1
LISTED = Question("listed.example", RecordType.A)
ABSENT = Question("absent.example", RecordType.A)
BARE = Question("bare.example", RecordType.A)  # it has other records
ALIAS = Question("alias.example", RecordType.A)  # of `LISTED`
FAILING = Question("failing.example", RecordType.A)
SILENT = Question("silent.example", RecordType.A)
ADDRESSES = {"127.0.0.2", "127.0.0.4"}
OTHERS = {
    Question("bare.example", RecordType.AAAA): "2001:db8::1",
    Question("bare.example", RecordType.PTR): "mx.example",
    Question("bare.example", RecordType.MX): "10 mx.example",
    Question("bare.example", RecordType.TXT): "v=spf1 -all",
}


async def failure(resolver: Resolver, question: Question) -> str:
    """Why there is no answer."""
    with pytest.raises(ResolverError) as caught:
        await resolver.resolve(question)
    return str(caught.value)


class ResolverContract(ABC):
    """Subclasses give a Resolver in a world where the names above are as they are called."""

    @abstractmethod
    def resolver(self) -> AbstractAsyncContextManager[Resolver]:
        """For the block, in the caller's Trio run."""

    @virtual_time
    async def test_all_records_come(self) -> None:
        async with self.resolver() as resolver:
            answer = await resolver.resolve(LISTED)
        assert set(answer.records) == ADDRESSES
        assert answer.ttl_s == 60.0

    @virtual_time
    async def test_what_is_not_there_has_no_records(self) -> None:
        async with self.resolver() as resolver:
            for question in (ABSENT, BARE):
                assert (await resolver.resolve(question)).records == ()

    @virtual_time
    async def test_aliases_are_followed(self) -> None:
        async with self.resolver() as resolver:
            assert set((await resolver.resolve(ALIAS)).records) == ADDRESSES

    @virtual_time
    async def test_records_are_text(self) -> None:
        async with self.resolver() as resolver:
            for question, text in OTHERS.items():
                assert (await resolver.resolve(question)).records == (text,), question.type

    @virtual_time
    async def test_a_failure_names_no_name(self) -> None:
        async with self.resolver() as resolver:
            why = await failure(resolver, FAILING)
        assert why == "SERVFAIL"

    @virtual_time
    async def test_silence_ends_at_the_deadline(self) -> None:
        async with self.resolver() as resolver:
            started = trio.current_time()
            assert await failure(resolver, SILENT) == "no answer in time"
            took_s = trio.current_time() - started
        assert DEADLINE_S - SLACK_S <= took_s <= DEADLINE_S + SLACK_S

    @virtual_time
    async def test_names_that_are_none_fail(self) -> None:
        async with self.resolver() as resolver:
            for name in ("x" * 64 + ".example", "a..example", "label." * 50 + "example"):
                why = await failure(resolver, Question(name, RecordType.A))
                assert why == "not a name DNS can be asked for"

    @virtual_time
    async def test_who_gives_up_takes_nothing_from_others(self) -> None:
        heard: list[Answer] = []

        async def ask(resolver: Resolver, patience: trio.CancelScope) -> None:
            with patience:
                heard.append(await resolver.resolve(LISTED))

        async with self.resolver() as resolver, trio.open_nursery() as nursery:
            hasty = trio.CancelScope()
            nursery.start_soon(ask, resolver, hasty)
            nursery.start_soon(ask, resolver, trio.CancelScope())
            await trio.lowlevel.checkpoint()
            hasty.cancel()
        assert set(heard[-1].records) == ADDRESSES

    @virtual_time
    async def test_what_is_known_is_what_was_heard_until_it_is_forgotten(self) -> None:
        async with self.resolver() as resolver:
            assert resolver.known(LISTED) is None
            answer = await resolver.resolve(LISTED)
            assert resolver.known(LISTED) in {None, answer}
            resolver.forget(LISTED)
            assert resolver.known(LISTED) is None
            assert set((await resolver.resolve(LISTED)).records) == ADDRESSES
