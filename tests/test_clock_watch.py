"""The operator hears once that the system's clock was set, and by how much."""

import pytest
import trio
import trio.testing

from gatekeeper.clock_watch import LOOK_S, ClockWatch

START = 1_700_000_000.0


class Clocks:
    """The guard's, which is Trio's, and the system's, which can be set."""

    def __init__(self) -> None:
        self.ahead_s = 0.0
        self.told: list[tuple[float, float]] = []
        self.watch = ClockWatch(self.system, self.steady, self.hear)

    def steady(self) -> float:
        return START + trio.current_time()

    def system(self) -> float:
        return self.steady() + self.ahead_s

    def hear(self, by_s: float, ahead_s: float) -> None:
        self.told.append((round(by_s), round(ahead_s)))


@pytest.mark.parametrize("by_s", [3600.0, -3600.0, -START, 2.4e9])
async def test_a_jump_is_told_once_and_so_is_the_way_back(
    autojump_clock: trio.testing.MockClock, by_s: float
) -> None:
    clocks = Clocks()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(clocks.watch.run)
        await trio.sleep(3.5 * LOOK_S)
        assert clocks.told == []
        clocks.ahead_s = by_s
        await trio.sleep(3 * LOOK_S)
        assert clocks.told == [(by_s, by_s)]
        clocks.ahead_s = 0.0
        await trio.sleep(LOOK_S)
        assert clocks.told[1:] == [(-by_s, 0)]
        nursery.cancel_scope.cancel()


async def test_a_clock_that_is_steered_is_not_told(autojump_clock: trio.testing.MockClock) -> None:
    clocks = Clocks()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(clocks.watch.run)
        for _ in range(1000):  # 500 ppm for hours, and what a look is late by
            clocks.ahead_s += 0.005
            await trio.sleep(LOOK_S)
        nursery.cancel_scope.cancel()
    assert clocks.told == []
