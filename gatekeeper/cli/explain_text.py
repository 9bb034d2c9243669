"""An explanation in lines for people: the answer first, then what it rests on, then how to undo it.

Everything comes from the guard's reply and is bounded by it; a timeline is cut to what a screen or
two can hold.
"""

from collections.abc import Iterator
from typing import Any, Final

from gatekeeper.cli.account_text import account_lines, shown_name
from gatekeeper.cli.moments import ago, clock_time
from gatekeeper.cli.output import Row, aligned, duration_cell
from gatekeeper.cli.reasons import ORIGINS, SCOPES, done, rule, what, whose, why
from gatekeeper.cli.ticket_text import ticket_lines

MOST_LINES: Final = 40  # of a timeline
FIRST_LINES: Final = 10  # of them, before what is left out


def kind_of(reply: Row) -> str:
    """What the guard's reply explains: an `address`, a `network`, an `account` or a `ticket`."""
    return next(kind for kind in ("address", "network", "account", "ticket") if kind in reply)


def lines(kind: str, row: Row) -> Iterator[str]:
    """The explanation of an `address`, a `network`, an `account` or a `ticket`."""
    if kind == "ticket":
        yield from ticket_lines(row)
        return
    if kind == "account":
        yield from account_lines(row)
    else:
        yield _headline(row, str(row[kind]))
        yield from _ban_lines(row)
        yield from _score_lines(row)
    yield from _timeline(row, about="account" if kind != "account" else "address", kind=kind)
    yield from _climate(row)
    yield from _undo(row, kind)


# -- an address or a network ----------------------------------------------------------------------


def _headline(row: Row, name: str) -> str:
    held = [ban for ban in row["bans"] if ban["remaining_s"] or ban["kernel_s"]]
    if held:
        return f"{name} is banned from " + "; from ".join(_ban_words(ban, name) for ban in held)
    if row.get("blocked"):
        return f"{name} is blocked by the configuration (block), on every guarded port"
    never = "is never banned (allowed, or the host's own)"
    return f"{name} {never if row['never_banned'] else 'is not banned'}{_standing(row)}"


def _ban_words(ban: Row, name: str) -> str:
    scope = SCOPES.get(ban["scope"], ban["scope"])
    part = "" if ban["prefix"] == name else f" as part of {ban['prefix']}"
    left = duration_cell(ban["remaining_s"] or ban["kernel_s"])
    cause = f"{ban['reason']}, level {ban['level']}" if ban["reason"] else "only the kernel knows"
    return f"{scope}{part} for {left} more: {cause}"


def _standing(row: Row) -> str:
    """The score against the one that bans: of the ports where there is more of it."""
    if "scopes" not in row:
        score, suspect = (row["networks"][0][key] for key in ("score", "suspect_score"))
        return f"; score {_figure(score)}, suspect from {_figure(suspect)}"
    auth, mx = row["scopes"]["auth"], row["scopes"]["mx"]
    if mx["score"] > auth["score"]:
        return f"; score {_figure(mx['score'])} of {_figure(mx['ban_score'])} on port 25"
    count = row["accounts_at_home"]
    home = f" ({count} account{'' if count == 1 else 's'} at home there)" if count else ""
    suspect = "; strangers there are put off" if auth["score"] >= auth["suspect_score"] else ""
    return f"; score {_figure(auth['score'])} of {_figure(auth['ban_score'])}{home}{suspect}"


def _ban_lines(row: Row) -> Iterator[str]:
    if not row["bans"]:
        return
    yield ""
    yield "Bans"
    for ban in row["bans"]:
        kernel = _kernel(ban, row["kernel"])
        yield f"  {ban['prefix']} from {SCOPES.get(ban['scope'], ban['scope'])}, {_origin(ban)}"
        yield f"    {_times(ban, row['now'])}{kernel and '; '}{kernel}"
        if ban["reason"]:
            yield f"    {ban['reason']}: {why(ban['reason'])}"
        if ban["note"]:
            yield f"    {ban['note']}"


def _origin(ban: Row) -> str:
    level = f", level {ban['level']}" if ban["level"] else ""
    return f"{ORIGINS.get(ban['origin'], ban['origin'])}{level}"


def _times(ban: Row, now: float) -> str:
    if ban["until"] is None:
        return "since when is not known"
    since, end = clock_time(ban["since"], now), clock_time(ban["until"], now)
    if ban["remaining_s"]:
        return f"from {since} until {end}, {duration_cell(ban['remaining_s'])} more"
    return f"from {since} until {end}, over; the next one lasts longer"


def _kernel(ban: Row, kernel: str) -> str:
    if ban["kernel_s"] is not None:
        return f"the kernel holds it for {duration_cell(ban['kernel_s'])} more"
    if kernel != "ok":
        return f"what the kernel holds is not known: {kernel}"
    return "the kernel does not hold it" if ban["remaining_s"] else ""


def _score_lines(row: Row) -> Iterator[str]:
    yield ""
    yield "Scores"
    cells = [["  OF", "SCORE", "BANNED AT", "SUSPECT AT"]]
    for scope, score in row.get("scopes", {}).items():
        suspect = f"{_figure(score['suspect_score'])}" if "suspect_score" in score else "-"
        name = f"  {SCOPES.get(scope, scope)}"
        cells.append(
            [name, f"{_figure(score['score'])}", f"{_figure(score['ban_score'])}", suspect]
        )
    for network in row["networks"]:
        figures = [f"{_figure(network['score'])}", "-", f"{_figure(network['suspect_score'])}"]
        cells.append([f"  {network['prefix']}", *figures])
    yield from aligned(cells)
    if row.get("accounts_at_home"):
        last_s = row["last_login_s"]
        last = "" if last_s is None else f", last login {ago(row['now'] - last_s, row['now'])}"
        spared = "; guesses make no ban here" if row["spared"] else ""
        yield f"  accounts at home there: {row['accounts_at_home']}{last}{spared}"
    auth = row.get("scopes", {}).get("auth", {"score": 0.0, "ban_score": 1.0})
    if row.get("slow") and not row.get("spared") and auth["score"] >= auth["ban_score"]:
        yield "  guesses come slowly from there: they are refused, and make no ban"
    if row.get("unknown_recipients"):
        most = ", most of all it asked for" if row["mostly_unknown"] else ""
        yield f"  unknown recipients within a day: {row['unknown_recipients']}{most}"


# -- all ------------------------------------------------------------------------------------------


def _timeline(row: Row, *, about: str, kind: str) -> Iterator[str]:
    entries = row["timeline"]
    yield ""
    if not entries:
        yield "Nothing happened lately"
        return
    yield "What happened, oldest first"
    first, last, left_out = _cut(entries, row["left_out"])
    both = kind == "network"
    where = ["ADDRESS"] if both else []
    cells = [["  TIME", "WHAT", *where, about.upper(), "SCORE", "WHOSE", "RULE", "DONE"]]
    cells += [_cells(entry, about, row["now"], both=both) for entry in first + last]
    table = aligned(cells)
    yield from table[: len(first) + 1]
    if left_out:
        yield f"  … {left_out} left out …"
    yield from table[len(first) + 1 :]
    yield from _legend(first + last)


def _cut(entries: list[Row], left_out: int) -> tuple[list[Row], list[Row], int]:
    """The first and the last lines, and how many between them are left out."""
    if len(entries) <= MOST_LINES and not left_out:
        return entries, [], 0
    last = entries[FIRST_LINES - MOST_LINES :]
    return entries[:FIRST_LINES], last, len(entries) - MOST_LINES + left_out


def _cells(entry: Row, about: str, now: float, *, both: bool) -> list[str]:
    return [
        f"  {clock_time(entry['at'], now)}",
        what(entry),
        *([entry["address"]] if both else []),
        shown_name(entry[about]) or "-",
        _score(entry),
        whose(entry) or "-",
        "-" if entry["reason"] == "none" else rule(entry),
        done(entry),
    ]


def _score(entry: Row) -> str:
    """`+1 → 4 of 10`."""
    weight, score = entry["weight"], entry["score"]
    if not weight and not score:
        return "-"
    change = f"{round(weight, 1):+g} → " if weight else ""
    return f"{change}{_figure(score)} of {_figure(entry['ban_score'])}"


def _figure(value: float) -> str:
    """A score as it is said: `9.5`, `10`."""
    return f"{round(value, 1):g}"


def _legend(entries: list[Row]) -> Iterator[str]:
    reasons = dict.fromkeys(entry["reason"] for entry in entries if entry["reason"] != "none")
    if reasons:
        yield ""
        yield "Rules in it"
        yield from (f"  {reason}: {why(reason)}" for reason in reasons)


def _climate(row: Row) -> Iterator[str]:
    level: dict[str, Any] = row["attack_level"]
    yield ""
    yield "The server as a whole"
    logins = level["strangers_logins"]
    yield (
        f"  attack level {'high' if level['high'] else 'low'}: strangers guessed"
        f" {_figure(level['guesses'])} times and logged in {_figure(logins)} times lately;"
        f" it is high from {_figure(level['high_from'])} guesses"
    )
    yield (
        "  who is at home where is known"
        if row["learned"]
        else "  still learning who is at home where: rules that need it only watch"
    )
    if row["outage"]:
        yield "  the mail server refuses everybody: an outage, no guess counts"
    if row["breaker"] != "closed":
        yield f"  the breaker is {row['breaker']};"
        yield "  rules ban nobody until it closes, by itself or by gatekeeper breaker reset"
    if row["paused"]:
        yield "  paused: nothing is enforced, until its time is over or gatekeeper resume"
    elif len(row["only_watching"]) + len(row["ignored"]) == row["rules"]:
        yield "  observe mode: rules only watch, nothing is refused"
    elif row["only_watching"]:
        yield f"  rules that only watch: {', '.join(row['only_watching'])}"
    if row["ignored"]:
        yield f"  rules that are ignored: {', '.join(row['ignored'])}"


def _undo(row: Row, kind: str) -> Iterator[str]:
    if row["undo"]:
        yield ""
        yield "To undo it"
        yield from (f"  {command}" for command in row["undo"])
    if kind != "account" and not row["never_banned"] and (row["undo"] or row["timeline"]):
        if not row["undo"]:
            yield ""
        yield f"To leave it alone for good: put {row[kind]} into allow and send SIGHUP"
