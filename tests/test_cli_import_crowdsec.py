"""`gatekeeper import crowdsec`: files, and a local API over HTTP."""

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from import_rig import held, rigged, run, seconds

from gatekeeper.cli import import_input as input_module

KEY = "0123456789abcdef-key"


def decision(value: str, duration: str = "4h0m0s", **more: str) -> dict[str, str]:
    scope = "Range" if "/" in value else "Ip"
    return {"value": value, "scope": scope, "type": "ban", "duration": duration} | more


ANSWER = json.dumps(
    {
        "new": [
            decision("192.0.2.1", "3h59m58.5s"),
            decision("203.0.113.0/24"),
            decision("198.51.100.7"),
            decision("192.0.2.9", type="captcha"),
            decision("10.0.0.0/8"),
        ],
        "deleted": [decision("192.0.2.10", "-1m")],
    }
)


class Api(ThreadingHTTPServer):
    """A local API that answers `body` to whoever has the key, or as `status` says."""

    daemon_threads = True
    body = ANSWER.encode()
    status = 200

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.asked: list[str] = []
        self.cut_off = threading.Event()

    def handle_error(self, request: object, client_address: object) -> None:
        """The client has hung up."""
        self.cut_off.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Answering(BaseHTTPRequestHandler):
    """One request."""

    server: Api  # type: ignore[mutable-override]  # as the library means it

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        right = self.headers["X-Api-Key"] == KEY
        self.send_response(self.server.status if right else 403)
        self.send_header("Location", f"{self.server.url}/elsewhere")
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@contextmanager
def api() -> Iterator[Api]:
    with Api() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def key_file(tmp_path: Path) -> str:
    path = tmp_path / "key"
    path.write_text(KEY + "\n")
    return str(path)


async def test_decisions_of_a_file_are_imported_and_age_with_it(tmp_path: Path) -> None:
    file = tmp_path / "decisions.json"
    file.write_text(ANSWER)
    an_hour_ago = time.time() - 3600
    os.utime(file, (an_hour_ago, an_hour_ago))
    async with rigged(tmp_path) as rig:
        result = await run(rig, "crowdsec", str(file))
        bans = held(rig)
        assert set(bans) == {("192.0.2.1", "auth"), ("203.0.113.0/24", "auth")}
        assert seconds(rig, "192.0.2.1") == pytest.approx(3 * 3600 - 1.5, abs=3)
        assert bans["192.0.2.1", "auth"].note == "crowdsec decisions.json"
    assert result.stdout == (
        "6 decisions read, 3 bans to make;"
        " left out: 1 deleted, 1 no ban, 1 no network that can be banned\n"
        "2 imported, 1 never banned\n"
    )
    assert "10.0.0.0/8: too wide to be banned" in result.stderr


async def test_decisions_come_by_standard_input(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        alerts = json.dumps([{"decisions": [decision("192.0.2.1")]}])
        result = await run(rig, "crowdsec", "-", "--scope", "mx", stdin=alerts)
        assert result.stdout == "1 decisions read, 1 bans to make\n1 imported\n"
        assert seconds(rig, "192.0.2.1", "mx") == 4 * 3600


async def test_the_local_api_is_asked_for_everything_with_the_key(
    tmp_path: Path, key_file: str
) -> None:
    async with rigged(tmp_path) as rig:
        with api() as server:
            result = await run(rig, "crowdsec", server.url, "--api-key-file", key_file)
            await run(rig, "crowdsec", f"{server.url}/v1/decisions?x=1", "--api-key-file", key_file)
        assert result.exit_code == 0, result.output
        assert server.asked == ["/v1/decisions/stream?startup=true", "/v1/decisions?x=1"]
        assert held(rig)["192.0.2.1", "auth"].note == f"crowdsec {server.url}"
    assert KEY not in result.output


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (302, "answered 302 Found"),
        (403, "answered 403 Forbidden (is the API key right?)"),
        (500, "answered 500 Internal Server Error"),
    ],
)
async def test_an_answer_that_is_none_is_said_and_not_followed(
    tmp_path: Path, key_file: str, status: int, says: str
) -> None:
    async with rigged(tmp_path) as rig:
        with api() as server:
            server.status = status
            result = await run(rig, "crowdsec", server.url, "--api-key-file", key_file)
        assert len(server.asked) == 1
        assert not held(rig)
    assert (result.exit_code, result.stderr) == (1, f"gatekeeper: {server.url}: {says}\n")


async def test_an_answer_that_is_too_long_is_not_read_to_its_end(
    tmp_path: Path, key_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(input_module, "MAX_OCTETS", 1 << 20)
    async with rigged(tmp_path) as rig:
        with api() as server:
            server.body = b" " * (64 << 20)
            result = await run(rig, "crowdsec", server.url, "--api-key-file", key_file)
            assert server.cut_off.wait(10)
    assert (result.exit_code, result.stderr) == (
        1,
        f"gatekeeper: {server.url}: longer than 1 MiB\n",
    )


async def test_what_is_no_answer_of_crowdsec_is_said(tmp_path: Path, key_file: str) -> None:
    async with rigged(tmp_path) as rig:
        result = await run(rig, "crowdsec", "-", stdin="<html>")
        assert (result.exit_code, result.stderr) == (1, "gatekeeper: -: no decisions of CrowdSec\n")
        with api() as server:
            pass
        result = await run(rig, "crowdsec", server.url, "--api-key-file", key_file)
        assert result.exit_code == 1
        assert "Connection refused" in result.stderr


@pytest.mark.parametrize(
    ("source", "code", "says"),
    [
        ("http://", 1, "names no host"),
        ("http://[::1", 1, "Invalid IPv6 URL"),
        ("http://127.0.0.1:port/", 1, "Port could not be cast"),
        (f"http://user:{KEY}@127.0.0.1/", 1, "with a user or a password"),
        ("ftp://127.0.0.1/", 2, "--api-key-file is for a URL"),
    ],
)
async def test_a_url_that_cannot_be_used_is_said(
    tmp_path: Path, key_file: str, source: str, code: int, says: str
) -> None:
    async with rigged(tmp_path) as rig:
        result = await run(rig, "crowdsec", source, "--api-key-file", key_file)
    assert result.exit_code == code, result.output
    (line,) = result.stderr.splitlines()
    assert says in line
    assert KEY not in line


@pytest.mark.parametrize("octets", [b"", b" \n", b"a b", b"a\nb", b"\xff", b"x" * 1025])
async def test_a_file_that_holds_no_key_is_said_without_its_content(
    tmp_path: Path, octets: bytes
) -> None:
    path = tmp_path / "key"
    path.write_bytes(octets)
    async with rigged(tmp_path) as rig:
        command = ("crowdsec", "http://127.0.0.1:9", "--api-key-file", str(path))
        result = await run(rig, *command)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"gatekeeper: {path}: holds ")
