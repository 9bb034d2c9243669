"""One epoll for every session's sockets, owned by one Trio task.

Theory of operation
-------------------
Trio's own `wait_readable` costs two epoll calls, a task switch and a pass of the run loop per
wake-up, and a deadline costs a cancel scope. At thousands of logins a second that is more than the
TLS record layer. So all session sockets live in one nested epoll; Trio waits for that one
descriptor, and `Readiness.run` hands events out:

* a *dialogue* (a Trio task) parks in `Waiter.wait`. Its descriptors are armed with EPOLLONESHOT
  just before, so a descriptor nobody waits for is silent, and one late event is harmless;
* a *relay link* has no task at all: its callbacks run right here, level-triggered.

Deadlines of both are checked by one sweep each `SWEEP_S`, which is as exact as mail needs.
A callback must not block and must not raise; one that does ends the guard, by design, because it is
our bug and not the peer's doing.
"""

import contextlib
import select
from collections.abc import Callable
from math import inf
from typing import Final

import outcome
import trio

from gatekeeper.errors import DeadlineExceeded

IN: Final = select.EPOLLIN
OUT: Final = select.EPOLLOUT
GONE: Final = select.EPOLLHUP | select.EPOLLERR
_ONESHOT: Final = select.EPOLLONESHOT

SWEEP_S: Final = 1.0
_BATCH: Final = 256  # events taken by one poll
_PASSES: Final = 8  # polls before other Trio tasks get their turn

Callback = Callable[[int], None]


class Readiness:
    """The epoll and those who wait on it."""

    __slots__ = ("_callbacks", "_epoll", "_resumed", "_sweeps", "_waiters", "now")

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callback] = {}
        self._waiters: set[Waiter] = set()  # of all dialogues, parked or not
        self._sweeps: list[Callable[[float], None]] = []
        self._resumed = False
        self.now = 0.0  # Trio's clock, as of the last batch of events or sweep

    def add(self, fd: int, callback: Callback) -> None:
        """Know `fd`, silent until armed or watched; `callback` gets its event masks."""
        self._epoll.register(fd, _ONESHOT)
        self._callbacks[fd] = callback

    def arm(self, fd: int, mask: int) -> None:
        """Ask for one event of `mask` on `fd`."""
        self._epoll.modify(fd, mask | _ONESHOT)

    def watch(self, fd: int, mask: int) -> None:
        """Ask for events of `mask` for as long as they are true; 0 silences `fd`, even when its
        peer is gone, which a level-triggered mask of 0 would report for ever."""
        self._epoll.modify(fd, mask or _ONESHOT)

    def redirect(self, fd: int, callback: Callback) -> None:
        """Give the events of `fd` to another callback."""
        self._callbacks[fd] = callback

    def forget(self, fd: int) -> None:
        """Drop `fd`; to be called before it is closed. Harmless where a library closed it first:
        the kernel has then dropped it already."""
        if self._callbacks.pop(fd, None) is not None:
            with contextlib.suppress(OSError):
                self._epoll.unregister(fd)

    def each_sweep(self, callback: Callable[[float], None]) -> None:
        """Call `callback(now)` at every sweep."""
        self._sweeps.append(callback)

    def close(self) -> None:
        """Let go of the epoll descriptor; every socket is to be forgotten first."""
        self._epoll.close()

    async def run(self) -> None:
        """Hand out events until cancelled."""
        self.now = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._sweep_forever)
            while True:
                await trio.lowlevel.wait_readable(self._epoll.fileno())
                self.now = trio.current_time()
                self._hand_out()

    def _hand_out(self) -> None:
        callbacks = self._callbacks
        self._resumed = False
        for _ in range(_PASSES):
            events = self._epoll.poll(0, _BATCH)
            for fd, mask in events:
                callback = callbacks.get(fd)  # an earlier event of this batch may have closed it
                if callback is not None:
                    callback(mask)
            if self._resumed or len(events) < _BATCH // 4:
                return  # tasks are waiting to run, or little is left

    async def _sweep_forever(self) -> None:
        while True:
            await trio.sleep(SWEEP_S)
            self.now = now = trio.current_time()
            for waiter in [waiter for waiter in self._waiters if waiter.deadline <= now]:
                waiter.expire()  # does nothing for one whose task is awake
            for sweep in self._sweeps:
                sweep(now)


class Waiter:
    """The parking place of one dialogue task; it may wait for several descriptors at once."""

    __slots__ = ("_readiness", "_task", "deadline")

    def __init__(self, readiness: Readiness) -> None:
        """Known to the sweep until `close`."""
        self._readiness = readiness
        self._task: trio.lowlevel.Task | None = None
        self.deadline = inf
        readiness._waiters.add(self)  # the two classes are one mechanism

    def close(self) -> None:
        """The dialogue is over: no more deadlines. Safe to call twice."""
        self._readiness._waiters.discard(self)

    async def wait(self, deadline: float) -> None:
        """Sleep until a descriptor armed before has an event, or Trio time `deadline`.

        Raises `DeadlineExceeded` up to `SWEEP_S` late. Wake-ups may be spurious: callers try
        their call again. Cancellation is immediate.
        """
        self._task = trio.lowlevel.current_task()
        self.deadline = deadline
        await trio.lowlevel.wait_task_rescheduled(self._abort)

    def wake(self, _mask: int) -> None:
        """The callback for descriptors this waiter waits on."""
        task = self._task
        if task is not None:
            self._task = None
            self._readiness._resumed = True  # see above
            trio.lowlevel.reschedule(task)

    def expire(self) -> None:
        """End the wait with `DeadlineExceeded`."""
        task = self._task
        if task is not None:
            self._task = None
            trio.lowlevel.reschedule(task, outcome.Error(DeadlineExceeded("the peer was too slow")))

    def _abort(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED
