"""Accepting connections: the ban lookup first, then a task for each; and the end of all."""

import errno
import socket
from collections.abc import Callable
from typing import Final

import trio

from gatekeeper.ban import Scope
from gatekeeper.channel import close_by_reset
from gatekeeper.events import MailProtocol
from gatekeeper.ledger import Ledger
from gatekeeper.prefix import entity
from gatekeeper.session.dialogue import Service
from gatekeeper.session.entry import hold
from gatekeeper.sessions import End, SessionTable
from gatekeeper.settings import Endpoint, TlsMode

BACKLOG: Final = 1024
ACCEPT_BATCH: Final = 64  # connections taken before other tasks get their turn
OVERLOAD_PAUSE_S: Final = 0.1
DRAIN_LOOK_S: Final = 0.5  # how often a drain looks for sessions that have become quiet
DEFER_ACCEPT_S: Final = 5  # a client that speaks first is accepted with its first octets (tcp(7))

_OUT_OF_RESOURCES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


def bind(endpoint: Endpoint, tls: TlsMode) -> socket.socket:
    """A non-blocking listening socket. IPv6 sockets take IPv6 only. Raises `OSError`."""
    family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        fit(sock, tls)
        sock.bind((endpoint.host, endpoint.port))
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def fit(sock: socket.socket, tls: TlsMode) -> None:
    """Set what sessions on a listening socket need: theirs inherit it. Raises `OSError`."""
    if tls is TlsMode.IMPLICIT:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, DEFER_ACCEPT_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class Server:
    """The accept loops. `services`, by listener name, may be replaced at any time: connections
    accepted from then on get the new ones."""

    def __init__(
        self,
        services: dict[str, Service],
        table: SessionTable,
        ledger: Ledger,
        on_overload: Callable[[str], None],
        paused: Callable[[], bool] = lambda: False,
    ) -> None:
        """While `paused` the banned are let in, too."""
        self.services = services
        self.accepted = 0
        self.refused_banned = 0
        self._table = table
        self._ledger = ledger
        self._on_overload = on_overload
        self._paused = paused

    async def accept_forever(self, sock: socket.socket, name: str, sessions: trio.Nursery) -> None:
        """Accept on `sock` for the listener `name` until cancelled; closes it then. Sessions run
        in the nursery `sessions`, which outlives the accept loops."""
        with sock:
            while True:
                await trio.lowlevel.wait_readable(sock)
                if not self._accept_batch(sock, name, sessions):
                    await trio.sleep(OVERLOAD_PAUSE_S)

    def _accept_batch(self, sock: socket.socket, name: str, sessions: trio.Nursery) -> bool:
        """Take what waits; False when the machine is out of descriptors or memory."""
        for _ in range(ACCEPT_BATCH):
            try:
                connection, peer = sock.accept()
            except BlockingIOError:
                return True
            except OSError as error:
                if error.errno in _OUT_OF_RESOURCES:
                    self._on_overload(errno.errorcode[error.errno])
                    return False
                continue  # that client is gone already (accept(2) lists a dozen errors)
            service = self.services[name]
            if self._admits(service, connection, str(peer[0])):
                where = str(peer[0]), int(peer[1])
                sessions.start_soon(hold, service, self._table, connection, where)
        return True

    def _admits(self, service: Service, connection: socket.socket, address: str) -> bool:
        """Whether this is no banned client; one who is has been cut off."""
        self.accepted += 1
        if (
            not service.listener.proxy_protocol_from
            and self._is_banned(service, address)
            and not self._paused()
        ):
            self.refused_banned += 1
            close_by_reset(connection)
            connection.close()
            return False
        return True

    def _is_banned(self, service: Service, address: str) -> bool:
        scope = Scope.MX if service.listener.protocol is MailProtocol.SMTP else Scope.AUTH
        return self._ledger.find(entity(address.partition("%")[0]), scope) is not None


async def drain(table: SessionTable, within_s: float) -> int:
    """End what is quiet, and let the rest finish what it is in the middle of, for `within_s`; how
    many were cut off then."""
    with trio.move_on_after(within_s):
        while len(table):
            table.end_quiet(End.SHUTDOWN)
            with trio.move_on_after(DRAIN_LOOK_S):
                await table.wait_empty()
    return table.end_all(End.SHUTDOWN)
