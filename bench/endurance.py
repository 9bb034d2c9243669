"""The guard alone: 100,000 sessions without growing, and 5,000 at once without losing one."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from bench.measure import Wrong, hold, load
from bench.proxies import Running
from bench.scenarios import IDLE, SCENARIOS, Service

_SOAK_SESSIONS: Final = 100_000
_SOAK_STEPS: Final = 20  # memory is read after each
_SETTLED_STEP: Final = 2  # by then caches and tables have their size
# More than the allocator's own restlessness over 80,000 sessions is growth.
_GROWTH_MAX_KIB: Final = 4096
_HOLD_SESSIONS: Final = 5_000
_HOLD_S: Final = 20.0

_LOGIN: Final = next(scenario for scenario in SCENARIOS if scenario.name == "login")


def soak(one: Running, divisor: int) -> str:
    """Sessions one after another, 16 at a time; raises `Wrong` when one fails or memory grows."""
    step = _SOAK_SESSIONS // divisor // _SOAK_STEPS
    kib = []
    for _ in range(_SOAK_STEPS):
        report = load(_LOGIN, one.port(Service.IMAPS), step)
        if report.done != step:
            raise Wrong(f"soak: {report}")
        kib.append(one.memory_kib()[0])
    words = soak_words(kib, step)
    if kib[-1] - kib[_SETTLED_STEP - 1] > _GROWTH_MAX_KIB:
        raise Wrong(f"soak: memory grows: {words}")
    return words


def soak_words(kib: list[int], step: int) -> str:
    """What was seen: RSS after each step, and the growth behind the settling."""
    sessions = step * len(kib)
    grown = kib[-1] - kib[_SETTLED_STEP - 1]
    return (
        f"{sessions:,} sessions, none failed; RSS after {step * _SETTLED_STEP:,} sessions "
        f"{kib[_SETTLED_STEP - 1] / 1024:.1f} MiB, at the end {kib[-1] / 1024:.1f} MiB "
        f"(highest {max(kib) / 1024:.1f}): {grown:+d} KiB, "
        f"{grown * 1024 / max(1, sessions - step * _SETTLED_STEP):+.1f} octets a session"
    )


def held(one: Running, divisor: int) -> str:
    """Idle sessions all at once, while others log in; raises `Wrong` when one is lost."""
    count = _HOLD_SESSIONS // divisor
    before = one.cpu_s()
    with hold(replace(IDLE, name="hold"), one, count) as sessions:
        opened = one.cpu_s() - before
        start = one.cpu_s()
        time.sleep(_HOLD_S)
        idle_share = (one.cpu_s() - start) / _HOLD_S
        beside = load(_LOGIN, one.port(Service.IMAPS), 500)
    if sessions.lost or beside.done != 500:
        raise Wrong(f"hold: {sessions.lost} of {count} lost; logins beside them: {beside}")
    return (
        f"{count:,} sessions open at once, none lost; {idle_share:.1%} of a core while they idle; "
        f"opening took {opened / count * 1e6:.0f} µs of CPU each; "
        f"500 logins beside them: p50 {beside.p50_ms:.1f} ms, p99 {beside.p99_ms:.1f} ms"
    )


RUN: Final[dict[str, Callable[[Running, int], str]]] = {"soak": soak, "hold": held}
NAMES: Final = tuple(RUN)
