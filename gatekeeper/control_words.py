"""What the verbs of the control socket share: requests, refusals, replies in pieces."""

import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from enum import Enum
from typing import Final

from gatekeeper.ban import Scope

LONGEST_S: Final = 366 * 86400.0  # all bans and locks for a time are temporary
ROWS_PER_PIECE: Final = 200  # about 30 KB, 2 ms of the loop


class Code(Enum):
    """Why a request was not done; stable words."""

    BAD_REQUEST = "bad-request"
    NOT_FOUND = "not-found"
    EXEMPT = "exempt"  # this prefix is never banned
    BAD_CONFIGURATION = "bad-configuration"
    FAILED = "failed"


class Refusal(Exception):
    """A request that is not done. `text` is for the operator."""

    def __init__(self, code: Code, text: str) -> None:
        self.code = code
        self.text = text
        super().__init__(text)


Pieces = Iterator[str]  # a reply, in pieces made as they are sent; without its line end


class Arguments:
    """A request's arguments, taken one by one; `Refusal` for a wrong, absent or unknown one."""

    def __init__(self, request: Mapping[str, object]) -> None:
        self._left = dict(request)

    def text(self, name: str, default: str | None = None) -> str:
        """A string; not empty where there is no `default`."""
        value = self._left.pop(name, default)
        if not isinstance(value, str) or (not value and default is None):
            raise Refusal(Code.BAD_REQUEST, f"{name} must be a string")
        return value

    def scopes(self) -> tuple[Scope, ...]:
        """`auth`, `mx` or `all`."""
        word = self.text("scope", "all")
        return tuple(Scope) if word == "all" else (Scope(word),)

    def seconds(self, name: str) -> float | None:
        """Seconds above 0, None where they are not given."""
        match self._left.pop(name, None):
            case None:
                return None
            case bool():
                pass
            case (int() | float()) as value if 0 < value <= LONGEST_S:
                return float(value)
            case _:
                pass
        raise Refusal(Code.BAD_REQUEST, f"{name} must be above 0 and at most a year")

    def rows(self, name: str, most: int) -> list[list[object]]:
        """A list of at most `most` lists."""
        value = self._left.pop(name, None)
        if not isinstance(value, list) or not all(isinstance(row, list) for row in value):
            raise Refusal(Code.BAD_REQUEST, f"{name} must be a list of lists")
        if len(value) > most:
            raise Refusal(Code.BAD_REQUEST, f"{name} has more than {most} rows")
        return value

    def done(self) -> None:
        """Refuse what nobody took."""
        for name in self._left:
            raise Refusal(Code.BAD_REQUEST, f"unknown argument: {name[:40]}")


Verb = Callable[[Arguments], Awaitable[Pieces]]


def whole(reply: Mapping[str, object]) -> Pieces:
    """`{"ok": true, reply…}` in one piece, for what is known to be short."""
    return iter((json.dumps({"ok": True, **reply}, default=str),))


def listing(
    name: str, rows: Iterator[Mapping[str, object] | None], extra: Mapping[str, object]
) -> Pieces:
    """`{"ok": true, extra…, name: [rows…]}`, a few hundred rows a piece: a million bans neither
    stop the loop nor stand in memory as text.

    A row of None is not listed: it says that what yields the rows has searched for a while, and a
    search that finds little must not stop the loop either.
    """
    yield json.dumps({"ok": True, **extra})[:-1] + f', "{name}": ['
    comma = ""
    while batch := [row for _, row in zip(range(ROWS_PER_PIECE), rows, strict=False)]:
        found = [json.dumps(row) for row in batch if row is not None]
        yield (comma + ", ".join(found)) if found else ""
        comma = ", " if found else comma
    yield "]}"
