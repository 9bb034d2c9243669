"""What the parts share: a mount namespace of the process's own, addresses, processes watched.

Every part runs in a process of its own (`bench.kernel.part`), so nothing here has to be undone: its
namespaces, mounts and rulesets end with it.
"""

import contextlib
import ctypes
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

from bench.kernel.results import Figures
from bench.workshop import OUT
from demo.namespaces import Namespaces, make
from gatekeeper.prefix import Prefix

P = ParamSpec("P")
T = TypeVar("T")

GUARDED: Final = 993
ATTACKERS: Final = "203.0.113"  # the namespaces have a route for the whole network

_CLONE_NEWNS: Final = 0x20000
_PRIVATE: Final = 1 << 18 | 1 << 14  # MS_PRIVATE and MS_REC
_TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")
_SPREAD: Final = 40_503  # odd, so no number comes twice modulo 2 ** 24


def address(number: int) -> Prefix:
    """One of 2 ** 24 addresses of 10.0.0.0/8, which nobody here has; not in order."""
    return Prefix(bytes((10,)) + (number * _SPREAD % 2**24).to_bytes(3, "big"), 32)


def private_bpffs() -> None:
    """Give this process, which must have one thread still, a /sys/fs/bpf that nobody else sees.

    Raises `OSError`.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    none = ctypes.c_ulong(0)
    if (
        libc.unshare(_CLONE_NEWNS) != 0
        or libc.mount(b"none", b"/", None, ctypes.c_ulong(_PRIVATE), None) != 0
        or libc.mount(b"bpf", b"/sys/fs/bpf", b"bpf", none, None) != 0
    ):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


class Pair:
    """Two namespaces and a thread that lives in the world's; what is measured there runs in it."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1)
        self.namespaces: Namespaces = self.run(make)

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call it in the world, and wait."""
        return self._thread.submit(function, *args, **kwargs).result()

    def inside(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call it on the guard's side, and wait."""

        def there() -> T:
            with self.namespaces.guard_side():
                return function(*args, **kwargs)

        return self.run(there)

    def close(self) -> None:
        """End the thread; the namespaces go with what is in them."""
        self._thread.shutdown()
        os.close(self.namespaces.guard)
        os.close(self.namespaces.world)


def command(*words: str) -> None:
    """Run a program to its end. Raises `subprocess.CalledProcessError`; its words are printed."""
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


def fresh(name: str) -> Path:
    """An empty directory for a guard, with one for its state in it."""
    directory = OUT / "kernel" / name
    shutil.rmtree(directory, ignore_errors=True)
    (directory / "state").mkdir(parents=True)
    return directory


def cpu_s(pid: int) -> float:
    """User and system seconds of a process, with those of its threads that have ended."""
    # proc_pid_stat(5): the name may hold anything, so count from its closing bracket.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S


def resident_octets(pid: int) -> tuple[int, int]:
    """What a process has in memory now, and had at most."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    table = {line.partition(":")[0]: line.split()[1:2] for line in lines}
    return int(table["VmRSS"][0]) * 1024, int(table["VmHWM"][0]) * 1024


@contextlib.contextmanager
def cpu_of(figures: Figures, names: dict[str, list[int]], scale: float) -> Iterator[None]:
    """What the block costs the processes `names`, by the figure's name; seconds times `scale`."""
    before = {name: together_s(pids) for name, pids in names.items()}
    yield
    for name, pids in names.items():
        figures[name] = (together_s(pids) - before[name]) * scale


def settled(pids: list[int], still_s: float = 1.0, within_s: float = 120.0) -> float:
    """Wait until processes take next to no CPU; how long until then, in seconds.

    Raises `TimeoutError`.
    """
    begun = time.monotonic()
    quiet_since, before = begun, together_s(pids)
    while time.monotonic() - quiet_since < still_s:
        time.sleep(0.1)
        now = together_s(pids)
        if now - before > 1.5 * _TICK_S:
            quiet_since = time.monotonic()
        before = now
        if time.monotonic() - begun > within_s:
            raise TimeoutError(f"processes {pids} do not become quiet")
    return quiet_since - begun


def together_s(pids: list[int]) -> float:
    """The CPU of several processes."""
    return sum(cpu_s(pid) for pid in pids)
