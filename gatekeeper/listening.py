"""The listening sockets: bound here, or made by the service manager and recognised.

`bind` of each listener is the truth of what is guarded, and so of what the kernel drops. A socket
of the service manager belongs to the listener that binds its very address. Failing that, it
belongs to the listener of its name, if that one binds its port: a drop-in of the socket unit may
name one address of the host where `bind` has the wildcard.
"""

import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gatekeeper.errors import ConfigError, PermissionMissing
from gatekeeper.server import BACKLOG, bind, fit
from gatekeeper.settings import Endpoint, ListenerSettings
from gatekeeper.systemd import Inherited

Named = tuple[tuple[str, socket.socket], ...]  # listener names and listening sockets


def bound(listeners: Sequence[ListenerSettings]) -> Named:
    """Sockets of our own for every address. Raises `ConfigError` and `PermissionMissing`."""
    sockets = []
    for listener in listeners:
        for endpoint in listener.bind:
            try:
                sockets.append((listener.name, bind(endpoint, listener.tls)))
            except PermissionError as error:
                text = f"{listener.name}: {endpoint}: {error.strerror}"
                raise PermissionMissing(f"{text}: start as root, or the socket units") from error
            except OSError as error:
                raise ConfigError(f"{listener.name}: {endpoint}: {error.strerror}") from error
    return tuple(sockets)


def recognised(listeners: Sequence[ListenerSettings], inherited: Sequence[Inherited]) -> Named:
    """The service manager's sockets, each with its listener.

    Raises `ConfigError` with a line for each socket that no listener wants, and for each address
    of a listener that has none.
    """
    matches = [_match(one, listeners) for one in inherited]
    problems = [str(match) for match in matches if isinstance(match, _Stranger)]
    found = [match for match in matches if isinstance(match, _Match)]
    problems += _unserved(listeners, found, ", ".join(map(_shown, inherited)))
    if problems:
        raise ConfigError("\n".join(problems))
    for match in found:
        fit(match.socket, match.listener.tls)
        match.socket.listen(BACKLOG)
    return tuple((match.listener.name, match.socket) for match in found)


@dataclass(frozen=True, slots=True)
class _Match:
    """A socket, and the addresses of its listener that it is there for."""

    listener: ListenerSettings
    socket: socket.socket
    serves: frozenset[Endpoint]


@dataclass(frozen=True, slots=True)
class _Stranger:
    """A socket that is of no use, and why."""

    what: Inherited
    why: str

    def __str__(self) -> str:
        return f"socket {_shown(self.what)} of the service manager: {self.why}"


def _match(one: Inherited, listeners: Sequence[ListenerSettings]) -> _Match | _Stranger:
    if why := _unusable(one.socket):
        return _Stranger(one, why)
    here = _key(_endpoint(one.socket))
    for listener in listeners:
        exact = frozenset(each for each in listener.bind if _key(each) == here)
        if exact:
            return _Match(listener, one.socket, exact)
    for listener in listeners:
        near = frozenset(each for each in listener.bind if each.port == here[1])
        if listener.name == one.name and near:
            return _Match(listener, one.socket, near)
    return _Stranger(one, "no listener binds this address, nor this port under this name")


def _unusable(sock: socket.socket) -> str:
    if (
        sock.family not in {socket.AF_INET, socket.AF_INET6}
        or sock.type != socket.SOCK_STREAM
        or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    ):
        return "it is no listening TCP socket"
    if sock.family == socket.AF_INET6 and not sock.getsockopt(
        socket.IPPROTO_IPV6, socket.IPV6_V6ONLY
    ):
        return "it takes IPv4, too: set BindIPv6Only=ipv6-only, and a ListenStream for each family"
    return ""


def _unserved(
    listeners: Sequence[ListenerSettings], found: Sequence[_Match], passed: str
) -> Iterator[str]:
    served = {(match.listener.name, each) for match in found for each in match.serves}
    for listener in listeners:
        for endpoint in listener.bind:
            if (listener.name, endpoint) not in served:
                yield (
                    f"{listener.name}: {endpoint}: the service manager passed no socket for it, "
                    f"only {passed}: start its socket unit, or correct bind"
                )


def _shown(one: Inherited) -> str:
    family = one.socket.family
    ip = family in {socket.AF_INET, socket.AF_INET6}
    return f"{one.name} ({_endpoint(one.socket) if ip else socket.AddressFamily(family).name})"


def _endpoint(sock: socket.socket) -> Endpoint:
    address = sock.getsockname()
    return Endpoint(str(address[0]), int(address[1]))


def _key(endpoint: Endpoint) -> tuple[bytes, int]:
    host = endpoint.host.partition("%")[0]  # the zone of a link-local address
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.inet_pton(family, host), endpoint.port
