"""`gatekeeper hooks`: the operator's own rules, and how they are."""

from pathlib import Path
from typing import Final

import click

from gatekeeper.cli.client import ask
from gatekeeper.cli.options import guard_options, output_option, socket_path
from gatekeeper.cli.output import print_rows

_KEYS: Final = (
    *("hook", "called", "state", "calls", "failed"),
    *("raised", "late", "rubbish", "off", "under_way", "why"),
)
_CELLS: Final = {
    "HOOK": lambda row: str(row["hook"]),
    "CALLED": lambda row: str(row["called"]),
    "STATE": lambda row: str(row["state"]),
    "CALLS": lambda row: str(row["calls"]),
    "FAILED": lambda row: str(row["failed"]),
    "LAST FAULT": lambda row: str(row["why"]) or "-",
}


@click.command()
@guard_options
@output_option
def hooks(config: Path, socket: Path | None, output: str) -> None:
    """List your hooks, how often each was called, and what went wrong last.

    Counts begin when the files are loaded: at the start, and with each reload.
    """
    rows = ask(socket_path(config, socket), "hooks")["hooks"]
    if not rows and output == "table":
        click.echo("no hooks are loaded: see hooks in the configuration")
        return
    print_rows(rows, output, _KEYS, _CELLS)
