"""Reaching a backend: fail-over between addresses, and the PROXY header in front of everything.

What follows on the connection (greeting, STARTTLS, XCLIENT, IMAP ID) is the protocol's own and is
spoken by `session`. Where clients are announced by their address alone (docs/transparent.md) a
`Dialler` makes the socket.
"""

import contextlib
import encodings.idna  # noqa: F401  # ssl loads it late, when its file may no longer be readable
import socket
import ssl
from collections.abc import Callable, Iterable
from typing import Final

import trio

from gatekeeper.abc import Dialler
from gatekeeper.authorities import verifying_context
from gatekeeper.channel import Channel, connect, connected, deadline_in
from gatekeeper.errors import BackendUnavailable, ChannelError, ConfigError, EnforcerError
from gatekeeper.events import Client, MailProtocol
from gatekeeper.policy.prefix_set import PrefixSet
from gatekeeper.prefix import Prefix
from gatekeeper.readiness import Readiness, Waiter
from gatekeeper.settings import Announce, BackendSettings, Endpoint, TlsMode
from gatekeeper.wire.proxy_header import TlsFacts, encode_v1, encode_v2

_UNROUTED: Final = (Prefix.parse("fe80::/10"),)  # means nothing without its link
_REST_S: Final = 5.0  # a failed address is tried last for this long


# Told of a backend: its name, how long a connection took, and why there is none, if so.
OnOpen = Callable[[str, float, str], None]


def _ignore(_name: str, _seconds: float, _why: str) -> None:
    """Nobody listens."""


class Backend:
    """One configured backend: its addresses, which of them failed lately, and its TLS context.

    `dialler` is to be there before a transparent backend is opened. `on_open`, the owner's to set,
    hears how each `open` went; it must be quick and must not raise.
    """

    __slots__ = ("_failed_until", "_near", "_numeric", "context", "dialler", "on_open", "settings")

    def __init__(self, settings: BackendSettings, near: Iterable[Prefix] = ()) -> None:
        """Clients in `near`, as this host, are not announced by their address, for replies to them
        would not come back. Raises `ConfigError` where the CA file cannot be used."""
        self.settings = settings
        self.dialler: Dialler | None = None
        self.on_open: OnOpen = _ignore
        self._near = PrefixSet((*near, *_UNROUTED))
        self.context: ssl.SSLContext | None = None
        if settings.tls is not TlsMode.NONE:
            self.context = _tls_context(settings)
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
        `connect_timeout_s`. Of a transparent backend only those of the client's family are: from
        another the client would look like somebody else. Raises `BackendUnavailable` when none
        answers.
        """
        header = self._header(client, tls, server_name)
        source = client if self._shows_address(client) else None
        failures: list[str] = []
        begun = trio.current_time()
        for endpoint in self._in_order():
            if source is not None and _version(source.address) != _version(endpoint.host):
                continue
            try:
                channel = await self._open_one(endpoint, source, header, readiness, waiter)
                self.on_open(self.settings.name, trio.current_time() - begun, "")
                return channel
            except (ChannelError, EnforcerError, OSError) as error:
                self._failed_until[endpoint] = trio.current_time() + _REST_S
                failures.append(f"{endpoint}: {error}")
        if source is not None and not failures:
            failures = [f"transparent: it has no IPv{_version(source.address)} address"]
        why = "; ".join(failures)
        self.on_open(self.settings.name, trio.current_time() - begun, why)
        raise BackendUnavailable(why)

    def announces_tls(self, client: Client) -> bool:
        """Whether what the backend was told at the start of a connection says if TLS was on."""
        match self.settings.announce:
            case Announce.PROXY_V2:
                return self._sends_tlvs(client)
            case Announce.IMAP_ID:
                return True
            case Announce.PROXY_V1 | Announce.XCLIENT | Announce.TRANSPARENT | Announce.NONE:
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
        self,
        endpoint: Endpoint,
        source: Client | None,
        header: bytes,
        readiness: Readiness,
        waiter: Waiter,
    ) -> Channel:
        """As `open`, of one address; `source` is the client to come as, None for ourselves."""
        deadline = deadline_in(self.settings.connect_timeout_s)
        address = None
        if source is None:
            family, address = await self._resolve(endpoint)
            sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        else:
            sock = await self._dial(endpoint, source, deadline)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        channel = Channel(sock, readiness, waiter)
        try:
            if address is None:
                await connected(channel, deadline)
            else:
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

    async def _dial(self, endpoint: Endpoint, source: Client, deadline: float) -> socket.socket:
        if self.dialler is None:
            raise EnforcerError("transparent: there is no kernel process")
        try:
            with trio.fail_at(deadline):
                return await self.dialler.dial(endpoint, source.address, source.port)
        except trio.TooSlowError as error:
            raise EnforcerError("transparent: the kernel process does not answer") from error
        except EnforcerError as error:
            raise EnforcerError(f"transparent: {error}") from error

    def _shows_address(self, client: Client) -> bool:
        """Whether the backend is to see a connection from the client's address."""
        if self.settings.announce is not Announce.TRANSPARENT:
            return False
        return not self._near.overlaps(Prefix.parse(client.address.partition("%")[0]))

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
            case Announce.XCLIENT | Announce.IMAP_ID | Announce.TRANSPARENT | Announce.NONE:
                return b""


def _tls_context(settings: BackendSettings) -> ssl.SSLContext:
    """A verifying client context for a backend leg. Raises `ConfigError`."""
    try:
        context = verifying_context(settings.tls_ca)
    except OSError as error:
        name = f"[backend.{settings.name}] tls_ca: {settings.tls_ca}"
        raise ConfigError(f"{name}: not usable as CA file: {error.strerror}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _version(host: str) -> int:
    return 6 if ":" in host else 4


def _is_numeric(host: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):
            socket.inet_pton(family, host)
            return True
    return False
