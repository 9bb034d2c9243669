"""Whether an address's name is its own: forward-confirmed reverse DNS (RFC 1912 2.1, RFC 8601 3).

Whoever holds the reverse zone of an address may write any name into it. It counts only where the
name's own zone has the address, too.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from gatekeeper.events import ReverseDns, ReverseState
from gatekeeper.policy.blocklists import reversed_address
from gatekeeper.policy.mailboxes import MAX_DOMAIN_CHARACTERS, MAX_LABEL_CHARACTERS
from gatekeeper.prefix import pack_address
from gatekeeper.records import Answer, Question, RecordType

MAX_NAMES: Final = 4  # looked at; most addresses have one, and each costs a question
_LETTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")


def reverse_question(address: str) -> Question:
    """What to ask for the names of `address` (RFC 1035 3.5, RFC 3596 2.5)."""
    tree = "ip6.arpa" if ":" in address else "in-addr.arpa"
    return Question(f"{reversed_address(address)}.{tree}", RecordType.PTR)


def forward_questions(address: str, records: Sequence[str]) -> dict[str, Question]:
    """What to ask to have names in PTR `records` confirmed, by name: at most `MAX_NAMES`, always
    the same ones of the same records."""
    type_ = RecordType.AAAA if ":" in address else RecordType.A
    names = sorted({name for record in records if (name := _host_name(record))})
    return {name: Question(name, type_) for name in names[:MAX_NAMES]}


def read_reverse(
    address: str, records: Sequence[str], answers: Mapping[str, Answer | None]
) -> ReverseDns | None:
    """What DNS says of `address`, by the PTR `records` and the answers to `forward_questions`, None
    for those that did not come; None where it cannot be told."""
    for name, answer in answers.items():
        if answer is not None and _holds(answer.records, address):
            return ReverseDns(ReverseState.CONFIRMED, name)
    if not records:
        return ReverseDns(ReverseState.MISSING)
    if None in answers.values() or len(set(records)) > MAX_NAMES:
        return None
    return ReverseDns(ReverseState.UNCONFIRMED, next(iter(answers), ""))


def _holds(records: Iterable[str], address: str) -> bool:
    packed = pack_address(address)
    return any(pack_address(record) == packed for record in records)


def _host_name(record: str) -> str:
    """The name of a PTR record in lower case; empty where no host is called so (RFC 1123 2.1, and
    `_`, which some have). So no octet of a stranger's choice reaches a log."""
    name = record.lower()
    if not 0 < len(name) <= MAX_DOMAIN_CHARACTERS or "." not in name:
        return ""
    labels = name.split(".")
    sound = all(0 < len(label) <= MAX_LABEL_CHARACTERS for label in labels)
    return name if sound and _LETTERS.issuperset(name.replace(".", "")) else ""
