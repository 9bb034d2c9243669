"""One question to one of the configured servers, by dnspython's Trio backend.

Nothing is remembered here. UDP with EDNS (RFC 6891) first, TCP where the answer was truncated
(RFC 7766 5); the servers do the recursion. Each question has a socket of its own, connected: a
server that does not run is noticed at once, and a stranger's datagram never arrives.

What an answer holds is often up to a stranger, and to read one takes some microseconds for each
record and each string. What came by TCP may be much, so it is bounded and read in a thread.
"""

import socket
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import dns.asyncbackend
import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdata
import dns.rdatatype
import dns.rdtypes.ANY.CNAME
import dns.rdtypes.ANY.MX
import dns.rdtypes.ANY.NS
import dns.rdtypes.ANY.OPT
import dns.rdtypes.ANY.PTR
import dns.rdtypes.ANY.SOA
import dns.rdtypes.ANY.TXT
import dns.rdtypes.IN.A
import dns.rdtypes.IN.AAAA
import trio

from gatekeeper.errors import ResolverError, ResolverSilent
from gatekeeper.prefix import pack_address
from gatekeeper.records import Answer, Question, RecordType
from gatekeeper.settings import Endpoint

RESOLV_CONF: Final = Path("/etc/resolv.conf")
PORT: Final = 53
MAX_SERVERS: Final = 3  # as the C library: MAXNS of resolv.conf(5)
ATTEMPTS: Final = 2  # at least: a datagram may be lost
UDP_OCTETS: Final = 1232  # no fragments on any path (DNS flag day 2020)
MAX_RECORDS: Final = 256  # of one answer
MAX_ANSWER_OCTETS: Final = 8_192  # by TCP; domains with many TXT records have some thousands
_READERS: Final = 1  # threads; only one runs Python at a time, and the event loop is to be it
_HEAD: Final = struct.Struct("!6H")  # RFC 1035 4.1.1: the last four are counts
_NOT_RECORDS: Final = 2  # in them: the question and OPT
_TYPES: Final = {type_: dns.rdatatype.from_text(type_.value) for type_ in RecordType}
# The guard has dropped its rights when it asks, and may not be able to load modules any more: what
# dnspython loads when it is needed is loaded here.
_BACKEND: Final = dns.asyncbackend.get_backend("trio")
_IN_TIME: Final = "no answer in time"
_LOOPBACK: Final = (Endpoint("127.0.0.1", PORT),)  # resolv.conf(5): where no server is named


class StubResolver:
    """Implements `gatekeeper.abc.Resolver`, without a memory."""

    def __init__(self, servers: Sequence[Endpoint], deadline_s: float) -> None:
        """Ask `servers` in their order, one alone twice; all of it within `deadline_s`."""
        self._readers = trio.CapacityLimiter(_READERS)
        self._servers = tuple(servers)[:MAX_SERVERS] or _LOOPBACK
        self._deadline_s = deadline_s

    def known(self, question: Question) -> Answer | None:
        """See `Resolver.known`."""
        del question
        return None

    def forget(self, question: Question) -> None:
        """See `Resolver.forget`."""

    async def resolve(self, question: Question) -> Answer:
        """See `Resolver.resolve`."""
        try:
            query = dns.message.make_query(
                question.name, _TYPES[question.type], use_edns=0, payload=UDP_OCTETS
            )
        except dns.exception.DNSException:
            raise ResolverError("not a name DNS can be asked for") from None
        attempts = self._servers * (ATTEMPTS if len(self._servers) == 1 else 1)
        why, heard = _IN_TIME, False
        for server in attempts:
            try:
                with trio.fail_after(self._deadline_s / len(attempts)):
                    return _read(await self._exchange(query, server))
            except trio.TooSlowError:
                why = _IN_TIME
                continue
            except ResolverError as error:
                why = str(error)
            except OSError as error:
                why = error.strerror or type(error).__name__
            except (dns.exception.DNSException, EOFError, ValueError) as error:
                why = f"its answer is broken: {type(error).__name__}"
            heard = True
        raise ResolverError(why) if heard else ResolverSilent(why)

    async def _exchange(
        self, query: dns.message.Message, server: Endpoint
    ) -> dns.message.QueryMessage:
        family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
        datagrams = await _BACKEND.make_socket(  # type: ignore[no-untyped-call]  # in its code
            family, socket.SOCK_DGRAM, 0, None, (server.host, server.port)
        )
        try:
            async with datagrams:
                answer: dns.message.Message = await dns.asyncquery.udp(
                    query,
                    server.host,
                    port=server.port,
                    sock=datagrams,
                    backend=_BACKEND,
                    ignore_errors=True,
                    raise_on_truncation=True,
                )
        except dns.message.Truncated:
            octets = await _by_tcp(query.to_wire(), server, family)
            answer = await trio.to_thread.run_sync(
                dns.message.from_wire, octets, abandon_on_cancel=True, limiter=self._readers
            )
        if not (isinstance(answer, dns.message.QueryMessage) and query.is_response(answer)):
            raise ResolverError("its answer is no answer to a query")
        return answer


async def _by_tcp(query: bytes, server: Endpoint, family: int) -> bytes:
    """The answer's octets (RFC 1035 4.2.2). Raises `OSError`, `EOFError` or `ResolverError`."""
    with trio.socket.socket(family, socket.SOCK_STREAM) as sock:
        await sock.connect((server.host, server.port))
        stream = trio.SocketStream(sock)
        try:
            await stream.send_all(len(query).to_bytes(2) + query)
            size = int.from_bytes(await _exactly(stream, 2))
            if size > MAX_ANSWER_OCTETS:
                raise ResolverError("its answer is too long")
            octets = await _exactly(stream, size)
        except trio.BrokenResourceError as error:
            raise EOFError from error
    if size < _HEAD.size:
        raise EOFError
    if sum(_HEAD.unpack_from(octets)[2:]) > MAX_RECORDS + _NOT_RECORDS:
        raise ResolverError("its answer has too many records")
    return octets


async def _exactly(stream: trio.SocketStream, count: int) -> bytes:
    octets = b""
    while len(octets) < count:
        more = await stream.receive_some(count - len(octets))
        if not more:
            raise EOFError
        octets += more
    return octets


def _read(message: dns.message.QueryMessage) -> Answer:
    code = message.rcode()
    if code not in {dns.rcode.NOERROR, dns.rcode.NXDOMAIN}:
        raise ResolverError(dns.rcode.to_text(code))
    chain = message.resolve_chaining()
    if chain.answer is None:
        return Answer((), float(chain.minimum_ttl))
    records = [text for text in map(_text, chain.answer) if text is not None]
    if len(records) > MAX_RECORDS:
        raise ResolverError("its answer has too many records")
    return Answer(tuple(records), float(chain.minimum_ttl))


def _text(record: dns.rdata.Rdata) -> str | None:
    match record:
        case dns.rdtypes.ANY.MX.MX():
            return f"{record.preference} {record.exchange.to_text(omit_final_dot=True)}"
        case dns.rdtypes.ANY.PTR.PTR():
            return record.target.to_text(omit_final_dot=True)
        case dns.rdtypes.ANY.TXT.TXT():
            return b"".join(record.strings).decode("utf-8", "backslashreplace")
        case _:
            return record.to_text()


def system_servers(path: Path = RESOLV_CONF) -> tuple[Endpoint, ...]:
    """The servers of resolv.conf(5); the host's own where it names none or cannot be read."""
    try:
        text = path.read_bytes().decode("utf-8", "replace")  # no codec to be loaded: see `_BACKEND`
    except OSError:
        return _LOOPBACK
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) < 2 or words[0] != "nameserver":
            continue
        try:
            pack_address(words[1].partition("%")[0])
        except ValueError:
            continue
        found.append(Endpoint(words[1], PORT))
    return tuple(found[:MAX_SERVERS]) or _LOOPBACK
