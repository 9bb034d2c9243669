"""Three hosts for transparent mode: clients' network, the guard's host, and a backend behind it.

        world 203.0.113.9          edge                      behind
        10.1.0.2 ── 10.1.0.1 ── the guard ── 10.2.0.1 ── 10.2.0.2
                                    └ 127.0.0.1, ::1, 10.1.0.1: a backend of this host

The backend's default route is the guard's host, which forwards nothing.
"""

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from .namespace import Ns, add_address, link

CLIENT: Final = "203.0.113.9"
CLIENT_V6: Final = "2001:db8:9::9"
BALANCER: Final = "10.1.0.2"
EDGE: Final = "10.1.0.1"
EDGE_V6: Final = "2001:db8:1::1"
BEHIND: Final = "10.2.0.2"
BEHIND_V6: Final = "2001:db8:2::2"
GATEWAYS: Final = {"-4": "10.2.0.1", "-6": "2001:db8:2::1"}


@dataclass
class Server:
    """A backend that greets as an SMTP server and notes who came."""

    listener: socket.socket
    callers: list[tuple[str, int]] = field(default_factory=list)

    def serve(self) -> None:
        """Until the listener is shut down."""
        with contextlib.suppress(OSError):
            while True:
                peer, (host, port, *_) = self.listener.accept()
                self.callers.append((host, port))
                threading.Thread(target=_answer, args=(peer,), daemon=True).start()


class TransparentNet:
    """The hosts, `edge_link` being the edge's interface to the backend."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self.world, self.edge, self.behind = (self._stack.enter_context(Ns()) for _ in range(3))
        for host in (self.world, self.edge, self.behind):
            # Neighbours are not asked for from a link-local address that is being checked.
            host.command("sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0")
        outer = link(
            self.world,
            (f"{BALANCER}/24", "2001:db8:1::2/64"),
            self.edge,
            (f"{EDGE}/24", f"{EDGE_V6}/64"),
        )
        inner = link(
            self.edge,
            (f"{GATEWAYS['-4']}/24", f"{GATEWAYS['-6']}/64"),
            self.behind,
            (f"{BEHIND}/24", f"{BEHIND_V6}/64"),
        )
        self.edge_link = inner[0]
        add_address(self.world, outer[0], f"{CLIENT}/32")
        add_address(self.world, outer[0], f"{CLIENT_V6}/128")
        self.edge.ip("-4", "route", "add", "default", "via", BALANCER)
        self.edge.ip("-6", "route", "add", "default", "via", "2001:db8:1::2")
        self.route_home()

    def route_home(self) -> None:
        """The backend's default route is the edge."""
        for family, gateway in GATEWAYS.items():
            self.behind.ip(family, "route", "replace", "default", "via", gateway)

    def route_astray(self) -> None:
        """The backend has no default route any more."""
        for family in GATEWAYS:
            self.behind.ip(family, "route", "del", "default")

    @contextlib.contextmanager
    def server(self, address: str, port: int = 10025) -> Iterator[Server]:
        """A backend on the host whose `address` it is."""
        host = self.behind if address in {BEHIND, BEHIND_V6} else self.edge
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with host.run(socket.create_server, (address, port), family=family) as listener:
            server = Server(listener)
            thread = threading.Thread(target=server.serve, daemon=True)
            thread.start()
            yield server
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)

    def close(self) -> None:
        """Let go of the hosts."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.close()


def _answer(peer: socket.socket) -> None:
    with peer, contextlib.suppress(OSError), peer.makefile("rb") as lines:
        peer.sendall(b"220 backend.example.test ESMTP\r\n")
        for line in lines:
            words = b"221 2.0.0 bye" if line.upper().startswith(b"QUIT") else b"250 backend"
            peer.sendall(words + b"\r\n")
            if words.startswith(b"221"):
                return
