"""One frame of `gatekeeper top`: a pure function of what the guard answered."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gatekeeper.cli.exits import printable
from gatekeeper.cli.output import duration_cell

Reply = Mapping[str, Any]  # JSON at the edge

FIXED_LINES: Final = 14  # of a frame, besides the rows of its two tables and what is wrong
LEAST_ROWS: Final = 3
MOST_ROWS: Final = 20
_BAD: Final = "bold red"
_HEAD: Final = "bold"


def frame(reply: Reply, trouble: str | None, height: int = 40) -> RenderableType:
    """What is drawn of `reply` on `height` lines; `trouble` is why it may be old."""
    wrong = list(_wrong(reply, trouble)) or [Text("all is well with its parts; q ends this", "dim")]
    rows = max(LEAST_ROWS, min(MOST_ROWS, (height - FIXED_LINES - len(wrong)) // 2))
    return Group(
        _title(reply["status"]),
        *wrong,
        Text(),
        _rates(reply),
        Text(),
        _listeners(reply["listeners"]),
        Text(),
        _networks(reply["networks"][:rows]),
        Text(),
        _accounts(reply["accounts"][:rows]),
    )


def waiting(trouble: str | None) -> RenderableType:
    """Before the first answer."""
    return Text(trouble or "", style=_BAD)


def _title(status: Reply) -> Text:
    text = Text("gatekeeper", style=_HEAD)
    text.append(f" {status['version']}  ", style="not bold")
    text.append(status["mode"], style="not bold" if status["mode"] == "enforce" else _BAD)
    parts = [
        f"up {duration_cell(status['uptime_s'])}",
        f"sessions {status['sessions']}",
        f"bans {status['bans']}",
        f"attack level {status['attack_level']}",
    ]
    text.append(f"  {'  '.join(parts)}", style="not bold")
    return text


def _wrong(reply: Reply, trouble: str | None) -> Iterator[Text]:
    """A line for each thing that somebody should do something about."""
    status = reply["status"]
    if trouble:
        yield _alarm(trouble)
    if status["mode"] != "enforce":
        yield _alarm("observe mode: nothing is refused")
    if status.get("paused_for_s"):
        yield _alarm(f"paused for {duration_cell(status['paused_for_s'])}: nothing is refused")
    if str(status.get("breaker", "closed")).startswith("open"):
        yield _alarm(f"breaker {status['breaker']}")
    if status.get("outage"):
        yield _alarm("the backend refuses everybody: its refusals are not counted")
    for part, state in reply["health"].items():
        if state != "ok":
            yield _alarm(f"{part}: {state}")


def _alarm(text: str) -> Text:
    return Text(f"! {printable(text)}", style=_BAD, overflow="ellipsis", no_wrap=True)


def _rates(reply: Reply) -> Table:
    """What happened within a minute."""
    per_minute, table = reply["per_minute"], _table()
    for name in ("LAST MINUTE", "GOOD", "FAILED", "REFUSED"):
        table.add_column(name, justify="left" if name == "LAST MINUTE" else "right")
    rows = {
        "logins": ("logins_good", "logins_failed", "logins_refused"),
        "recipients": ("recipients_accepted", "", "recipients_refused"),
        "sessions": ("sessions", "", "violations"),
    }
    for name, (good, failed, refused) in rows.items():
        cells = (str(per_minute[key]) if key else "" for key in (good, failed, refused))
        table.add_row(name, *cells)
    dropped = reply["dropped"]
    table.add_row("bans made", "", "", str(per_minute["bans"]))
    if dropped is not None:
        table.add_row("packets dropped in the kernel", "", "", str(per_minute["dropped"]))
    return table


def _listeners(listeners: list[Reply]) -> Table:
    table = _table()
    table.add_column("LISTENER")
    phases = ("handshake", "greeting", "dialogue", "relay")
    for phase in phases:
        table.add_column(phase.upper(), justify="right")
    table.add_column("BACKEND")
    for one in listeners:
        away = one["backend_away"]
        backend = Text(
            printable(f"{one['backend']}: {away}" if away else one["backend"]),
            style=_BAD if away else "",
        )
        table.add_row(printable(one["listener"]), *(str(one[phase]) for phase in phases), backend)
    return table


def _networks(networks: list[Reply]) -> Table:
    table = _table()
    table.add_column("WORST NETWORKS (15 min)")
    for name in ("REFUSALS", "ADDRESSES", "ACCOUNTS"):
        table.add_column(name, justify="right")
    table.add_column("MOSTLY")
    for one in networks:
        numbers = (str(one[key]) for key in ("refusals", "sources", "accounts"))
        table.add_row(one["network"], *numbers, printable(one["reason"]))
    return table if networks else _nobody(table)


def _accounts(accounts: list[Reply]) -> Table:
    table = _table()
    table.add_column("ACCOUNTS UNDER ATTACK", overflow="ellipsis", max_width=44)
    table.add_column("REFUSALS", justify="right")
    table.add_column("NETWORKS", justify="right")
    for one in accounts:
        table.add_row(printable(one["account"]), str(one["refusals"]), str(one["networks"]))
    return table if accounts else _nobody(table)


def _nobody(table: Table) -> Table:
    table.add_row("none")
    return table


def _table() -> Table:
    return Table(box=None, pad_edge=False, header_style=_HEAD, padding=(0, 2, 0, 0))
