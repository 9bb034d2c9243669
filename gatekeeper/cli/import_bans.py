"""`gatekeeper import fail2ban | crowdsec | list`: bans that others have made, into the guard.

Each reads all of its source, says what it found and what it leaves out, and only then hands the
bans to the guard that runs, which decides about each: who is never banned stays so, and a longer
ban in force stays as it is.
"""

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from gatekeeper.ban import Scope
from gatekeeper.cli.exits import FAILED, USAGE, printable, say
from gatekeeper.cli.options import Duration, guard_options, socket_path
from gatekeeper.cli.output import print_table

if TYPE_CHECKING:
    from gatekeeper.cli.ban_hand_over import Gathered
    from gatekeeper.cli.fail2ban_bans import JailBan
    from gatekeeper.wire.ban_lists import WrongLine

_SHOWN_ERRORS: Final = 50
_WORDS: Final = ["auth", "mx", "all"]


def ban_options(command: Any) -> Any:  # noqa: ANN401  a decorator of whatever click decorates
    """What all imports of bans share."""
    for option in (
        click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing."),
        click.option(
            "--for",
            "most_s",
            type=Duration(),
            help="How long at most, and for bans that say no time; else [policy] ban_max.",
        ),
        click.option(
            "--strict", is_flag=True, help="Leave out IPv6 addresses: a ban is for their whole /64."
        ),
    ):
        command = option(command)
    return guard_options(command)


scope_option = click.option(
    "--scope",
    type=click.Choice(_WORDS),
    default="auth",
    show_default=True,
    help="auth: the ports people log in on; mx: port 25.",
)


@click.command("list")
@click.argument("file")
@scope_option
@click.option("--skip-bad", is_flag=True, help="Leave wrong lines out, instead of doing nothing.")
@ban_options
def list_(
    file: str,
    scope: str,
    skip_bad: bool,
    strict: bool,
    most_s: float | None,
    dry_run: bool,
    config: Path,
    socket: Path | None,
) -> None:
    """Ban the addresses and networks of a list, one a line.

    FILE is text, - is standard input: ADDRESS[/LENGTH], perhaps a time (4h, or seconds), comments
    behind # or ;. The first column of CSV is read too, and Spamhaus DROP as text or JSON lines.
    """
    from gatekeeper.cli.ban_hand_over import Gathered
    from gatekeeper.cli.import_input import read_file
    from gatekeeper.wire.ban_lists import read_list

    listed, wrong = read_list(read_file(file))
    _tell_wrong(file, wrong)
    if wrong and not skip_bad:
        say("nothing was imported; --skip-bad leaves these lines out")
        raise click.exceptions.Exit(FAILED)
    wanted = Gathered(strict)
    for one in listed:
        wanted.add(one.prefix, one.seconds, _scopes(scope), f"list {_named(file)}")
    _finish(
        f"{len(listed)} networks", wanted, {"wrong": len(wrong)},
        socket_path(config, socket), most_s, dry_run=dry_run,
    )  # fmt: skip


@click.command()
@click.argument("source", metavar="FILE|URL")
@click.option(
    "--api-key-file",
    type=click.Path(path_type=Path),
    help="Holds the key of a bouncer, sent to URL as X-Api-Key.",
)
@scope_option
@ban_options
def crowdsec(
    source: str,
    api_key_file: Path | None,
    scope: str,
    strict: bool,
    most_s: float | None,
    dry_run: bool,
    config: Path,
    socket: Path | None,
) -> None:
    """Ban what CrowdSec has decided to ban.

    FILE is the output of cscli decisions list -o json, or an answer of the local API; - is standard
    input. URL is the local API, http://127.0.0.1:8080 for instance, or a path of it. The times of
    a file count from when it was written.
    """
    from gatekeeper.cli.ban_hand_over import Gathered
    from gatekeeper.cli.import_input import age_s, is_url, read_file, read_key, read_url, where
    from gatekeeper.wire.crowdsec import read_decisions

    if api_key_file is not None and not is_url(source):
        say("--api-key-file is for a URL")
        raise click.exceptions.Exit(USAGE)
    if is_url(source):
        octets, old_s = read_url(source, read_key(api_key_file)), 0.0
    else:
        octets, old_s = read_file(source), age_s(source)
    found = read_decisions(octets, old_s)
    if found is None:
        say(f"{where(source)}: no decisions of CrowdSec")
        raise click.exceptions.Exit(FAILED)
    wanted = Gathered(strict)
    for one in found.listed:
        wanted.add(one.prefix, one.seconds, _scopes(scope), f"crowdsec {_named(where(source))}")
    _finish(
        f"{len(found.listed) + found.left.total()} decisions", wanted,
        {left.value: number for left, number in found.left.items()},
        socket_path(config, socket), most_s, dry_run=dry_run,
    )  # fmt: skip


@click.command()
@click.argument("database", metavar="DB", type=click.Path(path_type=Path))
@click.option("--jail", "jails", multiple=True, metavar="NAME", help="Only this jail, whatever it"
              " is about; may be repeated.")  # fmt: skip
@click.option("--scope", type=click.Choice(_WORDS), help="For all jails, instead of by jail.")
@ban_options
def fail2ban(
    database: Path,
    jails: tuple[str, ...],
    scope: str | None,
    strict: bool,
    most_s: float | None,
    dry_run: bool,
    config: Path,
    socket: Path | None,
) -> None:
    """Take over the bans in force of fail2ban's mail jails.

    DB is its database, usually /var/lib/fail2ban/fail2ban.sqlite3; fail2ban may be running. Jails
    of postfix ban from port 25, postfix-sasl, dovecot and their like from the login ports; others
    are left out unless --jail names them.
    """
    from gatekeeper.cli.ban_hand_over import Gathered
    from gatekeeper.cli.fail2ban_bans import read_bans
    from gatekeeper.prefix import Prefix

    bans = read_bans(database, time.time())
    scopes = _scopes_by_jail(database, bans, jails, scope)
    _tell_jails(bans, scopes)
    wanted = Gathered(strict)
    unreadable = 0
    for one in bans:
        if not scopes[one.jail]:
            continue
        try:
            prefix = Prefix.parse(one.address)
        except ValueError:  # a jail may ban anything, a user's name for instance
            unreadable += 1
            continue
        wanted.add(prefix, one.seconds, scopes[one.jail], f"fail2ban jail {one.jail}")
    taken = sum(bool(scopes[one.jail]) for one in bans)
    _finish(
        f"{taken} bans", wanted, {"no address": unreadable},
        socket_path(config, socket), most_s, dry_run=dry_run,
    )  # fmt: skip


def _scopes_by_jail(
    database: Path, bans: Iterable["JailBan"], jails: Sequence[str], scope: str | None
) -> dict[str, tuple[Scope, ...]]:
    """For each jail what it is imported into, nothing for one that is left out."""
    from gatekeeper.cli.fail2ban_bans import scopes_of

    names = {ban.jail for ban in bans}
    for name in jails:
        if name not in names:
            has = ", ".join(sorted(names)) or "none at all"
            say(f"{database}: no ban in force in a jail {name}; it has: {has}")
            raise click.exceptions.Exit(FAILED)
    chosen = {}
    for name in names:
        usual = scopes_of(name) or (_scopes("auth") if jails else ())
        wanted = name in jails if jails else bool(usual)
        chosen[name] = () if not wanted else usual if scope is None else _scopes(scope)
    return chosen


def _tell_jails(bans: Iterable["JailBan"], scopes: dict[str, tuple[Scope, ...]]) -> None:
    """A table: of which jail how many bans are taken, and into what."""
    counts = Counter(ban.jail for ban in bans)
    lines = [
        [jail, str(number), " ".join(scope.value for scope in scopes[jail]) or "left out"]
        for jail, number in sorted(counts.items())
    ]
    if lines:
        print_table([["JAIL", "BANS", "SCOPE"], *lines])


def _tell_wrong(file: str, wrong: Sequence["WrongLine"]) -> None:
    for line in wrong[:_SHOWN_ERRORS]:
        say(f"{file}:{line.number}: {line.why}")
    if len(wrong) > _SHOWN_ERRORS:
        say(f"{file}: {len(wrong) - _SHOWN_ERRORS} more lines are wrong")


def _finish(
    read: str,
    wanted: "Gathered",
    left_out: dict[str, int],
    socket: Path,
    most_s: float | None,
    *,
    dry_run: bool,
) -> None:
    """Say what was read, hand it over, and say what came of it."""
    from gatekeeper.cli.ban_hand_over import hand_over, summary, tell_no_bans

    tell_no_bans(wanted)
    left_out = left_out | {"no network that can be banned": len(wanted.no_ban)}
    rest = ", ".join(f"{number} {why}" for why, number in left_out.items() if number)
    click.echo(
        f"{read} read, {len(wanted.bans)} bans to make" + (f"; left out: {rest}" if rest else "")
    )
    click.echo(summary(hand_over(wanted, socket, most_s, dry_run=dry_run), dry_run=dry_run))


def _named(source: str) -> str:
    """A source as a ban's note names it."""
    name = "standard input" if source == "-" else source
    return printable(name.rpartition("/")[2] if "://" not in name else name)


def _scopes(word: str) -> tuple[Scope, ...]:
    return tuple(Scope) if word == "all" else (Scope(word),)
