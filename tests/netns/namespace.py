"""Small networks made of anonymous network namespaces: real interfaces, packets and nftables.

    with Ns() as guard, Ns() as world:
        link(guard, "10.77.0.1/24", world, "10.77.0.2/24")
        listener = guard.run(socket.create_server, ("10.77.0.1", 993))
        world.run(socket.create_connection, ("10.77.0.1", 993), 1.0)

Each `Ns` is one thread that left for a namespace of its own and stays there: `unshare` moves only
the calling thread. A socket belongs to the namespace it was made in, wherever it is used later, so
listeners can be made with `run` and served from Trio in the main thread. A process started with
`run` is inside. Nothing has a name or a mount, so nothing is left behind, even after a crash.

Needs CAP_SYS_ADMIN (root) and `ip` from iproute2.
"""

import ctypes
import itertools
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Final, ParamSpec, Self, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_CLONE_NEWNET: Final = 0x4000_0000
_READY_S: Final = 10.0
_POLL_S: Final = 0.002
_SOLICITED_NODE: Final = bytes.fromhex("ff0200000000000000000001ff")  # RFC 4291 2.7.1
_numbers = itertools.count()


class Ns:
    """A host: a network namespace with loopback up, until `close`."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1)  # one: the one that left
        try:
            self._fd = self._thread.submit(_unshare).result()
            self.ip("link", "set", "lo", "up")
        except BaseException:
            self._thread.shutdown()
            raise

    @property
    def path(self) -> str:
        """A path that names this namespace for `ip` and `nsenter`, from any process."""
        return f"/proc/{os.getpid()}/fd/{self._fd}"

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `function` inside, wait, and return or raise what it does."""
        return self._thread.submit(function, *args, **kwargs).result()

    def command(self, *argv: str, stdin: str = "") -> str:
        """Run a program inside to its end; its output. Raises `AssertionError` with its errors."""
        done = self.run(
            subprocess.run, argv, input=stdin, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{' '.join(argv)}: {done.stderr}"
        return done.stdout

    def ip(self, *args: str) -> str:
        """Run `ip` inside."""
        return self.command("ip", *args)

    def close(self) -> None:
        """End the thread. The namespace goes with the last socket and process in it."""
        self._thread.shutdown()
        os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.close()


def link(
    one: Ns, addresses: str | Iterable[str], other: Ns, other_addresses: str | Iterable[str]
) -> tuple[str, str]:
    """Join two hosts by a veth pair with these `ADDRESS/LENGTH`s; the names of its two ends.

    Both ends can be reached on return: IPv6 addresses skip duplicate detection.
    """
    number = next(_numbers)
    name, other_name = f"veth{number}a", f"veth{number}b"
    one.ip("link", "add", name, "type", "veth", "peer", "name", other_name, "netns", other.path)
    ends = ((one, name, addresses), (other, other_name, other_addresses))
    for host, end, _ in ends:
        host.ip("link", "set", end, "up")
    for host, end, given in ends:
        _await_text(host, ("link", "show", "dev", end), "state UP")
        for address in (given,) if isinstance(given, str) else given:
            add_address(host, end, address)
    return name, other_name


def add_address(host: Ns, interface: str, address: str) -> None:
    """Give an interface one more `ADDRESS/LENGTH`."""
    if ":" not in address:
        host.ip("address", "add", address, "dev", interface)
        return
    host.ip("address", "add", address, "dev", interface, "nodad")
    packed = socket.inet_pton(socket.AF_INET6, address.partition("/")[0])
    solicited = socket.inet_ntop(socket.AF_INET6, _SOLICITED_NODE + packed[-3:])
    _await_text(host, ("-6", "maddress", "show", "dev", interface), solicited)


def _await_text(host: Ns, show: tuple[str, ...], wanted: str) -> None:
    """Wait until the kernel's worker did what the last command began.

    Until it has noticed the carrier it drops what is sent, and until it has joined the address's
    group neighbours cannot find it; either costs the first connection a second.
    """
    deadline = time.monotonic() + _READY_S
    while wanted not in host.ip(*show):
        assert time.monotonic() < deadline, f"never saw {wanted!r} in ip {' '.join(show)}"
        time.sleep(_POLL_S)


def _unshare() -> int:
    """Take the calling thread to a new network namespace; a descriptor of it."""
    libc = ctypes.CDLL(None, use_errno=True)  # os.unshare is Python 3.12's
    if libc.unshare(_CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return os.open(
        f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY | os.O_CLOEXEC
    )
