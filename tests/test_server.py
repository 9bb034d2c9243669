"""Accepting: the banned are reset before anything else, and no overload ends the loop."""

import errno
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import cast

import pytest
import trio
from legs import reset
from rig import Rig, guard, virtual_time
from rig_ends import PATIENCE_S, Peer
from trio.testing import wait_all_tasks_blocked

from gatekeeper.ban import Scope
from gatekeeper.events import ConnectionOpened, MailProtocol
from gatekeeper.ledger import Ledger
from gatekeeper.prefix import Prefix
from gatekeeper.server import OVERLOAD_PAUSE_S, Server, bind
from gatekeeper.settings import Endpoint, LimitSettings, PolicySettings, TlsMode
from gatekeeper.verdict import Reason

SETTLE_S = 0.005


@dataclass
class Serving:
    """A server on one listening socket, with a real Ledger that exempts nobody."""

    rig: Rig
    server: Server
    ledger: Ledger
    address: tuple[str, int]
    overloads: list[str]

    async def connect(self) -> Peer:
        family = socket.AF_INET6 if ":" in self.address[0] else socket.AF_INET
        sock = trio.socket.socket(family)
        await sock.connect(self.address)
        return self.rig._keep(Peer("the client", sock))

    async def greeted(self) -> Peer:
        """A client whose session has begun."""
        client = await self.connect()
        backend = await self.rig.accept_backend()
        await backend.send(b"220 mx.example ESMTP\r\n")
        await client.hear(b"220 mx.example ESMTP\r\n")
        return client

    def ban(self, prefix: str, scope: Scope) -> None:
        assert self.ledger.ban(Prefix.parse(prefix), scope, Reason.OPERATOR, seconds=600)


@asynccontextmanager
async def serving(
    host: str = "127.0.0.1",
    *,
    protocol: MailProtocol = MailProtocol.SMTP,
    limits: LimitSettings | None = None,
    proxy_protocol_from: tuple[str, ...] = (),
) -> AsyncIterator[Serving]:
    async with guard(
        protocol=protocol, limits=limits, proxy_protocol_from=proxy_protocol_from
    ) as rig:
        ledger = Ledger(PolicySettings(), (), lambda: 1000.0)
        overloads: list[str] = []
        sock = bind(Endpoint(host, 0), TlsMode.NONE)
        host, port = sock.getsockname()[:2]
        async with trio.open_nursery() as sessions, trio.open_nursery() as listeners:
            server = Server({"l": rig.service}, rig.table, ledger, overloads.append)
            listeners.start_soon(server.accept_forever, sock, "l", sessions)
            yield Serving(rig, server, ledger, (host, port), overloads)
            listeners.cancel_scope.cancel()
            rig.hang_up()
        assert sock.fileno() == -1  # closed with its loop


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@virtual_time
async def test_a_connection_becomes_a_session(host: str) -> None:
    async with serving(host) as made:
        await made.greeted()
        assert made.server.accepted == 1
        assert [view.address for view in made.rig.table.list()] == [host]


@pytest.mark.parametrize(
    ("host", "prefix"),
    [("127.0.0.1", "127.0.0.1"), ("127.0.0.1", "127.0.0.0/24"), ("::1", "::/64")],
)
@virtual_time
async def test_a_banned_client_is_reset_before_anything_else(host: str, prefix: str) -> None:
    async with serving(host) as made:
        made.ban(prefix, Scope.MX)
        client = await made.connect()
        await client.hear_reset()
        assert made.server.refused_banned == 1
        assert made.rig.judge.events == []
        assert len(made.rig.table) == 0
        await made.rig.no_backend_wanted()


@virtual_time
async def test_a_ban_in_the_other_scope_keeps_nobody_out() -> None:
    async with serving() as made:
        made.ban("127.0.0.1", Scope.AUTH)
        await made.greeted()
        assert made.server.refused_banned == 0


@virtual_time
async def test_submission_is_in_the_scope_of_auth() -> None:
    async with serving(protocol=MailProtocol.SUBMISSION) as made:
        made.ban("127.0.0.1", Scope.AUTH)
        await (await made.connect()).hear_reset()


@virtual_time
async def test_a_balancer_is_not_taken_for_its_clients() -> None:
    async with serving(proxy_protocol_from=("127.0.0.1",)) as made:
        made.ban("127.0.0.1", Scope.MX)
        client = await made.connect()
        await client.send(b"PROXY TCP4 192.0.2.1 198.51.100.1 4000 25\r\n")
        backend = await made.rig.accept_backend()
        await backend.send(b"220 mx.example ESMTP\r\n")
        await client.hear(b"220 mx.example ESMTP\r\n")
        assert made.server.refused_banned == 0


@virtual_time
async def test_an_address_has_a_limit_of_sessions() -> None:
    async with serving(limits=LimitSettings(sessions_per_address=2)) as made:
        clients = [await made.greeted() for _ in range(2)]
        await (await made.connect()).hear_reset()
        assert len(made.rig.judge.heard(ConnectionOpened)) == 2
        clients[0].close()
        await wait_all_tasks_blocked(SETTLE_S)
        await made.greeted()


@virtual_time
async def test_the_whole_guard_has_a_limit_of_sessions() -> None:
    async with serving(limits=LimitSettings(sessions=1)) as made:
        first = await made.greeted()
        await made.connect()
        await first.hear_until_end()


@virtual_time
async def test_later_connections_get_the_new_service() -> None:
    async with serving() as made:
        old = await made.greeted()
        service = made.rig.service
        other = replace(service.listener, proxy_protocol_from=(Prefix.parse("127.0.0.1"),))
        made.server.services = {"l": replace(service, listener=other)}
        new = await made.connect()
        await made.rig.no_backend_wanted()  # the new one waits for a PROXY header
        await new.send(b"PROXY TCP4 192.0.2.1 198.51.100.1 4000 25\r\n")
        await made.rig.accept_backend()
        await old.hear_nothing()


@virtual_time
async def test_a_client_that_is_gone_already_does_no_harm() -> None:
    async with serving() as made:
        sock = socket.create_connection(made.address)
        reset(sock)
        (await made.rig.accept_backend()).close()
        await wait_all_tasks_blocked(SETTLE_S)
        await made.greeted()


class TiredSocket:
    """A listening socket of a machine that is out of descriptors for a while."""

    def __init__(self, sock: socket.socket, failures: list[int]) -> None:
        self.sock = sock
        self.failures = failures
        self.tried_at: list[float] = []

    def __enter__(self) -> "TiredSocket":
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def fileno(self) -> int:
        return self.sock.fileno()

    def accept(self) -> tuple[socket.socket, tuple[str, int]]:
        self.tried_at.append(trio.current_time())
        if self.failures:
            raise OSError(self.failures.pop(0), "made up")
        return self.sock.accept()


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
@virtual_time
async def test_out_of_descriptors_the_loop_pauses_and_goes_on(code: int) -> None:
    async with serving() as made, trio.open_nursery() as nursery:
        tired = TiredSocket(bind(Endpoint("127.0.0.1", 0), TlsMode.NONE), [code, code])
        made.address = tired.sock.getsockname()
        nursery.start_soon(made.server.accept_forever, cast("socket.socket", tired), "l", nursery)
        with trio.fail_after(PATIENCE_S):
            await made.greeted()
        assert made.overloads == [errno.errorcode[code]] * 2
        assert tired.tried_at[1] - tired.tried_at[0] >= OVERLOAD_PAUSE_S
        nursery.cancel_scope.cancel()


@virtual_time
async def test_an_error_of_one_connection_costs_only_that_one() -> None:
    async with serving() as made, trio.open_nursery() as nursery:
        failures = [errno.ECONNABORTED, errno.EPROTO, errno.EPERM]
        tired = TiredSocket(bind(Endpoint("127.0.0.1", 0), TlsMode.NONE), failures)
        made.address = tired.sock.getsockname()
        nursery.start_soon(made.server.accept_forever, cast("socket.socket", tired), "l", nursery)
        await made.greeted()
        assert made.overloads == []
        nursery.cancel_scope.cancel()


def test_a_port_in_use_is_an_error_and_leaks_nothing() -> None:
    first = bind(Endpoint("127.0.0.1", 0), TlsMode.IMPLICIT)
    with pytest.raises(OSError, match="in use"):
        bind(Endpoint(*first.getsockname()), TlsMode.NONE)
    first.close()


def test_ipv6_leaves_ipv4_to_its_own_socket() -> None:
    with bind(Endpoint("::", 0), TlsMode.NONE) as sock:
        assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1
