"""What `explain` says of a ticket: one refusal as it was, and what of it is still in force."""

import re
import shlex
from typing import Final

from gatekeeper.account_verbs import AccountVerbs, Row
from gatekeeper.control_verbs import ban_row
from gatekeeper.ledger import Ledger
from gatekeeper.policy.keys import source_prefix
from gatekeeper.tickets import Told

_PLAIN_NAME: Final = re.compile(r"[\w.+@][\w.+@=-]*")  # means the same to every shell


def ticket_row(
    told: Told, line: Row, ledger: Ledger, accounts: AccountVerbs, unix_now: float
) -> Row:
    """The facts of a ticket. `line` is its entry as a timeline shows it; its lists of locks and
    bans, and the commands that lift them, are as things are now, by the system's clock."""
    entry, now = told.entry, ledger.now
    client = source_prefix(entry.source)
    key = entry.account or (accounts.key_of(entry.name) if entry.name else 0)
    blocked = ledger.blocked(client)
    ban = None if blocked else ledger.find(client, told.scope)
    locks = accounts.describe(key)["locks"] if key and accounts.is_known(key) else []
    account = in_a_shell(entry.name, key)
    undo = [] if ban is None else [f"gatekeeper ban del {ban.prefix}"]
    undo += [f"gatekeeper account unlock {account}"] if locks else []
    further = [f"gatekeeper explain {client}"]
    further += [f"gatekeeper explain {account}"] if entry.name else []
    return {
        "ticket": entry.verdict.ticket,
        **line,
        "scope": told.scope.value,
        "sender": told.sender,
        "recipient": told.recipient,
        "hook": entry.verdict.source,
        "hook_text": entry.verdict.text,
        "now": round(unix_now, 3),
        "bans": [] if ban is None else [ban_row(ban, now, None, unix_now - now)],
        "blocked": blocked,
        "locks": locks,
        "undo": undo,
        "further": further,
    }


def in_a_shell(name: str, key: int) -> str:
    """A word that names an account where an operator pastes it, whatever its name holds."""
    return name if _PLAIN_NAME.fullmatch(name) else shlex.quote(f"#{key:016x}")


def forgotten(ticket: str) -> str:
    """What is said of a ticket that stands for nothing here."""
    return (
        f"ticket {ticket} is not known here: the guard keeps the last ones in memory, since its"
        f" start; older ones are lines of its log: journalctl -u gatekeeper -g ref={ticket}"
    )
