"""One hook: a function of the operator's, and how it is to be called."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final

from gatekeeper.events import (
    AuthAttempt,
    AuthOutcome,
    ConnectionOpened,
    HelloAttempt,
    MailAttempt,
    MessageEnd,
    RcptAttempt,
)

# What functions are called, and the Events they are asked about.
EVENTS: Final[dict[str, type]] = {
    "connection_opened": ConnectionOpened,
    "helo": HelloAttempt,
    "mail": MailAttempt,
    "rcpt": RcptAttempt,
    "auth_attempt": AuthAttempt,
    "auth_outcome": AuthOutcome,
    "message_end": MessageEnd,
}


class Manner(Enum):
    """How a hook is called."""

    THREAD = "thread"  # a plain function: it may wait
    TASK = "async"
    QUICK = "quick"  # a plain function that says it never waits


@dataclass(frozen=True, slots=True)
class HookFunction:
    """A function that was loaded. `label` names it to the operator: `hooks.py:rcpt`."""

    label: str
    path: Path
    call: Callable[..., Any]
    event: type
    manner: Manner
    takes_context: bool
