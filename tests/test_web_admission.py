"""Which requests reach a handler: targets, methods, names of this host, other sites' pages."""

from http import HTTPStatus

import pytest
import trio

from gatekeeper.web.admission import MAX_QUERY_FIELDS, find_route, read_target, refusal
from gatekeeper.web.messages import Method, Request, Response, Route


async def nobody(_request: Request) -> Response:
    await trio.lowlevel.checkpoint()
    raise AssertionError("no handler is called here")


ROUTES = {
    "/": Route(nobody),
    "/ban": Route(nobody, frozenset({Method.POST, Method.DELETE})),
}


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/", "/", {}),
        ("/a%20b?x=1&y=", "/a b", {"x": "1", "y": ""}),
        ("/a?x=1&x=2", "/a", {"x": "1"}),
        ("/a?q=%E2%82%AC", "/a", {"q": "€"}),
        ("//host/a", "//host/a", {}),
        ("/a#b", "/a", {}),
        ("/a%2e%2e/b", "/a../b", {}),
    ],
)
def test_targets_are_read(target: str, path: str, query: dict[str, str]) -> None:
    assert read_target(target) == (path, query)


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.1/",
        "*",
        "",
        "127.0.0.1:443",
        "/%ff",
        "/a?x=%ff",
        "/%00",
        "/?" + "a=1&" * (MAX_QUERY_FIELDS + 1),
    ],
)
def test_other_targets_are_refused(target: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  any: some texts are the library's
        read_target(target)


def test_a_route_is_found_by_its_whole_path() -> None:
    assert find_route(ROUTES, "/", "HEAD") == (Method.HEAD, ROUTES["/"])
    assert find_route(ROUTES, "/ban", "DELETE") == (Method.DELETE, ROUTES["/ban"])
    for path in ("/ban/", "/Ban", "//", "/etc/passwd"):
        nothing = find_route(ROUTES, path, "GET")
        assert isinstance(nothing, Response)
        assert nothing.status is HTTPStatus.NOT_FOUND


@pytest.mark.parametrize("method", ["POST", "PUT", "OPTIONS", "TRACE", "CONNECT", "get", "X"])
def test_reading_is_all_a_route_does_unless_it_says_so(method: str) -> None:
    no = find_route(ROUTES, "/", method)
    assert isinstance(no, Response)
    assert no.status is HTTPStatus.METHOD_NOT_ALLOWED
    assert no.headers == {"allow": "GET, HEAD"}


def refused(method: Method, **headers: str) -> HTTPStatus | None:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    no = refusal(method.value, named)
    return None if no is None else no.status


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:9465", "127.0.0.1", "127.0.0.1:1", "[::1]", "[::1]:9465"]
)
def test_names_of_loopback_are_taken(host: str) -> None:
    assert refused(Method.GET, host=host) is None


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.nip.io",
        "localhost:",
        "localhost:9465:1",
        "127.0.0.1@evil.example",
        "127.0.0.10",
        "::1",
        "localhost\n",
        "localhost ",
    ],
)
def test_other_names_are_not(host: str) -> None:
    """A page of another name that resolves to this host must not read it (DNS rebinding)."""
    assert refused(Method.GET, host=host) is HTTPStatus.MISDIRECTED_REQUEST


def test_no_name_at_all_is_not_taken() -> None:
    assert refused(Method.GET) is HTTPStatus.MISDIRECTED_REQUEST


@pytest.mark.parametrize(
    ("origin", "site", "status"),
    [
        ("http://localhost:9465", "same-origin", None),
        ("HTTP://LOCALHOST:9465", "none", None),
        ("http://localhost:9466", "same-site", HTTPStatus.FORBIDDEN),
        ("http://localhost:9466", "same-origin", HTTPStatus.FORBIDDEN),
        ("http://localhost:9465", "cross-site", HTTPStatus.FORBIDDEN),
        ("https://localhost:9465", "same-origin", HTTPStatus.FORBIDDEN),
        ("null", "cross-site", HTTPStatus.FORBIDDEN),
        ("http://evil.example", "cross-site", HTTPStatus.FORBIDDEN),
    ],
)
def test_pages_of_other_sites_change_nothing(
    origin: str, site: str, status: HTTPStatus | None
) -> None:
    where = {"host": "localhost:9465", "origin": origin, "sec_fetch_site": site}
    assert refused(Method.POST, **where) is status
    assert refused(Method.GET, **where) is None  # they may ask; nothing lets them read the answer


def test_programs_say_neither_origin_nor_site() -> None:
    assert refused(Method.POST, host="localhost") is None
