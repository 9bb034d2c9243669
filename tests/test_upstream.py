"""Reaching backends: which address is tried when, and what goes first on the wire."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest
import trio
from legs import Far, Legs, full_backlog, legs, listening, written
from rig import virtual_time
from rig_ends import HOSTNAME, authority
from trio.testing import wait_all_tasks_blocked

from gatekeeper.channel import Channel, deadline_in
from gatekeeper.errors import BackendUnavailable, ConfigError
from gatekeeper.events import Client, MailProtocol
from gatekeeper.prefix import entity
from gatekeeper.settings import Announce, BackendSettings, Endpoint, TlsMode
from gatekeeper.upstream import Backend
from gatekeeper.wire.proxy_header import ProxyHeader, TlsFacts, encode_v2, read_proxy_header

IMAP_CLIENT = Client(
    "192.0.2.1", 4000, "198.51.100.1", 993, entity("192.0.2.1"), "imaps", MailProtocol.IMAP
)
MX_CLIENT = replace(IMAP_CLIENT, protocol=MailProtocol.SMTP)
ENDS = ("192.0.2.1", 4000, "198.51.100.1", 993)
FACTS = TlsFacts("TLSv1.3", "TLS_AES_256_GCM_SHA384")

Listener = trio.socket.SocketType


def endpoint(listener: Listener) -> Endpoint:
    host, port = listener.getsockname()[:2]
    return Endpoint(host, port)


def a_backend(*addresses: Endpoint, **settings: object) -> Backend:
    return Backend(replace(BackendSettings("b", addresses), **settings))  # type: ignore[arg-type]  # names are the record's own


@asynccontextmanager
async def opened(
    made: Legs, backend: Backend, client: Client = IMAP_CLIENT
) -> AsyncIterator[Channel]:
    channel = await backend.open(
        client, made.readiness, made.waiter, tls=FACTS, server_name="mail.example"
    )
    try:
        yield made.keep(channel)
    finally:
        channel.close()


async def accept(listener: Listener) -> Far:
    with trio.fail_after(1):
        sock, _ = await listener.accept()
    return Far(sock)


async def reached(made: Legs, backend: Backend, *listeners: Listener) -> int:
    """Which of `listeners` a new connection goes to."""
    async with opened(made, backend) as channel:
        peer = channel.sock.getpeername()
    number = [listener.getsockname() for listener in listeners].index(peer)
    (await accept(listeners[number])).close()
    return number


def refusing() -> Endpoint:
    """An address that nobody listens on."""
    with listening() as listener:
        return endpoint(listener)


# -- addresses -----------------------------------------------------------------------------------


@virtual_time
async def test_the_first_address_that_answers_wins() -> None:
    async with legs() as made:
        with listening() as first, listening() as second:
            backend = a_backend(endpoint(first), endpoint(second))
            assert await reached(made, backend, first, second) == 0
            assert await reached(made, backend, first, second) == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
@virtual_time
async def test_addresses_may_be_of_either_family_or_names(host: str) -> None:
    async with legs() as made:
        family = "::1" if host == "::1" else "127.0.0.1"
        if host == "localhost":
            family = str(socket.getaddrinfo(host, 1, type=socket.SOCK_STREAM)[0][4][0])
        with listening(family) as listener:
            backend = a_backend(Endpoint(host, listener.getsockname()[1]))
            async with opened(made, backend) as channel:
                far = await accept(listener)
                await channel.send(b"NOOP\r\n", deadline_in(5))
                assert await far.hear(6) == b"NOOP\r\n"
                far.close()


@virtual_time
async def test_a_refused_address_is_left_for_the_next_and_rests() -> None:
    async with legs() as made:
        gone = refusing()
        with listening() as second:
            backend = a_backend(gone, endpoint(second))
            assert await reached(made, backend, second) == 0
            # The first one is back, but is not tried before it has rested.
            with socket.create_server((gone.host, gone.port)) as again:
                first = trio.socket.from_stdlib_socket(again)
                assert await reached(made, backend, first, second) == 1
                await trio.sleep(5.5)
                assert await reached(made, backend, first, second) == 0


@virtual_time
async def test_a_resting_address_is_tried_where_no_other_answers() -> None:
    async with legs() as made:
        gone, also_gone = refusing(), refusing()
        backend = a_backend(gone, also_gone)
        heard: list[tuple[str, str]] = []
        backend.on_open = lambda name, _seconds, why: heard.append((name, why))
        with pytest.raises(BackendUnavailable) as caught:
            await reached(made, backend)
        assert str(gone) in str(caught.value)
        assert str(also_gone) in str(caught.value)
        assert "ECONNREFUSED" in str(caught.value)
        assert heard == [("b", str(caught.value))]
        with socket.create_server((gone.host, gone.port)) as again:
            assert await reached(made, backend, trio.socket.from_stdlib_socket(again)) == 0
        assert heard[1:] == [("b", "")]


@virtual_time
async def test_an_address_that_does_not_answer_costs_its_time_once() -> None:
    async with legs() as made:
        with full_backlog() as silent, listening() as second:
            backend = a_backend(Endpoint(*silent), endpoint(second), connect_timeout_s=2.0)
            started = trio.current_time()
            assert await reached(made, backend, second) == 0
            assert 2 <= trio.current_time() - started <= 4
            started = trio.current_time()
            assert await reached(made, backend, second) == 0
            assert trio.current_time() - started < 1


@pytest.mark.parametrize("name", ["nowhere.invalid", "a" * 64 + ".example", "\N{SNOWMAN}" * 70])
@virtual_time
async def test_a_name_without_address_is_unavailable(name: str) -> None:
    class Resolver(trio.abc.HostnameResolver):
        async def getaddrinfo(self, *_: object) -> NoReturn:
            await trio.lowlevel.checkpoint()
            if len(name) > 63:
                name.encode("idna")
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        async def getnameinfo(self, *_: object) -> tuple[str, str]:
            raise NotImplementedError

    trio.socket.set_custom_hostname_resolver(Resolver())
    async with legs() as made:
        with listening() as second:
            with pytest.raises(BackendUnavailable):
                await reached(made, a_backend(Endpoint(name, 143)))
            assert await reached(made, a_backend(Endpoint(name, 1), endpoint(second)), second) == 0


@virtual_time
async def test_a_cancelled_open_leaves_no_descriptor() -> None:
    async with legs() as made:
        with full_backlog() as silent:
            with trio.move_on_after(0.5) as scope:
                await reached(made, a_backend(Endpoint(*silent)))
            assert scope.cancelled_caught
        # The next one likely has its number: it must be free in the epoll as well.
        with listening() as listener:
            assert await reached(made, a_backend(endpoint(listener)), listener) == 0


# -- announcing ----------------------------------------------------------------------------------


async def first_octets(made: Legs, client: Client, **settings: object) -> bytes:
    """What is on the wire before the word `first` of the session."""
    with listening() as listener:
        backend = a_backend(endpoint(listener), **settings)
        async with opened(made, backend, client) as channel:
            far = await accept(listener)
            await channel.send(b"first", deadline_in(5))
            channel.close()
            got = await far.hear_all()
            far.close()
    assert got.endswith(b"first")
    return got[:-5]


@virtual_time
async def test_proxy_v1_comes_first() -> None:
    async with legs() as made:
        got = await first_octets(made, MX_CLIENT, announce=Announce.PROXY_V1)
        assert got == b"PROXY TCP4 192.0.2.1 198.51.100.1 4000 993\r\n"


@pytest.mark.parametrize("announce", [Announce.NONE, Announce.XCLIENT, Announce.IMAP_ID])
@virtual_time
async def test_other_announcements_have_no_header(announce: Announce) -> None:
    async with legs() as made:
        assert await first_octets(made, MX_CLIENT, announce=announce) == b""


@pytest.mark.parametrize(
    ("client", "proxy_tlvs", "sends_tlvs"),
    [
        (IMAP_CLIENT, None, True),
        (MX_CLIENT, None, False),
        (IMAP_CLIENT, False, False),
        (MX_CLIENT, True, True),
    ],
)
@virtual_time
async def test_proxy_v2_has_its_tlvs_by_protocol(
    client: Client, proxy_tlvs: bool | None, sends_tlvs: bool
) -> None:
    async with legs() as made:
        got = await first_octets(made, client, announce=Announce.PROXY_V2, proxy_tlvs=proxy_tlvs)
        header = read_proxy_header(got)
        assert isinstance(header, ProxyHeader)
        assert (header.source, header.source_port) == ENDS[:2]
        with_tlvs = encode_v2(*ENDS, tls=FACTS, server_name="mail.example")
        assert got == (with_tlvs if sends_tlvs else encode_v2(*ENDS))
        settings = BackendSettings("b", (), announce=Announce.PROXY_V2, proxy_tlvs=proxy_tlvs)
        assert Backend(settings).announces_tls(client) is sends_tlvs


@pytest.mark.parametrize(
    ("announce", "told"),
    [
        (Announce.NONE, False),
        (Announce.PROXY_V1, False),
        (Announce.XCLIENT, False),
        (Announce.IMAP_ID, True),
    ],
)
def test_which_announcements_tell_of_tls(announce: Announce, told: bool) -> None:
    assert Backend(BackendSettings("b", (), announce=announce)).announces_tls(IMAP_CLIENT) is told


# -- TLS -----------------------------------------------------------------------------------------


async def serve_tls(listener: Listener, name: str, heard: list[bytes], before: int) -> None:
    far = await accept(listener)
    if before:
        heard.append(await far.hear(before))
    assert isinstance(far.stream, trio.SocketStream)
    stream = trio.SSLStream(far.stream, authority().server_context(name), server_side=True)
    try:
        await stream.do_handshake()
        heard.append(bytes(await stream.receive_some()))
    except trio.BrokenResourceError:
        heard.append(b"refused")
    far.close()


@virtual_time
async def test_the_header_comes_before_implicit_tls() -> None:
    async with legs() as made:
        header = encode_v2(*ENDS)
        heard: list[bytes] = []
        with listening() as listener:
            backend = a_backend(
                endpoint(listener),
                tls=TlsMode.IMPLICIT,
                tls_ca=authority().file,
                tls_name=HOSTNAME,
                announce=Announce.PROXY_V2,
            )
            async with trio.open_nursery() as nursery:
                nursery.start_soon(serve_tls, listener, HOSTNAME, heard, len(header))
                async with opened(made, backend, MX_CLIENT) as channel:
                    await channel.send(b"EHLO x\r\n", deadline_in(5))
                    await wait_all_tasks_blocked(0.01)
        assert heard == [header, b"EHLO x\r\n"]


@virtual_time
async def test_a_certificate_of_another_name_is_unavailable() -> None:
    async with legs() as made:
        heard: list[bytes] = []
        with listening() as listener:
            backend = a_backend(
                endpoint(listener),
                tls=TlsMode.IMPLICIT,
                tls_ca=authority().file,
                tls_name="elsewhere.example",
            )
            async with trio.open_nursery() as nursery:
                nursery.start_soon(serve_tls, listener, HOSTNAME, heard, 0)
                with pytest.raises(BackendUnavailable, match="certificate verify failed"):
                    await reached(made, backend)
        assert heard == [b"refused"]


@virtual_time
async def test_an_authority_that_is_not_trusted_is_unavailable() -> None:
    async with legs() as made:
        heard: list[bytes] = []
        with listening() as listener:
            backend = a_backend(endpoint(listener), tls=TlsMode.IMPLICIT, tls_name=HOSTNAME)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(serve_tls, listener, HOSTNAME, heard, 0)
                with pytest.raises(BackendUnavailable, match="certificate verify failed"):
                    await reached(made, backend)


@virtual_time
async def test_without_a_name_the_address_itself_is_verified() -> None:
    async with legs() as made:
        heard: list[bytes] = []
        with listening() as listener:
            backend = a_backend(endpoint(listener), tls=TlsMode.IMPLICIT, tls_ca=authority().file)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(serve_tls, listener, "127.0.0.1", heard, 0)
                async with opened(made, backend) as channel:
                    await channel.send(b"hi", deadline_in(5))
                    await wait_all_tasks_blocked(0.01)
        assert heard == [b"hi"]


@pytest.mark.parametrize("content", [None, b"", b"no PEM\n"])
def test_a_ca_file_that_cannot_be_used_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        written(path, content)
    with pytest.raises(ConfigError, match=r"ca\.pem"):
        a_backend(Endpoint("127.0.0.1", 1), tls=TlsMode.STARTTLS, tls_ca=path)
