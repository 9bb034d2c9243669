"""The tree is followed beside the sessions."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from rig import virtual_time

from gatekeeper.domains_tree import DomainsFollower, tree
from gatekeeper.domains_tree.following import LOOK_S
from gatekeeper.policy.domains import Domains


class Heard:
    """What a guard and a log would have been told."""

    def __init__(self) -> None:
        self.taken: list[Domains | None] = []
        self.said: list[tuple[str, str]] = []
        self.news = trio.Event()

    def knows(self, domain: str) -> bool:
        latest = self.taken[-1]
        return latest is not None and domain in latest.by_name

    async def until(self, seen: Callable[[], bool]) -> None:
        """Wait for news until `seen`, with no deadline: virtual time waits for no thread."""
        while not seen():
            self.news = trio.Event()
            await self.news.wait()

    def take(self, domains: Domains | None) -> None:
        self.taken.append(domains)
        self.news.set()

    def say(self, path: str, why: str) -> None:
        self.said.append((Path(path).name, why))
        self.news.set()


@asynccontextmanager
async def followed(root: Path | None) -> AsyncIterator[tuple[DomainsFollower, Heard]]:
    heard = Heard()
    follower = DomainsFollower(root, heard.take, heard.say)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(follower.run)
        await follower.looked.wait()
        yield follower, heard
        nursery.cancel_scope.cancel()


def user(root: Path, domain: str) -> None:
    (root / domain / "users/valid").mkdir(parents=True)
    (root / domain / "users/valid/ann").touch()


@pytest.fixture(autouse=True)
def _nothing_is_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "FRESH_S", 0.0)


@virtual_time
async def test_without_a_root_nothing_is_read() -> None:
    async with followed(None) as (follower, heard):
        assert heard.taken == [None]
        assert follower.report() == {}


def test_a_change_is_taken_after_two_looks(tmp_path: Path) -> None:
    @virtual_time
    async def test() -> None:
        user(tmp_path, "a.example")
        async with followed(tmp_path) as (follower, heard):
            assert follower.report() == {"domains": {"read": 1, "names": 1, "troubles": 0}}
            user(tmp_path, "b.example")
            await trio.sleep(1.5 * LOOK_S)
            assert not heard.knows("b.example")
            await heard.until(lambda: heard.knows("b.example"))
            await trio.sleep(5 * LOOK_S)
            assert len([one for one in heard.taken if one is not None]) == 2

    test()


def test_a_reload_takes_changes_at_once(tmp_path: Path) -> None:
    @virtual_time
    async def test() -> None:
        user(tmp_path, "a.example")
        async with followed(tmp_path) as (follower, heard):
            user(tmp_path, "b.example")
            follower.reconfigure(tmp_path)
            started = trio.current_time()
            await heard.until(lambda: heard.knows("b.example"))
            assert trio.current_time() - started < LOOK_S
            assert heard.knows("a.example")

    test()


def test_another_root_or_none(tmp_path: Path) -> None:
    @virtual_time
    async def test() -> None:
        user(tmp_path / "one", "a.example")
        user(tmp_path / "two", "b.example")
        async with followed(tmp_path / "one") as (follower, heard):
            follower.reconfigure(tmp_path / "two")
            assert heard.knows("a.example")  # until the other one is read
            await heard.until(lambda: heard.knows("b.example"))
            assert not heard.knows("a.example")
            follower.reconfigure(None)
            assert heard.taken[-1] is None
            await trio.sleep(3 * LOOK_S)
            assert heard.taken[-1] is None

    test()


def test_an_unchanged_snapshot_is_handed_over_once(tmp_path: Path) -> None:
    @virtual_time
    async def test() -> None:
        async with followed(tmp_path) as (_, heard):
            await trio.sleep(10 * LOOK_S)
            assert heard.taken == [Domains()]

    test()


def test_troubles_are_told_once_and_their_end_too(tmp_path: Path) -> None:
    @virtual_time
    async def test() -> None:
        user(tmp_path, "a.example")
        (tmp_path / "a.example/checks").symlink_to("checks")
        async with followed(tmp_path) as (follower, heard):
            await heard.until(lambda: bool(heard.said))
            await trio.sleep(5 * LOOK_S)
            assert heard.said == [("checks", "too many levels of symbolic links")]
            assert follower.report()["domains"] == {"read": 1, "names": 1, "troubles": 1}
            assert (follower.count, follower.troubles) == (1, 1)
            os.unlink(tmp_path / "a.example/checks")
            await heard.until(lambda: len(heard.said) > 1)
            assert heard.said[1:] == [("checks", "")]

    test()


def test_sessions_go_on_while_a_tree_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, done = trio.Event(), trio.Event()

    @virtual_time
    async def test() -> None:
        look = tree.Tree.look

        def slow(self: tree.Tree, *, at_once: bool) -> bool:
            trio.from_thread.run_sync(reading.set)
            trio.from_thread.run(done.wait)
            return look(self, at_once=at_once)

        monkeypatch.setattr(tree.Tree, "look", slow)
        user(tmp_path, "a.example")
        heard = Heard()
        follower = DomainsFollower(tmp_path, heard.take, heard.say)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follower.run)
            await reading.wait()  # this task runs while the thread is at it
            assert not follower.looked.is_set()
            done.set()
            await follower.looked.wait()
            assert heard.knows("a.example")
            nursery.cancel_scope.cancel()

    test()
