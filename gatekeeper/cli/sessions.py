"""`gatekeeper who`, `kick` and `status`."""

import json
from pathlib import Path
from typing import Final

import click

from gatekeeper.cli.client import ask
from gatekeeper.cli.exits import printable
from gatekeeper.cli.options import guard_options, output_option, socket_path
from gatekeeper.cli.output import duration_cell, print_rows
from gatekeeper.cli.safety import say_if_paused

_KEYS: Final = (
    *("id", "listener", "protocol", "address", "port"),
    *("account", "phase", "since_s", "idle", "idle_s"),
)
_CELLS: Final = {
    "ID": lambda row: str(row["id"]),
    "LISTENER": lambda row: str(row["listener"]),
    "ADDRESS": lambda row: str(row["address"]),
    "ACCOUNT": lambda row: row["account"] or "-",
    "PHASE": lambda row: "idle" if row["idle"] else str(row["phase"]),
    "AGE": lambda row: duration_cell(row["since_s"]),
    "IDLE": lambda row: duration_cell(row["idle_s"]),
}


@click.command()
@guard_options
@output_option
def who(config: Path, socket: Path | None, output: str) -> None:
    """List the sessions, oldest first."""
    reply = ask(socket_path(config, socket), "who")
    say_if_paused(reply)
    print_rows(reply["sessions"], output, _KEYS, _CELLS)


@click.command()
@click.argument("selector", metavar="ID|IP[/LEN]|ACCOUNT")
@guard_options
def kick(selector: str, config: Path, socket: Path | None) -> None:
    """End the sessions of an id, an address or an account."""
    count = ask(socket_path(config, socket), "kick", selector=selector)["kicked"]
    click.echo(f"ended {count} session{'' if count == 1 else 's'}")


@click.command()
@guard_options
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table")
def status(config: Path, socket: Path | None, output: str) -> None:
    """Say how the guard is."""
    report = ask(socket_path(config, socket), "status")["status"]
    if output == "json":
        click.echo(json.dumps(report, indent=2))
        return
    width = max(map(len, report), default=0)
    for key, value in report.items():
        shown = duration_cell(value) if key.endswith("_s") else _status_cell(value)
        click.echo(f"{key.removesuffix('_s').ljust(width)}  {printable(shown)}")


def _status_cell(value: object) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case dict():
            return ", ".join(f"{name} {count}" for name, count in value.items()) or "-"
        case _:
            return str(value)
