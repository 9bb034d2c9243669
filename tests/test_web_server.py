"""The HTTP server on real sockets: where it listens, how it follows, how many it serves."""

import os
import socket
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from gatekeeper.errors import GatekeeperError, WebUnavailable
from gatekeeper.settings import Endpoint, WebBind
from gatekeeper.web import Request, Response, Route, Site, WebServer
from gatekeeper.web import server as module
from gatekeeper.web.server import AGAIN_S

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


class Heard(list[GatekeeperError | None]):
    """What was said of the server's health."""

    def __init__(self) -> None:
        super().__init__()
        self._more = trio.Event()

    def hear(self, error: GatekeeperError | None) -> None:
        """See `health.OnHealth`."""
        self.append(error)
        self._more.set()

    async def next(self) -> GatekeeperError | None:
        """What is said next."""
        self._more = trio.Event()
        with trio.fail_after(10):
            await self._more.wait()
        return self[-1]


async def hello(_request: Request) -> Response:
    await trio.lowlevel.checkpoint()
    return Response.text("hello\n")


SITE = Site({"/": Route(hello)}, lambda _path, _error: None)


def free_port(host: str = "127.0.0.1") -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as sock:
        sock.bind((host, 0))
        port: int = sock.getsockname()[1]
        return port


async def connected(bind: WebBind) -> trio.SocketStream:
    """A client, as soon as somebody listens."""
    with trio.fail_after(10):
        while True:
            try:
                if isinstance(bind, Path):
                    return await trio.open_unix_socket(str(bind))
                return await trio.open_tcp_stream(bind.host, bind.port)
            except OSError:
                await trio.lowlevel.checkpoint()


async def ask(bind: WebBind) -> bytes:
    """The answer to one request."""
    async with await connected(bind) as stream:
        await stream.send_all(REQUEST)
        heard = b""
        while octets := await stream.receive_some():
            heard += octets
        return heard


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def serve(nursery: trio.Nursery, heard: Heard) -> Callable[[WebBind | None], WebServer]:
    """A server that runs."""

    def start(bind: WebBind | None) -> WebServer:
        server = WebServer(bind, heard.hear)
        nursery.start_soon(server.run, SITE)
        return server

    return start


Serve = Callable[[WebBind | None], WebServer]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_it_serves_on_loopback(serve: Serve, host: str) -> None:
    bind = Endpoint(host, free_port(host))
    serve(bind)
    assert (await ask(bind)).endswith(b"\r\n\r\nhello\n")


async def test_it_serves_on_a_unix_socket(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    serve(path)
    assert (await ask(path)).endswith(b"hello\n")
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o660


async def test_it_leaves_no_socket_behind(tmp_path: Path, heard: Heard) -> None:
    path = tmp_path / "http.sock"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(WebServer(path, heard.hear).run, SITE)
        await ask(path)
        nursery.cancel_scope.cancel()
    assert not path.exists()


async def test_it_follows_the_configuration(serve: Serve, tmp_path: Path, heard: Heard) -> None:
    first, second = tmp_path / "1.sock", tmp_path / "2.sock"
    server = serve(first)
    held = await connected(first)
    server.reconfigure(first)
    await held.send_all(REQUEST)  # nothing has changed, so it was not cut
    assert (await held.receive_some()).startswith(b"HTTP/1.1 200")
    server.reconfigure(second)
    await ask(second)
    assert not first.exists()
    server.reconfigure(None)
    await heard.next()
    assert not second.exists()
    await held.aclose()
    assert set(heard) == {None}


async def test_a_socket_that_is_taken_is_told_and_tried_again(
    serve: Serve, heard: Heard, autojump_clock: MockClock
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        bind = Endpoint("127.0.0.1", other.getsockname()[1])
        serve(bind)
        await trio.sleep(2.5 * AGAIN_S)
        said = [str(error) for error in heard]
        assert said == [f"{bind}: Address already in use"] * 3
        assert isinstance(heard[0], WebUnavailable)
    await trio.sleep(AGAIN_S)
    assert heard[-1] is None


async def test_a_directory_that_is_not_there_is_told(
    serve: Serve, heard: Heard, tmp_path: Path
) -> None:
    serve(tmp_path / "nowhere" / "http.sock")
    assert str(await heard.next()).endswith("http.sock: No such file or directory")


async def test_more_clients_than_are_served_are_let_go(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "MAX_CLIENTS", 2)
    path = tmp_path / "http.sock"
    serve(path)
    async with await connected(path) as one, await connected(path) as two:
        for stream in (one, two):
            await stream.send_all(REQUEST.replace(b"close", b"keep-alive"))
            await stream.receive_some()
        async with await connected(path) as three:
            with trio.fail_after(10):
                assert await three.receive_some() == b""
    await _until(lambda: ask(path), b"hello\n")  # once they have left there is room


async def _until(attempt: Callable[[], Awaitable[bytes]], end: bytes) -> None:
    with trio.fail_after(10):
        while True:
            try:
                if (await attempt()).endswith(end):
                    return
            except trio.BrokenResourceError:
                pass
            await trio.lowlevel.checkpoint()
