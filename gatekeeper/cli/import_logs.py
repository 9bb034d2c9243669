"""`gatekeeper import dovecot-log`: whom the mail server knows from where, before the guard does."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gatekeeper.cli.options import guard_options, socket_path

if TYPE_CHECKING:
    from gatekeeper.cli.import_lines import Logins


@click.group("import")
def import_() -> None:
    """What is known already, from other programs."""


@import_.command("dovecot-log")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@guard_options
def dovecot_log(files: tuple[str, ...], config: Path, socket: Path | None) -> None:
    """Learn from good logins in mail logs which account is at home in which network.

    FILE is a log of Dovecot, or of Postfix with sasl_username=, as syslog, Dovecot itself or
    journalctl writes it; *.gz is unpacked, - is standard input. Logins of the last 30 days count.
    Names are taken as the log has them.

    A guard that runs is told at once, else its database is written.
    """
    import time

    from gatekeeper.cli.import_lines import Reading, opened
    from gatekeeper.cli.import_target import hand_over
    from gatekeeper.config import load
    from gatekeeper.startup import never_banned

    settings = load(config)
    now = time.time()
    reading = Reading(never_banned(settings), now)
    for file in files:
        with opened(file, sys.stdin.buffer, now) as (stream, latest):
            reading.read(stream, latest)
    found = reading.found
    pairs = list(found.pairs.values())
    new = hand_over(pairs, socket_path(config, socket), settings) if pairs else 0
    click.echo(summary(found, new))


def summary(found: "Logins", new: int | None) -> str:
    """One line for the operator; `new` is None where the guard was told."""
    left_out = {
        "unreadable": found.unreadable,
        "from our own addresses": found.our_own,
        "too old": found.too_old,
        "too many": found.left_out,
    }
    skipped = ", ".join(f"{number} {why}" for why, number in left_out.items() if number)
    return (
        f"{found.lines} lines, {found.logins} logins, {found.accounts} accounts,"
        f" {found.networks} networks, {len(found.pairs)} pairs, "
        + ("told to the guard" if new is None else f"{new} of them new")
        + (f"; skipped: {skipped}" if skipped else "")
    )
