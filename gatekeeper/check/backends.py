"""Whether backends answer, and what their settings leave open."""

import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import trio

from gatekeeper.check.finding import Finding, error, warning
from gatekeeper.errors import ConfigError
from gatekeeper.events import MailProtocol
from gatekeeper.prefix import Prefix
from gatekeeper.settings import Endpoint, ListenerSettings, Settings, TlsMode
from gatekeeper.startup import loops
from gatekeeper.upstream import Backend

CONNECT_DEADLINE_S: Final = 3.0
_FORGED: Final = "any client may claim any address (proxy_protocol_from)"
_LOOPBACK: Final = (Prefix.parse("127.0.0.0/8"), Prefix.parse("::1"))


def check_reach(settings: Settings) -> list[Finding]:
    """A warning for each backend address that no TCP connection reaches in time.

    Connects to all at once, by its own run of Trio: not to be called inside one.
    """
    return trio.run(_check_reach, settings)


async def _check_reach(settings: Settings) -> list[Finding]:
    failures: dict[tuple[str, Endpoint], str] = {}
    async with trio.open_nursery() as nursery:
        for name, backend in settings.backends.items():
            for endpoint in backend.address:
                failures[name, endpoint] = ""
                nursery.start_soon(_connect, failures, name, endpoint)
    return [
        warning(f"backend {name}", f"{endpoint} does not answer: {failure}")
        for (name, endpoint), failure in failures.items()
        if failure
    ]


async def _connect(
    failures: dict[tuple[str, Endpoint], str], name: str, endpoint: Endpoint
) -> None:
    failures[name, endpoint] = f"nothing within {CONNECT_DEADLINE_S:g} s"
    with trio.move_on_after(CONNECT_DEADLINE_S):
        try:
            stream = await trio.open_tcp_stream(endpoint.host, endpoint.port)
        except OSError as failure:
            failures[name, endpoint] = _words(failure)
            return
        failures[name, endpoint] = ""
        await trio.aclose_forcefully(stream)


def _words(failure: OSError) -> str:
    """The system's own words; Trio wraps those of every address of a name in its own."""
    cause: BaseException | None = failure.__cause__
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    if isinstance(cause, OSError) and cause.errno:
        return os.strerror(cause.errno)
    return failure.strerror or str(failure)  # as of a name that does not resolve


def check_trust(settings: Settings) -> Iterator[Finding]:
    """An error for each CA file that cannot be used: the guard does not start with it."""
    for backend in settings.backends.values():
        try:
            Backend(backend)
        except ConfigError as failure:
            subject, _, why = str(failure).partition(": ")
            yield error(subject, why)


def check_loops(settings: Settings) -> Iterator[Finding]:
    """An error for each backend that is a listener of the guard's: by an address of this host, or
    by a name that leads to one. Takes as long as the resolver does."""
    for text in loops(settings):
        subject, _, why = text.partition(": ")
        yield error(subject, why)
    for backend in settings.backends.values():
        named = [end for end in backend.address if not _is_numeric(end.host)]
        found = replace(backend, address=tuple(one for end in named for one in _resolved(end)))
        for text in loops(replace(settings, backends={backend.name: found})):
            subject, _, why = text.partition(": ")
            yield error(subject, f"{', '.join(map(str, named))}: {why}")


def _is_numeric(name: str) -> bool:
    try:
        Prefix.parse(name)
    except ValueError:
        return False
    return True


def _resolved(end: Endpoint) -> list[Endpoint]:
    """Where a name leads; nowhere where it does not resolve, which `check_reach` tells."""
    if end.host.lower().rstrip(".") == "localhost":
        return []  # told without a resolver
    try:
        answers = socket.getaddrinfo(end.host, end.port, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return [Endpoint(str(address[0]).partition("%")[0], end.port) for *_, address in answers]


def check_openness(settings: Settings) -> Iterator[Finding]:
    """Warnings for networks so wide that a list of them means everybody."""
    for key, networks, meaning in (
        ("allow", settings.allow, "nobody of them is ever banned"),
        ("block", settings.block, "none of them gets in"),
        *(
            (f"listener {each.name}", each.proxy_protocol_from, _FORGED)
            for each in settings.listeners
        ),
    ):
        for network in networks:
            if network.length == 0:
                yield warning(key, f"{network} is everybody: {meaning}")


def check_secrecy(settings: Settings) -> Iterator[Finding]:
    """Warnings where passwords would travel unprotected, and for backends nobody uses."""
    used = {listener.backend for listener in settings.listeners}
    for listener in settings.listeners:
        open_binds = [str(end) for end in listener.bind if not _is_loopback(end)]
        if _takes_passwords(listener) and listener.tls is TlsMode.NONE and open_binds:
            text = f"passwords come in the clear on {', '.join(open_binds)}: tls is none"
            yield warning(f"listener {listener.name}", text)
    for name, backend in settings.backends.items():
        if name not in used:
            yield warning(f"backend {name}", "no listener uses it")
        elif backend.tls is not TlsMode.NONE:
            continue
        elif any(map(_takes_passwords, _users(settings, name))):
            far = [str(end) for end in backend.address if not _is_loopback(end)]
            if far:
                text = f"passwords go in the clear to {', '.join(far)}: tls is none"
                yield warning(f"backend {name}", text)


def _users(settings: Settings, backend: str) -> list[ListenerSettings]:
    return [listener for listener in settings.listeners if listener.backend == backend]


def _takes_passwords(listener: ListenerSettings) -> bool:
    return listener.protocol is not MailProtocol.SMTP


def _is_loopback(endpoint: Endpoint) -> bool:
    try:
        address = Prefix.parse(endpoint.host)
    except ValueError:
        return endpoint.host == "localhost"
    return any(network.covers(address) for network in _LOOPBACK)
