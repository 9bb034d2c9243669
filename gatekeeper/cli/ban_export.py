"""`gatekeeper ban export`: the bans in force as an nft script, a list or JSON, row by row."""

import json
import math
import textwrap
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final

import click

from gatekeeper.ban import Scope
from gatekeeper.cli.ban import scope_option
from gatekeeper.cli.client import Reply, ask_rows
from gatekeeper.cli.options import guard_options, socket_path
from gatekeeper.prefix import Prefix

LINES_AT_ONCE: Final = 1000  # written together


@click.command()
@scope_option
@click.option(
    "-o",
    "--output",
    type=click.Choice(["list", "nft", "json"]),
    default="list",
    show_default=True,
    help="list: network and seconds left, what import list reads; nft: a script for nft -f;"
    " json: as ban list -o json, but the kernel is not asked.",
)
@guard_options
def export(scope: str, output: str, config: Path, socket: Path | None) -> None:
    """Print the bans in force, for another guard, for nft or for a script."""
    rows = ask_rows(
        socket_path(config, socket),
        "ban-export",
        "bans",
        scope=scope,
        all="yes" if output == "json" else "no",
    )
    head = next(rows)
    match output:
        case "json":
            _print(_json_lines(rows))
        case "nft":
            _print(_nft_lines(rows, float(head["now"]), scope))
        case _:
            _print(_list_lines(rows, float(head["now"]), scope))


def _list_lines(rows: Iterable[Reply], now: float, scope: str) -> Iterator[str]:
    """`192.0.2.1/32 3599`, seconds rounded up, under a heading that is a comment."""
    yield f"# bans of gatekeeper, scope {scope}: network, seconds left"
    for prefix, _, until in _ends(rows):
        if until > now:
            yield f"{prefix.network}/{prefix.length} {math.ceil(until - now)}"


def _nft_lines(rows: Iterable[Reply], now: float, scope: str) -> Iterator[str]:
    from gatekeeper.enforce.nft_script import add_commands

    yield f"# bans of gatekeeper, scope {scope}. Load with nft -f, where the table inet gatekeeper"
    yield "# is; an element that is held there already keeps its own timeout."
    yield from add_commands(_ends(rows), now)


def _json_lines(rows: Iterable[Reply]) -> Iterator[str]:
    """One JSON list, as json.dumps with an indent would write the whole."""
    yield "["
    last = ""
    for row in rows:
        if last:
            yield last + ","
        last = textwrap.indent(json.dumps(row, indent=2), "  ")
    if last:
        yield last
    yield "]"


def _ends(rows: Iterable[Reply]) -> Iterator[tuple[Prefix, Scope, float]]:
    for row in rows:
        yield Prefix.parse(row["prefix"]), Scope(row["scope"]), float(row["until"])


def _print(lines: Iterator[str]) -> None:
    while page := list(islice(lines, LINES_AT_ONCE)):
        click.echo("\n".join(page))
