"""Bans of a Store on their way into the Ledger, beside everything else."""

import time
from itertools import pairwise
from pathlib import Path

import pytest
import trio
import trio.testing

from gatekeeper import durable
from gatekeeper.ban import Ban, End, Scope
from gatekeeper.durable import Restore
from gatekeeper.errors import GatekeeperError, StoreError
from gatekeeper.ledger import Ledger
from gatekeeper.prefix import Prefix
from gatekeeper.settings import PolicySettings
from gatekeeper.store import sqlite
from gatekeeper.store.memory import MemoryStore
from gatekeeper.store.sqlite import SqliteStore
from gatekeeper.verdict import Reason

MEMORY_S = 1e6


def host(number: int) -> Prefix:
    return Prefix(number.to_bytes(4, "big"), 32)


def stored(number: int) -> Ban:
    now = time.time()
    return Ban(host(number), Scope.AUTH, Reason.AUTH_FAILURES, 1, now - 60, now + 600)


def new_ledger() -> Ledger:
    return Ledger(PolicySettings(), (), time.time)


class PagedStore(MemoryStore):
    """Gives its pages one by one, each after something else has had its turn; fails behind them
    where told to."""

    def __init__(self, pages: list[list[Ban]], *, fails: bool = False) -> None:
        super().__init__(MEMORY_S)
        self.pages = pages
        self.fails = fails
        self.may_go_on = trio.Event()

    async def ends(self, now: float, after: End | None = None) -> list[End]:
        """The same pages."""
        number = 0
        if after is not None:
            pages = enumerate(self.pages, 1)
            number = next(n for n, page in pages if page[-1].prefix == after[0])
        page = self.pages[number] if number < len(self.pages) else []
        return [(ban.prefix, ban.scope, ban.until) for ban in page]

    async def load(self, now: float, after: Ban | None = None) -> list[Ban]:
        """The page behind `after`."""
        if after is None:
            return self.pages[0]
        await self.may_go_on.wait()
        number = next(n for n, page in enumerate(self.pages, 1) if page[-1] == after)
        if number < len(self.pages):
            return self.pages[number]
        if self.fails:
            raise StoreError("no more of it can be read")
        return []


async def test_the_first_page_is_in_before_the_others() -> None:
    ledger, errors = new_ledger(), list[GatekeeperError | None]()
    store = PagedStore([[stored(1), stored(2)], [stored(3)]])
    restore = Restore(store, ledger, errors.append)
    await restore.begin()
    assert len(ledger) == 2
    store.may_go_on.set()
    assert await restore.run() == 1
    assert {ban.prefix for ban in ledger.bans()} == {host(1), host(2), host(3)}
    assert errors == []


async def test_each_page_is_followed_as_far_as_its_bans_still_are() -> None:
    """All of them before the Ledger has more than the first page."""
    ledger = new_ledger()
    store = PagedStore([[stored(1), stored(2)], [stored(3)]])
    store.may_go_on.set()
    restore = Restore(store, ledger, lambda _: None)
    await restore.begin()
    ledger.lift(host(1), Scope.AUTH)
    followed: list[list[Prefix]] = []
    known: list[int] = []

    async def follow(page: list[End]) -> None:
        followed.append([prefix for prefix, _, _ in page])
        known.append(len(ledger))
        ledger.lift(host(3), Scope.AUTH)
        await trio.lowlevel.checkpoint()

    await restore.run(follow)
    assert followed == [[host(2)], []]
    assert known == [1, 1]


async def test_an_empty_store_is_restored_at_once() -> None:
    restore = Restore(MemoryStore(MEMORY_S), new_ledger(), lambda _: None)
    assert await restore.run() == 0
    assert not restore.stopped


async def test_what_happens_meanwhile_is_newer_than_the_store() -> None:
    """An operator lifts a ban that is not read yet, a Rule bans again."""
    ledger = new_ledger()
    store = PagedStore([[stored(1)], [stored(2), stored(3), stored(4)]])
    restore = Restore(store, ledger, lambda _: None)
    await restore.begin()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(restore.run)
        await trio.testing.wait_all_tasks_blocked()
        ledger.lift(host(2), Scope.AUTH)
        mine = ledger.ban(host(3), Scope.AUTH, Reason.PROTOCOL_ABUSE)
        store.may_go_on.set()
    assert ledger.find(host(2), Scope.AUTH) is None
    assert ledger.find(host(3), Scope.AUTH) == mine
    assert ledger.find(host(4), Scope.AUTH) is not None


async def test_a_store_that_fails_midway_is_told_of() -> None:
    ledger, errors = new_ledger(), list[GatekeeperError | None]()
    store = PagedStore([[stored(1)], [stored(2)]], fails=True)
    store.may_go_on.set()
    restore = Restore(store, ledger, errors.append)
    await restore.begin()
    assert await restore.run() == 1
    assert [str(error) for error in errors] == ["no more of it can be read"]
    assert len(ledger) == 2, "what was read stays"


async def test_a_stopped_one_ends() -> None:
    restore = Restore(PagedStore([[stored(1)], [stored(2)]]), new_ledger(), lambda _: None)
    await restore.begin()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(restore.run)
        await trio.testing.wait_all_tasks_blocked()
        restore.stop()
    assert restore.stopped


async def test_others_have_their_turn_between_slices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durable, "SLICE", 10)
    monkeypatch.setattr(sqlite, "PAGE", 50)
    store = await SqliteStore.open(tmp_path / "bans.db", MEMORY_S)
    await store.record([stored(number) for number in range(200)], time.time())
    ledger = new_ledger()
    restore = Restore(store, ledger, lambda _: None)
    counts: list[int] = []

    async def look() -> None:
        while True:
            counts.append(len(ledger))
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        await restore.begin()
        await restore.run()
        nursery.cancel_scope.cancel()
    await store.aclose()
    assert len(ledger) == 200
    # Trio runs those who are ready in any order: a look comes at the latest behind two slices.
    assert max(after - before for before, after in pairwise(counts)) <= 20
    assert counts[-1] >= 180
