"""Wrong passwords, one after the other, and who was asked about them: the guard alone, or the
backend as well."""

import imaplib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from demo.clients import Account
from demo.evidence import guess, milliseconds, was_cut
from demo.narrator import Narrator

WORDS: Final = (
    *("123456", "password", "qwerty", "letmein", "iloveyou"),
    *("dragon", "monkey", "sunshine", "football", "admin123"),
    *("welcome", "master", "abc123", "trustno1"),
)
# Names no account has: a list of them is what a program guesses along, not one person's mistake.
NAMES: Final = tuple(
    f"{name}@example.org"
    for name in (
        *("info", "office", "admin", "sales", "support"),
        *("contact", "scanner", "backup", "test", "webmaster"),
        *("shop", "jobs"),
    )
)
_LOOK_S: Final = 0.1  # for the end of a session, between two guesses


@dataclass(frozen=True, slots=True)
class Guessed:
    """How a row of guesses went."""

    waits_s: tuple[float, ...]  # of each, until it was answered
    asked: int  # about how many of them the backend was asked
    cut: bool  # the last one ended the session


def guess_along(
    session: imaplib.IMAP4,
    guesses: Sequence[Account],
    asked: Callable[[], int],
    say: Narrator,
) -> Guessed:
    """Try `guesses` until the session is cut. `asked` counts wrong passwords in the backend's log,
    which has a line before the answer is sent. Raises `StepFailed` where one is let in."""
    waits_s: list[float] = []
    cut = False
    first = before = asked()
    for number, each in enumerate(guesses, 1):
        begun = time.monotonic()
        answer = guess(session, each.user, each.password)
        waits_s.append(time.monotonic() - begun)
        after = asked()
        who = "backend asked" if after > before else "not asked"
        before = after
        taken = milliseconds(waits_s[-1])
        tried = f"{each.user.partition('@')[0]} {each.password}"
        say.line(f"guess {number:2}  {tried:20} {taken:>8}  {who:13}  {answer}")
        if cut := was_cut(session.sock, _LOOK_S):
            break
    return Guessed(tuple(waits_s), before - first, cut)
