"""Whether a transparent backend's replies come back: what surely keeps them away, and a trial."""

import contextlib
import errno
import selectors
import socket
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from gatekeeper.enforce import routing
from gatekeeper.enforce.transparent import endpoint, family
from gatekeeper.kernel import transparent
from gatekeeper.kernel.dial import Dialling, KernelRefused, is_own
from gatekeeper.kernel.options import Options, Target
from gatekeeper.settings import Endpoint

TRIAL_S: Final = 3.0  # a SYN and its first retransmission, after a second, and time to answer
_CONF: Final = Path("/proc/sys/net/ipv4/conf")
# Addresses for documentation (RFC 5737, RFC 3849): nobody's, so an answer to them that does not
# come here goes nowhere.
_TRIED_FROM: Final = {
    4: socket.inet_pton(socket.AF_INET, "192.0.2.1"),
    16: socket.inet_pton(socket.AF_INET6, "2001:db8::1"),
}


def versions(of: Iterable[Target]) -> set[int]:
    """The IP versions of some targets."""
    return {4 if len(each.packed) == 4 else 6 for each in of}


def obstacles(of: Iterable[Target]) -> list[str]:
    """Settings of this host with which no reply can come back, in words that name them.

    Raises `EnforcerError`.
    """
    found: dict[str, None] = {}
    for each in of:
        if len(each.packed) == 4 and not is_own(each.packed):
            interface = routing.interface_to(endpoint(each).host)
            for name in ("all", *interface):
                if _is_set(_CONF / name / "src_valid_mark"):
                    # The source of a marked reply is then looked up with the mark, found local, and
                    # the reply dropped as a forgery (fib_validate_source of net/ipv4).
                    found[
                        f"net.ipv4.conf.{name}.src_valid_mark is 1: replies of {endpoint(each)} to"
                        " clients are dropped; it has to be 0 (wg-quick sets it)"
                    ] = None
    return list(found)


def absent(of: Iterable[Target]) -> list[str]:
    """What the keeper should have put in and is not there, in words that name it.

    Raises `EnforcerError`, and `PermissionError` where the table may not be asked for.
    """
    table = [] if transparent.loaded() else [f"nft: table inet {transparent.NAME}"]
    return table + routing.missing(versions(of))


def not_returned(of: Sequence[Target], within_s: float = TRIAL_S) -> list[Target]:
    """Those that answer this host, and not a client: connects to all at once from both.

    The table, rules and routes have to be there. Blocks for `within_s` at most.
    Raises `PermissionError` where the rights are missing.
    """
    plain: dict[Target, socket.socket] = {}
    tried: dict[Target, socket.socket] = {}
    dialling = Dialling(Options(dial=tuple(of)))
    with contextlib.ExitStack() as stack:
        for number, each in enumerate(of):
            with contextlib.suppress(OSError):
                plain[each] = stack.enter_context(_call(each))
                source = _TRIED_FROM[len(each.packed)]
                try:
                    tried[each] = stack.enter_context(dialling.dial(number, source, 0))
                except KernelRefused as refused:
                    if isinstance(refused.__cause__, PermissionError):
                        raise refused.__cause__ from None
        reached = _reached((*plain.values(), *tried.values()), within_s)
        return [each for each in tried if plain[each] in reached and tried[each] not in reached]


def astray(backend: Endpoint) -> str:
    """What to tell of one that `not_returned` found."""
    return (
        f"replies of {backend} do not come back through this host: its default route must be this"
        " host"
    )


def _call(target: Target) -> socket.socket:
    """A socket on its way to a target from an address of this host."""
    to = endpoint(target)
    sock = socket.socket(family(target), socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    sock.connect_ex((to.host, to.port))
    return sock


def _reached(sockets: Iterable[socket.socket], within_s: float) -> set[socket.socket]:
    """Those that hear anything in time, if only a refusal."""
    reached = set()
    deadline = time.monotonic() + within_s
    with selectors.DefaultSelector() as selector:
        for sock in sockets:
            selector.register(sock, selectors.EVENT_WRITE)
        while selector.get_map() and (left_s := deadline - time.monotonic()) > 0:
            for key, _ in selector.select(left_s):
                selector.unregister(key.fileobj)
                assert isinstance(key.fileobj, socket.socket)
                reached.add(key.fileobj)
    return {sock for sock in reached if _has_answer(sock)}


def _has_answer(sock: socket.socket) -> bool:
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) in {0, errno.ECONNREFUSED}


def _is_set(path: Path) -> bool:
    with contextlib.suppress(OSError):
        return path.read_text().strip() == "1"
    return False
