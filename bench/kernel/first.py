"""From the failed login to the first packet dropped: the guard, and fail2ban beside it."""

import contextlib
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bench import configs
from bench.ban import attackers
from bench.ban_ends import Ends
from bench.kernel import fail2ban
from bench.kernel.guards import remembering, running
from bench.kernel.probe import Probe
from bench.kernel.results import Figures, rank
from bench.kernel.stage import ATTACKERS, GUARDED, command, settled
from demo.namespaces import GUARD, Namespaces, make

_HELD: Final = (0, 100_000)
_COUNT: Final = 60
_COUNT_FAIL2BAN: Final = 15  # each takes a second or two
_QUICK_COUNT: Final = 8
_WITHIN_S: Final = 15.0
_COMPARED_S: Final = 180.0
_BACKENDS: Final = ("pyinotify", "polling")


def measure(turn: int, *, quick: bool) -> Figures:
    """One round."""
    figures: Figures = {}
    seeded = random.Random(turn)
    trees = fail2ban.packages()  # while this process can still reach Debian's archive
    for held in _HELD:
        _note(figures, f"guard{held}", _guard(held, _QUICK_COUNT if quick else _COUNT))
    for backend in _BACKENDS:
        count = _QUICK_COUNT if quick else _COUNT_FAIL2BAN
        _note(figures, f"fail2ban-{backend}", _fail2ban(trees, backend, count, seeded))
    return figures


def _note(figures: Figures, name: str, delays_ms: list[float]) -> None:
    figures[f"first.{name}.p50"] = rank(delays_ms, 0.5)
    figures[f"first.{name}.p99"] = rank(delays_ms, 0.99)


def _guard(held: int, count: int) -> list[float]:
    namespaces = _namespaces()
    directory = remembering("first", held)
    with (
        contextlib.closing(Ends(namespaces)) as ends,
        running(namespaces, directory) as guard,
    ):
        guard.await_service(ends)
        guard.await_started(kernel=True)
        settled(guard.pids, 2.0, _COMPARED_S)
        return [_banned_by_guard(source, ends) for source in attackers(count)]


def _banned_by_guard(source: str, ends: Ends) -> float:
    """Milliseconds."""
    with ends.session(source) as session, _probe(source) as probe:
        for number in range(1, configs.WRONG_PASSWORDS):
            session.offer(f"{source}-{number}")
            session.answer(welcome=False)
            session.hear(welcome=False)
        session.offer(f"{source}-{configs.WRONG_PASSWORDS}")
        _expect_answer(probe, source)
        begun = time.perf_counter()
        session.answer(welcome=False)
        return (probe.until_silent(_WITHIN_S) - begun) * 1e3


def _fail2ban(trees: list[Path], backend: str, count: int, seeded: random.Random) -> list[float]:
    namespaces = _namespaces()
    with fail2ban.running(namespaces, trees, backend) as server:
        delays = [_banned_by_fail2ban(source, server, seeded) for source in attackers(count + 1)]
    return delays[1:]  # with the first it makes its table


def _banned_by_fail2ban(source: str, server: fail2ban.Fail2ban, seeded: random.Random) -> float:
    """Milliseconds."""
    with _probe(source) as probe:
        for _ in range(fail2ban.RETRIES - 1):
            server.fail(source)
        server.await_found(source, fail2ban.RETRIES - 1)
        time.sleep(seeded.uniform(0.0, 2.0))  # wherever its own rhythm is just now
        _expect_answer(probe, source)
        begun = time.perf_counter()
        server.fail(source)
        return (probe.until_silent(_WITHIN_S) - begun) * 1e3


@contextlib.contextmanager
def _probe(source: str) -> Iterator[Probe]:
    with contextlib.closing(Probe(source, GUARD, GUARDED)) as probe:
        yield probe


def _expect_answer(probe: Probe, source: str) -> None:
    if not probe.answered():
        raise RuntimeError(f"{source} is dropped too early")


def _namespaces() -> Namespaces:
    made = make()
    command("ip", "route", "add", "local", f"{ATTACKERS}.0/24", "dev", "lo")
    return made
