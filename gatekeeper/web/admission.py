"""Which requests reach a handler: pure checks of the target, the Host and where it comes from.

Theory of operation. The server listens on loopback, and so a browser on this host reaches it. A
web page may make that browser send requests here. Two things keep it out. A page that has its own
name resolve to 127.0.0.1 (DNS rebinding) sends that name as Host, and only the names of loopback
are taken. A page that posts across origins sends Origin and Sec-Fetch-Site, and where a method
changes something both must say that the page is ours.
"""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from gatekeeper.web.messages import READING, Method, Response, Route, Routes

MAX_QUERY_FIELDS: Final = 32  # no page here has as many
# Any port: a tunnel to this host ends at one of its own. A Unix socket's clients say localhost.
_OUR_HOST: Final = re.compile(r"(?:localhost|127\.0\.0\.1|\[::1\])(?::\d{1,5})?", re.IGNORECASE)
_READING: Final = frozenset(method.value for method in READING)
_SAME_SITE: Final = frozenset({"same-origin", "none"})  # none: typed by the user himself


def read_target(target: str) -> tuple[str, dict[str, str]]:
    """The path and the query of a request's target. Raises `ValueError`."""
    if not target.startswith("/"):
        raise ValueError("the target is no path")
    parts = urlsplit("//x" + target)
    path = unquote(parts.path, errors="strict")
    if "\0" in path:
        raise ValueError("the path holds a NUL")
    fields = parse_qsl(
        parts.query, keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS, errors="strict"
    )
    query: dict[str, str] = {}
    for name, value in fields:
        query.setdefault(name, value)
    return path, query


def find_route(routes: Routes, path: str, method: str) -> tuple[Method, Route] | Response:
    """Who answers, or the refusal where nobody does."""
    route = routes.get(path)
    if route is None:
        return Response.text("Not found\n", HTTPStatus.NOT_FOUND)
    known = {one.value: one for one in route.methods}
    if method not in known:
        words = ", ".join(sorted(known))
        return Response(
            f"This path takes {words}\n".encode(),
            status=HTTPStatus.METHOD_NOT_ALLOWED,
            headers={"allow": words},
        )
    return known[method], route


def refusal(method: str, headers: Mapping[str, str]) -> Response | None:
    """Why a request with these `headers`, by lower-case name, is not looked at; None where it
    is."""
    host = headers.get("host", "")
    if not _OUR_HOST.fullmatch(host):
        text = "Only localhost, 127.0.0.1 and [::1] are names of this server: set Host to one\n"
        return Response.text(text, HTTPStatus.MISDIRECTED_REQUEST)
    if method in _READING:
        return None
    origin = headers.get("origin")
    site = headers.get("sec-fetch-site", "same-origin")
    if (origin is not None and origin.lower() != f"http://{host.lower()}") or (
        site.lower() not in _SAME_SITE
    ):
        return Response.text("Not from another site's page\n", HTTPStatus.FORBIDDEN)
    return None
