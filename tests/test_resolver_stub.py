"""The stub resolver against a server of its own: transports, servers that fail, resolv.conf."""

import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import dns.message
import pytest
import trio
from contracts import resolver as world
from contracts.resolver import ADDRESSES, DEADLINE_S, LISTED, failure
from dns_server import DnsServer, Manner, dns_server
from rig import virtual_time

from gatekeeper.abc import Resolver
from gatekeeper.records import Question, RecordType
from gatekeeper.resolver.stub import (
    MAX_ANSWER_OCTETS,
    MAX_RECORDS,
    UDP_OCTETS,
    StubResolver,
    system_servers,
)
from gatekeeper.settings import Endpoint


def furnish(server: DnsServer) -> None:
    """Make the contract's world."""
    server.records["listed.example"] = [f"60 IN A {address}" for address in ADDRESSES]
    server.records["alias.example"] = ["300 IN CNAME listed.example."]
    server.records["bare.example"] = [
        "60 IN AAAA 2001:db8::1",
        "60 IN PTR mx.example.",
        "60 IN MX 10 mx.example.",
        '60 IN TXT "v=spf1" " -all"',
    ]
    server.manners["failing.example"] = Manner.SERVFAIL
    server.manners["silent.example"] = Manner.SILENCE


@asynccontextmanager
async def stub_of_the_world() -> AsyncIterator[StubResolver]:
    """A stub whose only server answers as the contract wants."""
    async with dns_server() as server:
        furnish(server)
        yield StubResolver((server.endpoint,), DEADLINE_S)


class TestStubResolver(world.ResolverContract):
    @asynccontextmanager
    async def resolver(self) -> AsyncIterator[Resolver]:
        async with stub_of_the_world() as stub:
            yield stub


async def test_a_truncated_answer_comes_whole_by_tcp() -> None:
    # A clock that jumps takes no notice of threads.
    async with dns_server() as server:
        addresses = {f"127.0.{number}.2" for number in range(200)}
        server.records["many.example"] = [f"60 IN A {address}" for address in addresses]
        server.manners["many.example"] = Manner.TRUNCATED
        stub = StubResolver((server.endpoint,), DEADLINE_S)
        answer = await stub.resolve(Question("many.example", RecordType.A))
    assert set(answer.records) == addresses
    assert server.asked == [("many.example", "udp"), ("many.example", "tcp")]


@virtual_time
async def test_a_truncated_answer_that_tcp_does_not_complete_is_none() -> None:
    """As of rbldnsd, which has no TCP: half an answer must not be read as a whole one."""
    async with dns_server(tcp=False) as server:
        furnish(server)
        server.manners["listed.example"] = Manner.TRUNCATED
        stub = StubResolver((server.endpoint,), DEADLINE_S)
        assert (await failure(stub, LISTED)).endswith("Connection refused")
    assert set(server.asked) == {("listed.example", "udp")}


@virtual_time
async def test_more_records_than_anybody_needs_are_a_failure() -> None:
    async with dns_server() as server:
        server.records["many.example"] = [
            f"60 IN A 127.1.{number // 256}.{number % 256}" for number in range(MAX_RECORDS + 1)
        ]
        server.manners["many.example"] = Manner.TRUNCATED
        stub = StubResolver((server.endpoint,), DEADLINE_S)
        why = await failure(stub, Question("many.example", RecordType.A))
    assert why == "its answer has too many records"


LONG_TEXT = "60 IN TXT " + " ".join(['""'] * MAX_ANSWER_OCTETS)  # an octet each
REFERENCE = Question("long.example", RecordType.TXT)


@virtual_time
async def test_an_answer_longer_than_anybody_needs_is_not_read() -> None:
    """To read 64 KiB of a stranger's took 150 to 340 ms, in which nothing else was done."""
    async with dns_server() as server:
        server.records["long.example"] = [LONG_TEXT]
        server.manners["long.example"] = Manner.TRUNCATED
        stub = StubResolver((server.endpoint,), DEADLINE_S)
        assert await failure(stub, REFERENCE) == "its answer is too long"


async def test_what_came_by_tcp_is_read_beside_the_event_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    readers = []
    read = dns.message.from_wire

    def watched(*args: Any, **kwargs: Any) -> dns.message.Message:  # noqa: ANN401  as the library's
        if len(args[0]) > UDP_OCTETS:
            readers.append(threading.current_thread())
        return read(*args, **kwargs)

    async with dns_server() as server:
        server.records["long.example"] = ["60 IN TXT " + " ".join(['"x"'] * UDP_OCTETS)]
        server.manners["long.example"] = Manner.TRUNCATED
        stub = StubResolver((server.endpoint,), DEADLINE_S)
        monkeypatch.setattr(dns.message, "from_wire", watched)
        assert (await stub.resolve(REFERENCE)).records == ("x" * UDP_OCTETS,)
    assert readers
    assert threading.main_thread() not in readers


@pytest.mark.parametrize("manner", [Manner.CUT_BY_TCP, Manner.FOREIGN_BY_TCP])
async def test_octets_by_tcp_that_are_no_answer_are_a_failure(manner: Manner) -> None:
    async with dns_server() as server:
        furnish(server)
        server.manners["listed.example"] = manner
        stub = StubResolver((server.endpoint,), DEADLINE_S)
        assert "answer" in await failure(stub, LISTED)
        assert ("listed.example", "tcp") in server.asked


@pytest.mark.parametrize("manner", [Manner.CUT, Manner.FOREIGN])
@virtual_time
async def test_octets_that_are_no_answer_are_as_none(manner: Manner) -> None:
    async with dns_server() as server:
        furnish(server)
        server.manners["listed.example"] = manner
        stub = StubResolver((server.endpoint,), DEADLINE_S)
        assert await failure(stub, LISTED) == "no answer in time"
        assert server.asked == [("listed.example", "udp")] * 2


@pytest.mark.parametrize("manner", [Manner.SILENCE, Manner.SERVFAIL, Manner.REFUSED])
@virtual_time
async def test_the_next_server_is_asked(manner: Manner) -> None:
    async with dns_server() as first, dns_server() as second:
        furnish(first)
        furnish(second)
        first.manners["listed.example"] = manner
        stub = StubResolver((first.endpoint, second.endpoint), DEADLINE_S)
        assert set((await stub.resolve(LISTED)).records) == ADDRESSES
        assert len(first.asked) == len(second.asked) == 1


@virtual_time
async def test_a_server_that_does_not_run_is_noticed_at_once() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as gone:
        gone.bind(("127.0.0.1", 0))
        port = gone.getsockname()[1]
    started = trio.current_time()
    stub = StubResolver((Endpoint("127.0.0.1", port),), DEADLINE_S)
    assert await failure(stub, LISTED) == "Connection refused"
    assert trio.current_time() - started < DEADLINE_S / 4


@virtual_time
async def test_the_time_of_what_is_not_there_is_the_zones() -> None:
    async with stub_of_the_world() as stub:
        answer = await stub.resolve(world.ABSENT)
    assert answer.ttl_s == 120.0  # the least of the SOA record and its minimum (RFC 2308 5)


def test_servers_of_the_system(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text(
        "# nameserver 192.0.2.1\nsearch example\nnameserver 192.0.2.53\nnameserver\n"
        "nameserver fe80::1%eth0\nnameserver nonsense\noptions edns0\n"
        "nameserver 2001:db8::53\nnameserver 192.0.2.4\n"
    )
    hosts = ("192.0.2.53", "fe80::1%eth0", "2001:db8::53")
    assert system_servers(file) == tuple(Endpoint(host, 53) for host in hosts)


@pytest.mark.parametrize("text", ["", "search example\n", None])
def test_the_own_host_where_the_system_names_no_server(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "resolv.conf"
    if text is not None:
        file.write_text(text)
    assert system_servers(file) == (Endpoint("127.0.0.1", 53),)
