"""From what an import has read to bans of the guard: put together, told about, handed over."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby, islice
from math import inf
from pathlib import Path
from typing import Final

import click

from gatekeeper.ban import Scope
from gatekeeper.cli.client import ask
from gatekeeper.cli.exits import say
from gatekeeper.errors import GatekeeperError
from gatekeeper.policy.parts import ban_parts
from gatekeeper.prefix import ENTITY_V6_BITS, Prefix

ROWS_PER_REQUEST: Final = 500  # as many as the guard takes
_SHOWN: Final = 10  # networks named one by one
_OUTCOMES: Final = ("imported", "never_banned", "already_longer")

Row = list[object]
Key = tuple[Prefix, Scope]


@dataclass(slots=True)
class Gathered:
    """The bans an import wants: of each prefix and scope the longest, with where it is from.

    Seconds are infinite for a ban that is to last as long as may be.
    """

    strict: bool = False  # no ban wider than what was read
    bans: dict[Key, tuple[float, str]] = field(default_factory=dict)
    no_ban: list[Prefix] = field(default_factory=list)  # too wide, or with `strict` too narrow

    def add(
        self, prefix: Prefix, seconds: float | None, scopes: Iterable[Scope], note: str
    ) -> None:
        """Want a network banned, in parts where no ban has its length."""
        parts = ban_parts(prefix, strict=self.strict)
        if not parts:
            self.no_ban.append(prefix)
        left_s = inf if seconds is None else seconds
        for scope in scopes:
            for part in parts:
                known = self.bans.get((part, scope))
                if known is None or known[0] < left_s:
                    self.bans[part, scope] = left_s, note


def hand_over(
    wanted: Gathered, socket: Path, most_s: float | None, *, dry_run: bool
) -> Counter[str]:
    """Give the bans to the guard on `socket`, or with `dry_run` only ask what would come of them;
    what came of them, counted.

    None lasts longer than `most_s`, where that is None than the guard's own longest. What was
    handed over before a failure stays. Raises as `ask` does.
    """
    totals: Counter[str] = Counter()
    if not wanted.bans:
        return totals
    try:
        for note, rows in _requests(wanted):
            reply = ask(
                socket,
                "ban-add-many",
                rows=rows,
                most_s=most_s,
                note=note,
                go="no" if dry_run else "yes",
            )
            totals.update({name: int(reply[name]) for name in _OUTCOMES})
    except (GatekeeperError, click.exceptions.Exit):
        if totals:
            say(f"{totals.total()} of {len(wanted.bans)} bans were handed over before this")
        raise
    return totals


def _requests(wanted: Gathered) -> Iterator[tuple[str, list[Row]]]:
    """Rows by the note they share, as many at a time as one request holds."""
    by_note = sorted(wanted.bans.items(), key=lambda item: item[1][1])
    for note, items in groupby(by_note, key=lambda item: item[1][1]):
        rows: Iterator[Row] = (
            [str(prefix), scope.value, None if left_s == inf else round(left_s, 3)]
            for (prefix, scope), (left_s, _) in items
        )
        while page := list(islice(rows, ROWS_PER_REQUEST)):
            yield note, page


def tell_no_bans(wanted: Gathered) -> None:
    """Say which networks no ban can be made for."""
    for prefix in wanted.no_ban[:_SHOWN]:
        narrow = prefix.length > ENTITY_V6_BITS
        say(f"{prefix}: {'less than a /64, and strict' if narrow else 'too wide to be banned'}")
    if len(wanted.no_ban) > _SHOWN:
        say(f"{len(wanted.no_ban) - _SHOWN} more networks like these")


def summary(totals: Counter[str], *, dry_run: bool) -> str:
    """One line for the operator: `412 imported, 3 never banned, 7 already longer`."""
    rest = [f"{totals[name]} {name.replace('_', ' ')}" for name in _OUTCOMES[1:] if totals[name]]
    imported = totals["imported"]
    first = f"would import {imported}" if dry_run else f"{imported} imported"
    return ", ".join([first, *rest])
