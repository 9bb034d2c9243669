"""One HTTP connection, octet by octet: answers, refusals, bounds, streams and faults."""

import contextlib
from collections.abc import AsyncGenerator
from http import HTTPStatus

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock
from web_client import HOST, Client

from gatekeeper.web import Method, Request, Response, Route, Routes
from gatekeeper.web.connection import (
    HANDLER_S,
    IDLE_S,
    MAX_HEAD_OCTETS,
    REQUEST_S,
    SEND_S,
    STREAM_S,
)

STREAMS_ENDED: list[str] = []


async def hello(request: Request) -> Response:
    await trio.lowlevel.checkpoint()
    return Response.text(f"hello {request.query.get('name', 'you')}\n")


async def echo(request: Request) -> Response:
    await trio.lowlevel.checkpoint()
    return Response(request.body, "application/octet-stream")


async def broken(_request: Request) -> Response:
    await trio.lowlevel.checkpoint()
    raise LookupError("a client's octets")


async def forging(request: Request) -> Response:
    await trio.lowlevel.checkpoint()
    return Response(headers={"x-name": request.query["name"]})


async def slow(_request: Request) -> Response:
    await trio.sleep_forever()
    raise AssertionError


async def ticks(_request: Request) -> Response:
    await trio.lowlevel.checkpoint()
    return Response.events(_ticks())


async def _ticks() -> AsyncGenerator[bytes, None]:
    try:
        for number in range(10**9):
            yield f"data: {number}\n\n".encode()
            await trio.sleep(60)
    finally:
        STREAMS_ENDED.append("ended")


async def short(_request: Request) -> Response:
    await trio.lowlevel.checkpoint()
    return Response(_short(), "text/plain")


async def _short() -> AsyncGenerator[bytes, None]:
    for part in (b"one", b"", b"two"):
        await trio.lowlevel.checkpoint()
        yield part


async def torn(_request: Request) -> Response:
    await trio.lowlevel.checkpoint()
    return Response(_torn(), "text/plain")


async def _torn() -> AsyncGenerator[bytes, None]:
    yield b"one"
    await trio.lowlevel.checkpoint()
    raise LookupError("a client's octets")


async def big(_request: Request) -> Response:
    await trio.lowlevel.checkpoint()
    return Response(bytes(10_000_000))


POST = frozenset({Method.POST})
ROUTES: Routes = {
    "/": Route(hello),
    "/echo": Route(echo, POST, 100),
    "/broken": Route(broken),
    "/forging": Route(forging),
    "/slow": Route(slow),
    "/ticks": Route(ticks),
    "/short": Route(short),
    "/torn": Route(torn),
    "/big": Route(big),
}


@pytest.fixture
def client(nursery: trio.Nursery) -> Client:
    STREAMS_ENDED.clear()
    return Client(ROUTES, nursery)


async def test_one_connection_carries_many_requests(client: Client) -> None:
    for name in ("ann", "bob"):
        answer = await client.ask(f"/?name={name}")
        assert (answer.status, answer.body) == (200, f"hello {name}\n".encode())
    assert not client.ended.is_set()


async def test_answers_are_strict_by_default(client: Client) -> None:
    headers = (await client.ask("/")).headers
    assert headers["cache-control"] == "no-store"
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["date"].endswith("GMT")
    assert "server" not in headers
    assert "access-control-allow-origin" not in headers


def test_a_page_brings_its_own_policy() -> None:
    page = Response.html("<p>x", "script-src 'self'")
    assert page.headers == {"content-security-policy": "script-src 'self'"}
    assert Response.json({"a": [1]}).body == b'{"a":[1]}'
    with pytest.raises(ValueError, match="JSON"):
        Response.json(float("nan"))


async def test_head_is_get_without_the_body(client: Client) -> None:
    full, head = await client.ask("/"), await client.ask("/", "HEAD")
    assert (full.status, head.status) == (200, 200)
    assert head.headers["content-length"] == str(len(full.body)) != "0"
    assert (await client.ask("/nowhere", "HEAD")).status == 404
    assert await client.rest() == b""


async def test_pipelined_requests_are_answered_in_order(client: Client) -> None:
    request = b"GET /?name=%d HTTP/1.1\r\n" + HOST + b"\r\n"
    await client.stream.send_all(request % 1 + request % 2)
    assert [(await client.answer()).body for _ in range(2)] == [b"hello 1\n", b"hello 2\n"]


async def test_a_request_may_come_in_octets(client: Client) -> None:
    for octet in b"GET / HTTP/1.1\r\n" + HOST + b"\r\n":
        await client.stream.send_all(bytes([octet]))
        await trio.testing.wait_all_tasks_blocked()
    assert (await client.answer()).status == 200


async def test_http_1_0_gets_an_answer_and_an_end(client: Client) -> None:
    await client.stream.send_all(b"GET / HTTP/1.0\r\n" + HOST + b"\r\n")
    assert (await client.rest()).endswith(b"hello you\n")


@pytest.mark.parametrize(
    ("octets", "status"),
    [
        (b"\x16\x03\x01\x02\x00", 400),  # TLS
        (b"EHLO x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),  # no Host
        (b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n", 400),
        (b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", 505),
        (b"GET /\r\n a: b\r\n\r\n", 400),
        (b"GET http://localhost/ HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET / HTTP/1.0\r\n\r\n", 421),
        (b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421),
        (b"GET /nowhere HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n\r\nabc", 405),
        (b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n\r\nabc", 413),
        (b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n", 400),
        (
            b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            400,
        ),
        (b"POST /echo HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip\r\n\r\n", 400),
        (b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 101\r\n\r\n" + bytes(101), 413),
        (b"POST /echo HTTP/1.1\r\n" + HOST + b"Origin: http://x\r\n\r\n", 403),
        (b"GET / HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: 1\r\n\r\n", 413),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"x" * 2 * MAX_HEAD_OCTETS + b"\r\n\r\n", 431),
        (b"GET /" + b"x" * 2 * MAX_HEAD_OCTETS, 431),
    ],
)
async def test_what_is_no_request_is_refused_and_ends(
    client: Client, octets: bytes, status: int, autojump_clock: MockClock
) -> None:
    await client.stream.send_all(octets)
    answer = await client.answer()
    assert answer.status == status
    assert b"Traceback" not in answer.body
    assert answer.headers["connection"] == "close"
    assert answer.body.endswith(b"\n")
    assert await client.rest() == b""
    with trio.fail_after(5):
        await client.ended.wait()
    assert client.faults == []


async def test_a_body_is_taken_where_a_route_wants_one(client: Client) -> None:
    head = b"POST /echo HTTP/1.1\r\n" + HOST
    await client.stream.send_all(head + b"Content-Length: 3\r\n\r\nabc")
    assert (await client.answer()).body == b"abc"
    await client.stream.send_all(head + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    assert (await client.answer()).status == HTTPStatus.CONTINUE
    await client.stream.send_all(b"xy")
    assert (await client.answer()).body == b"xy"


async def test_a_fault_of_a_handler_is_told_and_not_shown(client: Client) -> None:
    answer = await client.ask("/broken")
    assert (answer.status, answer.body) == (500, b"A fault of this program\n")
    assert client.faults == [("/broken", "LookupError")]
    assert (await client.ask("/")).status == 200  # the connection goes on


async def test_a_header_that_would_split_the_answer_is_a_fault(client: Client) -> None:
    await client.stream.send_all(
        b"GET /forging?name=a%0d%0aSet-Cookie:b HTTP/1.1\r\n" + HOST + b"\r\n"
    )
    assert await client.rest() == b""
    assert client.faults == [("", "LocalProtocolError")]


async def test_parts_come_as_chunks(client: Client) -> None:
    await client.stream.send_all(b"GET /short HTTP/1.1\r\n" + HOST + b"\r\n")
    answer = await client.answer()
    assert answer.headers["transfer-encoding"] == "chunked"
    await trio.testing.wait_all_tasks_blocked()
    assert await client.some() == b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"
    assert (await client.ask("/")).status == 200


async def test_a_stream_without_its_end_is_seen_to_be_torn(client: Client) -> None:
    await client.ask("/torn")
    assert await client.rest() == b"3\r\none\r\n"  # no last chunk
    assert client.faults == [("", "LookupError")]


class TestTime:
    """What is waited for, and no longer."""

    async def test_a_silent_client_is_let_go(
        self, client: Client, autojump_clock: MockClock
    ) -> None:
        assert await client.rest() == b""
        assert trio.current_time() == pytest.approx(IDLE_S)

    async def test_half_a_request_is_waited_for_a_moment(
        self, client: Client, autojump_clock: MockClock
    ) -> None:
        await client.stream.send_all(b"GET / HT")
        assert await client.rest() == b""
        assert trio.current_time() == pytest.approx(REQUEST_S)

    async def test_drops_of_a_request_do_not_lengthen_it(
        self, client: Client, autojump_clock: MockClock
    ) -> None:
        while not client.ended.is_set():
            with contextlib.suppress(trio.BrokenResourceError):
                await client.stream.send_all(b"x")
            await trio.sleep(1)
        assert trio.current_time() < REQUEST_S + 2

    async def test_a_handler_that_hangs_is_given_up(
        self, client: Client, autojump_clock: MockClock
    ) -> None:
        assert (await client.ask("/slow")).status == 503
        assert trio.current_time() == pytest.approx(HANDLER_S)

    async def test_a_client_that_takes_no_answer_is_let_go(
        self, client: Client, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def never(_octets: bytes) -> None:
            await trio.sleep_forever()

        monkeypatch.setattr(client.far, "send_all", never)
        await client.stream.send_all(b"GET /big HTTP/1.1\r\n" + HOST + b"\r\n")
        await client.ended.wait()
        assert trio.current_time() == pytest.approx(SEND_S)

    async def test_a_stream_ends_when_its_client_leaves(
        self, client: Client, autojump_clock: MockClock
    ) -> None:
        answer = await client.ask("/ticks")
        assert answer.headers["content-type"] == "text/event-stream"
        await client.stream.send_eof()
        await client.ended.wait()
        assert STREAMS_ENDED == ["ended"]
        assert trio.current_time() < 60

    async def test_a_stream_ends_after_its_time(
        self, client: Client, autojump_clock: MockClock
    ) -> None:
        await client.ask("/ticks")
        heard = await client.rest()
        assert heard.count(b"data: ") == pytest.approx(STREAM_S / 60, abs=1)
        assert not heard.endswith(b"0\r\n\r\n")
        assert STREAMS_ENDED == ["ended"]


async def test_cancelling_ends_a_stream(nursery: trio.Nursery) -> None:
    STREAMS_ENDED.clear()
    async with trio.open_nursery() as serving:
        client = Client(ROUTES, serving)
        await client.ask("/ticks")
        serving.cancel_scope.cancel()
    assert STREAMS_ENDED == ["ended"]


PIECES = st.sampled_from(
    [
        b"GET / HTTP/1.1\r\n",
        b"POST /echo HTTP/1.1\r\n",
        b"HEAD /short HTTP/1.0\r\n",
        b"GET /short?%s=%%ff HTTP/1.1\r\n",
        HOST,
        b"Content-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Expect: 100-continue\r\n",
        b"Connection: upgrade\r\nUpgrade: h2c\r\n",
        b"\r\n",
        b"5\r\nabcde\r\n0\r\n\r\n",
    ]
)


@given(st.lists(PIECES | st.binary(max_size=12), max_size=9), st.booleans())
async def test_no_octets_are_a_fault_of_ours(pieces: list[bytes], at_once: bool) -> None:
    async with trio.open_nursery() as nursery:
        client = Client(ROUTES, nursery)
        for part in [b"".join(pieces)] if at_once else pieces:
            await client.stream.send_all(part)
        await client.stream.send_eof()
        heard = await client.rest()
        assert heard == b"" or heard.startswith(b"HTTP/1.1 ")
        await client.ended.wait()
    assert client.faults == []
