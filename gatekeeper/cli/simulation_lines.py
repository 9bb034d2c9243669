"""Events in, decisions out, a line each: the closed loop of `gatekeeper simulate`.

A decision is written before the next line is read, and nothing is read ahead of a line's end, so
that whatever makes the events may wait for each decision.
"""

import json
from collections.abc import Callable
from typing import Any, BinaryIO, Final, NoReturn

import click

from gatekeeper.cli.exits import FAILED, say
from gatekeeper.cli.simulation_totals import Totals
from gatekeeper.simulation import BadEvent

MAX_LINE_OCTETS: Final = (
    1 << 20
)  # an account of 64 KiB, every octet of it escaped, and as much more
_MAX_MESSAGE: Final = 300  # characters of what is said of a bad line: it may quote the line


class BadLine(Exception):
    """A line that is no event; the text says why."""


def decide(
    events: BinaryIO,
    out: BinaryIO,
    feed: Callable[[dict[str, Any]], dict[str, Any]],
    totals: Totals | None = None,
) -> None:
    """Write the decision `feed` makes on each line of `events`, until they end.

    A line that is no event ends the command with what is wrong (`click.exceptions.Exit`); the
    decisions written before it stand.
    """
    read, write, flush = events.readline, out.write, out.flush
    number = 0
    while line := read(MAX_LINE_OCTETS + 1):
        number += 1
        if line.isspace():
            continue
        try:
            event = _parsed(line)
            decision = feed(event)
            write(encoded(decision))
        except (BadLine, BadEvent) as error:
            _refuse(number, str(error))
        flush()
        if totals is not None:
            totals.note(event, decision)


def encoded(record: dict[str, Any]) -> bytes:
    """A decision's line. Raises `BadLine` where a key that is carried through cannot be JSON."""
    try:
        return _ENCODE(record).encode() + b"\n"
    except ValueError as error:
        raise BadLine("a number is too large") from error
    except RecursionError as error:
        raise BadLine("nested too deeply") from error


def _parsed(line: bytes) -> dict[str, Any]:
    """The object on a line. Raises `BadLine`."""
    if len(line) > MAX_LINE_OCTETS:
        raise BadLine(f"longer than {MAX_LINE_OCTETS} octets")
    try:
        event = _DECODE(line.decode())
    except UnicodeDecodeError as error:
        raise BadLine(f"not UTF-8 (octet {error.start + 1})") from error
    except json.JSONDecodeError as error:
        raise BadLine(f"not JSON: {error.msg} (column {error.colno})") from error
    except ValueError as error:  # a number of too many digits, or none of JSON's
        raise BadLine(f"not JSON: {error}") from error
    except RecursionError as error:
        raise BadLine("nested too deeply") from error
    if not isinstance(event, dict):
        raise BadLine("not an object")
    return event


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number")


def _refuse(number: int, why: str) -> NoReturn:
    say(f"line {number}: {why[:_MAX_MESSAGE]}")
    raise click.exceptions.Exit(FAILED)


_DECODE: Final = json.JSONDecoder(parse_constant=_refuse_constant).decode
_ENCODE: Final = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
