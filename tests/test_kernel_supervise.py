"""Who serves is started again, and nobody outlives anybody."""

import itertools
import os
import select
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gatekeeper.kernel.supervise import PAUSE_MIN_S

SCRIPT = """
import os, signal, sys, time
from pathlib import Path
from gatekeeper.kernel import supervise
log = Path(sys.argv[1])

def work(served):
    with log.open("a") as lines:
        lines.write(f"{os.getpid()} {time.monotonic()}\\n")
    life = len(log.read_text().splitlines())
    WORK

signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
sys.exit(supervise.supervise(work))
"""
AWAIT_SIGNAL = "served(); signal.pause()"
WITHIN_S = 10.0

Start = Callable[..., subprocess.Popen[bytes]]


class Log:
    """What the children wrote: their process ids, and when they began."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def lives(self) -> list[tuple[int, float]]:
        if not self.path.exists():
            return []
        lines = [line.split() for line in self.path.read_text().splitlines()]
        return [(int(pid), float(at)) for pid, at in lines]

    def await_lives(self, count: int) -> list[tuple[int, float]]:
        deadline = time.monotonic() + WITHIN_S
        while len(self.lives()) < count:
            assert time.monotonic() < deadline
        return self.lives()


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "lives")


@pytest.fixture
def start(log: Log) -> Iterator[Start]:
    """Starts a supervisor of this work."""
    started: list[subprocess.Popen[bytes]] = []

    def run(work: str, before: str = "") -> subprocess.Popen[bytes]:
        body = textwrap.indent(textwrap.dedent(work), " " * 4).strip()
        script = SCRIPT.replace("WORK", body).replace("\ndef work", f"\n{before}\ndef work")
        command = [sys.executable, "-c", script, str(log.path)]
        started.append(subprocess.Popen(command, stderr=subprocess.PIPE))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()


def ended(pid: int, within_s: float = 1.0) -> bool:
    """Whether a process that is not ours to wait for ends within that time."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([fd], [], [], within_s)[0])
    finally:
        os.close(fd)


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), signal.SIGKILL)", "return 1", "1 / 0"])
def test_a_child_that_served_is_followed_by_another(start: Start, log: Log, end: str) -> None:
    process = start(f"""
        served()
        if life < 3:
            {end}
        return 0
    """)
    assert process.wait(WITHIN_S) == 0
    assert len({pid for pid, _ in log.lives()}) == 3


@pytest.mark.parametrize(("end", "status"), [("return 1", 1), ("return 77", 77), ("1 / 0", 70)])
def test_a_child_that_never_served_is_the_last(
    start: Start, log: Log, end: str, status: int
) -> None:
    assert start(end).wait(WITHIN_S) == status
    assert len(log.lives()) == 1


def test_a_child_killed_before_it_served_is_the_last(start: Start, log: Log) -> None:
    assert start("os.kill(os.getpid(), signal.SIGKILL)").wait(WITHIN_S) == 70
    assert len(log.lives()) == 1


def test_one_that_fails_later_before_it_serves_is_followed(start: Start, log: Log) -> None:
    process = start("""
        if life == 2:
            return 1
        served()
        return life == 1
    """)
    assert process.wait(WITHIN_S) == 0
    assert len(log.lives()) == 3


def test_pauses_grow(start: Start, log: Log) -> None:
    process = start("served(); return 1")
    begun = [at for _, at in log.await_lives(5)]
    gaps = [later - earlier for earlier, later in itertools.pairwise(begun)]
    for number, gap in enumerate(gaps):
        assert gap >= PAUSE_MIN_S * 2**number
    process.terminate()
    assert process.wait(WITHIN_S) == 0  # in the middle of a pause
    assert len(log.lives()) <= 6


def test_sigterm_ends_both(start: Start, log: Log) -> None:
    process = start(AWAIT_SIGNAL)
    ((child, _),) = log.await_lives(1)
    process.terminate()
    assert process.wait(WITHIN_S) == 0
    assert ended(child, 0)


def test_a_child_that_does_not_heed_sigterm_is_killed(start: Start, log: Log) -> None:
    work = """
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with log.open("a") as lines:
            lines.write("0 0")
        while True:
            signal.pause()
    """
    process = start(work, before="supervise._END_S = 0.1")
    (child, _), _ = log.await_lives(2)
    process.terminate()
    assert process.wait(WITHIN_S) == 0
    assert ended(child, 0)


def test_no_child_outlives_its_parent(start: Start, log: Log) -> None:
    process = start(AWAIT_SIGNAL)
    ((child, _),) = log.await_lives(1)
    process.kill()
    assert ended(child)


def test_there_are_no_zombies(start: Start, log: Log) -> None:
    process = start("""
        served()
        if life < 3:
            return 1
        signal.pause()
    """)
    *_, (last, _) = log.await_lives(3)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert children == [str(last)]


def test_what_ended_a_child_is_said(start: Start) -> None:
    process = start(
        "served(); os.kill(os.getpid(), signal.SIGKILL) if life < 2 else None; return 0"
    )
    _, said = process.communicate(timeout=WITHIN_S)
    assert said == b"gatekeeper.kernel: it was ended by SIGKILL; starting again in 0.1 s\n"
