"""Tickets: the short words in refusals by which a helpdesk finds out why, such as `7f3k2`.

A ticket is a number and nothing else. Its letters are those that are hard to take for another, in
any hand and on the telephone, and no vowel is among them: they make no words.
"""

import re
from typing import Final

LETTERS: Final = "23456789bcdfghjkmnpqrstvwxyz"
LENGTH: Final = 5
_PAIRS: Final = [second + first for first in LETTERS for second in LETTERS]
COUNT: Final = len(LETTERS) ** LENGTH  # 17 million; of 30,000 kept ones one guess in 570 hits one

# What people copy from a reply or a log line, or say: `7F3K2`, `(ref 7f3k2)`, `ref=7f3k2`.
_WRITTEN: Final = re.compile(rf"\(?(?P<named>ref[ =:]\s*)?(?P<ticket>[{LETTERS}]{{{LENGTH}}})\)?")


def spell(number: int) -> str:
    """The ticket of a number from 0 to `COUNT` - 1."""
    ends, middle = len(_PAIRS), len(LETTERS)
    number, first = divmod(number, ends)
    last, letter = divmod(number, middle)
    return _PAIRS[first] + LETTERS[letter] + _PAIRS[last]


def read_ticket(text: str) -> tuple[str, bool] | None:
    """The ticket that `text` writes and whether it says so (`ref`); None where it is none."""
    match = _WRITTEN.fullmatch(text.strip().lower())
    return None if match is None else (match["ticket"], match["named"] is not None)


def with_ticket(reply: bytes, ticket: str) -> bytes:
    """A refusal of the guard's own, of one line with its CRLF, that names `ticket`; as it is where
    that is empty."""
    if not ticket:
        return reply
    return b"%b (ref %b)\r\n" % (reply.removesuffix(b"\r\n"), ticket.encode())
