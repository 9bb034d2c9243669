"""The paths of the status page: what they answer, what they refuse, and the token."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path

import pytest
import trio
import trio.testing

from gatekeeper.control_verbs import Control
from gatekeeper.control_words import Arguments, Code, Pieces, Refusal, whole
from gatekeeper.errors import ConfigError
from gatekeeper.log import Log
from gatekeeper.secret import Secret
from gatekeeper.status_page import pages
from gatekeeper.status_page.lifting import WRONG_S, Lifting, read_token
from gatekeeper.web import Method, Request, Response

TOKEN = "0123456789abcdef"
GOOD = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}
BODY = {"prefix": "203.0.113.7", "scope": "auth"}


class Lifts:
    """The one verb that lifting asks for."""

    def __init__(self) -> None:
        self.lifted: list[tuple[str, str]] = []

    async def ban_del(self, arguments: Arguments) -> Pieces:
        """Note what is asked; one address is not banned, of one the kernel knows nothing."""
        prefix, scope = arguments.text("prefix"), arguments.text("scope")
        arguments.done()
        await trio.lowlevel.checkpoint()
        if prefix == "192.0.2.1":
            raise Refusal(Code.NOT_FOUND, f"{prefix} is not banned")
        if prefix == "192.0.2.2":
            raise Refusal(Code.FAILED, "the kernel process is gone")
        self.lifted.append((prefix, scope))
        return whole({"bans": []})


class Rig:
    """Lifting over it, with a log that is read."""

    def __init__(self, token: str | None = TOKEN) -> None:
        self.lifts = Lifts()
        self.said: list[str] = []
        control = Control.__new__(Control)
        control._verbs = {"ban-del": self.lifts.ban_del}
        secret = None if token is None else Secret(token.encode())
        self.log = Log(write=self._write)
        self.lifting = Lifting(control, lambda: secret, self.log)
        self.routes = self.lifting.routes()

    def _write(self, octets: bytes) -> None:
        self.said.append(octets.decode())

    async def post(
        self, path: str, headers: Mapping[str, str], body: object = None
    ) -> tuple[HTTPStatus, object]:
        octets = body if isinstance(body, bytes) else json.dumps(body).encode()
        response = await self.routes[path].handler(
            Request(Method.POST, path, headers=headers, body=octets)
        )
        return response.status, read(response)


def read(response: Response) -> object:
    assert isinstance(response.body, bytes)
    return json.loads(response.body)


async def test_who_has_the_token_lifts() -> None:
    rig = Rig()
    assert await rig.post("/api/token", GOOD) == (HTTPStatus.OK, {"ok": True})
    assert await rig.post("/api/lift", GOOD, BODY) == (HTTPStatus.OK, {"ok": True, "bans": []})
    assert rig.lifts.lifted == [("203.0.113.7", "auth")]


@pytest.mark.parametrize(
    "authorization",
    [
        *("", "Bearer", "Bearer ", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x"),
        *(f"Bearer {TOKEN[:-1]}", "Bearer \xe9", f"Bearer {TOKEN.upper()}"),
    ],
)
async def test_who_has_it_not_waits_and_lifts_nothing(
    authorization: str, autojump_clock: trio.testing.MockClock
) -> None:
    rig = Rig()
    began = trio.current_time()
    for path in ("/api/token", "/api/lift"):
        status, said = await rig.post(path, GOOD | {"authorization": authorization}, BODY)
        assert (status, said) == (HTTPStatus.FORBIDDEN, {"error": "the token is wrong"})
    assert trio.current_time() - began == pytest.approx(2 * WRONG_S)
    assert rig.lifts.lifted == []


async def test_many_guesses_wait_for_one_another(autojump_clock: trio.testing.MockClock) -> None:
    rig, began = Rig(), trio.current_time()
    async with trio.open_nursery() as nursery:
        for number in range(20):
            headers = {"authorization": f"Bearer guess-{number}"}
            nursery.start_soon(rig.post, "/api/token", headers)
        with trio.fail_after(WRONG_S / 2):  # and keep nobody else waiting
            assert (await rig.post("/api/token", GOOD))[0] is HTTPStatus.OK
    assert trio.current_time() - began == pytest.approx(20 * WRONG_S)


async def test_without_a_token_nothing_is_lifted() -> None:
    rig = Rig(None)
    assert not rig.lifting.offered
    status, _ = await rig.post("/api/lift", {"authorization": "Bearer "}, BODY)
    assert status is HTTPStatus.FORBIDDEN
    assert rig.lifts.lifted == []


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"content-type": "text/plain"}, BODY, HTTPStatus.BAD_REQUEST),
        ({"content-type": "application/x-www-form-urlencoded"}, BODY, HTTPStatus.BAD_REQUEST),
        ({}, b"{", HTTPStatus.BAD_REQUEST),
        ({}, b"[" * 1000, HTTPStatus.BAD_REQUEST),
        ({}, b"\xff", HTTPStatus.BAD_REQUEST),
        ({}, [], HTTPStatus.BAD_REQUEST),
        ({}, BODY | {"verb": "kick"}, HTTPStatus.BAD_REQUEST),
        ({}, BODY | {"prefix": 7}, HTTPStatus.BAD_REQUEST),
        ({}, BODY | {"prefix": "192.0.2.1"}, HTTPStatus.NOT_FOUND),
        ({}, BODY | {"prefix": "192.0.2.2"}, HTTPStatus.SERVICE_UNAVAILABLE),
    ],
)
async def test_what_is_no_ban_is_refused(
    headers: dict[str, str], body: object, status: HTTPStatus
) -> None:
    rig = Rig()
    answered, said = await rig.post("/api/lift", GOOD | headers, body)
    assert answered is status
    assert isinstance(said, dict)
    assert said["error"]
    assert rig.lifts.lifted == []


# -- the token's file ----------------------------------------------------------------------------


def token_file(tmp_path: Path, text: str, mode: int = 0o640) -> Path:
    path = tmp_path / "token"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_token_is_read_and_hidden(tmp_path: Path) -> None:
    token = read_token(token_file(tmp_path, f"  {TOKEN}\n"))
    assert token is not None
    assert token.declassify() == TOKEN.encode()
    assert TOKEN not in repr(token)
    assert read_token(None) is None


@pytest.mark.parametrize(
    ("text", "mode", "why"),
    [
        (TOKEN, 0o644, "everybody on this host may use it"),
        (TOKEN[1:], 0o600, "wants one word of 16 to 256"),
        ("x" * 300, 0o600, "wants one word of 16 to 256"),
        (f"{TOKEN} {TOKEN}", 0o600, "wants one word"),
        (f"{TOKEN}\n{TOKEN}", 0o600, "wants one word"),
        ("", 0o600, "wants one word"),
    ],
)
def test_a_bad_token_file_is_named_and_its_words_are_not(
    tmp_path: Path, text: str, mode: int, why: str
) -> None:
    path = token_file(tmp_path, text, mode)
    with pytest.raises(ConfigError) as raised:
        read_token(path)
    assert str(raised.value).startswith(f"[http] token_file: {path}: {why}")
    assert TOKEN not in str(raised.value)


def test_a_missing_token_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_token(tmp_path / "none")
    with pytest.raises(ConfigError, match="Is a directory"):
        read_token(tmp_path)


# -- what the browser loads ----------------------------------------------------------------------


async def test_every_file_of_the_page_is_served_as_what_it_is() -> None:
    served = {}
    for path, route in pages._ASSETS.items():
        response = await route.handler(Request(Method.GET, path))
        assert isinstance(response.body, bytes)
        served[path] = (response.content_type.partition(";")[0], response.body.decode())
    assert {path: kind for path, (kind, _) in served.items()} == {
        "/": "text/html",
        "/bans.js": "text/javascript",
        "/charts.js": "text/javascript",
        "/icon.svg": "image/svg+xml",
        "/page.js": "text/javascript",
        "/status.css": "text/css",
        "/status.js": "text/javascript",
    }
    html = served["/"][1]
    for name in ("status.css", "status.js", "icon.svg"):
        assert f'"{name}"' in html
    assert "//" not in html.replace("</", "")  # nothing from elsewhere
    assert "style=" not in html
    assert " on" not in html.replace(" once", "")


async def test_the_page_has_the_strict_policy() -> None:
    response = await pages._ASSETS["/"].handler(Request(Method.GET, "/"))
    policy = response.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in policy
    assert "require-trusted-types-for 'script'" in policy
