"""What a service manager hands over, and what it wants to hear.

Inherited sockets are sd_listen_fds(3): descriptors from 3 on, for the process named in LISTEN_PID,
with names in LISTEN_FDNAMES. What it hears is sd_notify(3): `KEY=VALUE` lines in one datagram to
NOTIFY_SOCKET. Both are a few lines, so no library is needed. Without a service manager there is
nothing to inherit and nobody is told.
"""

import contextlib
import os
import socket
import time
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from typing import Final

import trio

from gatekeeper.errors import ConfigError

STATUS_S: Final = 10.0  # how old the status line may be
MICROSECONDS: Final = 1_000_000
_FIRST: Final = 3  # SD_LISTEN_FDS_START
_NAMELESS: Final = "unknown"  # what systemd itself calls a socket without a name

Environment = MutableMapping[str, str]


@dataclass(frozen=True, slots=True)
class Inherited:
    """A socket made by the service manager, and its name there."""

    name: str
    socket: socket.socket


def inherited(environment: Environment = os.environ) -> list[Inherited]:
    """The sockets this process was started with, non-blocking and not passed on to its children;
    none where they are another process's. Nobody inherits the variables.

    Raises `ConfigError` for what is no socket.
    """
    pid, count, names = (
        environment.pop(key, "") for key in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
    )
    if pid != str(os.getpid()):
        return []
    try:
        descriptors = range(_FIRST, _FIRST + int(count))
    except ValueError:
        raise ConfigError(f"LISTEN_FDS={count!r} is no number") from None
    named = names.split(":") if names else []
    named += [_NAMELESS] * (len(descriptors) - len(named))
    return [_take(fd, name) for fd, name in zip(descriptors, named, strict=False)]


def _take(descriptor: int, name: str) -> Inherited:
    try:
        sock = socket.socket(fileno=descriptor)
    except OSError as error:
        text = f"descriptor {descriptor} ({name}), passed by the service manager: {error.strerror}"
        raise ConfigError(text) from error
    sock.set_inheritable(False)
    sock.setblocking(False)
    return Inherited(name, sock)


class Notifier:
    """Tells the service manager how it goes. Nothing here waits, and nothing raises: a manager
    that does not read misses something."""

    def __init__(self, address: str = "", watchdog_s: float | None = None) -> None:
        """`address` as in NOTIFY_SOCKET, empty for nobody; `watchdog_s` is the longest time between
        two signs of life, None where none are wanted."""
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._interval_s = STATUS_S if watchdog_s is None else min(STATUS_S, watchdog_s / 2)

    @classmethod
    def of(cls, environment: Environment = os.environ) -> "Notifier":
        """The one the environment names. Nobody inherits it."""
        address, microseconds, pid = (
            environment.pop(key, "") for key in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
        )
        watched = microseconds.isdecimal() and pid in {"", str(os.getpid())}
        return cls(address, int(microseconds) / MICROSECONDS if watched else None)

    async def run(self, status: Callable[[], str]) -> None:
        """Show signs of life, and `status`, one line, until cancelled.

        It is a task among the others, so that a run loop that is stuck shows none.
        """
        while self._address:
            self._tell("WATCHDOG=1", "STATUS=" + " ".join(status().splitlines()))
            await trio.sleep(self._interval_s)

    def ready(self) -> None:
        """All is in force: after the start, and after each reload, whatever came of it."""
        self._tell("READY=1")

    def reloading(self) -> None:
        """A reload has begun; `ready` ends it."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, within_s: float) -> None:
        """The end has begun, and takes so long at most: the manager waits for it."""
        self._tell("STOPPING=1", f"EXTEND_TIMEOUT_USEC={int(within_s * MICROSECONDS)}")

    def _tell(self, *lines: str) -> None:
        if not self._address:
            return
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock,
        ):
            sock.sendto("\n".join(lines).encode(), self._address)
