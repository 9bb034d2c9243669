"""What imports read, within bounds: a file, standard input, or CrowdSec's local API."""

import sys
import time
from http.client import HTTPException
from ipaddress import ip_address
from pathlib import Path
from typing import Final, NoReturn, Protocol
from urllib.error import HTTPError, URLError
from urllib.parse import SplitResult, urlsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

from gatekeeper import __version__
from gatekeeper.cli.exits import say
from gatekeeper.errors import GatekeeperError
from gatekeeper.secret import Secret

MAX_OCTETS: Final = 64 * 1024 * 1024  # some 300,000 decisions, a million lines
TIMEOUT_S: Final = 30.0  # for each step of a transfer
DEADLINE_S: Final = 300.0  # for all of it
MAX_KEY_OCTETS: Final = 1024
_CHUNK_OCTETS: Final = 256 * 1024
_EVERYTHING: Final = "/v1/decisions/stream?startup=true"


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _NoRedirects(HTTPRedirectHandler):
    """The key is for whom the operator named, and for nobody he is sent on to."""

    def redirect_request(self, *_args: object) -> None:
        """No request: urllib raises the answer as an error."""
        return


def read_file(file: str) -> bytes:
    """All of a file, or of standard input for `-`. Raises `GatekeeperError` or `OSError`."""
    if file == "-":
        return _bounded(sys.stdin.buffer, file, None)
    with Path(file).open("rb") as stream:
        return _bounded(stream, file, None)


def age_s(file: str) -> float:
    """Seconds since a file was written, never negative; 0 for what is no regular file.

    Raises `OSError`.
    """
    if file == "-" or not Path(file).is_file():
        return 0.0
    return max(0.0, time.time() - Path(file).stat().st_mtime)


def is_url(source: str) -> bool:
    """Whether a source is a URL and no file."""
    return source.startswith(("http://", "https://"))


def read_url(url: str, key: Secret) -> bytes:
    """The body of the answer to GET; of all decisions where `url` has no path. `key`, where there
    is one, is sent as X-Api-Key; redirects and proxies are not followed.

    Raises `GatekeeperError`.
    """
    parts = _checked(url)
    if key and parts.scheme == "http" and not _is_here(parts.hostname or ""):
        say(f"{parts.hostname}: the API key goes there in clear, by http")
    full = url if parts.path.strip("/") else url.rstrip("/") + _EVERYTHING
    headers = {"User-Agent": f"gatekeeper/{__version__}", "Accept": "application/json"}
    if key:
        headers["X-Api-Key"] = key.declassify().decode("ascii")
    request = Request(full, headers=headers)  # noqa: S310  # http and https only, see is_url
    try:
        opener = build_opener(ProxyHandler({}), _NoRedirects())
        with opener.open(request, timeout=TIMEOUT_S) as answer:
            return _bounded(answer, where(url), time.monotonic() + DEADLINE_S)
    except HTTPError as error:
        error.close()
        _refused(where(url), error)
    except URLError as error:
        raise GatekeeperError(f"{where(url)}: {error.reason}") from error
    except (OSError, HTTPException, ValueError) as error:
        why = str(error) or type(error).__name__
        raise GatekeeperError(f"{where(url)}: {why}") from error


def where(source: str) -> str:
    """A file or URL as it is told and noted: without a query."""
    return source.partition("?")[0] if is_url(source) else source


def read_key(path: Path | None) -> Secret:
    """The API key in a file, an empty one for None. Raises `GatekeeperError` or `OSError`."""
    if path is None:
        return Secret(b"")
    with path.open("rb") as stream:
        octets = stream.read(MAX_KEY_OCTETS + 1).strip()
    if not octets or len(octets) > MAX_KEY_OCTETS or not octets.isascii():
        raise GatekeeperError(f"{path}: holds no API key")
    if not octets.decode().isprintable() or b" " in octets:
        raise GatekeeperError(f"{path}: holds more than an API key")
    return Secret(octets)


def _checked(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  # raises for a port that is none
    except ValueError as error:
        raise GatekeeperError(f"{where(url)}: {error}") from error
    if not parts.hostname:
        raise GatekeeperError(f"{where(url)}: names no host")
    if parts.username is not None or parts.password is not None:
        raise GatekeeperError("a URL with a user or a password in it is not used; "
                              "CrowdSec takes a key (--api-key-file)")  # fmt: skip
    return parts


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _refused(name: str, error: HTTPError) -> NoReturn:
    advice = " (is the API key right?)" if error.code in {401, 403} else ""
    raise GatekeeperError(f"{name}: answered {error.code} {error.reason}{advice}") from error


def _bounded(stream: _Readable, name: str, deadline: float | None) -> bytes:
    """All octets, at most `MAX_OCTETS`; `deadline` is of the monotonic clock."""
    octets = bytearray()
    while chunk := stream.read(_CHUNK_OCTETS):
        octets += chunk
        if len(octets) > MAX_OCTETS:
            raise GatekeeperError(f"{name}: longer than {MAX_OCTETS >> 20} MiB")
        if deadline is not None and time.monotonic() > deadline:
            raise GatekeeperError(f"{name}: not complete within {DEADLINE_S:g} s")
    return bytes(octets)
