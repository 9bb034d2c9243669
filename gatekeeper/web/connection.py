"""One connection: requests read by h11, answered one after the other, everything bounded.

h11 keeps to RFC 9112 and refuses what two parsers could read differently; here are the time limits,
the sizes, and what the peer hears of its mistakes.
"""

import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

import h11
import trio

from gatekeeper.web.admission import find_route, read_target, refusal
from gatekeeper.web.messages import SECURE, Request, Response, Route, Routes

MAX_HEAD_OCTETS: Final = 16 * 1024  # a browser's cookies for localhost, of whatever else runs there
REQUEST_S: Final = 10.0  # from its first octet to its last
IDLE_S: Final = 75.0  # between requests: a scraper that comes every minute keeps its connection
HANDLER_S: Final = 10.0  # what is answered is in memory or at the kernel process
SEND_S: Final = 10.0  # for each part to be taken
STREAM_S: Final = 3600.0  # the longest body that comes in parts; browsers open a stream again
_LINGER_S: Final = 1.0  # for a refused client to read why
_RECEIVE_OCTETS: Final = 16 * 1024
_VERSIONS: Final = (b"1.0", b"1.1")

OnFault = Callable[[str, Exception], None]

_GONE: Final = (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError)


@dataclass(frozen=True, slots=True)
class Site:
    """What is served. `on_fault(path, error)` hears what a handler raised; it must not raise."""

    routes: Routes
    on_fault: OnFault


class _Refused(Exception):
    """The request is answered without its handler."""

    def __init__(self, response: Response) -> None:
        self.response = response


class Connection:
    """One client on `stream`, which stays the caller's to close."""

    def __init__(self, stream: trio.abc.HalfCloseableStream, site: Site) -> None:
        self._stream = stream
        self._site = site
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_OCTETS)
        self._head_only = False  # the answer to this request is one without its body

    async def converse(self) -> None:
        """Answer requests until the client leaves, is too slow or errs. Never raises but on
        cancellation."""
        try:
            with contextlib.suppress(*_GONE):
                while await self._exchange():
                    self._http.start_next_cycle()
        except Exception as error:  # a header no parser takes, say: this client's connection alone
            self._site.on_fault("", error)

    async def _exchange(self) -> bool:
        """One request and its answer; whether another may follow."""
        if not await self._has_begun():
            return False
        self._head_only = False
        try:
            with trio.fail_after(REQUEST_S):
                request, route = await self._request()
        except _Refused as refused:
            await self._send(refused.response, last=True)
        except h11.RemoteProtocolError as error:
            await self._send(_mistake(error), last=True)
        else:
            await self._send(await self._handle(request, route))
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            return True
        await self._linger()
        return False

    # -- reading ----------------------------------------------------------------------------

    async def _has_begun(self) -> bool:
        """Wait for the first octet of a request; False where none comes."""
        if self._http.trailing_data[0]:
            return True
        with trio.move_on_after(IDLE_S):
            return await self._receive()
        return False

    async def _receive(self) -> bool:
        octets = bytes(await self._stream.receive_some(_RECEIVE_OCTETS))
        self._http.receive_data(octets)
        return bool(octets)

    async def _next(self) -> object:
        """What comes next; of class `h11.Event`, or a word of h11 for an end."""
        while (event := self._http.next_event()) is h11.NEED_DATA:
            await self._receive()
        return event

    async def _request(self) -> tuple[Request, Route]:
        """A whole request that may be handled. Raises `_Refused` or h11's error."""
        head = await self._next()
        if not isinstance(head, h11.Request):
            raise trio.ClosedResourceError
        self._head_only = head.method == b"HEAD"
        headers = _headers(head)
        no = _unreadable(head, headers) or refusal(head.method.decode("ascii"), headers)
        if no is not None:
            raise _Refused(no)
        try:
            path, query = read_target(head.target.decode("ascii"))
        except ValueError as error:
            raise _Refused(_bad_request("the target cannot be read")) from error
        found = find_route(self._site.routes, path, head.method.decode("ascii"))
        if isinstance(found, Response):
            raise _Refused(found)
        method, route = found
        body = await self._body(route.body_octets)
        return Request(method, path, query, headers, body), route

    async def _body(self, limit: int) -> bytes:
        body = bytearray()
        too_long = Response.text(
            f"A body here has at most {limit} octets\n", HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        )
        if self._http.they_are_waiting_for_100_continue:
            if not limit:
                raise _Refused(too_long)
            await self._put(h11.InformationalResponse(status_code=100, headers=[]))
        while isinstance(event := await self._next(), h11.Data):
            body += event.data
            if len(body) > limit:
                raise _Refused(too_long)
        if not isinstance(event, h11.EndOfMessage):
            raise trio.ClosedResourceError
        return bytes(body)

    # -- answering --------------------------------------------------------------------------

    async def _handle(self, request: Request, route: Route) -> Response:
        try:
            with trio.fail_after(HANDLER_S):
                return await route.handler(request)
        except trio.TooSlowError:
            return Response.text("It takes too long\n", HTTPStatus.SERVICE_UNAVAILABLE)
        except Exception as error:  # a fault of ours costs this answer and nothing else
            self._site.on_fault(request.path, error)
            return Response.text("A fault of this program\n", HTTPStatus.INTERNAL_SERVER_ERROR)

    async def _send(self, response: Response, *, last: bool = False) -> None:
        body = response.body
        headers = SECURE | {"date": formatdate(usegmt=True), "content-type": response.content_type}
        headers |= response.headers
        if isinstance(body, bytes):
            headers["content-length"] = str(len(body))
        if last:
            headers["connection"] = "close"
        await self._put(
            h11.Response(
                status_code=response.status,
                reason=response.status.phrase,
                headers=list(headers.items()),
            )
        )
        if not self._head_only:
            if isinstance(body, bytes):
                await self._put(h11.Data(body))
            elif not await self._stream_out(body):
                return
        await self._put(h11.EndOfMessage())

    async def _put(self, event: h11.Event) -> None:
        octets = self._http.send(event)
        if octets:
            with trio.fail_after(SEND_S):
                await self._stream.send_all(octets)

    async def _stream_out(self, parts: AsyncGenerator[bytes, None]) -> bool:
        """Send `parts` as they come; whether the body is whole. A client that leaves, or says more
        meanwhile, ends it."""
        whole = False
        async with contextlib.aclosing(parts):
            with trio.move_on_after(STREAM_S):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._until_heard_of, nursery.cancel_scope)
                    whole = await self._send_parts(parts)
                    nursery.cancel_scope.cancel()
        return whole

    async def _send_parts(self, parts: AsyncGenerator[bytes, None]) -> bool:
        try:
            async for part in parts:
                await self._put(h11.Data(part))
        except _GONE:
            return False
        except Exception as error:
            self._site.on_fault("", error)
            return False
        return True

    async def _until_heard_of(self, stop: trio.CancelScope) -> None:
        """Notice that the client has left, which nothing is sent to find out."""
        with contextlib.suppress(*_GONE):
            await self._stream.receive_some(1)
        stop.cancel()

    async def _linger(self) -> None:
        """Close so that the last answer arrives: a reset would take it away with what is unread."""
        await self._stream.send_eof()
        with trio.move_on_after(_LINGER_S):
            while await self._stream.receive_some(_RECEIVE_OCTETS):
                pass


def _headers(head: h11.Request) -> Mapping[str, str]:
    headers: dict[str, str] = {}
    for name, value in head.headers:
        headers.setdefault(name.decode("ascii"), value.decode("latin-1"))
    return headers


def _unreadable(head: h11.Request, headers: Mapping[str, str]) -> Response | None:
    """What h11 would take and we do not."""
    if head.http_version not in _VERSIONS:
        status = HTTPStatus.HTTP_VERSION_NOT_SUPPORTED
        return Response.text("Only HTTP/1.1 is spoken here\n", status)
    if {"content-length", "transfer-encoding"} <= headers.keys():  # RFC 9112 6.1: smuggling
        return _bad_request("its length is told twice")
    return None


def _bad_request(text: str) -> Response:
    return Response.text(f"Not HTTP/1.1 as this server takes it: {text}\n", HTTPStatus.BAD_REQUEST)


def _mistake(error: h11.RemoteProtocolError) -> Response:
    """What a client hears whose octets are no request; the text is h11's own."""
    if error.error_status_hint == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE:
        text = f"A request's head has at most {MAX_HEAD_OCTETS} octets\n"
        return Response.text(text, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
    return _bad_request("it cannot be read")
