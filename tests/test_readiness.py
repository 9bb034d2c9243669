"""One epoll for all sessions: what is armed fires once, what is silent stays so."""

import os
import socket
from collections.abc import Callable

import pytest
import trio
from legs import reset, running, tcp_pair
from rig import virtual_time
from trio.testing import wait_all_tasks_blocked

from gatekeeper.errors import DeadlineExceeded
from gatekeeper.readiness import GONE, IN, OUT, SWEEP_S, Readiness, Waiter

SETTLE_S = 0.002  # real; loopback delivers in microseconds


class Heard(list[int]):
    """The event masks a descriptor got."""

    def __call__(self, mask: int) -> None:
        self.append(mask)


async def settle() -> None:
    await wait_all_tasks_blocked(SETTLE_S)


async def wait_for(waiter: Waiter, deadline: float, woken: list[str], name: str = "woken") -> None:
    await waiter.wait(deadline)
    woken.append(name)


@virtual_time
async def test_a_descriptor_is_silent_until_armed() -> None:
    async with running() as readiness:
        near, far = tcp_pair()
        heard = Heard()
        readiness.add(near.fileno(), heard)
        far.send(b"x")
        await settle()
        assert heard == []
        readiness.arm(near.fileno(), IN)
        await settle()
        assert heard == [IN]
        readiness.forget(near.fileno())
        near.close()
        far.close()


@virtual_time
async def test_an_armed_descriptor_speaks_once() -> None:
    async with running() as readiness:
        near, far = tcp_pair()
        heard = Heard()
        readiness.add(near.fileno(), heard)
        readiness.arm(near.fileno(), IN)
        for _ in range(3):
            far.send(b"x")
            await settle()
        assert len(heard) == 1
        readiness.forget(near.fileno())
        near.close()
        far.close()


@virtual_time
async def test_a_watched_descriptor_speaks_for_as_long_as_it_is_true() -> None:
    async with running() as readiness:
        near, far = tcp_pair()
        heard: list[bytes] = []
        readiness.add(near.fileno(), lambda _mask: heard.append(near.recv(1)))
        readiness.watch(near.fileno(), IN)
        far.send(b"abc")
        await settle()
        assert heard == [b"a", b"b", b"c"]
        readiness.forget(near.fileno())
        near.close()
        far.close()


@pytest.mark.parametrize("die", [socket.socket.close, reset])
@virtual_time
async def test_a_silenced_descriptor_of_a_dead_peer_makes_no_busy_loop(
    die: Callable[[socket.socket], None],
) -> None:
    async with running() as readiness:
        near, far = tcp_pair()
        heard = Heard()
        readiness.add(near.fileno(), heard)
        readiness.watch(near.fileno(), IN)
        readiness.watch(near.fileno(), 0)
        near.shutdown(socket.SHUT_WR)  # with the peer's FIN that is EPOLLHUP
        far.send(b"unread")
        die(far)
        for _ in range(5):
            await trio.sleep(SWEEP_S)
            await settle()
        assert len(heard) <= 1  # an epoll reports a hang-up unasked, but only once
        assert all(mask & GONE for mask in heard)
        readiness.forget(near.fileno())
        near.close()


@virtual_time
async def test_a_silenced_descriptor_can_be_watched_again() -> None:
    async with running() as readiness:
        near, far = tcp_pair()
        heard = Heard()
        readiness.add(near.fileno(), heard)
        readiness.watch(near.fileno(), 0)
        reset(far)
        await settle()
        heard.clear()

        def forget_at_first(mask: int) -> None:
            heard.append(mask)
            readiness.forget(near.fileno())

        readiness.redirect(near.fileno(), forget_at_first)
        readiness.watch(near.fileno(), OUT)
        await settle()
        assert len(heard) == 1
        near.close()


@virtual_time
async def test_a_waiter_is_woken_by_its_descriptor() -> None:
    async with running() as readiness, trio.open_nursery() as nursery:
        near, far = tcp_pair()
        waiter, woken = Waiter(readiness), list[str]()
        readiness.add(near.fileno(), waiter.wake)
        readiness.arm(near.fileno(), IN)
        nursery.start_soon(wait_for, waiter, 100.0, woken)
        await settle()
        assert woken == []
        far.send(b"x")
        await settle()
        assert woken == ["woken"]
        assert trio.current_time() < 100
        readiness.forget(near.fileno())
        near.close()
        far.close()


@virtual_time
async def test_a_waiter_may_wait_for_two_descriptors() -> None:
    async with running() as readiness:
        (near, far), (other_near, other_far) = tcp_pair(), tcp_pair()
        waiter = Waiter(readiness)
        heard: list[str] = []
        for name, sock in (("near", near), ("other", other_near)):

            def on_event(mask: int, name: str = name) -> None:
                heard.append(name)
                waiter.wake(mask)

            readiness.add(sock.fileno(), on_event)
            readiness.arm(sock.fileno(), IN)
        other_far.send(b"x")
        await waiter.wait(trio.current_time() + 100)
        assert heard == ["other"]
        # The first is still armed: an event nobody waits for is harmless.
        far.send(b"x")
        await settle()
        assert heard == ["other", "near"]
        for sock in (near, other_near):
            readiness.forget(sock.fileno())
        for sock in (near, far, other_near, other_far):
            sock.close()


@virtual_time
async def test_a_stale_event_wakes_a_later_wait_at_most_once() -> None:
    async with running() as readiness:
        near, far = tcp_pair()
        waiter = Waiter(readiness)
        readiness.add(near.fileno(), waiter.wake)
        readiness.arm(near.fileno(), IN)
        far.send(b"x")
        await settle()  # nobody waited
        with pytest.raises(DeadlineExceeded):
            await waiter.wait(trio.current_time() + 5)
        readiness.forget(near.fileno())
        near.close()
        far.close()


@virtual_time
async def test_a_deadline_passes_at_the_next_sweep() -> None:
    async with running() as readiness:
        waiter = Waiter(readiness)
        started = trio.current_time()
        with pytest.raises(DeadlineExceeded):
            await waiter.wait(started + 5)
        assert 5 <= trio.current_time() - started <= 5 + SWEEP_S


@virtual_time
async def test_a_deadline_ends_only_the_wait_it_was_given_for() -> None:
    async with running() as readiness:
        near, far = tcp_pair()
        waiter = Waiter(readiness)
        readiness.add(near.fileno(), waiter.wake)
        readiness.arm(near.fileno(), IN)
        far.send(b"x")
        await waiter.wait(trio.current_time() + 3)
        started = trio.current_time()
        with pytest.raises(DeadlineExceeded):
            await waiter.wait(started + 9)
        assert trio.current_time() - started >= 9
        readiness.forget(near.fileno())
        near.close()
        far.close()


@virtual_time
async def test_of_many_waiters_only_the_late_ones_end() -> None:
    async with running() as readiness, trio.open_nursery() as nursery:
        ended: list[int] = []

        async def wait_until(second: int) -> None:
            with pytest.raises(DeadlineExceeded):
                await Waiter(readiness).wait(trio.current_time() + second)
            ended.append(second)

        for second in (9, 2, 6):
            nursery.start_soon(wait_until, second)
        await trio.sleep(4)
        assert ended == [2]
        await trio.sleep(10)
        assert ended == [2, 6, 9]


@virtual_time
async def test_a_parked_task_is_cancelled_at_once() -> None:
    async with running() as readiness:
        near, far = tcp_pair()
        waiter = Waiter(readiness)
        readiness.add(near.fileno(), waiter.wake)
        readiness.arm(near.fileno(), IN)
        started = trio.current_time()
        with trio.move_on_after(0.25) as scope:
            await waiter.wait(started + 100)
        assert scope.cancelled_caught
        assert trio.current_time() == pytest.approx(started + 0.25)
        far.send(b"x")  # and what comes later finds nobody
        await trio.sleep(5)
        readiness.forget(near.fileno())
        near.close()
        far.close()


@virtual_time
async def test_a_descriptor_closed_by_an_earlier_event_of_its_batch_gets_none() -> None:
    async with running() as readiness:
        pairs = [tcp_pair(), tcp_pair()]
        heard: list[int] = []

        def closing_the_other(index: int) -> Callable[[int], None]:
            def on_event(_mask: int) -> None:
                heard.append(index)
                for near, _ in pairs:
                    readiness.forget(near.fileno())
                    near.close()

            return on_event

        for index, (near, _) in enumerate(pairs):
            readiness.add(near.fileno(), closing_the_other(index))
            readiness.watch(near.fileno(), IN)
        for _, far in pairs:
            far.send(b"x")
        await settle()
        assert len(heard) == 1
        for _, far in pairs:
            far.close()


@virtual_time
async def test_a_reused_descriptor_number_belongs_to_its_new_owner() -> None:
    async with running() as readiness:
        near, far = tcp_pair()
        number = near.fileno()
        old, new = Heard(), Heard()
        readiness.add(number, old)
        readiness.arm(number, IN)
        readiness.forget(number)
        near.close()
        far.close()
        again, again_far = tcp_pair()
        if again.fileno() != number:
            os.dup2(again.fileno(), number)
        readiness.add(number, new)
        readiness.arm(number, IN)
        again_far.send(b"x")
        await settle()
        assert (old, new) == ([], [IN])
        readiness.forget(number)
        if again.fileno() != number:
            os.close(number)
        again.close()
        again_far.close()


def test_forgetting_twice_or_after_the_close_does_nothing() -> None:
    readiness = Readiness()
    near, far = tcp_pair()
    number = near.fileno()
    readiness.add(number, Heard())
    near.close()  # a library may have closed it under us
    readiness.forget(number)
    readiness.forget(number)
    far.close()
    readiness.close()


@virtual_time
async def test_sweeps_come_each_second_with_the_time() -> None:
    async with running() as readiness:
        times: list[float] = []
        readiness.each_sweep(times.append)
        started = trio.current_time()
        await trio.sleep(3.5 * SWEEP_S)
        assert [time - started for time in times] == pytest.approx([1, 2, 3], abs=0.01)
        assert readiness.now == times[-1]


@virtual_time
async def test_more_descriptors_than_one_batch_are_all_heard() -> None:
    async with running() as readiness:
        pairs = [socket.socketpair() for _ in range(300)]
        heard: set[int] = set()
        for near, _ in pairs:

            def on_event(_mask: int, near: socket.socket = near) -> None:
                heard.add(near.fileno())

            readiness.add(near.fileno(), on_event)
            readiness.arm(near.fileno(), IN)
        for _, far in pairs:
            far.send(b"x")
        await settle()
        assert len(heard) == 300
        for near, far in pairs:
            readiness.forget(near.fileno())
            near.close()
            far.close()
