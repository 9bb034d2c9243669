"""Pauses: who is told, how they end, and an Enforcer that does not follow at once."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
import trio.testing

from gatekeeper.enforce.memory import MemoryEnforcer
from gatekeeper.errors import EnforcerError
from gatekeeper.pausing import ASSURE_S, Pause

HOUR_S = 3600.0
UNIX = 1_700_000_000.0


class Kernel(MemoryEnforcer):
    """Suspends as it is told, unless it is gone."""

    def __init__(self) -> None:
        super().__init__(trio.current_time)
        self.suspended = False
        self.gone = False
        self.told = 0

    async def suspend(self, *, on: bool) -> None:
        self.told += 1
        if self.gone:
            raise EnforcerError("the kernel process is gone")
        self.suspended = on


class Scene:
    """A pause that runs, and all that hear of it."""

    def __init__(self) -> None:
        self.kernel = Kernel()
        self.guard: list[bool] = []
        self.idlers: list[bool] = []
        self.log: list[str] = []
        self.pause = Pause(
            self.kernel,
            (self.guard.append, self.idlers.append),
            clock=lambda: UNIX + trio.current_time(),
            on_begin=lambda seconds, note: self.log.append(f"{seconds:g} {note}"),
            on_end=self.log.append,
        )

    def suspended(self) -> tuple[bool, bool]:
        """The guard and the kernel."""
        return self.pause.active, self.kernel.suspended


@asynccontextmanager
async def running() -> AsyncIterator[Scene]:
    scene = Scene()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scene.pause.run)
        await trio.testing.wait_all_tasks_blocked()
        yield scene
        nursery.cancel_scope.cancel()


async def test_all_are_told_when_it_begins_and_when_the_operator_ends_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with running() as scene:
        now = trio.current_time()
        paused = await scene.pause.begin(HOUR_S, "a test")
        assert (paused.until, paused.note) == (UNIX + now + HOUR_S, "a test")
        assert scene.suspended() == (True, True)
        await trio.sleep(60)
        assert scene.pause.report() == {
            "paused": True,
            "paused_for_s": HOUR_S - 60,
            "paused_until": UNIX + now + HOUR_S,
            "paused_note": "a test",
            "paused_kernel": "ok",
        }
        assert await scene.pause.end()
        assert scene.suspended() == (False, False)
        assert scene.guard == scene.idlers == [True, False]
        assert scene.log == ["3600 a test", "operator"]
        assert scene.pause.report() == {"paused": False}


async def test_it_ends_by_itself_at_its_time(autojump_clock: trio.testing.MockClock) -> None:
    async with running() as scene:
        await scene.pause.begin(HOUR_S, "")
        await trio.sleep(HOUR_S - 1)
        assert scene.guard == [True]
        await trio.sleep(1.5)
        assert scene.guard == [True, False]
        assert scene.suspended() == (False, False)
        assert scene.log[-1] == "its time is over"
        assert not await scene.pause.end(), "it is over"


async def test_another_pause_replaces_the_time_of_the_first(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with running() as scene:
        await scene.pause.begin(HOUR_S, "long")
        await scene.pause.begin(60.0, "short")
        await trio.sleep(61)
        assert scene.suspended() == (False, False)
        await scene.pause.begin(60.0, "short")
        await scene.pause.begin(HOUR_S, "long")
        await trio.sleep(HOUR_S - 1)
        assert scene.suspended() == (True, True)


async def test_the_guard_pauses_though_the_kernel_does_not_follow_and_it_is_tried_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with running() as scene:
        scene.kernel.gone = True
        await scene.pause.begin(HOUR_S, "")
        assert scene.guard == [True]
        assert scene.pause.kernel == "the kernel process is gone"
        scene.kernel.gone = False
        await trio.sleep(ASSURE_S + 1)
        assert scene.suspended() == (True, True)
        assert scene.pause.kernel == "ok"


async def test_a_kernel_process_made_anew_is_told_before_long(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with running() as scene:
        await scene.pause.begin(HOUR_S, "")
        scene.kernel.suspended = False
        await trio.sleep(ASSURE_S + 1)
        assert scene.suspended() == (True, True)
        await scene.pause.end()
        scene.kernel.suspended = True
        await trio.sleep(ASSURE_S + 1)
        assert scene.suspended() == (False, False)


async def test_a_new_process_carries_out_what_an_older_one_had_suspended() -> None:
    scene = Scene()
    scene.kernel.suspended = True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scene.pause.run)
        await trio.testing.wait_all_tasks_blocked()
        assert scene.suspended() == (False, False)
        nursery.cancel_scope.cancel()
