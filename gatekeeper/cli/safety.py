"""`gatekeeper pause`, `resume`, `breaker reset` and `ban flush`: for when the guard does harm."""

import time
from pathlib import Path

import click

from gatekeeper.cli.ban import ban, scope_option
from gatekeeper.cli.client import Reply, ask
from gatekeeper.cli.exits import FAILED, USAGE, printable, say
from gatekeeper.cli.moments import clock_time
from gatekeeper.cli.options import Duration, guard_options, socket_path
from gatekeeper.cli.output import duration_cell


@click.command()
@click.option("--for", "seconds", type=Duration(), required=True, help="How long.")
@click.option("--reason", default="", help="Your own words; in the log and in status.")
@guard_options
def pause(seconds: float, reason: str, config: Path, socket: Path | None) -> None:
    """Enforce nothing for a time: no ban, no refusal, no delay.

    The guard goes on judging and counts what it would have done. Accounts you have locked stay
    locked. It ends by itself, with resume, and with the guard's process.
    """
    reply = ask(socket_path(config, socket), "pause", seconds=seconds, note=reason)
    at = clock_time(reply["until"], time.time())
    click.echo(f"paused until {at}, {duration_cell(seconds)}: nothing is enforced")
    _tell_kernel(reply, "the kernel may still drop what was banned")


@click.command()
@guard_options
def resume(config: Path, socket: Path | None) -> None:
    """End a pause: rules and bans apply again."""
    reply = ask(socket_path(config, socket), "resume")
    click.echo(f"resumed, {_bans(reply['bans'])} in force")
    _tell_kernel(reply, "the kernel may not drop yet what is banned; the guard refuses it")


@click.group()
def breaker() -> None:
    """The circuit breaker: opens when the bans of rules look like a mistake."""


@breaker.command()
@guard_options
def reset(config: Path, socket: Path | None) -> None:
    """Close the breaker: rules ban again, from nothing counted."""
    reply = ask(socket_path(config, socket), "breaker-reset")
    click.echo(printable(f"closed the breaker; it had opened by {reply['cause']}: "
                         f"{reply['figures']}"))  # fmt: skip


@ban.command()
@click.option("--yes", is_flag=True, help="Do it; without, say how many there are and end with 2.")
@scope_option
@click.option("--origin", type=click.Choice(["rule", "operator", "import"]), help="Only these.")
@click.option("--reason", default="", help="Only these, as auth-failures; ban list has the word.")
@click.option("--forget", is_flag=True, help="Their history, too: the next ban is a first one.")
@guard_options
def flush(  # one option each
    yes: bool,
    scope: str,
    origin: str | None,
    reason: str,
    forget: bool,
    config: Path,
    socket: Path | None,
) -> None:
    """Lift all bans, or those of an origin or a reason."""
    reply = ask(
        socket_path(config, socket),
        "ban-flush",
        scope=scope,
        origin=origin or "",
        reason=reason,
        forget="yes" if forget else "no",
        go="yes" if yes else "no",
    )
    kernel_only = reply["kernel_only"]
    also = f", and {kernel_only} that only the kernel holds" if kernel_only else ""
    if not yes:
        click.echo(f"would lift {_bans(reply['found'])}{also}")
        say("nothing was lifted; --yes does it")
        raise click.exceptions.Exit(USAGE)
    lifted = reply["progress"][-1]["lifted"]
    click.echo(f"lifted {_bans(lifted)}{also}")
    _tell_kernel(reply, "what only it holds was not lifted")


def say_if_paused(reply: Reply) -> None:
    """Remind of a pause, where `reply` tells of one."""
    left_s = reply.get("paused_for_s")
    if left_s is not None:
        say(f"paused for {duration_cell(left_s)} more: nothing is enforced")


def _bans(number: int) -> str:
    return f"{number} ban{'' if number == 1 else 's'}"


def _tell_kernel(reply: Reply, consequence: str) -> None:
    if reply["kernel"] != "ok":
        say(f"{consequence}: {reply['kernel']}")
        raise click.exceptions.Exit(FAILED)
