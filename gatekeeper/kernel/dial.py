"""Connections to backends that come from the client's own address and port (`announce =
"transparent"`, docs/transparent.md).

Theory of operation. A socket with IP_TRANSPARENT may be bound to an address that is not this
host's (Documentation/networking/tproxy.rst); setting it takes CAP_NET_ADMIN, so the guard cannot.
It is made, bound and connected here and passed over when the connect has begun: where it leads was
in the command line. The backend's replies are sent to the client's address. One on another host
sends them through this host, where the table of `transparent` marks them. One on this host gets
SYNs that have the mark, and this kernel gives the mark to the replies (tcp_fwmark_accept, and
fwmark_reflect for a refusal); so no reply to anybody else is touched, and 127.0.0.1 can be dialled
without route_localnet.
"""

import contextlib
import errno
import socket
from collections.abc import Collection
from typing import Final

from gatekeeper.kernel.element import Network
from gatekeeper.kernel.never import NeverList
from gatekeeper.kernel.nfnetlink import KernelRefused
from gatekeeper.kernel.options import Options, Target
from gatekeeper.kernel.transparent import MARK

__all__ = ["Dialling", "KernelRefused", "is_own"]

_IP_TRANSPARENT: Final = 19  # linux/in.h; Python has no name for these
_IPV6_TRANSPARENT: Final = 75  # linux/in6.h
_IP_BIND_ADDRESS_NO_PORT: Final = 24
_ANY_PORT: Final = 9  # nothing is sent to it

# Nobody's own address: this network, multicast, and broadcast with what is reserved before it
# (RFC 6890); of IPv6 unspecified, multicast, and link-local, which means nothing without its link.
_NOBODYS: Final = (
    Network(bytes(4), 8),
    Network(b"\xe0" + bytes(3), 3),
    Network(bytes(16), 128),
    Network(b"\xff" + bytes(15), 8),
)

# The client's port is taken on this host, as by its other session, or may not be bound: below 1024.
_PORT_TAKEN: Final = frozenset({errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES})


class Dialling:
    """Connects to the targets of `options`, for clients alone.

    An address of the never list is no client's: nobody may come to a backend as the backend itself,
    a balancer, or this host. The operator's own networks are on that list, too, but those that are
    there only because they are allowed are clients like others.
    """

    def __init__(self, options: Options) -> None:
        self._targets = options.dial
        self._nobodys = NeverList({*_NOBODYS, *_trusted(options)})

    def dial(self, target: int, source: bytes, port: int) -> socket.socket:
        """A non-blocking socket on its way to a target, from `source` and, if it can be, `port`.

        It may be connected already, or have failed: its owner waits until it is writable and reads
        SO_ERROR. Raises `ValueError` for what is refused, in our words, and `KernelRefused`.
        """
        if not 0 <= target < len(self._targets):
            raise ValueError("no such target")
        to = self._targets[target]
        if len(source) != len(to.packed):
            raise ValueError("the target is of the other family")
        if source == to.packed or self._nobodys.touches(source, len(source) * 8) or is_own(source):
            raise ValueError("not a client's address")
        try:
            return _dial(to, source, port)
        except OSError as error:
            raise KernelRefused(error.errno or errno.EIO) from error


def is_own(packed: bytes) -> bool:
    """Whether an address is this host's at this moment.

    The kernel speaks to its own addresses from those addresses, and to others from one of its own.
    """
    text, family = _text(packed)
    if packed[0] == 127 and family == socket.AF_INET:
        return True  # each of them is ours, and spoken to from 127.0.0.1
    with socket.socket(family, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        probe.connect((text, _ANY_PORT))  # asks for the route; a datagram socket sends nothing
        return bool(probe.getsockname()[0] == text)
    return False


def _trusted(options: Options) -> Collection[Network]:
    dialled = {Network(each.packed, len(each.packed) * 8) for each in options.dial}
    return (set(options.never) - set(options.allow)) | dialled


def _dial(to: Target, source: bytes, port: int) -> socket.socket:
    try:
        return _begin(to, source, port)
    except OSError as error:
        if error.errno not in _PORT_TAKEN:
            raise
        return _begin(to, source, 0)


def _begin(to: Target, source: bytes, port: int) -> socket.socket:
    """A socket whose connect has begun. Raises `OSError`; then it is closed."""
    text, family = _text(source)
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        if family == socket.AF_INET:
            sock.setsockopt(socket.SOL_IP, _IP_TRANSPARENT, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_TRANSPARENT, 1)
        if is_own(to.packed):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, MARK)
        # Its port is shared with its sessions to other backends, and with those just ended.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind((text, port))
        code = sock.connect_ex((_text(to.packed)[0], to.port))
        if code not in {0, errno.EINPROGRESS}:
            raise OSError(code, "connect")
    except BaseException:
        sock.close()
        raise
    return sock


def _text(packed: bytes) -> tuple[str, socket.AddressFamily]:
    family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
    return socket.inet_ntop(family, packed), family
