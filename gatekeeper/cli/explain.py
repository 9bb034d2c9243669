"""`gatekeeper explain`: why an address or an account is treated as it is, or what a ticket stands
for, in words."""

import json
from pathlib import Path

import click

from gatekeeper.cli.client import ask
from gatekeeper.cli.exits import printable
from gatekeeper.cli.options import guard_options, socket_path


@click.command()
@click.argument("what", metavar="IP|ACCOUNT|TICKET")
@guard_options
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text")
def explain(what: str, config: Path, socket: Path | None, output: str) -> None:
    """Say why an address or an account is treated as it is, and how to undo it.

    The first line is the answer. Networks that are scored or banned as a whole can be asked for as
    well: /24, /56 and /48. A ticket is what a refused person was given: (ref 7f3k2). Times are by
    the local clock.
    """
    from gatekeeper.cli.explain_text import kind_of, lines

    reply = ask(socket_path(config, socket), "explain", what=what)
    kind = kind_of(reply)
    if output == "json":
        click.echo(json.dumps(reply[kind], indent=2))
        return
    for line in lines(kind, reply[kind]):
        click.echo(printable(line))
