"""What handlers take and give: frozen records of a request, an answer, and who answers where."""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus
from types import MappingProxyType
from typing import Final

Body = bytes | AsyncGenerator[bytes, None]

# An answer is for this reader now, is what it says it is, loads nothing, and stands in no frame.
SECURE: Final = MappingProxyType(
    {
        "cache-control": "no-store",
        "content-security-policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
    }
)


class Method(Enum):
    """The methods a route may know (RFC 9110 9.3)."""

    GET = "GET"
    HEAD = "HEAD"
    POST = "POST"
    DELETE = "DELETE"


READING: Final = frozenset({Method.GET, Method.HEAD})


@dataclass(frozen=True, slots=True)
class Request:
    """One request. Names in `headers` are in lower case; of a repeated one the first counts, and so
    it is in `query`. `path` is decoded and begins with `/`."""

    method: Method
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Response:
    """One answer. `headers`, by lower-case name, are added to `SECURE` and win over it."""

    body: Body = b""
    content_type: str = "text/plain; charset=utf-8"
    status: HTTPStatus = HTTPStatus.OK
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def text(cls, text: str, status: HTTPStatus = HTTPStatus.OK) -> "Response":
        """Plain text."""
        return cls(text.encode(), status=status)

    @classmethod
    def json(cls, data: object, status: HTTPStatus = HTTPStatus.OK) -> "Response":
        """`data` as JSON. Raises `TypeError` or `ValueError` for what JSON cannot carry."""
        body = json.dumps(data, allow_nan=False, separators=(",", ":")).encode()
        return cls(body, "application/json", status)

    @classmethod
    def html(cls, text: str, policy: str) -> "Response":
        """A page with the Content-Security-Policy `policy`."""
        headers = {"content-security-policy": policy}
        return cls(text.encode(), "text/html; charset=utf-8", headers=headers)

    @classmethod
    def events(cls, parts: AsyncGenerator[bytes, None]) -> "Response":
        """An event stream (HTML Standard 9.2); each part is one or more whole events."""
        return cls(parts, "text/event-stream")


Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Route:
    """Who answers at one path, to which methods, and how long a body may be."""

    handler: Handler
    methods: frozenset[Method] = READING
    body_octets: int = 0


Routes = Mapping[str, Route]
