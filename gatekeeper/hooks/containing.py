"""One hook, contained: whatever its function does, a call ends in an answer or a fault, in time.

Theory of operation. A plain function runs in a thread, because it may wait: a file, a database, a
socket. At the deadline its thread is left to itself. An async function runs in a task of its own,
so that one that will not end holds up neither session nor guard; at the deadline it is cancelled.
Calls that have not ended after that are counted. When there are `MAX_STUCK` of them the hook is
off: it is not called until one of them ends. A plain function that is `quick` is called as the
built-in Rules are; when it takes long now and then it is given a thread for good.
"""

import contextlib
import inspect
import threading
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from time import perf_counter
from typing import Any, Final

import trio

from gatekeeper.events import JudgedEvent
from gatekeeper.hooks.answers import RubbishError, read_answer
from gatekeeper.hooks.driving import driven
from gatekeeper.hooks.function import HookFunction, Manner
from gatekeeper.hooks.health import Fault, Health, OnState
from gatekeeper.hooks.loading import last_line, line_of
from gatekeeper.hooks.words import Context
from gatekeeper.policy.facts import Facts
from gatekeeper.verdict import Verdict

MAX_THREADS: Final = 8  # of one hook: a thread is about 100 KB, and they share one processor
MAX_STUCK: Final = 8
MAX_STUCK_ALL: Final = 64  # of all hooks, those from before a reload too: their threads stay
QUICK_S: Final = 0.005  # a whole login costs the guard less
MAX_STEP_S: Final = 0.05  # of an async hook, between two awaits
SLOW_ONES: Final = 3  # so many among `SLOW_AMONG` calls, and something is done about it
SLOW_AMONG: Final = 100
END_S: Final = 1.0  # for async hooks to end when all ends


class HookFailed(Exception):
    """A call has no answer; the text says why."""

    def __init__(self, fault: Fault, why: str) -> None:
        super().__init__(why)
        self.fault = fault


class _Call:
    """One call under way in a thread or a task."""

    __slots__ = ("begun", "ended", "error", "left", "value")

    def __init__(self) -> None:
        self.begun = self.ended = False
        self.left = False  # nobody waits for it any more
        self.value: object = None
        self.error: BaseException | None = None


class Tasks:
    """What all hooks have in common: the tasks of async ones, whoever waits for them, and how many
    calls have not ended."""

    def __init__(self, on_unending: Callable[[], None]) -> None:
        """`on_unending` is as `HookedJudge` has it."""
        self.nursery: trio.Nursery | None = None
        self.lock = threading.Lock()  # around what threads change when they begin and end
        self.stuck = 0  # calls that nobody waits for and that have not ended
        self._on_unending = on_unending
        self._under_way = 0
        self._none = trio.Event()  # set when none is under way any more, and none begins

    async def run(self) -> None:
        """Hold them until cancelled. Without it every call of an async hook fails."""
        async with trio.open_nursery() as nursery:
            self.nursery = nursery
            try:
                await trio.sleep_forever()
            finally:
                self.nursery = None
                nursery.cancel_scope.cancel()
                with trio.move_on_after(END_S, shield=True):
                    await self._ended()
                if self._under_way:
                    self._on_unending()

    async def apart(self, run: Callable[[], Awaitable[None]]) -> None:
        """Run in a nursery of its own: where a hook has left one open, its task can only end with
        an error. Nothing of it goes further; a task may end so, even when it is cancelled."""
        self._under_way += 1
        with contextlib.suppress(BaseException):
            async with trio.open_nursery() as nursery:  # noqa: ASYNC112  what is open ends here
                nursery.start_soon(run)
        self._under_way -= 1
        self._none.set()

    async def _ended(self) -> None:
        while self._under_way:
            self._none = trio.Event()
            await self._none.wait()


class ContainedHook:
    """One hook, to be asked about Events of its kind."""

    def __init__(
        self, function: HookFunction, *, deadline_s: float, tasks: Tasks, on_state: OnState
    ) -> None:
        """`deadline_s` is how long a call may take."""
        self.function = function
        self.health = Health(function.label, on_state)
        self.manner = function.manner
        self._deadline_s = deadline_s
        self._tasks = tasks
        self._limiter = trio.CapacityLimiter(MAX_THREADS)
        self._stuck = 0  # of `Tasks.stuck`, this hook's
        self._slow = self._among = 0

    async def ask(self, event: JudgedEvent, facts: Facts, context: Context) -> Verdict | None:
        """The hook's opinion, None where it has none. Raises `HookFailed` where there is no answer
        within the deadline, and nothing else but on cancellation."""
        try:
            value = await self._called(event, facts, context)
            try:
                verdict = read_answer(value, self.function.label)
            except RubbishError as error:
                if inspect.iscoroutine(value):
                    value.close()  # it was never begun
                raise HookFailed(Fault.RUBBISH, str(error)) from None
        except HookFailed as failure:
            self.health.failed(failure.fault, str(failure), trio.current_time())
            raise
        self.health.went_well(trio.current_time())
        return verdict

    def row(self) -> dict[str, str | int]:
        """How it is, for an operator and his scripts: names stay."""
        health = self.health
        return {
            "hook": self.function.label,
            "called": self.manner.value,
            "state": health.state.value,
            "calls": health.calls,
            "failed": health.faults.total(),
            **{fault.value: health.faults[fault] for fault in Fault},
            "under_way": self._stuck,
            "why": health.why,
        }

    async def _called(self, event: JudgedEvent, facts: Facts, context: Context) -> object:
        """What the function returns. Raises `HookFailed`."""
        arguments = (event, facts, context) if self.function.takes_context else (event, facts)
        call = partial(self.function.call, *arguments)
        if self.manner is Manner.QUICK:
            return self._at_once(call)
        if not self.health.admits(trio.current_time()):
            raise HookFailed(Fault.OFF, f"it answered nobody within {self._deadline_s:g} s")
        if self._stuck >= MAX_STUCK:
            raise HookFailed(Fault.OFF, f"{self._stuck} calls have not ended; it waits for one")
        if self._tasks.stuck >= MAX_STUCK_ALL:
            raise HookFailed(Fault.OFF, f"{self._tasks.stuck} calls of all hooks have not ended")
        under_way = _Call()
        try:
            with trio.move_on_after(self._deadline_s):
                if self.manner is Manner.THREAD:
                    await self._in_thread(under_way, call)
                else:
                    await self._in_task(under_way, call)
        finally:
            begun = self._leave(under_way)
        if under_way.error is not None:
            raise self._raised(under_way.error)
        if under_way.ended:
            return under_way.value
        why = f"no answer within {self._deadline_s:g} s"
        raise HookFailed(Fault.LATE, why if begun else f"{why}: no thread was free")

    # -- a plain function, quick -----------------------------------------------------------------

    def _at_once(self, call: Callable[[], object]) -> object:
        began = perf_counter()
        try:
            return call()
        except BaseException as error:  # whatever it is, it is the hook's
            raise self._raised(error) from None  # noqa: ASYNC104  no await is in there
        finally:
            if self._is_slow(perf_counter() - began, QUICK_S):
                self.manner = Manner.THREAD
                self.health.note(
                    f"is called quick and takes more than {QUICK_S * 1000:g} ms: it is"
                    " called in a thread from now on"
                )

    # -- a plain function, in a thread -----------------------------------------------------------

    async def _in_thread(self, under_way: _Call, call: Callable[[], object]) -> None:
        work = partial(self._work, under_way, call)
        await trio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=self._limiter)

    def _work(self, under_way: _Call, call: Callable[[], object]) -> None:
        """In the thread: call, and note what came of it."""
        if not self._begin(under_way):
            return
        try:
            under_way.value = call()
        except BaseException as error:  # noqa: ASYNC103  SystemExit too; no Cancelled in a thread
            under_way.error = error
        self._end(under_way)

    # -- an async function -----------------------------------------------------------------------

    async def _in_task(
        self, under_way: _Call, call: Callable[[], Coroutine[Any, Any, object]]
    ) -> None:
        nursery = self._tasks.nursery
        if nursery is None:
            raise HookFailed(Fault.LATE, "the guard is about to end")
        scope, done = trio.CancelScope(), trio.Event()
        hold = partial(self._hold, under_way, call, scope, done)
        nursery.start_soon(self._tasks.apart, hold)
        try:
            await done.wait()
        finally:
            scope.cancel()

    async def _hold(
        self,
        under_way: _Call,
        call: Callable[[], Coroutine[Any, Any, object]],
        scope: trio.CancelScope,
        done: trio.Event,
    ) -> None:
        """In a task of its own: hold the function's coroutine to its end, or leave it."""
        if not self._begin(under_way):
            return

        def is_over() -> bool:
            return scope.cancel_called or self._tasks.nursery is None

        try:
            with scope:
                under_way.value = await driven(call(), is_over, self._on_step)
        except BaseException as error:  # noqa: ASYNC103  handed to who called, as it is
            under_way.error = error
        self._end(under_way)
        done.set()

    def _on_step(self, took_s: float) -> None:
        if self._is_slow(took_s, MAX_STEP_S):
            self.health.note(
                f"holds up all sessions, more than {MAX_STEP_S * 1000:g} ms between two"
                " awaits: write it as a plain function"
            )

    # -- all -------------------------------------------------------------------------------------

    def _begin(self, under_way: _Call) -> bool:
        """Whether somebody waits for this call still; then it has begun."""
        with self._tasks.lock:
            under_way.begun = not under_way.left
            return under_way.begun

    def _end(self, under_way: _Call) -> None:
        """A call has ended, whether somebody waits for it or not."""
        with self._tasks.lock:
            under_way.ended = True
            if under_way.left:
                self._count_stuck(-1)

    def _leave(self, under_way: _Call) -> bool:
        """Wait no more; whether the call had begun."""
        with self._tasks.lock:
            if not under_way.ended:
                under_way.left = True
                self._count_stuck(under_way.begun)
            return under_way.begun

    def _count_stuck(self, more: int) -> None:
        """With the lock held."""
        self._stuck += more
        self._tasks.stuck += more

    def _raised(self, error: BaseException) -> HookFailed:
        line = line_of(self.function.path, error)
        return HookFailed(
            Fault.RAISED, f"{last_line(error)} (line {line})" if line else last_line(error)
        )

    def _is_slow(self, took_s: float, most_s: float) -> bool:
        """Whether that was one slow call too many."""
        self._among += 1
        if self._among > SLOW_AMONG:
            self._among, self._slow = 1, 0
        if took_s <= most_s:
            return False
        self._slow += 1
        return self._slow == SLOW_ONES
