"""What is known of an account, in lines for people: for `account show` and `explain`."""

from collections.abc import Iterator
from typing import Any

from gatekeeper.cli.exits import printable
from gatekeeper.cli.moments import ago, clock_time, until
from gatekeeper.cli.output import Row, aligned
from gatekeeper.cli.reasons import HELD_BECAUSE

MAX_NAME_CHARACTERS = 60  # of a name, as it is shown


def shown_name(name: object) -> str:
    """A name a client gave, escaped and not too long for a line."""
    text = printable(str(name)[: MAX_NAME_CHARACTERS + 1])
    return text if len(text) <= MAX_NAME_CHARACTERS else text[: MAX_NAME_CHARACTERS - 1] + "…"


def headline(row: Row) -> str:
    """The one thing to know of an account."""
    name, locks = shown_name(row["account"]), {lock["kind"]: lock for lock in row["locks"]}
    if "operator" in locks:
        return f"{name} is locked {until(locks['operator']['until'], row['now'])}: no login at all"
    if row["trap"]:
        return f"{name} is a trap (trap_accounts): every login is refused"
    if "held" in locks:
        return f"{name} is held {until(locks['held']['until'], row['now'])}: it may not send"
    guesses = f"{row['guesses']} guess{'' if row['guesses'] == 1 else 'es'} by strangers in a day"
    if "lane" in locks:
        times = until(locks["lane"]["until"], row["now"])
        return f"{name} is not locked, but strangers are kept off {times}: {guesses}"
    if row["attacked"]:
        return f"{name} is not locked, but under attack: {guesses}, {row['attacked_at']} are many"
    if not row["known"]:
        return f"{name} is not locked; nobody has logged in as it"
    return f"{name} is not locked; {guesses}, {row['attacked_at']} would be many"


def lock_words(lock: dict[str, Any]) -> str:
    """What a lock means, and the words it was made with."""
    note = str(lock["note"])
    match lock["kind"]:
        case "operator":
            return f"no login at all{note and ': '}{note}"
        case "held":
            return f"it may log in, but not send: {HELD_BECAUSE.get(note, note)}"
        case "lane":
            return "strangers need the right password twice, some time apart"
        case kind:
            return str(kind)


def account_lines(row: Row) -> Iterator[str]:
    """All there is to say of an account, its headline first."""
    now = row["now"]
    yield headline(row)
    yield ""
    for lock in row["locks"]:
        since = f"since {clock_time(lock['since'], now)}, " if lock["since"] else ""
        yield f"lock         {lock['kind']}, {since}{until(lock['until'], now)}"
        yield f"             {lock_words(lock)}"
    yield (
        f"guesses      {row['guesses']} wrong passwords by strangers in a day;"
        f" attacked from {row['attacked_at']}, strangers kept off from {row['lane_at']}"
    )
    yield f"last login   {ago(row['last_at'], now)}"
    if row["familiar"]:
        yield ""
        yield "At home in"
        heading = ["  NETWORK", "FIRST LOGIN", "LAST LOGIN"]
        yield from aligned([heading, *(_net_cells(net, now) for net in row["familiar"])])


def _net_cells(net: dict[str, Any], now: float) -> list[str]:
    return [f"  {net['net']}", clock_time(net["first_at"], now), ago(net["last_at"], now)]
