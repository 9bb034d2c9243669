"""Exit codes, and the one way to say what went wrong."""

from typing import Final

import click

from gatekeeper.errors import ConfigError, NotRunning, PermissionMissing

FAILED: Final = 1
USAGE: Final = 2
NOT_FOUND: Final = 3  # or not running
NO_PERMISSION: Final = 77  # EX_NOPERM of sysexits.h
BAD_CONFIGURATION: Final = 78  # EX_CONFIG of sysexits.h


def exit_code(error: Exception) -> int:
    """The exit code `error` ends the command with."""
    match error:
        case ConfigError():
            return BAD_CONFIGURATION
        case PermissionMissing() | PermissionError():
            return NO_PERMISSION
        case NotRunning():
            return NOT_FOUND
        case _:
            return FAILED


def say(line: str) -> None:
    """One line for the operator, on standard error."""
    click.echo(f"gatekeeper: {printable(line)}", err=True)


def printable(text: str) -> str:
    """`text` with everything a terminal would act on escaped: accounts are the clients' words."""
    if text.isprintable():
        return text
    # Not by a codec: Python would look for its file, which a running guard may not read.
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
