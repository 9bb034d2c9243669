"""`python -m bench.domains`: what a domain of a million users costs, as a file and as a directory.

Each form is read in a process of its own, by the guard's own follower: in a thread, while the loop
beside it wakes every millisecond and notes how late it is, as it did before for a while when
nothing else was to be done. Memory is the process's resident set after the reading, less what it
was before. Nothing is sent anywhere.
"""

import argparse
import gc
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import trio

from gatekeeper.app import GC_THRESHOLD
from gatekeeper.domains_tree import DomainsFollower, Tree
from gatekeeper.policy.domains import Domains

MILLION: Final = 1_000_000
MANY_DOMAINS: Final = 10_000
TICK_S: Final = 0.001
QUIET_S: Final = 3.0
QUESTIONS: Final = 100_000
_DOMAIN: Final = "example.org"
_FORMS: Final = ("file", "directory", "domains")

Figures = dict[str, float]


def main() -> int:
    """Exit code 0 when all was read as it was written."""
    parser = argparse.ArgumentParser(prog="python -m bench.domains", description=__doc__)
    parser.add_argument("--users", type=int, default=MILLION)
    parser.add_argument("--domains", type=int, default=MANY_DOMAINS, help="with one user each")
    parser.add_argument("--form", action="append", choices=_FORMS, help="this one alone")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure is not None:
        print(json.dumps(trio.run(_measure, options.measure)))
        return 0
    for form in options.form or _FORMS:
        with tempfile.TemporaryDirectory(prefix="domains-") as place:
            root = Path(place)
            count = options.domains if form == "domains" else options.users
            _make(root, form, count)
            figures = _in_a_process(root)
            shutil.rmtree(root / _DOMAIN, ignore_errors=True)
        print(f"{form:10} {count:9,} " + "  ".join(f"{k} {v:g}" for k, v in figures.items()))
        if figures["names"] != count:
            return 1
    return 0


def _make(root: Path, form: str, count: int) -> None:
    if form == "domains":
        for number in range(count):
            users = root / f"d{number}.example/users"
            users.mkdir(parents=True)
            (users / "valid").write_text("ann\n")
        return
    users = root / _DOMAIN / "users"
    users.mkdir(parents=True)
    names = (f"firstname.lastname{number}" for number in range(count))
    if form == "file":
        with (users / "valid").open("w") as file:
            file.writelines(f"{name}\n" for name in names)
        return
    valid = users / "valid"
    valid.mkdir()
    for name in names:
        (valid / name).touch()


def _in_a_process(root: Path) -> Figures:
    words = [sys.executable, "-m", "bench.domains", "--measure", str(root)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    figures: Figures = json.loads(done.stdout)
    return figures


async def _measure(root: Path) -> Figures:
    await trio.to_thread.run_sync(lambda: None)  # the thread is there before memory is looked at
    gc.freeze()  # as the guard does
    gc.set_threshold(GC_THRESHOLD, 20, 20)
    before = _resident_octets()
    held: list[Domains | None] = []
    follower = DomainsFollower(root, held.append, lambda _path, _why: None)
    quiet, late = list[float](), list[float]()
    with trio.move_on_after(QUIET_S):
        await _tick(quiet)
    started = time.perf_counter()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(follower.run)
        nursery.start_soon(_tick, late)
        await follower.looked.wait()
        took_s = time.perf_counter() - started
        nursery.cancel_scope.cancel()
    domains = held[-1]
    assert domains is not None, "there is a root"
    return {
        "names": _names(follower),
        "read_s": round(took_s, 2),
        "memory_mb": round((_resident_octets() - before) / 1e6, 1),
        **_lateness("late", late),
        **_lateness("idle", quiet),
        "question_us": round(_each_us(lambda n: _ask(domains, n)), 2),
        "look_again_s": round(_look_again_s(root), 3),
    }


def _lateness(name: str, late: list[float]) -> Figures:
    late.sort()
    shares = {"median": len(late) // 2, "p99": int(len(late) * 0.99), "max": -1}
    return {f"{name}_{share}_ms": round(late[at] * 1e3, 2) for share, at in shares.items()}


async def _tick(late: list[float]) -> None:
    while True:
        due = time.perf_counter() + TICK_S
        await trio.sleep(TICK_S)
        late.append(max(0.0, time.perf_counter() - due))


def _names(follower: DomainsFollower) -> int:
    report = follower.report()["domains"]
    assert isinstance(report, dict)
    return int(report["names"])


def _ask(domains: Domains, number: int) -> None:
    recipient = f"firstname.lastname{number}@{_DOMAIN}"
    domains.facts("203.0.113.9", None, "someone@elsewhere.example", recipient)


def _each_us(ask: Callable[[int], None]) -> float:
    started = time.perf_counter()
    for number in range(QUESTIONS):
        ask(number)
    return (time.perf_counter() - started) / QUESTIONS * 1e6


def _look_again_s(root: Path) -> float:
    """A look at a tree in which nothing has changed."""
    tree = Tree(root)
    tree.look(at_once=True)
    started = time.perf_counter()
    tree.look(at_once=False)
    return time.perf_counter() - started


def _resident_octets() -> int:
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    sys.exit(main())
