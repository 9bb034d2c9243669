"""What a ban takes of the guard's memory: a real one with a million of them, and one without."""

import contextlib
from typing import Final

from bench.ban_ends import Ends
from bench.kernel.desk import counted
from bench.kernel.guards import remembering, running
from bench.kernel.results import Figures
from bench.kernel.stage import resident_octets, settled
from demo.namespaces import make
from gatekeeper.kernel.nfnetlink import Nfnetlink

_COUNT: Final = 1_000_000
_QUICK_COUNT: Final = 100_000
_COMPARED_S: Final = 180.0  # to read a million bans from the kernel takes most of a minute


def measure(turn: int, *, quick: bool) -> Figures:
    """One round; the same work each time."""
    count = _QUICK_COUNT if quick else _COUNT
    empty, full = _residents(0), _residents(count)
    kernel = (full[2] - empty[2]) / count
    return {
        "memory.empty": empty[0] / 2**20,
        "memory.guard": (full[0] - empty[0]) / count,
        "memory.peak": (full[1] - empty[1]) / count,
        "memory.kernel": kernel,
    }


def _residents(count: int) -> tuple[int, int, int]:
    """The guard's octets now and at most, and those of its kernel processes now."""
    directory = remembering("memory", count)
    namespaces = make()
    with namespaces.guard_side():
        kernel = Nfnetlink()
    with (
        contextlib.closing(kernel),
        contextlib.closing(Ends(namespaces)) as ends,
        running(namespaces, directory) as guard,
    ):
        guard.await_service(ends)
        guard.await_started(kernel=True)
        settled(guard.pids, 2.0, _COMPARED_S)
        if counted(kernel) != count:
            raise RuntimeError(f"the kernel holds {counted(kernel)} bans, not {count}")
        now, most = resident_octets(guard.pid)
        return now, most, sum(resident_octets(pid)[0] for pid in guard.pids[1:])
