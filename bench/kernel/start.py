"""A start with many bans in SQLite, while somebody logs in again and again; then a second one."""

import contextlib
import time
from typing import Final

from bench.ban_ends import Ends
from bench.kernel.desk import counted
from bench.kernel.guards import Guard, remembering, running
from bench.kernel.results import Figures, rank
from bench.kernel.stage import address, together_s
from demo.namespaces import PERSON, Namespaces, make
from gatekeeper.kernel.element import Element
from gatekeeper.kernel.nfnetlink import Nfnetlink

COUNT: Final = 500_000
_QUICK_COUNT: Final = 50_000
_EVERY_S: Final = 0.05
_SAMPLED: Final = 100  # every such ban is asked for until the kernel has it; then the count
_READY_S: Final = 60.0
_STILL_S: Final = 1.5  # of the kernel process, for which logins are no work: it has compared
_LOGINS: Final = 6  # between two looks
_BUSY: Final = 0.1  # of a core; one that reads has most of it, also where others load the host


def measure(turn: int, *, quick: bool) -> Figures:
    """One round; the same work each time."""
    count = _QUICK_COUNT if quick else COUNT
    directory = remembering("start", count)
    namespaces = make()
    with namespaces.guard_side():
        kernel = Nfnetlink()
    figures: Figures = {}
    with contextlib.closing(Ends(namespaces)) as ends, contextlib.closing(kernel):
        with running(namespaces, directory) as guard:
            _first(guard, ends, kernel, count, figures)
        if counted(kernel) != count:
            raise RuntimeError("the kernel did not keep the bans of a guard that ended")
        with running(namespaces, directory) as guard:
            _second(guard, ends, figures)
        _expect(kernel, namespaces, count)
    return figures


def _first(guard: Guard, ends: Ends, kernel: Nfnetlink, count: int, figures: Figures) -> None:
    figures["start.served"] = guard.await_service(ends)
    missing = [Element("auth", address(number).packed, 32) for number in range(0, count, _SAMPLED)]
    logins_ms = [_login(ends)]
    while True:
        while missing and kernel.remaining_ms(missing[-1]) is not None:
            missing.pop()
        if not missing and counted(kernel) == count:  # by the set's own count: nothing is read
            break
        if time.perf_counter() - guard.began > _READY_S:
            raise RuntimeError(f"the kernel never held {count} bans: {guard.said()[-1000:]}")
        logins_ms.append(_login(ends))
    figures["start.restored"] = time.perf_counter() - guard.began
    figures["start.cpu"] = together_s(guard.pids)
    figures["start.login.p50"] = rank(logins_ms, 0.5)
    figures["start.login.max"] = max(logins_ms)


def _second(guard: Guard, ends: Ends, figures: Figures) -> None:
    figures["start.again_served"] = guard.await_service(ends)
    logins_ms: list[float] = []
    compared = time.perf_counter()
    while time.perf_counter() - compared < _STILL_S:
        before, begun = together_s(guard.pids[1:]), time.perf_counter()
        logins_ms += [_login(ends) for _ in range(_LOGINS)]
        now = time.perf_counter()
        # It begins when the Ledger has everything; then nothing but it is work for that process.
        busy = together_s(guard.pids[1:]) - before > _BUSY * (now - begun)
        if busy or " restored " not in guard.said():
            compared = now
        if now - guard.began > 2 * _READY_S:
            raise RuntimeError("the guard does not come to rest")
    figures["start.again_compared"] = compared - guard.began
    figures["start.again_login.p50"] = rank(logins_ms, 0.5)
    figures["start.again_login.max"] = max(logins_ms)


def _login(ends: Ends) -> float:
    """Log in and wait for the next time; milliseconds of the login."""
    begun = time.perf_counter()
    ends.login(PERSON)
    taken_s = time.perf_counter() - begun
    time.sleep(max(0.0, _EVERY_S - taken_s))
    return taken_s * 1e3


def _expect(kernel: Nfnetlink, namespaces: Namespaces, count: int) -> None:
    held = counted(kernel)
    if held != count:
        raise RuntimeError(f"after the second start the kernel holds {held} bans, not {count}")
