"""A DNS server on loopback for one Trio run: UDP and TCP on one port, answering by a table."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import trio

from gatekeeper.settings import Endpoint


class Manner(Enum):
    """How a name is answered, where not with its records."""

    SILENCE = "silence"
    SERVFAIL = "servfail"
    REFUSED = "refused"
    TRUNCATED = "truncated"  # by UDP; by TCP all of it comes
    CUT = "cut"  # a message that ends in the middle
    FOREIGN = "foreign"  # with another id, as who guesses would send it
    CUT_BY_TCP = "cut-by-tcp"  # truncated by UDP
    FOREIGN_BY_TCP = "foreign-by-tcp"


@dataclass
class DnsServer:
    """`records` holds lines of a zone file by name: `60 IN A 127.0.0.2`."""

    endpoint: Endpoint
    records: dict[str, list[str]] = field(default_factory=dict)
    manners: dict[str, Manner] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)  # name and `udp` or `tcp`

    def reply(self, wire: bytes, transport: str) -> bytes | None:
        """The answer to one query, None for silence."""
        query = dns.message.from_wire(wire)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True)
        self.asked.append((name, transport))
        manner = self.manners.get(name)
        answer = dns.message.make_response(query, recursion_available=True)
        match manner:
            case Manner.SILENCE:
                return None
            case Manner.SERVFAIL | Manner.REFUSED:
                answer.set_rcode(dns.rcode.from_text(manner.value))
                return answer.to_wire()
            case Manner.FOREIGN:
                answer.id ^= 1
                return answer.to_wire()
            case Manner.TRUNCATED | Manner.CUT_BY_TCP | Manner.FOREIGN_BY_TCP if transport == "udp":
                answer.flags |= dns.flags.TC
                return answer.to_wire()
            case Manner.FOREIGN_BY_TCP:
                answer.id ^= 1
        self._fill(answer, name, dns.rdatatype.to_text(question.rdtype))
        octets = answer.to_wire(max_size=65_535)
        return octets[: len(octets) // 2] if manner in {Manner.CUT, Manner.CUT_BY_TCP} else octets

    def _fill(self, answer: dns.message.Message, name: str, wanted: str) -> None:
        lines = self.records.get(name)
        if lines is None:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        found = []
        for line in lines or ():
            ttl, _, type_, rest = line.split(" ", 3)
            if type_ in {wanted, "CNAME"}:
                found.append(dns.rrset.from_text(f"{name}.", int(ttl), "IN", type_, rest))
            if type_ == "CNAME":
                self._fill(answer, rest.rstrip("."), wanted)
        for one in found:
            same = answer.find_rrset(answer.answer, one.name, one.rdclass, one.rdtype, create=True)
            for record in one:
                same.add(record, one.ttl)
        if not answer.answer:
            soa = "ns.example. root.example. 1 2 3 4 120"
            answer.authority = [dns.rrset.from_text("example.", 300, "IN", "SOA", soa)]

    async def _serve_udp(self, sock: trio.socket.SocketType) -> None:
        while True:
            wire, peer = await sock.recvfrom(4096)
            octets = self.reply(wire, "udp")
            if octets is not None:
                await sock.sendto(octets, peer)

    async def _serve_tcp(self, stream: trio.SocketStream) -> None:
        head = await stream.receive_some(2)
        size = int.from_bytes(bytes(head))
        wire = b""
        while len(wire) < size:
            wire += bytes(await stream.receive_some(size - len(wire)))
        octets = self.reply(wire, "tcp")
        if octets is not None:
            await stream.send_all(len(octets).to_bytes(2) + octets)
        await stream.aclose()


@asynccontextmanager
async def dns_server(*, tcp: bool = True) -> AsyncIterator[DnsServer]:
    """A server for the block."""
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    with trio.socket.socket(type=socket.SOCK_DGRAM) as udp:
        await udp.bind(("127.0.0.1", port))
        server = DnsServer(Endpoint("127.0.0.1", port))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server._serve_udp, udp)
            if tcp:
                await nursery.start(trio.serve_listeners, server._serve_tcp, [listener])
            else:
                await listener.aclose()
            yield server
            nursery.cancel_scope.cancel()
