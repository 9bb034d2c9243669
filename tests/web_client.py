"""A client that speaks octets, not a library: what a server does with those is under test."""

from dataclasses import dataclass

import trio
import trio.testing

from gatekeeper.web import Routes, Site
from gatekeeper.web.connection import Connection

HOST = b"Host: localhost\r\n"


@dataclass(frozen=True)
class Answer:
    """One answer, its body as it was sent, without chunks undone."""

    status: int
    headers: dict[str, str]
    body: bytes


class Client:
    """A connection to a server that runs in `nursery`."""

    def __init__(self, routes: Routes, nursery: trio.Nursery) -> None:
        self.faults: list[tuple[str, str]] = []
        self.ended = trio.Event()
        self.stream, self.far = trio.testing.memory_stream_pair()
        self._heard = b""
        nursery.start_soon(self._serve, Site(routes, self._fault))

    async def _serve(self, site: Site) -> None:
        await Connection(self.far, site).converse()
        await self.far.aclose()
        self.ended.set()

    def _fault(self, path: str, error: Exception) -> None:
        self.faults.append((path, type(error).__name__))

    async def ask(self, target: str, method: str = "GET", *, head: bool = False) -> Answer:
        """The answer to one request."""
        await self.stream.send_all(f"{method} {target} HTTP/1.1\r\n".encode() + HOST + b"\r\n")
        return await self.answer(head=head or method == "HEAD")

    async def answer(self, *, head: bool = False) -> Answer:
        """The next answer; its body by Content-Length."""
        while b"\r\n\r\n" not in self._heard:
            await self._hear()
        top, _, self._heard = self._heard.partition(b"\r\n\r\n")
        status, *lines = top.decode("ascii").split("\r\n")
        headers = {name.lower(): value for name, _, value in (x.partition(": ") for x in lines)}
        assert len(headers) == len(lines), "no header stands there twice"
        length = 0 if head else int(headers.get("content-length", "0"))
        while len(self._heard) < length:
            await self._hear()
        body, self._heard = self._heard[:length], self._heard[length:]
        return Answer(int(status.split()[1]), headers, body)

    async def rest(self) -> bytes:
        """All that comes until the server closes."""
        while octets := await self.stream.receive_some(65536):
            self._heard += bytes(octets)
        heard, self._heard = self._heard, b""
        return heard

    async def some(self) -> bytes:
        """What comes next."""
        octets = bytes(await self.stream.receive_some(65536))
        heard, self._heard = self._heard + octets, b""
        return heard

    async def _hear(self) -> None:
        octets = await self.stream.receive_some(65536)
        assert octets, f"the server closed after {self._heard!r}"
        self._heard += bytes(octets)
