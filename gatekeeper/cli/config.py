"""`gatekeeper config`: what is in force, and what each key means."""

from pathlib import Path

import click

from gatekeeper.cli.options import config_option


@click.group()
def config() -> None:
    """Show the configuration in force; say what its keys mean."""


@config.command()
@config_option
@click.option("--diff", is_flag=True, help="Only what is not the default.")
def show(config: Path, diff: bool) -> None:
    """Print the configuration in force as one file, drop-in files included.

    The keys of DNS lists are hidden.
    """
    from gatekeeper.config import load
    from gatekeeper.config.showing import show as written

    click.echo(written(load(config), changed=diff), nl=False)


@config.command()
@click.argument("key", required=False)
def describe(key: str | None) -> None:
    """Say what KEY means, as in `policy.ban_first`; without one print the whole reference.

    The reference is Markdown: it is docs/config.md.
    """
    from gatekeeper.config.describing import find, in_plain_words, reference

    if key is None:
        click.echo(reference(), nl=False)
        return
    click.echo("\n\n".join(map(in_plain_words, find(key))))
