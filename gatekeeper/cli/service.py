"""`gatekeeper reload` and `kernel-options`: what the units of `systemd/` call."""

import os
import pwd
from pathlib import Path

import click

from gatekeeper.cli.client import exchange
from gatekeeper.cli.exits import BAD_CONFIGURATION, FAILED, say
from gatekeeper.cli.options import config_option, guard_options, socket_path


@click.command()
@guard_options
def reload(config: Path, socket: Path | None) -> None:
    """Have the running guard read its configuration again.

    Sessions live on. Ends when the new one is in force; where it cannot be used all that is wrong
    is told, the old one stays, and the exit code is 78.
    """
    reply = exchange(socket_path(config, socket), {"verb": "reload"})
    if reply.get("ok") is True:
        click.echo(f"{config}: in force")
        return
    for line in str(reply.get("error", "refused")).splitlines():
        say(line)
    bad = reply.get("code") == "bad-configuration"
    if bad:
        say("the guard goes on with the old configuration")
    raise click.exceptions.Exit(BAD_CONFIGURATION if bad else FAILED)


@click.command("kernel-options")
@config_option
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Write it there, in place of what is there; else it is printed.",
)
def kernel_options(config: Path, output: Path | None) -> None:
    """Print what the unit of the kernel process is started with, as an EnvironmentFile.

    Guarded ports, networks that are never banned, lists and interfaces are read off the
    configuration, and this host's addresses off the kernel. Takes no right.
    """
    from gatekeeper.config import load
    from gatekeeper.enforce.spawn import environment
    from gatekeeper.errors import ConfigError
    from gatekeeper.startup import kernel_options as options_of

    settings = load(config)
    if not settings.enforce.nft:
        raise ConfigError(f"{config}: [enforce] nft = false: there is nothing for it to do")
    options = options_of(settings)
    if options.dial:
        raise ConfigError(f'{config}: announce = "transparent" takes a guard started as root')
    try:
        uid = pwd.getpwnam(settings.user).pw_uid
    except KeyError:
        text = f"{config}: user: there is no account {settings.user!r} on this host"
        raise ConfigError(text) from None
    text = environment(options, uid)
    if output is None:
        click.echo(text, nl=False)
        return
    draft = output.with_name(output.name + ".new")
    draft.write_text(text)
    os.replace(draft, output)
