"""Instants and times as an operator reads them: by the local clock, and how long from now."""

import time

from gatekeeper.cli.output import duration_cell


def clock_time(at: float | None, now: float) -> str:
    """`14:03:22` by the local clock, with the date before it where that is not today's; `-` for
    none. Both are Unix time."""
    if at is None:
        return "-"
    local, today = time.localtime(at), time.localtime(now)
    date = "" if local[:3] == today[:3] else time.strftime("%Y-%m-%d ", local)
    return date + time.strftime("%H:%M:%S", local)


def ago(at: float | None, now: float) -> str:
    """`14:03:22, 4m ago`; `-` for none."""
    return "-" if at is None else f"{clock_time(at, now)}, {duration_cell(now - at)} ago"


def until(at: float | None, now: float) -> str:
    """`until 14:03:22, 3h12m more`; for none, that somebody has to end it."""
    if at is None:
        return "until somebody unlocks it"
    return f"until {clock_time(at, now)}, {duration_cell(at - now)} more"
