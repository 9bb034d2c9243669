"""Reading the configuration again while the guard runs: all of it is taken, or nothing, and why."""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from gatekeeper.config import load
from gatekeeper.control_words import Arguments, Code, Pieces, Refusal, Verb, whole
from gatekeeper.errors import ConfigError
from gatekeeper.settings import Settings
from gatekeeper.startup import Services, transparent_endpoints


def reread(path: Path, settings: Settings, services: Services) -> tuple[Settings, Services]:
    """What takes the place of both. Raises `ConfigError` or `PermissionMissing`, a line for each
    problem; nothing has changed then."""
    found = load(path)
    problems: list[str] = []
    try:
        made = Services(found, services)
    except ConfigError as error:
        problems += str(error).splitlines()
    for what, changed in (
        ("listeners", _binds(settings) != _binds(found)),
        (
            "addresses of transparent backends",
            transparent_endpoints(settings) != transparent_endpoints(found),
        ),
        ("[enforce] kernel_socket", settings.enforce.kernel_socket != found.enforce.kernel_socket),
    ):
        if changed:
            problems.append(f"{what} changed: that takes a restart")
    if problems:
        raise ConfigError("\n".join(problems))
    return found, made


def reload_verb(reload: Callable[[], Awaitable[str]]) -> Mapping[str, Verb]:
    """The operator's `reload`, by its name. What is called returns why all stays as it was, a line
    for each problem, or nothing."""

    async def do(arguments: Arguments) -> Pieces:
        arguments.done()
        if problems := await reload():
            raise Refusal(Code.BAD_CONFIGURATION, problems)
        return whole({})

    return {"reload": do}


def _binds(settings: Settings) -> dict[str, object]:
    return {listener.name: listener.bind for listener in settings.listeners}
