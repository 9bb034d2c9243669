"""The listening socket of the HTTP server, which follows the configuration."""

import contextlib
import socket
from collections.abc import AsyncGenerator
from functools import partial
from pathlib import Path
from typing import Final

import trio

from gatekeeper import unix_sockets
from gatekeeper.errors import PermissionMissing, WebUnavailable
from gatekeeper.health import OnHealth
from gatekeeper.settings import Endpoint, WebBind
from gatekeeper.web.connection import Connection, Site

MAX_CLIENTS: Final = 64  # monitors, and a few people with some pages open each
AGAIN_S: Final = 5.0  # a socket that is taken is tried again: the guard before us may be draining
_BACKLOG: Final = 64


class WebServer:
    """Serves a `Site` at `bind`; nothing where that is None.

    Mail never depends on it: a socket that cannot be had is told to `on_health` and tried again.
    """

    def __init__(self, bind: WebBind | None, on_health: OnHealth) -> None:
        self._bind = bind
        self._on_health = on_health
        self._changed = trio.Event()
        self._clients = trio.CapacityLimiter(MAX_CLIENTS)

    def reconfigure(self, bind: WebBind | None) -> None:
        """Serve at `bind` from now on. Connections end only where it is another than before."""
        if bind != self._bind:
            self._bind = bind
            self._changed.set()

    async def run(self, site: Site) -> None:
        """Serve `site` until cancelled."""
        while True:
            self._changed = trio.Event()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._serve, self._bind, site)
                await self._changed.wait()
                nursery.cancel_scope.cancel()

    async def _serve(self, bind: WebBind | None, site: Site) -> None:
        """Serve at `bind` until cancelled, as soon as it can be had."""
        while bind is not None:
            try:
                async with _listening(bind) as listener:
                    self._on_health(None)
                    await trio.serve_listeners(partial(self._client, site), [listener])
            except (OSError, PermissionMissing) as error:
                why = error.strerror if isinstance(error, OSError) else error
                self._on_health(WebUnavailable(f"{_shown(bind)}: {why}"))
            await trio.sleep(AGAIN_S)
        self._on_health(None)

    async def _client(self, site: Site, stream: trio.SocketStream) -> None:
        async with stream:
            try:
                self._clients.acquire_on_behalf_of_nowait(stream)
            except trio.WouldBlock:
                return
            try:
                await Connection(stream, site).converse()
            finally:
                self._clients.release_on_behalf_of(stream)


@contextlib.asynccontextmanager
async def _listening(bind: WebBind) -> AsyncGenerator[trio.SocketListener, None]:
    """A listener at `bind`, and no trace of it afterwards. Raises `OSError` or
    `PermissionMissing`."""
    if isinstance(bind, Path):
        sock = unix_sockets.listen_at(bind)
        inode = unix_sockets.inode_of(bind)
        try:
            async with trio.SocketListener(trio.socket.from_stdlib_socket(sock)) as listener:
                yield listener
        finally:
            unix_sockets.remove(bind, inode)
        return
    async with trio.SocketListener(trio.socket.from_stdlib_socket(_listen_on(bind))) as listener:
        yield listener


def _listen_on(endpoint: Endpoint) -> socket.socket:
    family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((endpoint.host, endpoint.port))
        sock.listen(_BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def _shown(bind: WebBind) -> str:
    return f"unix:{bind}" if isinstance(bind, Path) else str(bind)
