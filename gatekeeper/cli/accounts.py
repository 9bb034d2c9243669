"""`gatekeeper account list | show | lock | unlock`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click

from gatekeeper.cli.client import ask
from gatekeeper.cli.exits import printable, say
from gatekeeper.cli.options import Duration, guard_options, output_option, socket_path
from gatekeeper.cli.output import Row, duration_cell, print_rows

_KEYS: Final = ("account", "locks", "until", "attacked", "guesses", "nets", "last_at", "note")
_RANKS: Final = {"operator": 0, "held": 1, "lane": 2}  # what an operator looks for first


@click.group()
def account() -> None:
    """Accounts: who is locked, who is attacked, and what is known of one.

    NAME is as people log in, in any case; or # and the key that is shown where no name is known.
    """


@account.command("list")
@click.option("--all", "everybody", is_flag=True, help="Every account that has logged in.")
@guard_options
@output_option
def list_(config: Path, socket: Path | None, output: str, everybody: bool) -> None:
    """List the accounts that are locked or guessed at."""
    reply = ask(socket_path(config, socket), "account-list", all="yes" if everybody else "no")
    rows = sorted(reply["accounts"], key=_urgency)
    if output == "csv":
        rows = [row | _flat(row["locks"]) for row in rows]
    elif output == "table" and not rows:
        say("no account is locked or attacked" if not everybody else "nobody has logged in yet")
    print_rows(rows, output, _KEYS, _cells(reply["now"]))


@account.command()
@click.argument("name")
@guard_options
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text")
def show(name: str, config: Path, socket: Path | None, output: str) -> None:
    """Say what is known of an account: locks, guesses, and where it is at home."""
    from gatekeeper.cli.account_text import account_lines

    row = ask(socket_path(config, socket), "account-show", account=name)["account"]
    if output == "json":
        click.echo(json.dumps(row, indent=2))
        return
    for line in account_lines(row):
        click.echo(printable(line))


@account.command()
@click.argument("name")
@click.option("--for", "seconds", type=Duration(), help="How long; else until you unlock it.")
@click.option("--reason", default="", help="Your own words; kept with the lock.")
@guard_options
def lock(name: str, seconds: float | None, reason: str, config: Path, socket: Path | None) -> None:
    """Refuse every login of an account, right or wrong, and end its sessions."""
    reply = ask(
        socket_path(config, socket), "account-lock", account=name, seconds=seconds, note=reason
    )
    times = "until you unlock it" if seconds is None else f"for {duration_cell(seconds)}"
    ended = reply["ended"]
    plural = "" if ended == 1 else "s"
    click.echo(printable(f"locked {reply['account']} {times}, ended {ended} session{plural}"))
    if not reply["known"]:
        say(f"nobody has logged in as {reply['account']} yet: is it written as people log in?")
    if not reply["enforced"]:
        say("logins are not refused: the configuration has the rule account-locked only observe")


@account.command()
@click.argument("name")
@guard_options
def unlock(name: str, config: Path, socket: Path | None) -> None:
    """Take every lock off an account, and forget the guesses at it."""
    reply = ask(socket_path(config, socket), "account-unlock", account=name)
    guesses = reply["guesses"]
    forgot = f"forgot {guesses} guess{'' if guesses == 1 else 'es'}" if guesses else ""
    lifted = f"lifted {', '.join(reply['lifted'])}" if reply["lifted"] else ""
    what = ", ".join(part for part in (lifted, forgot) if part)
    click.echo(printable(f"unlocked {reply['account']}: {what}"))


def _cells(now: float) -> dict[str, Callable[[Row], str]]:
    from gatekeeper.cli.account_text import shown_name

    return {
        "ACCOUNT": lambda row: shown_name(row["account"]),
        "LOCKS": lambda row: ", ".join(map(_lock_cell, row["locks"])) or "-",
        "GUESSES": lambda row: f"{row['guesses']}{' attacked' if row['attacked'] else ''}",
        "NETS": lambda row: str(row["nets"]),
        "LAST LOGIN": lambda row: _ago(row["last_at"], now),
        "NOTE": lambda row: "; ".join(_notes(row["locks"])) or "-",
    }


def _lock_cell(lock: Row) -> str:
    left = lock["remaining_s"]
    return f"{lock['kind']}{'' if left is None else ' ' + duration_cell(left)}"


def _ago(at: float | None, now: float) -> str:
    return "-" if at is None else f"{duration_cell(now - at)} ago"


def _notes(locks: list[Row]) -> list[str]:
    return [str(lock["note"]) for lock in locks if lock["note"]]


def _flat(locks: list[Row]) -> Row:
    """Locks in one cell each of a CSV: kinds, and their ends in the same order, none for never."""
    return {
        "locks": ";".join(str(lock["kind"]) for lock in locks),
        "until": ";".join("" if lock["until"] is None else str(lock["until"]) for lock in locks),
        "note": ";".join(_notes(locks)),
    }


def _urgency(row: Row) -> tuple[int, int]:
    return min((_RANKS.get(lock["kind"], 0) for lock in row["locks"]), default=3), -row["guesses"]
