"""Verbs of the control socket about many bans at once: ban-add-many, for imports, and ban-export.

`ban-add-many` takes rows `[prefix, scope, seconds]`, seconds null where the ban is to last as long
as it may. All rows are read before the first is applied: a bad one refuses the request as a whole.
The Ledger decides about each; an import never shortens a ban in force, and it is no offence, so it
raises nobody's level.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import inf
from typing import Final

import trio

from gatekeeper.ban import Origin, Scope
from gatekeeper.control_verbs import ban_row
from gatekeeper.control_words import (
    LONGEST_S,
    ROWS_PER_PIECE,
    Arguments,
    Code,
    Pieces,
    Refusal,
    Verb,
    listing,
    whole,
)
from gatekeeper.ledger import Ledger, bannable
from gatekeeper.prefix import Prefix
from gatekeeper.verdict import Reason

MAX_BAN_ROWS: Final = 500  # per request, which has a bound of its own
ROWS_AT_ONCE: Final = 50  # between which others have their turn: some 2 ms of the loop
SLACK_S: Final = 1.0  # a ban that would end less than this later is no longer than the one in force
_COLUMNS: Final = 3
_PAUSE: Final = (None,) * 3  # behind a whole row, which costs as much as four short ones

Row = dict[str, object]


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A row of a request; `seconds` is infinite for as long as may be: more than a year, too."""

    prefix: Prefix
    scope: Scope
    seconds: float


class BanVerbs:
    """The verbs, over a Ledger. `longest_s` says what an import lasts at most where the operator
    has named no time: the policy's longest ban, in seconds."""

    def __init__(self, ledger: Ledger, longest_s: Callable[[], float]) -> None:
        self._ledger = ledger
        self._longest_s = longest_s

    def verbs(self) -> Mapping[str, Verb]:
        """By name."""
        return {"ban-add-many": self._do_add_many, "ban-export": self._do_export}

    async def _do_add_many(self, arguments: Arguments) -> Pieces:
        """Import bans; with `go` other than "yes" only tell what would come of it."""
        wanted = [_wanted(row) for row in arguments.rows("rows", MAX_BAN_ROWS)]
        most_s = arguments.seconds("most_s")
        note = arguments.text("note", "")
        go = arguments.text("go", "no") == "yes"
        arguments.done()
        most_s = self._longest_s() if most_s is None else most_s
        counts = {"imported": 0, "never_banned": 0, "already_longer": 0}
        for number, one in enumerate(wanted, 1):
            counts[self._import(one, min(one.seconds, most_s), note, go=go)] += 1
            if number % ROWS_AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
        return whole({**counts, "most_s": most_s})

    def _import(self, one: _Wanted, seconds: float, note: str, *, go: bool) -> str:
        """Make one ban where it is to be; what came of it, as the reply counts it."""
        if self._ledger.exempt(one.prefix):
            return "never_banned"
        left_s = self._ledger.remaining_s(one.prefix, one.scope)
        if left_s is not None and seconds < left_s + SLACK_S:
            return "already_longer"
        if go:
            self._ledger.ban(
                one.prefix,
                one.scope,
                Reason.IMPORTED,
                seconds=seconds,
                escalate=False,
                origin=Origin.IMPORT,
                note=note,
            )
        return "imported"

    async def _do_export(self, arguments: Arguments) -> Pieces:
        """Prefix, scope and end of every ban in force, the kernel not being asked; with `all` set
        to "yes" everything `ban-list` tells but what the kernel holds."""
        scopes = frozenset(arguments.scopes())
        everything = arguments.text("all", "no") == "yes"
        arguments.done()
        extra = {"now": self._ledger.now, "count": len(self._ledger)}
        return listing("bans", self._rows(scopes, everything=everything), extra)

    def _rows(self, scopes: frozenset[Scope], *, everything: bool) -> Iterator[Row | None]:
        for page in self._ledger.slices(ROWS_PER_PIECE):
            for prefix, scope, until in page:
                if scope not in scopes:
                    yield None
                elif everything:
                    ban = self._ledger.latest(prefix, scope)
                    yield None if ban is None else ban_row(ban, self._ledger.now, None)
                    yield from _PAUSE
                else:
                    yield {"prefix": str(prefix), "scope": scope.value, "until": round(until, 3)}


def _wanted(row: list[object]) -> _Wanted:
    """Read a row. Raises `Refusal` or `ValueError`."""
    if len(row) != _COLUMNS:
        raise Refusal(Code.BAD_REQUEST, "a row is [prefix, scope, seconds]")
    text, scope, seconds = row
    if not isinstance(text, str):
        raise Refusal(Code.BAD_REQUEST, "a row begins with a prefix")
    return _Wanted(bannable(Prefix.parse(text)), Scope(scope), _seconds(seconds))


def _seconds(value: object) -> float:
    match value:
        case None:
            return inf
        case bool():
            pass
        case int() | float() if value > 0:
            return float(value) if value <= LONGEST_S else inf
        case _:
            pass
    raise Refusal(Code.BAD_REQUEST, "seconds must be a number above 0, or null")
