"""Who takes a notice to the operator: a program of his, a web service of his choice."""

import os
import re
import stat
from pathlib import Path
from typing import Final

from gatekeeper.abc import Messenger
from gatekeeper.errors import ConfigError
from gatekeeper.messengers.program import Program
from gatekeeper.messengers.webhook import Webhook
from gatekeeper.plain_files import read_plain
from gatekeeper.secret import Secret
from gatekeeper.settings import NotifySettings

__all__ = ["Program", "Webhook", "messengers"]

MAX_SECRET_OCTETS: Final = 4096  # a signed token is a kilobyte or two
_LINE: Final = re.compile(rb"[!-~](?:[ -~]*[!-~])?")


def messengers(settings: NotifySettings) -> tuple[Messenger, ...]:
    """Those the operator has named. Raises `ConfigError` for a file of theirs that is of no use."""
    found: list[Messenger] = []
    if settings.exec is not None:
        found.append(Program(_program(settings.exec), settings.deadline_s))
    if settings.webhook is not None:
        path = settings.webhook_authorization
        webhook = Webhook(
            settings.webhook,
            settings.deadline_s,
            authorization=None if path is None else _secret_line(path),
            ca=settings.webhook_ca,
        )
        found.append(webhook)
    return tuple(found)


def _program(path: Path) -> Path:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        advice = "; arguments are not taken, write a script" if " " in path.name else ""
        raise ConfigError(f"[notify] exec: {path}: {error.strerror}{advice}") from error
    if not stat.S_ISREG(mode):
        raise ConfigError(f"[notify] exec: {path}: is no regular file")
    if not os.access(path, os.X_OK, effective_ids=True):
        raise ConfigError(f"[notify] exec: {path}: it may not be executed: chmod +x")
    return path


def _secret_line(path: Path) -> Secret:
    name = f"[notify] webhook_authorization: {path}"
    try:
        octets = read_plain(path).strip()
    except OSError as error:
        raise ConfigError(f"{name}: {error.strerror}") from error
    if len(octets) > MAX_SECRET_OCTETS or not _LINE.fullmatch(octets):
        raise ConfigError(f"{name}: wants one line of printable ASCII")
    return Secret(octets)
