"""A client whose TLS records hold no data, and the look-out that cuts it off."""

import contextlib
import ctypes
import ctypes.util
import select
import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trio
import trio.testing
import trustme

from gatekeeper.stuck import STUCK_CPU_S, Lookout

PATIENCE_S = 20.0
NOT_REQUESTED = 0  # SSL_KEY_UPDATE_NOT_REQUESTED
RECORD_OCTETS = 5 + 4 + 1 + 1 + 16  # headers of record and message, message, type, tag
KEY_UPDATES = 100_000  # half a second of reading, or more


def send_key_updates(sock: socket.socket) -> None:
    """Shake hands as a TLS client and send nothing but KeyUpdate, all made before the first is
    sent, so that the reader never has to wait. Python's `ssl` cannot do this, the library can."""
    library = ctypes.CDLL(ctypes.util.find_library("ssl"))
    for name in ("TLS_client_method", "SSL_CTX_new", "SSL_new", "BIO_s_mem", "BIO_new"):
        getattr(library, name).restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.SSL_CTX_new(ctypes.c_void_p(library.TLS_client_method())))
    tls = ctypes.c_void_p(library.SSL_new(context))
    library.SSL_set_fd(tls, sock.fileno())
    assert library.SSL_connect(tls) == 1
    memory = ctypes.c_void_p(library.BIO_new(ctypes.c_void_p(library.BIO_s_mem())))
    library.SSL_set0_wbio(tls, memory)
    for _ in range(KEY_UPDATES):
        assert library.SSL_key_update(tls, NOT_REQUESTED) == 1
        assert library.SSL_do_handshake(tls) == 1
    made = ctypes.create_string_buffer(KEY_UPDATES * RECORD_OCTETS)
    assert library.BIO_read(memory, made, len(made)) == len(made)
    library.SSL_free(tls)
    library.SSL_CTX_free(context)
    with contextlib.suppress(OSError):  # cut off
        sock.sendall(made.raw)
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(16_384):  # to close with octets unread would take back what was sent
            pass


def connected() -> tuple[socket.socket, socket.socket]:
    """Both ends of a connection, that of the server first."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = socket.create_connection(listening.getsockname())
        accepted, _ = listening.accept()
    return accepted, client


def flood(client: socket.socket) -> None:
    with client:
        send_key_updates(client)


@contextmanager
def flooded() -> Iterator[ssl.SSLSocket]:
    """The server's end of a connection that is flooded while the block runs."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    accepted, client = connected()
    thread = threading.Thread(target=flood, args=(client,))
    thread.start()
    try:
        with context.wrap_socket(accepted, server_side=True) as tls:
            tls.setblocking(False)
            yield tls
    finally:
        thread.join(PATIENCE_S)
    assert not thread.is_alive()


def read_to_the_end(tls: ssl.SSLSocket) -> None:
    """Read again and again, as a session does, until the peer is gone."""
    with contextlib.suppress(OSError):
        while True:
            try:
                if not tls.recv(16_384):
                    return
            except ssl.SSLWantReadError:
                select.select([tls], [], [])


async def test_a_flood_of_empty_records_is_cut_off() -> None:
    told, telling = trio.open_memory_channel[str](10)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Lookout().run, told.send_nowait)
        await trio.testing.wait_all_tasks_blocked()
        with flooded() as tls:
            read_to_the_end(tls)
        with trio.fail_after(PATIENCE_S):
            assert await telling.receive() == "127.0.0.1"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("spent_s", "is_cut"), [(STUCK_CPU_S / 2, False), (STUCK_CPU_S * 2, True)])
def test_a_call_that_waits_instead_of_computing_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, spent_s: float, is_cut: bool
) -> None:
    clock = iter((1.0, 1.0 + spent_s))
    reader, writer = connected()
    with reader, writer:
        lookout = Lookout()
        frames = {threading.get_ident(): FakeFrame(reader)}
        monkeypatch.setattr(sys, "_current_frames", lambda: frames)
        monkeypatch.setattr(time, "clock_gettime", lambda _clock: next(clock))
        assert lookout.look() is None
        assert lookout.look() == ("127.0.0.1" if is_cut else None)


class FakeFrame:
    """A frame in the middle of a TLS read."""

    f_code = ssl.SSLSocket.read.__code__

    def __init__(self, sock: socket.socket) -> None:
        self.f_locals = {"self": sock}
