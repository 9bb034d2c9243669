"""`gatekeeper transparent off`: for when a guard was killed and its keeper with it."""

import click


@click.group()
def transparent() -> None:
    """What `announce = "transparent"` has put into the kernel."""


@transparent.command()
def off() -> None:
    """Take away the nftables table, routing rules and routes of transparent mode. As root.

    They go by themselves when the guard ends. This is for what is left when guard and keeper were
    killed; while a guard is using them nothing is done.
    """
    from gatekeeper.enforce.keeper import clear  # loads pyroute2

    click.echo("taken away" if clear() else "nothing was there")
