"""Reaching a backend from the client's own address: who is shown, where it is tried, what fails."""

import socket
from dataclasses import replace

import pytest
import trio
from fake_dialler import FakeDialler
from legs import Legs, full_backlog, legs, listening
from rig import virtual_time

from gatekeeper.errors import BackendUnavailable
from gatekeeper.events import Client, MailProtocol
from gatekeeper.prefix import Prefix, entity
from gatekeeper.settings import Announce, BackendSettings, Endpoint
from gatekeeper.upstream import Backend

CLIENT = Client("127.0.0.9", 41_000, "127.0.0.1", 993, entity("127.0.0.9"), "l", MailProtocol.IMAP)
OVER_V6 = replace(CLIENT, address="2001:db8::9", entity=entity("2001:db8::9"))
NOWHERE_V6 = Endpoint("2001:db8::1", 143)

Listener = trio.socket.SocketType


def endpoint(listener: Listener) -> Endpoint:
    return Endpoint(*listener.getsockname()[:2])


def transparent(*addresses: Endpoint, near: tuple[str, ...] = (), silent: bool = False) -> Backend:
    settings = BackendSettings("b", addresses, announce=Announce.TRANSPARENT, connect_timeout_s=2.0)
    backend = Backend(settings, map(Prefix.parse, near))
    backend.dialler = FakeDialler(addresses, silent)
    return backend


async def caller(
    made: Legs, backend: Backend, listener: Listener, client: Client = CLIENT
) -> tuple[str, int]:
    """Whom the backend sees when `client` is let through."""
    channel = await backend.open(client, made.readiness, made.waiter, tls=None, server_name=None)
    made.keep(channel)
    assert channel.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    with trio.fail_after(1):
        far, (host, port, *_) = await listener.accept()
    far.close()
    channel.close()
    return host, port


async def failure(made: Legs, backend: Backend, client: Client = CLIENT) -> str:
    with pytest.raises(BackendUnavailable) as caught:
        await backend.open(client, made.readiness, made.waiter, tls=None, server_name=None)
    return str(caught.value)


@virtual_time
async def test_the_backend_sees_the_clients_own_address_and_port() -> None:
    async with legs() as made:
        with listening() as listener:
            seen = await caller(made, transparent(endpoint(listener)), listener)
            assert seen == (CLIENT.address, CLIENT.port)


@pytest.mark.parametrize("near", ["127.0.0.9", "127.0.0.0/8"])
@virtual_time
async def test_who_is_near_is_not_forged(near: str) -> None:
    async with legs() as made:
        with listening() as listener:
            seen = await caller(made, transparent(endpoint(listener), near=(near,)), listener)
            assert seen[0] == "127.0.0.1"


@virtual_time
async def test_a_link_local_client_comes_as_the_guard() -> None:
    async with legs() as made:
        with listening() as listener:
            client = replace(CLIENT, address="fe80::9%eth0", entity=entity("fe80::9"))
            seen = await caller(made, transparent(endpoint(listener)), listener, client)
            assert seen[0] == "127.0.0.1"


@virtual_time
async def test_only_addresses_of_the_clients_family_are_tried() -> None:
    async with legs() as made:
        with listening() as listener:
            backend = transparent(NOWHERE_V6, endpoint(listener))
            assert await caller(made, backend, listener) == (CLIENT.address, CLIENT.port)
            assert isinstance(backend.dialler, FakeDialler)
            assert [target for target, _, _ in backend.dialler.dialled] == [endpoint(listener)]


@virtual_time
async def test_no_address_of_the_clients_family_is_unavailable() -> None:
    async with legs() as made:
        with listening() as listener:
            backend = transparent(endpoint(listener))
            text = await failure(made, backend, OVER_V6)
            assert text == "transparent: it has no IPv6 address"


@virtual_time
async def test_a_refused_address_is_left_for_the_next_and_rests() -> None:
    async with legs() as made:
        with listening() as listener:
            gone = endpoint(listener)
        with listening() as second:
            backend = transparent(gone, endpoint(second))
            assert (await caller(made, backend, second))[0] == CLIENT.address
            assert (await caller(made, backend, second))[0] == CLIENT.address
            assert isinstance(backend.dialler, FakeDialler)
            tried = [target for target, _, _ in backend.dialler.dialled]
            assert tried == [gone, endpoint(second), endpoint(second)]


@virtual_time
async def test_an_address_that_does_not_answer_costs_its_time() -> None:
    async with legs() as made:
        with full_backlog() as silent, listening() as second:
            backend = transparent(Endpoint(*silent), endpoint(second))
            started = trio.current_time()
            assert (await caller(made, backend, second))[0] == CLIENT.address
            assert 2 <= trio.current_time() - started <= 4


@virtual_time
async def test_a_kernel_process_that_does_not_answer_is_named_in_time() -> None:
    async with legs() as made:
        with listening() as listener:
            backend = transparent(endpoint(listener), silent=True)
            started = trio.current_time()
            text = await failure(made, backend)
            assert text.endswith("transparent: the kernel process does not answer")
            assert trio.current_time() - started == pytest.approx(2.0)


@virtual_time
async def test_what_the_kernel_process_refuses_is_named() -> None:
    async with legs() as made:
        with listening() as listener:
            backend = transparent(endpoint(listener))
            backend.dialler = FakeDialler(())
            text = await failure(made, backend)
            assert text == f"{endpoint(listener)}: transparent: not known: that takes a restart"


@virtual_time
async def test_without_a_kernel_process_nobody_is_let_through_in_another_name() -> None:
    async with legs() as made:
        with listening() as listener:
            backend = transparent(endpoint(listener))
            backend.dialler = None
            assert "transparent: there is no kernel process" in await failure(made, backend)


def test_nothing_is_said_of_tls() -> None:
    assert not transparent(NOWHERE_V6).announces_tls(CLIENT)
