"""Hooks files as tests write them, and a guard that asks them."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent

import trio
import trio.testing
from fake_resolver import FakeResolver
from guard_bench import SETTINGS, Bench

from gatekeeper.events import Client, JudgedEvent
from gatekeeper.hooks.health import Fault, State
from gatekeeper.hooks.judge import HookedJudge
from gatekeeper.hooks.loading import load_files
from gatekeeper.settings import HookSettings, OnError, Settings
from gatekeeper.verdict import Verdict

OWNERS = frozenset({0, os.geteuid()})


def write(path: Path, text: str) -> Path:
    """A hooks file with this text, which may be indented as a whole."""
    path.write_text(dedent(text), encoding="utf-8")
    path.chmod(0o644)
    return path


@dataclass
class HooksRig:
    """A guard whose hooks are asked, with a clock that moves when told to and DNS from a table."""

    directory: Path
    bench: Bench = field(default_factory=Bench)
    resolver: FakeResolver = field(default_factory=FakeResolver)
    said: list[tuple[str, State, str]] = field(default_factory=list)  # what is told of hooks

    def __post_init__(self) -> None:
        self.judge = HookedJudge(
            self.bench.guard,
            self.resolver,
            lambda label, state, why: self.said.append((label, state, why)),
        )

    def install(self, text: str, name: str = "hooks.py", **settings: object) -> None:
        """Have the hooks of this text asked."""
        path = write(self.directory / name, text)
        self.install_file(path, **settings)

    def install_file(self, *paths: Path, **settings: object) -> None:
        """Have the hooks of these files asked."""
        made = HookSettings(paths, **settings)  # type: ignore[arg-type]  # a test's own words
        self.judge.install(load_files(paths, OWNERS), made)

    async def ask(self, event: JudgedEvent, client: Client) -> Verdict:
        """The verdict."""
        return await self.judge.judge(event, client)

    def report(self, label: str) -> str:
        """What an operator is told of one hook, in one line."""
        (row,) = [row for row in self.judge.rows() if row["hook"] == label]
        line = f"{row['called']}, {row['state']}, {row['calls']} calls"
        kinds = ", ".join(f"{row[one.value]} {one.value}" for one in Fault if row[one.value])
        return f"{line}, {row['failed']} failed ({kinds}): {row['why']}" if kinds else line


@asynccontextmanager
async def hooks_rig(directory: Path, settings: Settings = SETTINGS) -> AsyncIterator[HooksRig]:
    """A rig whose tasks end with the block."""
    rig = HooksRig(directory, Bench(settings))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.judge.run)
        await trio.testing.wait_all_tasks_blocked()
        yield rig
        nursery.cancel_scope.cancel()


__all__ = ["OWNERS", "HooksRig", "OnError", "hooks_rig", "write"]
