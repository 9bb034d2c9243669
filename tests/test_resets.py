"""Resets follow bans: the first at once, a flood of them together."""

from collections.abc import Sequence

import trio
import trio.testing

from gatekeeper.ban import Origin, Scope
from gatekeeper.errors import EnforcerError
from gatekeeper.ledger import Ledger
from gatekeeper.prefix import Prefix
from gatekeeper.resets import MAX_WAITING, REST_S, Resets
from gatekeeper.settings import PolicySettings
from gatekeeper.verdict import Reason

Keys = Sequence[tuple[Prefix, Scope]]


class Desk:
    """A Ledger, and the resets that follow it."""

    def __init__(self) -> None:
        self.ledger = Ledger(PolicySettings(), (), trio.current_time)
        self.killed: list[list[str]] = []
        self.counts: list[int] = []
        self.broken = False
        self.resets = Resets(self.ledger, self._kill, self.counts.append)

    async def _kill(self, keys: Keys) -> int:
        self.killed.append([str(prefix) for prefix, _ in keys])
        if self.broken:
            raise EnforcerError("gone")
        return len(keys)

    def ban(self, number: int) -> None:
        prefix = Prefix((0x0A000000 + number).to_bytes(4, "big"), 32)
        self.ledger.ban(prefix, Scope.AUTH, Reason.OPERATOR, seconds=60, origin=Origin.OPERATOR)


async def test_the_first_at_once_and_a_flood_together(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    desk = Desk()
    nursery.start_soon(desk.resets.run)
    started = trio.current_time()
    desk.ban(1)
    await trio.testing.wait_all_tasks_blocked()
    assert desk.killed == [["10.0.0.1"]]
    assert trio.current_time() == started
    for number in range(2, 2 * MAX_WAITING):
        desk.ban(number)
    await trio.sleep(REST_S / 2)
    assert len(desk.killed) == 1
    await trio.sleep(REST_S)
    assert [len(keys) for keys in desk.killed] == [1, MAX_WAITING]
    assert desk.counts == [1, MAX_WAITING]


async def test_lifts_are_nothing_and_failures_no_end(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    desk = Desk()
    nursery.start_soon(desk.resets.run)
    desk.broken = True
    desk.ban(1)
    await trio.sleep(2 * REST_S)
    desk.broken = False
    desk.ledger.lift(Prefix.parse("10.0.0.1"), Scope.AUTH)
    await trio.sleep(2 * REST_S)
    desk.ban(2)
    await trio.sleep(2 * REST_S)
    assert desk.killed == [["10.0.0.1"], ["10.0.0.2"]]
    assert desk.counts == [1]
