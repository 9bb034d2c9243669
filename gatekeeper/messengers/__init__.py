"""Who takes a notice to the operator: a program of his, a web service of his choice."""

from gatekeeper.abc import Messenger
from gatekeeper.messengers.program import Program
from gatekeeper.messengers.webhook import Webhook
from gatekeeper.settings import NotifySettings

__all__ = ["Program", "Webhook", "messengers"]


def messengers(settings: NotifySettings) -> tuple[Messenger, ...]:
    """Those the operator has named. Raises `ConfigError` for a CA file that cannot be used."""
    found: list[Messenger] = []
    if settings.program is not None:
        found.append(Program(settings.program, settings.deadline_s))
    if settings.webhook is not None:
        found.append(Webhook(settings.webhook, settings.deadline_s))
    return tuple(found)
