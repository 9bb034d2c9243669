"""What a stranger asks of an SMTP server to learn whether it relays, and how the answers are read.

Never DATA: nothing that is asked here can become a message. The foreign domain is one of those set
aside for documentation (RFC 2606). The odd forms are those by which servers that refuse the plain
one have been open: the percent hack, a source route (RFC 5321 appendix C), a bang path, an address
in quotes before the server's own name, and an address literal.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from gatekeeper.events import RcptResult
from gatekeeper.wire.smtp_replies import Reply, rcpt_result

HELLO: Final = "relay-test.invalid"  # RFC 2606: nobody's; what a backend's log shows
_FOREIGN: Final = "relay-test@example.net"
_NOBODY: Final = "relay-test-nobody"  # no mailbox of the server's own
_LITERAL: Final = "relay-test@[203.0.113.99]"  # RFC 5737

_ADDRESS: Final = re.compile(rb"\[(?:IPv6:)?([0-9A-Fa-f:.]{3,45})\]")
_HOST_NAME: Final = re.compile(rb"[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})+")


class Says(Enum):
    """What one answer says about relaying."""

    OPEN = "open"  # it would take the mail
    CLOSED = "closed"
    OTHER = "other"  # refused or put off for another reason, so it tells nothing


@dataclass(frozen=True, slots=True)
class Question:
    """One recipient that is asked for.

    `sender` is the reverse-path it is asked with. `about_own_name` tells of a form that ends in the
    server's own name: one that takes every name there would take it, and relay nothing.
    """

    path: str
    sender: str = ""
    about_own_name: bool = False


PLAIN: Final = Question(_FOREIGN)


def odd_forms(own_name: str) -> tuple[Question, ...]:
    """What is asked when the plain form was refused; `own_name` may be empty. The first of those
    about the own name is for comparison: it names nobody and leads nowhere."""
    anywhere = (Question(_LITERAL), Question(_FOREIGN.replace("@", "%")))
    if not own_name:
        return anywhere
    local, domain = _FOREIGN.split("@")
    forms = (
        f"{local}%{domain}@{own_name}",
        f'"{_FOREIGN}"@{own_name}',
        f"{domain}!{local}@{own_name}",
        f"@{own_name}:{_FOREIGN}",
    )
    return (
        *anywhere,
        Question(f"{_NOBODY}@{own_name}", about_own_name=True),
        *(Question(form, about_own_name=True) for form in forms),
        *own_sender(own_name),
    )


def own_sender(own_name: str) -> tuple[Question, ...]:
    """The plain form with a sender of the server's own; none where it has no name."""
    return (Question(_FOREIGN, sender=f"postmaster@{own_name}"),) if own_name else ()


def is_comparison(question: Question) -> bool:
    """Whether it asks for nobody at the server's own name."""
    return question.path.startswith(_NOBODY)


def says(reply: Reply, *, wants_login: bool) -> Says:
    """What the answer to MAIL or RCPT says about relaying; `wants_login` is so for a submission
    server, whose every refusal of who has not logged in will do."""
    result = rcpt_result(reply)
    if result is RcptResult.ACCEPTED:
        return Says.OPEN
    if result is RcptResult.RELAY_DENIED or reply.code == 530:  # RFC 4954 6: AUTH first
        return Says.CLOSED
    return Says.CLOSED if wants_login and not reply.transient else Says.OTHER


def own_name(greeting: Reply) -> str:
    """The name a server greets with (RFC 5321 4.2); empty where it is no host name."""
    first = greeting.lines[0].split(b" ")[0]
    return first.decode("ascii") if _HOST_NAME.fullmatch(first) else ""


def addresses_seen(hello: Reply | None, replies: Iterable[Reply]) -> set[str]:
    """Addresses in brackets by which a server tells whom it sees: behind its name in the answer to
    EHLO (Exim, OpenSMTPD, Sendmail), or where it refuses a client (Postfix)."""
    texts = [hello.lines[0].partition(b" ")[2]] if hello is not None and hello.positive else []
    texts += [b" ".join(reply.lines) for reply in replies]
    found = {match[1].decode("ascii") for text in texts for match in _ADDRESS.finditer(text)}
    return found - {_LITERAL.partition("[")[2].rstrip("]")}
