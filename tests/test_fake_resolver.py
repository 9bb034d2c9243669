"""The fake Resolver passes the contract of the real ones."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from contracts import resolver as world
from fake_resolver import FakeResolver

from gatekeeper.abc import Resolver
from gatekeeper.records import Answer


def fake() -> FakeResolver:
    """A fake in the contract's world."""
    made = FakeResolver(deadline_s=world.DEADLINE_S)
    for question in (world.LISTED, world.ALIAS):
        made.put(question.name, *world.ADDRESSES)
    made.answers |= {question: Answer((text,), 60.0) for question, text in world.OTHERS.items()}
    made.failures[world.FAILING.name] = "SERVFAIL"
    made.silent.add(world.SILENT.name)
    return made


class TestFakeResolver(world.ResolverContract):
    @asynccontextmanager
    async def resolver(self) -> AsyncIterator[Resolver]:
        yield fake()
