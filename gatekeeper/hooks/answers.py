"""What a hook has returned, made safe: a Verdict on a hook's own account, or a fault."""

import math
from typing import Final

from gatekeeper.verdict import Action, Reason, Verdict

MAX_TEXT_CHARACTERS: Final = 200  # with code and ticket below the 512 octets of RFC 5321 4.5.3.1.5
MAX_DELAY_S: Final = 60.0
LONGEST_BAN_S: Final = 366 * 86400.0


class RubbishError(Exception):
    """A hook returned what is no answer; the text says what. It never leaves `hooks`."""


def read_answer(answer: object, source: str) -> Verdict | None:
    """The answer of the hook `source` as the guard may use it: for a hook's reason, its text one
    printable line, its times within their bounds. None for no opinion. Raises `RubbishError`."""
    if answer is None:
        return None
    if type(answer) is not Verdict:
        raise RubbishError(f"returned {_kind(answer)}, not None or a Verdict")
    if type(answer.action) is not Action:
        raise RubbishError(f"a Verdict's action is an Action, not {_kind(answer.action)}")
    if answer.action is Action.PASS:
        return None
    return Verdict(
        answer.action,
        Reason.HOOK,
        delay_s=_seconds(answer.delay_s, "delay_s", MAX_DELAY_S),
        ban=answer.ban is True,
        ban_first_s=_ban_s(answer.ban_first_s),
        watched=answer.watched is True,
        text=_text(answer.text),
        source=source,
    )


def one_line(text: str) -> str:
    """`text` in printable ASCII on one line, cut to `MAX_TEXT_CHARACTERS`: white space, line ends
    among it, becomes a space, what cannot be printed a question mark."""
    shown = "".join(
        " " if each.isspace() else each if each.isascii() and each.isprintable() else "?"
        for each in text[: 4 * MAX_TEXT_CHARACTERS]
    )
    return " ".join(shown.split())[:MAX_TEXT_CHARACTERS].rstrip()


def _text(text: object) -> str:
    if type(text) is not str:
        raise RubbishError(f"a Verdict's text is a string, not {_kind(text)}")
    return one_line(text)


def _seconds(value: object, name: str, most_s: float) -> float:
    """A number of seconds; what is more than `most_s` is that."""
    if type(value) not in {int, float} or not isinstance(value, int | float):
        raise RubbishError(f"a Verdict's {name} is a number of seconds, not {_kind(value)}")
    if math.isnan(value) or value < 0:
        raise RubbishError(f"a Verdict's {name} is 0 or more")
    return float(min(value, most_s))


def _ban_s(value: object) -> float | None:
    if value is None:
        return None
    seconds = _seconds(value, "ban_first_s", LONGEST_BAN_S)
    if seconds == 0:
        raise RubbishError("a Verdict's ban_first_s is more than 0")
    return seconds


def _kind(value: object) -> str:
    """The type of a value in a word that is surely printable."""
    return one_line(str(type(value).__name__))[:40] or "something"
