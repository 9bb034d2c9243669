"""The privileged process: options, rights, and a loop over its sockets.

    python -I -S -B …/gatekeeper/kernel/entry.py --fd N   a SOCK_SEQPACKET socket, connected or not
    python -I -S -B …/gatekeeper/kernel/entry.py --socket PATH --peer-uid UID

It gives up what `hardening` says, and forks. The child loads the table and answers `protocol`'s
verbs, one after the other, in one thread: each is a transaction of microseconds; the parent starts
another where it is killed. Where it was given a connected socket it ends when the guard closes
that; SIGTERM ends it always. Bans are the kernel's by then and run out by themselves. Exit codes:
0, 1 failed, 2 usage, 77 no permission.
"""

import argparse
import contextlib
import os
import selectors
import signal
import socket
import struct
import sys
from collections.abc import Mapping
from typing import Final

from gatekeeper.kernel import hardening, protocol
from gatekeeper.kernel.manager import Manager
from gatekeeper.kernel.nfnetlink import KernelRefused
from gatekeeper.kernel.nft import NftError
from gatekeeper.kernel.options import Options, add_to, read
from gatekeeper.kernel.service import Peer, Reply, Service
from gatekeeper.kernel.supervise import Served, supervise

PEERS_MAX: Final = 64  # workers of one host and their successors during a restart
_EX_NOPERM: Final = 77


def main(argv: list[str] | None = None) -> int:
    """Run until the guard is gone or SIGTERM; the exit code."""
    where, options = _options(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    for ignored in (signal.SIGINT, signal.SIGHUP):  # the guard drains after them and still bans
        signal.signal(ignored, signal.SIG_IGN)
    wanted = hardening.needs(options)
    manager = Manager()
    try:
        endpoint = _endpoint(where)
        hardening.confine(wanted)
    except PermissionError as error:
        sys.stderr.write(f"gatekeeper.kernel: CAP_NET_ADMIN is needed: {error}\n")
        return _EX_NOPERM
    except OSError as error:
        sys.stderr.write(f"gatekeeper.kernel: {error}\n")
        return 1

    def serve(served: Served) -> int:
        try:
            service = Service(options)
            hardening.settle(wanted)
        except (OSError, KernelRefused, NftError) as error:
            sys.stderr.write(f"gatekeeper.kernel: {error}\n")
            return 1
        loop = _Loop(service, endpoint, where.peer_uid)
        served()
        manager.ready()
        loop.run()
        return 0

    return supervise(serve)


class _Loop:
    """Peers, what the service reads and, perhaps, a listener, on one selector."""

    def __init__(self, service: Service, endpoint: socket.socket, peer_uid: int | None) -> None:
        self._service = service
        self._peer_uid = peer_uid
        self._selector = selectors.DefaultSelector()
        self._peers: dict[socket.socket, Peer] = {}
        for sock, reader in service.readers.items():
            self._selector.register(sock, selectors.EVENT_READ, reader)
        self._listening = bool(endpoint.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
        if self._listening:
            endpoint.setblocking(False)
            self._selector.register(endpoint, selectors.EVENT_READ, lambda: self._accept(endpoint))
        else:
            self._add(endpoint)

    def run(self) -> None:
        while self._peers or self._listening:
            ready = self._selector.select(self._service.mirror.tick_s)
            for key, _ in ready:
                key.data()
                self._tell()
            if not ready:
                self._service.mirror.tick()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):  # gone before it was taken
            connection, _ = listener.accept()
            if len(self._peers) >= PEERS_MAX or not self._may(connection):
                connection.close()
            else:
                self._add(connection)

    def _may(self, connection: socket.socket) -> bool:
        """Whether the process at the other end runs as the guard's user."""
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        _pid, uid, _gid = struct.unpack("=iII", credentials)
        return bool(uid == (os.geteuid() if self._peer_uid is None else self._peer_uid))

    def _add(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        peer = self._peers[connection] = Peer()
        self._selector.register(
            connection, selectors.EVENT_READ, lambda: self._serve(connection, peer)
        )
        _send_event(connection, peer, {"event": "started"})

    def _serve(self, connection: socket.socket, peer: Peer) -> None:
        try:
            packet = connection.recv(protocol.PACKET_MAX_OCTETS + 1)
            if packet:
                reply = self._service.answer(packet, peer)
                self._tell()  # what led to the answer, before it
                _send(connection, reply)
                return
        except OSError:  # reset, or a peer that asks and does not read
            pass
        self._selector.unregister(connection)
        del self._peers[connection]
        peer.end_dump()
        connection.close()
        if not self._peers:
            self._service.resume()

    def _tell(self) -> None:
        """Tell every peer what is to be told; who does not read it learns that he missed some."""
        said = self._service.said
        while said:
            event = said.popleft()
            for connection, peer in self._peers.items():
                _send_event(connection, peer, {"event": "missed"} if peer.missed else event)


def _send(connection: socket.socket, reply: Reply) -> None:
    if reply.passed is None:
        connection.send(reply.packet)
        return
    with reply.passed:
        socket.send_fds(connection, [reply.packet], [reply.passed.fileno()])


def _send_event(connection: socket.socket, peer: Peer, event: Mapping[str, object]) -> None:
    try:
        connection.send(protocol.encode(event))
        peer.missed = False
    except OSError:  # his buffer is full, or he is gone, which `_serve` notices
        peer.missed = True


def _endpoint(where: argparse.Namespace) -> socket.socket:
    """The socket to serve, made while there are rights to make it. Raises `OSError`."""
    if where.fd is not None:
        given = socket.socket(fileno=where.fd)
        if given.family != socket.AF_UNIX or given.type != socket.SOCK_SEQPACKET:
            raise OSError("--fd is not a SOCK_SEQPACKET socket")
        given.set_inheritable(False)
        return given
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(where.socket)
    previous = os.umask(0o177)
    try:
        listener.bind(where.socket)
    finally:
        os.umask(previous)
    os.chown(where.socket, where.peer_uid, -1)
    listener.listen(PEERS_MAX)
    return listener


def _options(argv: list[str] | None) -> tuple[argparse.Namespace, Options]:
    parser = argparse.ArgumentParser(prog="gatekeeper.kernel", allow_abbrev=False)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--fd", type=int, help="inherited SOCK_SEQPACKET socket")
    where.add_argument("--socket", metavar="PATH", help="where to listen")
    parser.add_argument("--peer-uid", type=int, metavar="UID", help="who may connect")
    add_to(parser)
    options = parser.parse_args(argv)
    if options.socket is not None and options.peer_uid is None:
        parser.error("--socket needs --peer-uid")
    try:
        return options, read(options)
    except ValueError as error:
        parser.error(str(error))
