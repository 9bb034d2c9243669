"""Reaching a backend: fail-over between addresses, and the PROXY header in front of everything.

What follows on the connection (greeting, STARTTLS, XCLIENT, IMAP ID) is the protocol's own and is
spoken by `session`.
"""

import contextlib
import encodings.idna  # noqa: F401  # ssl loads it late, when its file may no longer be readable
import socket
import ssl
from typing import Final

import trio

from gatekeeper.channel import Channel, connect, deadline_in
from gatekeeper.errors import BackendUnavailable, ChannelError, ConfigError
from gatekeeper.events import Client, MailProtocol
from gatekeeper.readiness import Readiness, Waiter
from gatekeeper.settings import Announce, BackendSettings, Endpoint, TlsMode
from gatekeeper.wire.proxy_header import TlsFacts, encode_v1, encode_v2

_REST_S: Final = 5.0  # a failed address is tried last for this long


class Backend:
    """One configured backend: its addresses, which of them failed lately, and its TLS context."""

    __slots__ = ("_failed_until", "_numeric", "context", "settings")

    def __init__(self, settings: BackendSettings) -> None:
        """Raises `ConfigError` where the CA file cannot be used."""
        self.settings = settings
        self.context: ssl.SSLContext | None = None
        if settings.tls is not TlsMode.NONE:
            self.context = _verifying_context(settings)
        self._failed_until: dict[Endpoint, float] = {}
        self._numeric = {endpoint: _is_numeric(endpoint.host) for endpoint in settings.address}

    async def open(
        self,
        client: Client,
        readiness: Readiness,
        waiter: Waiter,
        *,
        tls: TlsFacts | None,
        server_name: str | None,
    ) -> Channel:
        """A connected channel on which the client was announced by PROXY header and, where so
        configured, implicit TLS is up.

        Addresses are tried in order, those that failed in the last seconds last; each gets
        `connect_timeout_s`. Raises `BackendUnavailable` when none answers.
        """
        header = self._header(client, tls, server_name)
        failures: list[str] = []
        for endpoint in self._in_order():
            try:
                return await self._open_one(endpoint, header, readiness, waiter)
            except (ChannelError, OSError) as error:
                self._failed_until[endpoint] = trio.current_time() + _REST_S
                failures.append(f"{endpoint}: {error}")
        raise BackendUnavailable("; ".join(failures))

    def announces_tls(self, client: Client) -> bool:
        """Whether what the backend was told at the start of a connection says if TLS was on."""
        match self.settings.announce:
            case Announce.PROXY_V2:
                return self._sends_tlvs(client)
            case Announce.IMAP_ID:
                return True
            case Announce.PROXY_V1 | Announce.XCLIENT | Announce.NONE:
                return False

    async def start_tls(self, channel: Channel, endpoint_name: str = "") -> None:
        """Make `channel` a verified TLS leg. Raises `PeerBroken` or `DeadlineExceeded`."""
        assert self.context is not None, "a backend without TLS has no context"
        name = self.settings.tls_name or endpoint_name or self.settings.address[0].host
        deadline = deadline_in(self.settings.connect_timeout_s)
        await channel.handshake(self.context, deadline, server_name=name)

    def _in_order(self) -> list[Endpoint]:
        if not self._failed_until:
            return list(self.settings.address)
        now = trio.current_time()
        return sorted(
            self.settings.address, key=lambda endpoint: self._failed_until.get(endpoint, 0.0) > now
        )

    async def _open_one(
        self, endpoint: Endpoint, header: bytes, readiness: Readiness, waiter: Waiter
    ) -> Channel:
        deadline = deadline_in(self.settings.connect_timeout_s)
        family, address = await self._resolve(endpoint)
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        channel = Channel(sock, readiness, waiter)
        try:
            await connect(sock, address, channel, deadline)
            if header:
                await channel.send(header, deadline)  # whole, in one segment, before all else
            if self.settings.tls is TlsMode.IMPLICIT:
                await self.start_tls(channel, endpoint.host)
        except BaseException:
            channel.abort()
            raise
        self._failed_until.pop(endpoint, None)
        return channel

    async def _resolve(self, endpoint: Endpoint) -> tuple[int, tuple[str, int]]:
        if self._numeric[endpoint]:
            family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
            return family, (endpoint.host, endpoint.port)
        found = []
        with trio.move_on_after(self.settings.connect_timeout_s), contextlib.suppress(UnicodeError):
            found = await trio.socket.getaddrinfo(
                endpoint.host, endpoint.port, type=socket.SOCK_STREAM
            )
        if not found:
            raise OSError("the name has no address")
        family, _, _, _, address = found[0]
        return family, (str(address[0]), endpoint.port)

    def _sends_tlvs(self, client: Client) -> bool:
        if self.settings.proxy_tlvs is None:  # Exim refuses over 232 octets; Dovecot reads them
            return client.protocol is MailProtocol.IMAP
        return self.settings.proxy_tlvs

    def _header(self, client: Client, tls: TlsFacts | None, server_name: str | None) -> bytes:
        ends = (client.address, client.port, client.local_address, client.local_port)
        match self.settings.announce:
            case Announce.PROXY_V1:
                return encode_v1(*ends)
            case Announce.PROXY_V2:
                if self._sends_tlvs(client):
                    return encode_v2(*ends, tls=tls, server_name=server_name)
                return encode_v2(*ends)
            case Announce.XCLIENT | Announce.IMAP_ID | Announce.NONE:
                return b""


def _verifying_context(settings: BackendSettings) -> ssl.SSLContext:
    """A verifying client context for a backend leg. Raises `ConfigError`."""
    try:
        context = ssl.create_default_context(
            cafile=None if settings.tls_ca is None else str(settings.tls_ca)
        )
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"{settings.tls_ca}: not usable as CA file: {error}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _is_numeric(host: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):
            socket.inet_pton(family, host)
            return True
    return False
