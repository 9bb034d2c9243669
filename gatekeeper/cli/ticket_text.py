"""What a ticket stands for, in lines for a helpdesk: the answer, the facts, what to do."""

from collections.abc import Iterator
from typing import Final

from gatekeeper.cli.account_text import lock_words, shown_name
from gatekeeper.cli.moments import ago, until
from gatekeeper.cli.output import Row, duration_cell
from gatekeeper.cli.reasons import SCOPES, done, rule, what, whose, why
from gatekeeper.cli.remedies import remedy
from gatekeeper.verdict import Reason

_DONE: Final = {
    "defer": "told to come again",
    "reject": "refused",
    "decoy": "refused",
    "close": "hung up on",
}


def ticket_lines(row: Row) -> Iterator[str]:
    """All there is to say of a ticket, its headline first."""
    yield _headline(row)
    yield f"  {rule(row)}: {why(row['reason'])}"
    yield ""
    yield from _facts(row)
    yield ""
    yield "What to do"
    yield from (f"  {line}" for line in remedy(row["reason"]))
    yield from _in_force(row)
    yield ""
    yield "More of it"
    yield from (f"  {command}" for command in row["further"])


def _headline(row: Row) -> str:
    who = shown_name(row["account"]) if row["account"] else row["address"]
    verb = "banned" if row["ban"] else _DONE.get(row["action"], row["action"])
    return f"{row['ticket']}: {who} was {verb} at {ago(row['at'], row['now'])}"


def _facts(row: Row) -> Iterator[str]:
    yield f"client       {row['address']} on {SCOPES.get(row['scope'], row['scope'])}"
    yield f"asked for    {what(row)}; {done(row)}"
    if row["account"]:
        yield f"account      {shown_name(row['account'])}"
    if whose(row):
        yield f"whose        {whose(row)}"
    if row["recipient"]:
        yield f"recipient    {shown_name(row['recipient'])}"
    if row["sender"]:
        yield f"sender       {shown_name(row['sender'])}"
    if row["hook"]:
        said = f": {row['hook_text']}" if row["hook_text"] else ""
        yield f"hook         {row['hook']}{said}"
    if row["score"]:
        yield f"score        {round(row['score'], 1):g} of {round(row['ban_score'], 1):g} then"


def _in_force(row: Row) -> Iterator[str]:
    """What of it can be undone now."""
    if row["blocked"] and row["reason"] != Reason.BLOCKED.value:
        yield "  block in the configuration names the address now."
    for ban in row["bans"]:
        left = duration_cell(ban["remaining_s"])
        yield f"  {ban['prefix']} is banned for {left} more: {ban['reason']}."
    for lock in row["locks"]:
        times = until(lock["until"], row["now"])
        yield f"  The account has a lock ({lock['kind']}) {times}: {lock_words(lock)}."
    if row["undo"]:
        yield ""
        yield "To undo it"
        yield from (f"  {command}" for command in row["undo"])
