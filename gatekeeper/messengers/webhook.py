"""A web service that a notice is posted to (RFC 9112), over verified TLS.

Its address may hold a secret, as many services have it, so no message of an error holds more of it
than the host. A redirect is no success: a notice goes to whom the operator named.
"""

import os
import ssl
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import h11
import trio

from gatekeeper import __version__
from gatekeeper.authorities import verifying_context
from gatekeeper.errors import ConfigError, DeliveryError
from gatekeeper.secret import Secret

RETRY_AFTER_S: Final = (5.0, 25.0)  # a service that restarts is back by then
READ_OCTETS: Final = 4096
MAX_HEAD_OCTETS: Final = 16 * 1024  # of the response; its content is not read
_HTTPS_PORT: Final = 443
_TOO_MANY: Final = 429  # RFC 6585 4
_SERVERS_FAULT: Final = 500


class _NotNow(DeliveryError):
    """Another try may help."""


class Webhook:
    """Implements `gatekeeper.abc.Messenger`."""

    name = "webhook"

    def __init__(
        self,
        url: Secret,
        deadline_s: float,
        *,
        authorization: Secret | None = None,
        ca: Path | None = None,
    ) -> None:
        """`url` is https; `authorization` is the whole value of that field; without `ca` the
        system's store is trusted. Raises `ConfigError` where the CA file cannot be used."""
        parts = urlsplit(url.declassify().decode())
        self._host = parts.hostname or ""
        self._port = parts.port or _HTTPS_PORT
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._authorization = authorization
        self._context = _tls_context(ca)
        self._deadline_s = deadline_s

    async def send(self, body: bytes, *, patient: bool = True) -> None:
        """See `Messenger.send`. Success is a status of 2xx; 429, 5xx and what fails on the way are
        tried again."""
        for pause_s in (*(RETRY_AFTER_S if patient else ()), None):
            try:
                await self._try(body)
            except _NotNow as error:
                if pause_s is None:
                    raise DeliveryError(str(error)) from None
                await trio.sleep(pause_s)
            else:
                return

    async def _try(self, body: bytes) -> None:
        try:
            with trio.fail_after(self._deadline_s):
                status = await self._post(body)
        except trio.TooSlowError:
            raise _NotNow(f"{self._host}: no answer within {self._deadline_s:g} s") from None
        except (OSError, trio.BrokenResourceError, ssl.SSLError) as error:
            raise _NotNow(f"{self._host}: {_reason(error)}") from None
        except h11.RemoteProtocolError:
            raise _NotNow(f"{self._host}: its answer is not HTTP") from None
        if status == _TOO_MANY or status >= _SERVERS_FAULT:
            raise _NotNow(f"{self._host}: HTTP status {status}")
        if not 200 <= status < 300:
            raise DeliveryError(f"{self._host}: HTTP status {status}")

    async def _post(self, body: bytes) -> int:
        """The status of the answer."""
        plain = await trio.open_tcp_stream(self._host, self._port)
        stream = trio.SSLStream(
            plain, self._context, server_hostname=self._host, https_compatible=True
        )
        try:
            await stream.do_handshake()
            http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_OCTETS)
            await stream.send_all(self._request(http, body))
            return await _status(http, stream)
        finally:
            await trio.aclose_forcefully(stream)

    def _request(self, http: h11.Connection, body: bytes) -> bytes:
        default = self._port == _HTTPS_PORT
        host = f"[{self._host}]" if ":" in self._host else self._host
        headers = [
            ("Host", host if default else f"{host}:{self._port}"),
            ("User-Agent", f"gatekeeper/{__version__}"),
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            ("Connection", "close"),
        ]
        if self._authorization is not None:
            headers.append(("Authorization", self._authorization.declassify().decode()))
        request = h11.Request(method="POST", target=self._target, headers=headers)
        events = (request, h11.Data(body), h11.EndOfMessage())
        return b"".join(http.send(event) or b"" for event in events)


async def _status(http: h11.Connection, stream: trio.SSLStream[trio.SocketStream]) -> int:
    while True:
        event = http.next_event()
        if isinstance(event, h11.Response):
            return event.status_code
        if event is h11.NEED_DATA:
            http.receive_data(bytes(await stream.receive_some(READ_OCTETS)))
        elif not isinstance(event, h11.InformationalResponse):
            raise h11.RemoteProtocolError("no response")


def _tls_context(ca: Path | None) -> ssl.SSLContext:
    try:
        return verifying_context(ca)
    except OSError as error:
        raise ConfigError(f"[notify] webhook_ca: {ca}: {error.strerror}") from error


def _reason(error: Exception) -> str:
    """What went wrong, without the address: a library may have quoted it."""
    match _cause(error):
        case ssl.SSLCertVerificationError(verify_message=text):
            return f"TLS: {text}"
        case ssl.SSLError(reason=reason):
            return f"TLS: {(reason or 'failed').lower().replace('_', ' ')}"
        case OSError(errno=number) if number and number > 0:
            return os.strerror(number)
        case OSError() as cause:  # of names: not the numbers of errno(3)
            return cause.strerror or type(cause).__name__
        case _:
            return "the connection broke"


def _cause(error: BaseException) -> BaseException:
    """What is at the bottom of it; of several addresses that were tried, the first one's."""
    if isinstance(error, BaseExceptionGroup):
        return _cause(error.exceptions[0])
    return error if error.__cause__ is None else _cause(error.__cause__)
