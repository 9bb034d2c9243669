"""After the breaker has opened: all its lifts are made, and its end is told once."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import trio
import trio.testing
from guard_bench import SETTINGS, Bench, client

from gatekeeper.banning import LIFTED_AT_ONCE
from gatekeeper.breaker_watch import LOOK_S, BreakerWatch
from gatekeeper.events import AuthResult
from gatekeeper.policy.breaker import Cause, Trip
from gatekeeper.settings import PolicySettings

POLICY = PolicySettings(breaker_people_share=0.01, ban_spares_s=0.0, auth_ban_score_per_account=0.0)
TRAPS = replace(SETTINGS, policy=POLICY, trap_accounts=("root",))
MANY = 2 * LIFTED_AT_ONCE
MET = 11  # more than a hundredth of all


class Scene:
    """A guard on Trio's clock, and what its log would hold."""

    def __init__(self) -> None:
        self.bench = Bench(TRAPS)
        self.opened: list[Trip] = []
        self.closed: list[int] = []
        self.since = self.bench.now - trio.current_time()
        self.watch = BreakerWatch(
            self.bench.guard.banning, self.tick, self.opened.append, self.closed.append
        )

    def tick(self) -> float:
        """Let the guard's clock follow Trio's."""
        self.bench.now = self.since + trio.current_time()
        return self.bench.now

    async def go_wrong(self) -> None:
        """Ban many, some of whom are people."""
        guess = f"guess {self.bench.now}"
        for number in range(MET):
            who = client(f"100.64.{number}.1")
            await self.bench.outcome(who, "right", f"u{number}", AuthResult.SUCCESS)
        await trio.sleep(1)
        self.tick()
        for number in range(MANY):
            await self.bench.attempt(client(f"10.{number >> 8}.{number & 255}.9"), guess, "root")
        for number in range(MET):
            await self.bench.attempt(client(f"100.64.{number}.1"), guess, "root")


@asynccontextmanager
async def running() -> AsyncIterator[Scene]:
    scene = Scene()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scene.watch.run)
        await trio.testing.wait_all_tasks_blocked()
        yield scene
        nursery.cancel_scope.cancel()


async def test_what_was_left_to_lift_is_lifted_and_the_end_is_told(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with running() as scene:
        await scene.go_wrong()
        assert [trip.cause for trip in scene.opened] == [Cause.PEOPLE]
        assert len(scene.bench.bans()) > 0
        await trio.testing.wait_all_tasks_blocked()
        assert scene.bench.bans() == []
        assert scene.closed == []
        await trio.sleep(POLICY.breaker_hold_s + LOOK_S)
        assert scene.closed == [scene.bench.guard.banning.breaker.withheld]


async def test_a_reset_is_told_of_soon_and_the_next_opening_too(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with running() as scene:
        for times in (1, 2):
            await scene.go_wrong()
            await trio.testing.wait_all_tasks_blocked()
            assert scene.bench.guard.banning.breaker.reset(scene.tick()) is not None
            await trio.sleep(LOOK_S + 1)
            assert (len(scene.opened), len(scene.closed)) == (times, times)
