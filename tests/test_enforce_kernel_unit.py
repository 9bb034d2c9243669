"""KernelClient and a kernel process that is a unit of its own: it listens at a path, and may be
away, come, go and come again."""

import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
import trio.testing
from contracts.enforcer import ADDRESS, NOW, ban
from enforcer_news import Told

from gatekeeper.ban import Scope
from gatekeeper.enforce.kernel_client import MAX_PAUSE_S, ROUND_TRIP_S, START_S, KernelClient
from gatekeeper.errors import EnforcerError

STARTED = b'{"event":"started"}'


class Unit:
    """The kernel process's end: listens, when told to, and says what it is told to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.health: list[str] = []
        self.told = Told()
        self.client = KernelClient(path, self._note)
        self._listener: trio.socket.SocketType | None = None

    def _note(self, error: EnforcerError | None) -> None:
        self.health.append("ok" if error is None else str(error))

    def listen(self) -> None:
        """Be there."""
        made = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        made.setblocking(False)
        made.bind(str(self.path))
        made.listen()
        self._listener = trio.socket.from_stdlib_socket(made)

    async def accept(self) -> trio.socket.SocketType:
        """The guard's next connection."""
        assert self._listener is not None, "it listens"
        sock, _ = await self._listener.accept()
        return sock

    def close(self) -> None:
        """Be gone."""
        if self._listener is not None:
            self._listener.close()
            self.path.unlink()


@pytest.fixture
async def unit(tmp_path: Path) -> AsyncIterator[Unit]:
    made = Unit(tmp_path / "socket")
    yield made
    made.close()


async def serve(sock: trio.socket.SocketType) -> None:
    """Say that it has started, and answer everything."""
    with sock:
        await sock.send(STARTED)
        while packet := await sock.recv(65_536):
            question = json.loads(packet)
            await sock.send(json.dumps({"id": question["id"], "remaining_ms": 1500}).encode())


async def left(unit: Unit) -> float | None:
    return await unit.client.remaining_s(ADDRESS, Scope.AUTH)


async def test_a_question_waits_for_the_first_word_of_the_process(
    unit: Unit, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """`started` fails the question under way, so none may be under way then."""
    unit.listen()
    nursery.start_soon(unit.client.run, unit.told)
    nursery.start_soon(serve, await unit.accept())
    assert await left(unit) == 1.5
    assert unit.told.times_doubtful == 1
    assert unit.health == ["ok"]


async def test_questions_fail_at_once_while_there_is_no_process(
    unit: Unit, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    nursery.start_soon(unit.client.run, unit.told)
    with pytest.raises(EnforcerError, match="is gone"):
        await left(unit)
    assert trio.current_time() == 0
    assert unit.health == [f"{unit.path}: No such file or directory"]


async def test_a_process_that_comes_later_is_found_within_the_longest_pause(
    unit: Unit, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    nursery.start_soon(unit.client.run, unit.told)
    await trio.sleep(60)
    unit.listen()
    with trio.fail_after(MAX_PAUSE_S):
        nursery.start_soon(serve, await unit.accept())
    await trio.testing.wait_all_tasks_blocked()
    assert await left(unit) == 1.5
    assert unit.health[-1] == "ok"
    assert set(unit.health[:-1]) == {f"{unit.path}: No such file or directory"}


async def test_after_each_death_it_is_found_again_and_compared_anew(
    unit: Unit, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    unit.listen()
    nursery.start_soon(unit.client.run, unit.told)
    for life in range(1, 4):
        sock = await unit.accept()
        async with trio.open_nursery() as serving:
            serving.start_soon(serve, sock)
            await trio.testing.wait_all_tasks_blocked()
            assert await left(unit) == 1.5
            assert unit.told.times_doubtful == life
            serving.cancel_scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(EnforcerError, match="is gone"):
            await unit.client.apply([ban()], NOW)
    assert unit.health == ["ok", "the kernel process is gone"] * 3


async def test_a_process_that_does_not_speak_is_tried_again_and_told_of(
    unit: Unit, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """As a listening socket of the service manager, whose process does not start."""
    unit.listen()
    nursery.start_soon(unit.client.run, unit.told)
    silent = await unit.accept()
    with pytest.raises(EnforcerError, match="does not answer"):
        await left(unit)
    assert trio.current_time() == pytest.approx(ROUND_TRIP_S)
    with trio.fail_after(START_S):
        again = await unit.accept()
    assert unit.health == [f"{unit.path}: it hangs up, or does not answer"]
    assert await silent.recv(1) == b"", "the first connection was let go"
    silent.close()
    nursery.start_soon(serve, again)
    await trio.testing.wait_all_tasks_blocked()
    assert await left(unit) == 1.5


async def test_who_is_hung_up_on_at_once_tries_less_and_less_often(
    unit: Unit, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """As by a kernel process that was started for another user."""
    unit.listen()
    nursery.start_soon(unit.client.run, unit.told)
    with trio.move_on_after(60):
        while True:
            (await unit.accept()).close()
    assert 12 <= len(unit.health) <= 20


async def test_nobody_is_looked_for_after_the_end(
    unit: Unit, autojump_clock: trio.testing.MockClock
) -> None:
    unit.listen()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(unit.client.run, unit.told)
        nursery.start_soon(serve, await unit.accept())
        assert await left(unit) == 1.5
        await unit.client.aclose()
        await trio.testing.wait_all_tasks_blocked()
    assert unit.health == ["ok"]
    with pytest.raises(EnforcerError, match="is gone"):
        await left(unit)
