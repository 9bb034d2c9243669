"""The one thing the page changes: it lifts a ban, for who knows the token.

The token is the operator's, in a file of his (`[http] token_file`). The browser sends it in a
header, where neither a history nor a log keeps it, and it is compared in constant time. Wrong ones
are answered one after the other, a second each: nobody on this host guesses it.
"""

import hmac
import json
import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Final

import trio

from gatekeeper.control_verbs import Control
from gatekeeper.control_words import Code, Refusal
from gatekeeper.errors import ConfigError
from gatekeeper.log import Log
from gatekeeper.plain_files import read_plain
from gatekeeper.secret import Secret
from gatekeeper.web import Method, Request, Response, Route, Routes

LEAST_TOKEN_OCTETS: Final = 16
MAX_TOKEN_OCTETS: Final = 256
WRONG_S: Final = 1.0
MAX_BODY_OCTETS: Final = 1024  # a prefix and a scope
_TOKEN: Final = re.compile(rb"[!-~]+")
_SCHEME: Final = "Bearer "  # RFC 6750 2.1
_STATUS: Final = {
    Code.NOT_FOUND: HTTPStatus.NOT_FOUND,
    Code.FAILED: HTTPStatus.SERVICE_UNAVAILABLE,
}


def read_token(path: Path | None) -> Secret | None:
    """The token in the file at `path`; None where there is none. Raises `ConfigError`."""
    if path is None:
        return None
    name = f"[http] token_file: {path}"
    try:
        octets = read_plain(path).strip()
        mode = path.stat().st_mode
    except OSError as error:
        raise ConfigError(f"{name}: {error.strerror}") from error
    if mode & 0o007:
        raise ConfigError(f"{name}: everybody on this host may use it: chmod o-rwx")
    if not LEAST_TOKEN_OCTETS <= len(octets) <= MAX_TOKEN_OCTETS or not _TOKEN.fullmatch(octets):
        raise ConfigError(
            f"{name}: wants one word of {LEAST_TOKEN_OCTETS} to {MAX_TOKEN_OCTETS} printable"
            " characters, as `openssl rand -hex 16` makes one"
        )
    return Secret(octets)


class Lifting:
    """The paths, over `control`. `token` is the one in force; None lifts nothing."""

    def __init__(self, control: Control, token: Callable[[], Secret | None], log: Log) -> None:
        self._control = control
        self._token = token
        self._log = log
        self._wrong = trio.Lock()

    @property
    def offered(self) -> bool:
        """Whether there is a token to lift by."""
        return self._token() is not None

    def routes(self) -> Routes:
        """By path."""
        posts = frozenset({Method.POST})
        return {
            "/api/token": Route(self._try_token, posts),
            "/api/lift": Route(self._lift, posts, MAX_BODY_OCTETS),
        }

    async def _try_token(self, request: Request) -> Response:
        """Whether a token is right, for who has just typed it."""
        return await self._refusal(request) or Response.json({"ok": True})

    async def _lift(self, request: Request) -> Response:
        refusal = await self._refusal(request)
        if refusal is not None:
            return refusal
        try:
            prefix, scope = _read(request)
            asked = {"verb": "ban-del", "prefix": prefix, "scope": scope}
            pieces = await self._control.answer(asked)
        except Refusal as error:
            status = _STATUS.get(error.code, HTTPStatus.BAD_REQUEST)
            return Response.json({"error": error.text}, status)
        self._log.event("control", verb="ban-del", what=prefix, by="status-page", result="ok")
        return Response(b"".join(map(str.encode, pieces)), "application/json")

    async def _refusal(self, request: Request) -> Response | None:
        """Why this request may not lift; None where it may."""
        token = self._token()
        if token is None:
            text = "no token is set: [http] token_file"
            return Response.json({"error": text}, HTTPStatus.FORBIDDEN)
        given = request.headers.get("authorization", "")
        if _is(token, given):
            return None
        async with self._wrong:
            await trio.sleep(WRONG_S)
        self._log.warning("control", verb="ban-del", by="status-page", result="wrong-token")
        return Response.json({"error": "the token is wrong"}, HTTPStatus.FORBIDDEN)


def _is(token: Secret, authorization: str) -> bool:
    scheme, given = authorization[: len(_SCHEME)], authorization[len(_SCHEME) :]
    same = hmac.compare_digest(given.encode(), token.declassify())
    return same and scheme.lower() == _SCHEME.lower()


def _read(request: Request) -> tuple[object, object]:
    """The prefix and the scope of a request's body. Raises `Refusal`."""
    content = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content != "application/json":  # what no other site's form can send
        raise Refusal(Code.BAD_REQUEST, "the body must be application/json")
    try:
        body = json.loads(request.body)
    except (ValueError, RecursionError):
        raise Refusal(Code.BAD_REQUEST, "the body is no JSON") from None
    if not isinstance(body, Mapping) or body.keys() != {"prefix", "scope"}:
        raise Refusal(Code.BAD_REQUEST, "the body has a prefix and a scope")
    return body["prefix"], body["scope"]
