"""A resolver for benches: a thread on loopback that answers all lists alike, late or not at all."""

import heapq
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Final

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

_LISTED_NET: Final = ("198", "19")  # of 198.18.0.0/15 (RFC 2544): the upper half is listed
_TTL_S: Final = 900


class Manner(Enum):
    """How it answers."""

    SOUND = "sound"
    SILENT = "silent"
    REFUSING = "refusing"
    FAILING = "SERVFAIL"
    UNREACHABLE = "unreachable"  # nobody listens: the kernel says so at once


_CODES: Final = {Manner.REFUSING: dns.rcode.REFUSED, Manner.FAILING: dns.rcode.SERVFAIL}


@dataclass
class Answers:
    """A running resolver: its port on 127.0.0.1, and how many questions have come."""

    port: int
    asked: int = 0


@contextmanager
def dns_answers(manner: Manner, delay_s: float = 0.0) -> Iterator[Answers]:
    """Run it. Sound answers name 198.19.0.0/16 as 127.0.0.2 in every list
    but DNSWL, give senders' domains an address, and nothing else; each is `delay_s` late."""
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        running = Answers(int(sock.getsockname()[1]))
        if manner is Manner.UNREACHABLE:
            sock.close()
            yield running
            return
        over = threading.Event()
        thread = threading.Thread(
            target=_serve, args=(sock, running, manner, delay_s, over), daemon=True
        )
        thread.start()
        try:
            yield running
        finally:
            over.set()
            thread.join()


def _serve(
    sock: socket.socket, running: Answers, manner: Manner, delay_s: float, over: threading.Event
) -> None:
    due: list[tuple[float, int, bytes, tuple[str, int]]] = []
    while not over.is_set():
        wait_s = max(0.0, due[0][0] - time.monotonic()) if due else 0.05
        if select.select([sock], [], [], min(wait_s, 0.05))[0]:
            query, peer = sock.recvfrom(4096)
            running.asked += 1
            if manner is not Manner.SILENT:
                entry = (time.monotonic() + delay_s, running.asked, _answer(query, manner), peer)
                heapq.heappush(due, entry)
        while due and due[0][0] <= time.monotonic():
            _, _, octets, peer = heapq.heappop(due)
            sock.sendto(octets, peer)


def _answer(query: bytes, manner: Manner) -> bytes:
    message = dns.message.from_wire(query)
    answer = dns.message.make_response(message, recursion_available=True)
    question = message.question[0]
    if manner in _CODES:
        answer.set_rcode(_CODES[manner])
        return answer.to_wire()
    record = _record(question.name.to_text().split("."))
    if question.rdtype == dns.rdatatype.A and record:
        answer.answer = [dns.rrset.from_text(question.name, _TTL_S, "IN", "A", record)]
        return answer.to_wire()
    soa = f"ns.example. root.example. 1 3600 600 86400 {_TTL_S}"
    answer.authority = [dns.rrset.from_text("example.", _TTL_S, "IN", "SOA", soa)]
    answer.set_rcode(dns.rcode.NXDOMAIN)
    return answer.to_wire()


def _record(labels: list[str]) -> str:
    """The address of a name, empty where it has none."""
    if labels[-3:-1] == ["bench", "test"]:
        return "192.0.2.25"
    listed = "dnswl" not in labels and len(labels) > 4 and (labels[3], labels[2]) == _LISTED_NET
    return "127.0.0.2" if listed else ""
