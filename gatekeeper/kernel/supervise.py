"""A parent that does nothing but start the serving child again.

Theory of operation. Parent and child hold the same socket; only the child reads it. So a child that
is killed loses the one request it was at, and the next one finds the others waiting, as a fork of a
process that has loaded everything, within milliseconds. A packet that kills has been read by then,
and kills once. The guard learns of it by the `started` that every child sends first.

The parent waits for signals, by sigwait(3), and so has no handler and no race between a signal and
what it is about. A child asks the kernel to be killed when its parent ends, however that ends.
"""

import contextlib
import ctypes
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from typing import Final

PAUSE_MIN_S: Final = 0.1
PAUSE_MAX_S: Final = 5.0
# A child that served so long was well: what ended it is no row of failures.
WELL_S: Final = 30.0
_END_S: Final = 5.0  # a request under way may take some seconds behind another program's
_EX_SOFTWARE: Final = 70
_FINAL: Final = frozenset({0, 2, 77})  # the guard is gone, wrong usage, no permission
_PR_SET_PDEATHSIG: Final = 1
_WAITED_FOR: Final = frozenset({signal.SIGTERM, signal.SIGCHLD})

Served = Callable[[], None]


def supervise(work: Callable[[Served], int]) -> int:
    """Run `work` in a child, and in another where it was killed or failed; the last one's status.

    `work` calls what it is given when it serves. Until a child has, what one ends with is final: it
    will not go better. Afterwards only `_FINAL` ones are. SIGTERM, which has to be what ends a
    child, ends both, with 0. Pauses between children grow from `PAUSE_MIN_S` to `PAUSE_MAX_S`.
    Called once, in a process of one thread.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # who ignores it has no children to wait for
    signal.pthread_sigmask(signal.SIG_BLOCK, _WAITED_FOR)
    served, pause_s = False, PAUSE_MIN_S
    while True:
        begun = time.monotonic()
        child = _Child(work)
        terminated, status = child.wait()
        served = served or child.served()
        if terminated:
            return 0
        if status in _FINAL or not served:
            return status if status >= 0 else _EX_SOFTWARE
        if time.monotonic() - begun > WELL_S:
            pause_s = PAUSE_MIN_S
        _say(f"{_how(status)}; starting again in {pause_s:g} s")
        if signal.sigtimedwait({signal.SIGTERM}, pause_s) is not None:
            return 0
        pause_s = min(2 * pause_s, PAUSE_MAX_S)


class _Child:
    """A forked process, at work."""

    def __init__(self, work: Callable[[Served], int]) -> None:
        self._told, tell = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        parent = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._told)
            os._exit(_work(work, tell, parent))
        os.close(tell)

    def wait(self) -> tuple[bool, int]:
        """Whether SIGTERM came, and the status it ended with, negative for a signal."""
        terminated = False
        while (status := self._status()) is None:
            terminated = self._signalled(terminated) or terminated
        return terminated, status

    def served(self) -> bool:
        """Whether it had come so far; asked once it has ended."""
        with contextlib.closing(os.fdopen(self._told, "rb", buffering=0)) as told:
            return bool(told.read(1))

    def _signalled(self, terminated: bool) -> bool:
        """Wait for a signal and pass on SIGTERM; a child that does not heed it is killed."""
        if not terminated:
            if signal.sigwait(_WAITED_FOR) != signal.SIGTERM:
                return False
            os.kill(self._pid, signal.SIGTERM)
        elif signal.sigtimedwait({signal.SIGCHLD}, _END_S) is None:
            os.kill(self._pid, signal.SIGKILL)
        return True

    def _status(self) -> int | None:
        pid, status = os.waitpid(self._pid, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if pid else None


def _work(work: Callable[[Served], int], tell: int, parent: int) -> int:
    """In the child: the status to end with. Never raises."""
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it ended before that could be asked for
            return _EX_SOFTWARE
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _WAITED_FOR)
        return work(lambda: _tell(tell))
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except Exception:  # whatever it was, the parent starts another
        traceback.print_exc()
        return _EX_SOFTWARE


def _tell(tell: int) -> None:
    os.write(tell, b"+")
    os.close(tell)


def _how(status: int) -> str:
    if status >= 0:
        return f"it failed with {status}"
    try:
        return f"it was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"it was ended by signal {-status}"


def _say(text: str) -> None:
    sys.stderr.write(f"gatekeeper.kernel: {text}\n")
