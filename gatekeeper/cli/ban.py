"""`gatekeeper ban list | add | del`."""

from pathlib import Path
from typing import Final

import click

from gatekeeper.cli.client import Reply, ask
from gatekeeper.cli.exits import FAILED, say
from gatekeeper.cli.options import Duration, Network, guard_options, output_option, socket_path
from gatekeeper.cli.output import duration_cell, print_rows

_KEYS: Final = (
    *("prefix", "scope", "level", "reason", "origin"),
    *("since", "until", "remaining_s", "kernel_s", "note"),
)
_CELLS: Final = {
    "PREFIX": lambda row: str(row["prefix"]),
    "SCOPE": lambda row: str(row["scope"]),
    "LEVEL": lambda row: str(row["level"]),
    "REASON": lambda row: row["reason"] or "-",
    "ORIGIN": lambda row: str(row["origin"]),
    "REMAINING": lambda row: duration_cell(row["remaining_s"]),
    "KERNEL": lambda row: duration_cell(row["kernel_s"]),
    "NOTE": lambda row: row["note"] or "-",
}

scope_option = click.option(
    "--scope",
    type=click.Choice(["auth", "mx", "all"]),
    default="all",
    show_default=True,
    help="auth: the ports people log in on; mx: port 25.",
)


@click.group()
def ban() -> None:
    """The bans in force."""


@ban.command("list")
@guard_options
@output_option
def list_(config: Path, socket: Path | None, output: str) -> None:
    """List the bans in force, and what the kernel holds of each."""
    reply = ask(socket_path(config, socket), "ban-list")
    if reply["kernel"] != "ok":
        say(f"what the kernel holds is not known: {reply['kernel']}")
    print_rows(reply["bans"], output, _KEYS, _CELLS)


@ban.command()
@click.argument("network", type=Network(), metavar="IP[/LEN]")
@click.option("--for", "seconds", type=Duration(), help="How long; else as the policy escalates.")
@click.option("--reason", default="", help="Your own words; kept with the ban.")
@scope_option
@click.option("--force", is_flag=True, help="Even if it covers the address you come from.")
@guard_options
def add(
    network: str,
    seconds: float | None,
    reason: str,
    scope: str,
    force: bool,
    config: Path,
    socket: Path | None,
) -> None:
    """Ban an address or a network."""
    _spare_the_caller(network, force)
    reply = ask(
        socket_path(config, socket),
        "ban-add",
        prefix=network,
        scope=scope,
        seconds=seconds,
        note=reason,
    )
    _print_each("banned", reply)


@ban.command("del")
@click.argument("network", type=Network(), metavar="IP[/LEN]")
@scope_option
@guard_options
def del_(network: str, scope: str, config: Path, socket: Path | None) -> None:
    """Lift a ban and forget its history."""
    reply = ask(socket_path(config, socket), "ban-del", prefix=network, scope=scope)
    _print_each("lifted", reply)


def _print_each(done: str, reply: Reply) -> None:
    for row in reply["bans"]:
        left = duration_cell(row["remaining_s"])
        click.echo(f"{done} {row['prefix']} from {row['scope']}, level {row['level']}, {left} left")


def _spare_the_caller(network: str, force: bool) -> None:
    from gatekeeper.cli.caller import caller_covered_by

    address = caller_covered_by(network)
    if not address:
        return
    say(f"{network} covers {address}, where this login comes from")
    if not force:
        say("nothing was banned; --force does it all the same")
        raise click.exceptions.Exit(FAILED)
