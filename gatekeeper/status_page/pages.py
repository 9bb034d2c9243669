"""The paths of the status page: what the browser loads, and what it asks for then.

Everything a page shows comes as JSON and is put into it as text. The policy lets the browser load
this server's own files and nothing else, run no script that stands in a page, and make HTML of no
string (Trusted Types), so that a name a stranger has chosen stays a name.
"""

import json
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Final

import trio

from gatekeeper.ban import Origin, Scope
from gatekeeper.cli.exits import printable
from gatekeeper.cli.explain_text import kind_of, lines
from gatekeeper.control_verbs import Control
from gatekeeper.control_words import Code, Refusal
from gatekeeper.overview import Overview
from gatekeeper.status_page.ban_search import BanSearch, Wanted
from gatekeeper.status_page.lifting import Lifting
from gatekeeper.web import Request, Response, Route, Routes

POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
PAGE: Final = "status.html"
TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
MAX_DIGITS: Final = 9  # far beyond the rows of any table
MAX_WHAT_CHARACTERS: Final = 320  # an account is a mailbox at the longest


class StatusPage:
    """The page of one guard. `hostname` is the guard's own name."""

    def __init__(
        self,
        overview: Overview,
        search: BanSearch,
        control: Control,
        lifting: Lifting,
        hostname: Callable[[], str],
    ) -> None:
        self._overview = overview
        self._search = search
        self._control = control
        self._lifting = lifting
        self._hostname = hostname

    def routes(self) -> Routes:
        """By path."""
        return {
            **_ASSETS,
            "/api/overview": Route(self._do_overview),
            "/api/series": Route(self._do_series),
            "/api/bans": Route(self._do_bans),
            "/api/explain": Route(self._do_explain),
            **self._lifting.routes(),
        }

    async def _do_overview(self, _request: Request) -> Response:
        await trio.lowlevel.checkpoint()
        more = {
            "hostname": self._hostname(),
            "lifting": self._lifting.offered,
            "choices": {
                "scope": [one.value for one in Scope],
                "origin": [one.value for one in Origin],
            },
        }
        return Response.json(more | self._overview.now())

    async def _do_series(self, request: Request) -> Response:
        await trio.lowlevel.checkpoint()
        try:
            return Response.json(self._overview.chart(request.query.get("span", "hour")))
        except KeyError:
            return _no("span must be hour or day")

    async def _do_bans(self, request: Request) -> Response:
        query = request.query
        try:
            wanted = Wanted.of(
                query.get("q", ""),
                query.get("scope", ""),
                query.get("reason", ""),
                query.get("origin", ""),
            )
            begin = _number(query["from"]) if "from" in query else None
            skip = _number(query.get("skip", "0"))
        except ValueError as error:
            return _no(str(error))
        return Response.json(await self._search.find(wanted, begin, skip))

    async def _do_explain(self, request: Request) -> Response:
        """What `gatekeeper explain` says, line by line."""
        what = request.query.get("what", "").strip()
        if len(what) > MAX_WHAT_CHARACTERS:
            return _no("that is too long for an address or an account")
        try:
            pieces = await self._control.answer({"verb": "explain", "what": what})
        except Refusal as error:
            missing = error.code is Code.NOT_FOUND
            return _no(error.text, HTTPStatus.NOT_FOUND if missing else HTTPStatus.BAD_REQUEST)
        reply = json.loads("".join(pieces))
        kind = kind_of(reply)
        said = [printable(line) for line in lines(kind, reply[kind])]
        return Response.json({"what": what, "kind": kind, "lines": said})


def _read_assets() -> Routes:
    """The files beside this one, as they are."""
    here = Path(__file__).parent
    page = (here / PAGE).read_text(encoding="utf-8")
    return {
        "/": _file(Response.html(page, POLICY)),
        **{
            f"/{one.name}": _file(Response(one.read_bytes(), TYPES[one.suffix]))
            for one in sorted(here.iterdir())
            if one.suffix in TYPES
        },
    }


def _file(response: Response) -> Route:
    async def serve(_request: Request) -> Response:
        await trio.lowlevel.checkpoint()
        return response

    return Route(serve)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > MAX_DIGITS:
        raise ValueError("from and skip are numbers")
    return int(text)


def _no(text: str, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> Response:
    return Response.json({"error": text}, status)


_ASSETS: Final = _read_assets()  # now: the guard's user need not be able to read its own program
