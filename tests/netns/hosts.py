"""The guard's host with its kernel process, and the world's, which asks it for connections."""

import contextlib
import socket
import subprocess
from types import TracebackType
from typing import ClassVar, Final, Self

from gatekeeper.enforce.spawn import spawn_kernel
from gatekeeper.kernel.element import network
from gatekeeper.kernel.options import Options

from .namespace import Ns

# A SYN that is let in is answered within microseconds, and here at the latest:
WELCOME_S: Final = 10.0
# Nothing answers one that is dropped. Shorter than its first retransmission, after a second, which
# may come when the ban has run out.
DROPPED_S: Final = 0.25


class Hosts:
    """`guard` listens on every guarded port; `world` has some addresses to come from."""

    GUARD: ClassVar = ("10.77.0.1/24", "2001:db8:77::1/32")
    WORLD: ClassVar = (
        "10.77.0.2/24",
        "10.77.0.3/24",
        "2001:db8:77:1::2/32",
        "2001:db8:77:1::3/32",
        "2001:db8:77:2::2/32",
        "2001:db8:78:1::2/32",
    )
    AUTH: ClassVar = 993
    MX: ClassVar = 25
    OTHER: ClassVar = 80

    def __init__(self, guard: Ns, world: Ns) -> None:
        self.guard = guard
        self.world = world
        self._stack = contextlib.ExitStack()
        for port in (self.AUTH, self.MX, self.OTHER):
            self._stack.enter_context(guard.run(_listen, port))

    def spawn(
        self,
        *,
        never: tuple[str, ...] = (),
        allow: tuple[str, ...] = (),
        block: tuple[str, ...] = (),
        syn_rate: int = 0,
        syn_burst: int = 100,
    ) -> tuple[socket.socket, subprocess.Popen[bytes]]:
        """A kernel process on the guard's host, ended with the fixture; its socket and itself."""
        options = Options(
            (self.AUTH,),
            (self.MX,),
            never=tuple(map(network, never)),
            allow=tuple(map(network, allow)),
            block=tuple(map(network, block)),
            syn_rate=syn_rate,
            syn_burst=syn_burst,
        )
        sock, process = self.guard.run(spawn_kernel, options)
        self._stack.callback(process.wait, 10)
        self._stack.callback(sock.close)
        return sock, process

    def open(self, source: str, port: int, within_s: float = WELCOME_S) -> socket.socket:
        """Connect from the world's address `source`. Raises `TimeoutError` where it is dropped."""
        target = "2001:db8:77::1" if ":" in source else "10.77.0.1"
        return self.world.run(
            socket.create_connection, (target, port), timeout=within_s, source_address=(source, 0)
        )

    def welcome(self, source: str, port: int) -> bool:
        """Whether a connection from `source` is let in, however slow this host is."""
        return self._opens(source, port, WELCOME_S)

    def welcome_at_once(self, source: str, port: int) -> bool:
        """As `welcome`, for one of many: where it is dropped no time is lost."""
        return self._opens(source, port, DROPPED_S)

    def dropped(self, source: str, port: int) -> bool:
        """Whether a connection from `source` gets no answer."""
        return not self._opens(source, port, DROPPED_S)

    def _opens(self, source: str, port: int, within_s: float) -> bool:
        try:
            self.open(source, port, within_s).close()
        except TimeoutError:
            return False
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._stack.close()


def _listen(port: int) -> socket.socket:
    return socket.create_server(
        ("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=128
    )
