"""A Dialler without rights: it comes from addresses of loopback, which any process may."""

import errno
import socket
from collections.abc import Collection
from dataclasses import dataclass, field

import trio

from gatekeeper.errors import EnforcerError
from gatekeeper.settings import Endpoint


@dataclass(slots=True)
class FakeDialler:
    """Implements `gatekeeper.abc.Dialler` for clients in 127.0.0.0/8, and for ::1.

    `dialled` has what it was asked for. With `silent` it never answers.
    """

    known: Collection[Endpoint]
    silent: bool = False
    dialled: list[tuple[Endpoint, str, int]] = field(default_factory=list)

    async def dial(self, target: Endpoint, source: str, port: int) -> socket.socket:
        """See `Dialler.dial`."""
        self.dialled.append((target, source, port))
        await trio.lowlevel.checkpoint()
        if self.silent:
            await trio.sleep_forever()
        if target not in self.known:
            raise EnforcerError("not known: that takes a restart")
        try:
            return _begin(target, source, port)
        except OSError as error:
            if error.errno not in {errno.EADDRINUSE, errno.EADDRNOTAVAIL}:
                raise EnforcerError(str(error)) from error
            return _begin(target, source, 0)


def _begin(target: Endpoint, source: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((source, port))
        code = sock.connect_ex((target.host, target.port))
        if code not in {0, errno.EINPROGRESS}:
            raise OSError(code, "Connection refused" if code == errno.ECONNREFUSED else "connect")
    except BaseException:
        sock.close()
        raise
    return sock
