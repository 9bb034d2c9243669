"""`gatekeeper notify`: whether the operator would be told."""

from pathlib import Path

import click

from gatekeeper.cli.client import ask
from gatekeeper.cli.exits import FAILED, printable, say
from gatekeeper.cli.options import guard_options, socket_path


@click.group()
def notify() -> None:
    """Notices to the operator: [notify] in the configuration."""


@notify.command()
@guard_options
def test(config: Path, socket: Path | None) -> None:
    """Send a notice of the kind "test" now, and say whether it was taken.

    It is tried once, and ends with 1 where it was not taken by all.
    """
    reply = ask(socket_path(config, socket), "notify-test")
    for result in reply["results"]:
        if result["error"]:
            say(f"{result['by']}: not taken: {result['error']}")
        else:
            click.echo(printable(f"{result['by']}: taken"))
    if any(result["error"] for result in reply["results"]):
        raise click.exceptions.Exit(FAILED)
