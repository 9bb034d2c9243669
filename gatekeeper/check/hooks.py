"""The hooks files, loaded as the guard loads them and as its user."""

import importlib
from collections.abc import Iterator

from gatekeeper.check.as_user import as_user
from gatekeeper.check.finding import Finding, error
from gatekeeper.hooks.loading import HooksError, load_files, owners_of
from gatekeeper.settings import Settings


def check_hooks(settings: Settings) -> Iterator[Finding]:
    """What is wrong with each file: its path, its line, why. The guard does not start with one that
    is; a running one goes on with the old hooks."""
    if settings.hooks.files:
        # What the guard has loaded when it gives up its rights; its user may not find it any more.
        importlib.import_module("gatekeeper.app")
    owners = owners_of(settings)
    for path in settings.hooks.files:
        try:
            with as_user(settings.user):
                load_files([path], owners)
        except HooksError as wrong:
            place = f"{wrong.path}:{wrong.line}" if wrong.line else wrong.path
            yield error(place, wrong.why)
