"""Notices to a web service: a real HTTPS server on loopback, good answers and bad ones."""

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio
import trio.testing
import trustme

from gatekeeper.errors import ConfigError, DeliveryError
from gatekeeper.messengers import Webhook
from gatekeeper.messengers.webhook import MAX_HEAD_OCTETS, RETRY_AFTER_S
from gatekeeper.secret import Secret

BODY = b'{"kind": "test"}\n'
OK = b"HTTP/1.1 204 No Content\r\n\r\n"
TOKEN = "Bearer s3cr3t-t0k3n"
PATH = "/services/T000/s3cr3t-p4th?x=1"
DEADLINE_S = 10.0


@dataclass
class Service:
    """Answers each connection with the next of `answers`, then with the last again."""

    answers: list[bytes]
    port: int = 0
    requests: list[bytes] = field(default_factory=list)
    hangs: bool = False

    async def serve(self, stream: trio.SSLStream[trio.SocketStream]) -> None:
        try:
            got = b""
            while b"\r\n\r\n" not in got or not got.endswith(BODY):
                got += (more := bytes(await stream.receive_some()))
                if not more:
                    return
            self.requests.append(got)
            if self.hangs:
                await trio.sleep_forever()
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            await stream.send_all(answer)
        except trio.BrokenResourceError:
            pass
        finally:
            await trio.aclose_forcefully(stream)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[trustme.CA, Path]:
    issuer = trustme.CA()
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    issuer.cert_pem.write_to_path(path)
    return issuer, path


@asynccontextmanager
async def service(
    authority: tuple[trustme.CA, Path], *answers: bytes, name: str = "localhost"
) -> AsyncIterator[Service]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority[0].issue_cert(name).configure_cert(context)
    running = Service(list(answers))
    async with trio.open_nursery() as nursery:
        (plain,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        running.port = plain.socket.getsockname()[1]
        listeners = [trio.SSLListener(plain, context, https_compatible=True)]
        nursery.start_soon(trio.serve_listeners, running.serve, listeners)  # noqa: ASYNC113  it listens
        yield running
        nursery.cancel_scope.cancel()


def hook(running: Service, ca: Path | None, *, token: str = TOKEN) -> Webhook:
    url = Secret(f"https://localhost:{running.port}{PATH}".encode())
    authorization = Secret(token.encode()) if token else None
    return Webhook(url, DEADLINE_S, authorization=authorization, ca=ca)


async def failure(messenger: Webhook, *, patient: bool = False) -> str:
    with pytest.raises(DeliveryError) as raised:
        await messenger.send(BODY, patient=patient)
    text = str(raised.value)
    for secret in ("s3cr3t", "services", "Bearer"):
        assert secret not in text
        assert secret not in repr(raised.value.__cause__)
    return text


async def test_a_notice_is_posted_with_its_authorization(
    authority: tuple[trustme.CA, Path],
) -> None:
    async with service(authority, OK) as running:
        await hook(running, authority[1]).send(BODY)
    [request] = running.requests
    head, _, body = request.partition(b"\r\n\r\n")
    first, *fields = head.decode().split("\r\n")
    assert first == f"POST {PATH} HTTP/1.1"
    assert f"Host: localhost:{running.port}" in fields
    assert f"Authorization: {TOKEN}" in fields
    assert f"Content-Length: {len(BODY)}" in fields
    assert "Content-Type: application/json" in fields
    assert json.loads(body) == {"kind": "test"}


async def test_without_a_secret_there_is_no_such_field(authority: tuple[trustme.CA, Path]) -> None:
    async with service(authority, OK) as running:
        await hook(running, authority[1], token="").send(BODY)
    assert b"Authorization" not in running.requests[0]


@pytest.mark.parametrize("status", ["302 Found\r\nLocation: https://localhost/", "404 Not Found"])
async def test_what_is_no_success_is_tried_once(
    authority: tuple[trustme.CA, Path], status: str
) -> None:
    """A redirect is not followed: nothing is sent to where it leads."""
    async with service(authority, f"HTTP/1.1 {status}\r\n\r\n".encode()) as running:
        text = await failure(hook(running, authority[1]), patient=True)
    assert text == f"localhost: HTTP status {status[:3]}"
    assert len(running.requests) == 1


async def test_what_may_pass_is_tried_again(
    authority: tuple[trustme.CA, Path], autojump_clock: trio.testing.MockClock
) -> None:
    autojump_clock.autojump_threshold = 0.2  # real sockets are in between
    busy = b"HTTP/1.1 503 Busy\r\n\r\n"
    async with service(authority, busy, b"HTTP/1.1 429 Slow\r\n\r\n", OK) as running:
        before = trio.current_time()
        await hook(running, authority[1]).send(BODY)
        assert trio.current_time() - before == pytest.approx(sum(RETRY_AFTER_S), abs=2)
    assert len(running.requests) == 3
    async with service(authority, busy) as running:
        text = await failure(hook(running, authority[1]), patient=True)
    assert text == "localhost: HTTP status 503"
    assert len(running.requests) == 1 + len(RETRY_AFTER_S)


async def test_a_service_that_hangs_has_its_time_and_no_more(
    authority: tuple[trustme.CA, Path], autojump_clock: trio.testing.MockClock
) -> None:
    autojump_clock.autojump_threshold = 0.2
    async with service(authority, OK) as running:
        running.hangs = True
        before = trio.current_time()
        text = await failure(hook(running, authority[1]))
        assert trio.current_time() - before == pytest.approx(DEADLINE_S, abs=1)
    assert text == f"localhost: no answer within {DEADLINE_S:g} s"


@pytest.mark.parametrize(
    "answer",
    [b"* OK IMAP\r\n\r\n", b"", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 4 * MAX_HEAD_OCTETS],
    ids=["other protocol", "nothing", "endless head"],
)
async def test_an_answer_that_is_none_is_a_failure(
    authority: tuple[trustme.CA, Path], answer: bytes
) -> None:
    async with service(authority, answer) as running:
        text = await failure(hook(running, authority[1]))
    assert text.startswith("localhost: ")


async def test_a_certificate_is_verified(authority: tuple[trustme.CA, Path]) -> None:
    async with service(authority, OK) as running:
        assert "TLS: unable to get local issuer" in await failure(hook(running, None))
    async with service(authority, OK, name="other.example") as running:
        assert "TLS: " in await failure(hook(running, authority[1]))
    assert running.requests == []


async def test_nobody_listens(authority: tuple[trustme.CA, Path]) -> None:
    async with service(authority, OK) as running:
        pass
    assert await failure(hook(running, authority[1])) == "localhost: Connection refused"


def test_a_ca_file_that_is_none_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.pem", tmp_path / "empty.pem"):
        (tmp_path / "empty.pem").write_text("nothing")
        with pytest.raises(ConfigError, match=f"webhook_ca: {path}"):
            hook(Service([], 1), path)
