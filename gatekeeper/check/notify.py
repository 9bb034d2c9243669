"""Whether the files of `[notify]` and `[http]` are of use to the guard's user."""

from collections.abc import Iterator

from gatekeeper.check.as_user import as_user
from gatekeeper.check.finding import Finding, error
from gatekeeper.errors import ConfigError
from gatekeeper.messengers import messengers
from gatekeeper.settings import Settings
from gatekeeper.status_page.lifting import read_token


def check_notify(settings: Settings) -> Iterator[Finding]:
    """The first thing wrong; nobody is sent a notice."""
    try:
        with as_user(settings.user):  # who reads them at SIGHUP, and starts the program
            messengers(settings.notify)
    except ConfigError as failure:
        yield error("[notify]", str(failure).removeprefix("[notify] "))


def check_token(settings: Settings) -> Iterator[Finding]:
    """What is wrong with the status page's token."""
    try:
        with as_user(settings.user):
            read_token(settings.http.token_file)
    except ConfigError as failure:
        yield error("[http]", str(failure).removeprefix("[http] "))
