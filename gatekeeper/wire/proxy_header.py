"""The PROXY protocol, versions 1 and 2: made for backends, read from balancers.

Source: HAProxy, doc/proxy-protocol.txt. The header is the first thing on a connection, before TLS;
Postfix and Exim want it whole in one segment and short (536 and 232 octets), so TLVs are the
caller's choice. A header is believed only from peers the operator named.
"""

from dataclasses import dataclass
from struct import Struct
from typing import Final

from gatekeeper.events import Violation, ViolationKind
from gatekeeper.prefix import Prefix, pack_address
from gatekeeper.wire.need_more import NeedMore
from gatekeeper.wire.server_name import read_server_name

MAX_V1_OCTETS: Final = 107  # section 2.1: the longest possible line, CRLF included
MAX_V2_OCTETS: Final = 4_096  # the length field allows 65,551; real TLVs need a few hundred
MAX_TLV_OCTETS: Final = 255  # ALPN names and host names are shorter; keeps Exim's 232 in reach

_SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_V1_PREFIX: Final = b"PROXY "
_V2_FIXED: Final = Struct(">BBH")  # version and command, family, length of the rest
_V2_FIXED_OCTETS: Final = 16
_V2_LOCAL: Final = 0x20
_V2_PROXY: Final = 0x21
_UNSPEC: Final = 0x00
_TCP4: Final = 0x11
_TCP6: Final = 0x21
_PORTS: Final = Struct(">HH")
_V4_MAPPED: Final = b"\x00" * 10 + b"\xff\xff"
_MAX_PORT: Final = 65_535

_TLV_HEADER: Final = Struct(">BH")
_TLV_ALPN: Final = 0x01
_TLV_AUTHORITY: Final = 0x02
_TLV_SSL: Final = 0x20
_TLV_SSL_VERSION: Final = 0x21
_TLV_SSL_CIPHER: Final = 0x23
# Section 2.2.6: the client came over TLS; `verify` is not zero because it showed no certificate.
_SSL_CLIENT_VERIFY: Final = b"\x01" + b"\x00\x00\x00\x01"

LOCAL_V2: Final = _SIGNATURE + _V2_FIXED.pack(_V2_LOCAL, _UNSPEC, 0)
"""For the guard's own connections: health checks (section 2.2, LOCAL)."""


@dataclass(frozen=True, slots=True)
class TlsFacts:
    """What the client's TLS became, in the words of OpenSSL: `TLSv1.3`, a cipher's name."""

    version: str
    cipher: str


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """A header that was read; `size_octets` of it precede the client's own octets.

    Addresses are canonical, IPv4-mapped ones as IPv4. `source` and `destination` are None where
    the header speaks of no client (LOCAL, UNKNOWN): the socket's own addresses hold.
    """

    source: str | None
    source_port: int
    destination: str | None
    destination_port: int
    size_octets: int


BAD_HEADER: Final = Violation(ViolationKind.PROXY_HEADER, b"", fatal=True)


def encode_v1(source: str, source_port: int, destination: str, destination_port: int) -> bytes:
    """The line of version 1. Raises `ValueError` where an address is none."""
    from_address, to_address = _same_family(source, destination)
    family = "TCP4" if len(from_address) == 4 else "TCP6"
    texts = f"{_address_text(from_address)} {_address_text(to_address)}"
    return f"PROXY {family} {texts} {source_port} {destination_port}\r\n".encode("ascii")


def encode_v2(
    source: str,
    source_port: int,
    destination: str,
    destination_port: int,
    *,
    tls: TlsFacts | None = None,
    server_name: str | None = None,
    alpn: bytes | None = None,
) -> bytes:
    """The header of version 2, with a TLV for each fact given.

    A `server_name` that is no DNS name is left out: Dovecot drops the connection over one.
    Raises `ValueError` where an address is none.
    """
    from_address, to_address = _same_family(source, destination)
    body = from_address + to_address + _PORTS.pack(source_port, destination_port)
    if alpn and len(alpn) <= MAX_TLV_OCTETS:
        body += _tlv(_TLV_ALPN, alpn)
    if server_name and (name := read_server_name(server_name.encode("utf-8", "replace"))):
        body += _tlv(_TLV_AUTHORITY, name.encode("ascii"))
    if tls is not None:
        body += _tls_tlv(tls)
    family = _TCP4 if len(from_address) == 4 else _TCP6
    return _SIGNATURE + _V2_FIXED.pack(_V2_PROXY, family, len(body)) + body


def read_proxy_header(octets: bytes) -> ProxyHeader | NeedMore | Violation:
    """Read the header at the start of `octets`, which is everything received so far.

    Both versions are taken. `Violation` where it is no header, is too long, or speaks of
    anything but TCP over IP.
    """
    if octets.startswith(_SIGNATURE):
        return _read_v2(octets)
    if octets.startswith(_V1_PREFIX):
        return _read_v1(octets)
    if _SIGNATURE.startswith(octets) or _V1_PREFIX.startswith(octets):
        return NeedMore(len(_V1_PREFIX) if octets[:1] == b"P" or not octets else _V2_FIXED_OCTETS)
    return BAD_HEADER


def _read_v1(octets: bytes) -> ProxyHeader | NeedMore | Violation:
    """`PROXY TCP4|TCP6 source destination port port CRLF`, one blank between each."""
    end = octets.find(b"\r\n", 0, MAX_V1_OCTETS)
    if end < 0:
        return NeedMore(len(octets) + 1) if len(octets) < MAX_V1_OCTETS else BAD_HEADER
    size_octets = end + 2
    family, *words = octets[len(_V1_PREFIX) : end].decode("latin-1").split(" ")
    if family == "UNKNOWN":
        return ProxyHeader(None, 0, None, 0, size_octets)  # section 2.1: ignore the rest
    if family not in {"TCP4", "TCP6"} or len(words) != 4:
        return BAD_HEADER
    try:
        if any((":" in address) != (family == "TCP6") for address in words[:2]):
            return BAD_HEADER
        source, destination = (_canonical(pack_address(address)) for address in words[:2])
        source_port, destination_port = (_read_port(port) for port in words[2:])
    except ValueError:
        return BAD_HEADER
    return ProxyHeader(source, source_port, destination, destination_port, size_octets)


def _read_v2(octets: bytes) -> ProxyHeader | NeedMore | Violation:
    """The signature, four fixed octets, the addresses, and TLVs, which are not read."""
    if len(octets) < _V2_FIXED_OCTETS:
        return NeedMore(_V2_FIXED_OCTETS)
    command, family, length = _V2_FIXED.unpack_from(octets, len(_SIGNATURE))
    size_octets = _V2_FIXED_OCTETS + length
    if command not in {_V2_LOCAL, _V2_PROXY} or size_octets > MAX_V2_OCTETS:
        return BAD_HEADER
    if len(octets) < size_octets:
        return NeedMore(size_octets)
    if command == _V2_LOCAL or family == _UNSPEC:
        return ProxyHeader(None, 0, None, 0, size_octets)
    width = {_TCP4: 4, _TCP6: 16}.get(family)
    if width is None or length < 2 * width + _PORTS.size:
        return BAD_HEADER
    middle = _V2_FIXED_OCTETS + width
    source_port, destination_port = _PORTS.unpack_from(octets, middle + width)
    return ProxyHeader(
        _canonical(octets[_V2_FIXED_OCTETS:middle]),
        source_port,
        _canonical(octets[middle : middle + width]),
        destination_port,
        size_octets,
    )


def _read_port(text: str) -> int:
    """A port in one to five digits without leading zeros. Raises `ValueError`."""
    if not (text.isascii() and text.isdigit()) or len(text) > 5 or (text[0] == "0" != text):
        raise ValueError("not a port")
    port = int(text)
    if port > _MAX_PORT:
        raise ValueError("port out of range")
    return port


def _same_family(source: str, destination: str) -> tuple[bytes, bytes]:
    """Both addresses packed, as IPv6 (one of them mapped) where they differ in family."""
    packed = pack_address(_without_zone(source)), pack_address(_without_zone(destination))
    if len(packed[0]) == len(packed[1]):
        return packed
    return _widened(packed[0]), _widened(packed[1])


def _without_zone(address: str) -> str:
    """A link-local address without its interface, which means nothing to another host."""
    return address.partition("%")[0]


def _widened(packed: bytes) -> bytes:
    return packed if len(packed) == 16 else _V4_MAPPED + packed


def _address_text(packed: bytes) -> str:
    return Prefix(packed, len(packed) * 8).network


def _canonical(packed: bytes) -> str:
    """The address in text, IPv4-mapped as IPv4."""
    return _address_text(packed[12:] if packed.startswith(_V4_MAPPED) else packed)


def _tls_tlv(tls: TlsFacts) -> bytes:
    """PP2_TYPE_SSL with the version and the cipher inside (section 2.2.6)."""
    version = tls.version.encode("ascii", "replace")[:MAX_TLV_OCTETS]
    cipher = tls.cipher.encode("ascii", "replace")[:MAX_TLV_OCTETS]
    inner = _tlv(_TLV_SSL_VERSION, version) + _tlv(_TLV_SSL_CIPHER, cipher)
    return _tlv(_TLV_SSL, _SSL_CLIENT_VERIFY + inner)


def _tlv(kind: int, value: bytes) -> bytes:
    return _TLV_HEADER.pack(kind, len(value)) + value
