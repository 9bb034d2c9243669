"""The operator's own Rules, in Python: `docs/hooks.md`.

A hooks file needs nothing but this module: the Events and Facts it is handed, and the words it
answers with.
"""

from gatekeeper.ban import Scope
from gatekeeper.errors import ResolverError
from gatekeeper.events import (
    AuthAttempt,
    AuthOutcome,
    AuthResult,
    Client,
    ConnectionOpened,
    HelloAttempt,
    MailAttempt,
    MailProtocol,
    MessageEnd,
    RcptAttempt,
)
from gatekeeper.hooks.words import Context, close, defer, delay, quick, refuse
from gatekeeper.policy.accounts import Knowledge, Standing
from gatekeeper.policy.facts import Facts
from gatekeeper.verdict import Action, Verdict

__all__ = [
    "Action",
    "AuthAttempt",
    "AuthOutcome",
    "AuthResult",
    "Client",
    "ConnectionOpened",
    "Context",
    "Facts",
    "HelloAttempt",
    "Knowledge",
    "MailAttempt",
    "MailProtocol",
    "MessageEnd",
    "RcptAttempt",
    "ResolverError",
    "Scope",
    "Standing",
    "Verdict",
    "close",
    "defer",
    "delay",
    "quick",
    "refuse",
]
