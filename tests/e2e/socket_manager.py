"""Who holds the listening sockets of a guard, as the service manager does, and starts it anew."""

import fcntl
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from .certificates import Pair
from .guard_process import COMMAND, STARTED, Guard, Service, configuration
from .processes import free_ports, start, stop, wait_ready

# Descriptors get the numbers that sd_listen_fds(3) wants; the process stays the same one.
_BECOME = """
import os, sys
count = int(sys.argv[1])
for number, descriptor in enumerate(sys.argv[2 : 2 + count], 3):
    os.dup2(int(descriptor), number)
    os.close(int(descriptor))
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[2 + count], sys.argv[2 + count :])
"""


@dataclass
class SocketManager:
    """Listening sockets, and the guard they are passed to."""

    directory: Path
    ports: dict[str, int]  # by the names of their services
    sockets: list[socket.socket]
    guard: Guard | None = None

    def start(self) -> Guard:
        """Start a guard with the sockets, and wait until it serves."""
        high = [fcntl.fcntl(sock, fcntl.F_DUPFD, 100) for sock in self.sockets]
        file, log = self.directory / "gatekeeper.toml", self.directory / "log"
        lives = log.read_text().count(STARTED) if log.exists() else 0
        process = start(
            [
                *(sys.executable, "-c", _BECOME, str(len(high)), *map(str, high)),
                *(COMMAND, "run", "-c", file),
            ],
            log,
            {"LISTEN_FDS": str(len(high)), "LISTEN_FDNAMES": ":".join(self.ports)},
            pass_fds=high,
        )
        for descriptor in high:
            os.close(descriptor)
        self.guard = guard = Guard(self.directory, process, self.ports)
        wait_ready(process, lambda: guard.log().count(STARTED) > lives, log)
        return guard

    def stop(self) -> None:
        """Have the guard drain and end."""
        if self.guard is not None and self.guard.process.returncode is None:
            status = stop(self.guard.process)
            assert status == 0, f"the guard ended with {status}:\n{self.guard.log()}"
            assert "Traceback" not in self.guard.log()


@contextmanager
def socket_manager(
    directory: Path, services: Sequence[Service], pairs: Sequence[Pair], *, extra: str = ""
) -> Iterator[SocketManager]:
    """Hold a socket for each service; nothing is started yet. A guard that runs at the end of the
    block is stopped."""
    names = [service.name for service in services]
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    for name in ("state", "run"):
        (directory / name).mkdir(parents=True)
        subprocess.run(["chown", "nobody", directory / name], check=True)
    text = configuration(directory, services, ports, pairs, extra=extra)
    (directory / "gatekeeper.toml").write_text(text)
    with ExitStack() as stack:
        sockets = [
            stack.enter_context(socket.create_server(("127.0.0.1", port), backlog=1024))
            for port in ports.values()
        ]
        manager = SocketManager(directory, ports, sockets)
        stack.callback(manager.stop)
        yield manager
