"""A coroutine of the operator's, driven step by step, so that it can be timed and slowed down.

Theory of operation. The driver stands between the scheduler and the coroutine: it hands on what
either says to the other. A coroutine whose time is over is cancelled, and Trio goes on cancelling
at each of its awaits. One that swallows this would spin; it cannot be left where it is, for Trio
keeps account of its scopes and nurseries, and to close it would be to run it. So after
`STEPS_AFTER_END` more steps it is given one each `SLOWED_S`. Nothing can be done about one that
never awaits: it holds all sessions up.
"""

import types
from collections.abc import Callable, Coroutine, Generator
from time import perf_counter
from typing import Any, Final

import trio

STEPS_AFTER_END: Final = 1000  # enough for what an orderly end has to await
SLOWED_S: Final = 1.0


@types.coroutine
def driven(
    coroutine: Coroutine[Any, Any, object],
    is_over: Callable[[], bool],
    on_step: Callable[[float], None],
) -> Generator[Any, Any, object]:
    """Run `coroutine` to its end; what it returns. Raises what it raises. It is slowed down where
    it does not end although its time `is_over`. `on_step` is told how long each step of it took, in
    seconds."""
    steps_after_end = 0
    resume: Callable[[Any], Any] = coroutine.send
    argument: Any = None
    while True:
        began = perf_counter()
        try:
            trap = resume(argument)
        except StopIteration as stop:
            return stop.value
        finally:
            on_step(perf_counter() - began)
        try:
            resume, argument = coroutine.send, (yield trap)
        except BaseException as error:  # noqa: ASYNC103  thrown into the coroutine, below
            resume, argument = coroutine.throw, error
        if is_over():
            steps_after_end += 1
            if steps_after_end > STEPS_AFTER_END:
                yield from _pause().__await__()


async def _pause() -> None:
    with trio.CancelScope(shield=True):
        await trio.sleep(SLOWED_S)
