"""The TLS ClientHello, read before the TLS library sees it (RFC 8446 4.1.2, RFC 6066, RFC 7301).

Theory of operation: the octets are kept as they came and go to the TLS library unchanged; this
module only looks. It walks the record headers first, without copying, until the handshake message
is whole; then it reads the message once. The TLS library of CPython completes a handshake whose
ALPN lists share nothing, so the guard compares them itself and sends the alert (ALPACA).
A message that this parser and the library could read differently is refused.
"""

from struct import Struct
from struct import error as StructError
from typing import Final, NamedTuple

from gatekeeper.events import ViolationKind
from gatekeeper.wire.need_more import NeedMore
from gatekeeper.wire.server_name import read_server_name

MAX_HELLO_OCTETS: Final = 16_384  # one full record; post-quantum hellos are about 1,800
MAX_RECORDS: Final = 16  # real clients use one or two; bounds the work of a call
MAX_ALPN_PROTOCOLS: Final = 64  # browsers offer two; bounds the tuple
RECORD_HEADER_OCTETS: Final = 5

ALERT_HANDSHAKE_FAILURE: Final = 40
ALERT_DECODE_ERROR: Final = 50
ALERT_PROTOCOL_VERSION: Final = 70
ALERT_UNRECOGNIZED_NAME: Final = 112
ALERT_NO_APPLICATION_PROTOCOL: Final = 120

TLS_1_2: Final = 0x0303
TLS_1_3: Final = 0x0304

_MAX_FRAGMENT_OCTETS: Final = 16_384  # RFC 8446 5.1
_ALERT_RECORD: Final = 21
_HANDSHAKE_RECORD: Final = 22
_CLIENT_HELLO: Final = 1
_MAJOR_VERSION: Final = 3
_HANDSHAKE_HEADER_OCTETS: Final = 4
_SESSION_ID_AT: Final = 34  # after legacy_version and random
_MAX_SESSION_ID_OCTETS: Final = 32
_SERVER_NAME: Final = 0
_SUPPORTED_GROUPS: Final = 10
_ALPN: Final = 16
_SUPPORTED_VERSIONS: Final = 43
_KEY_SHARE: Final = 51
_FINITE_FIELDS: Final = range(0x0100, 0x0200)  # ffdhe2048 to ffdhe8192 and their kin (RFC 7919 2)
_CURVES: Final = frozenset((23, 24, 25, 29, 30))  # P-256, P-384, P-521, X25519, X448: OpenSSL's
_HOST_NAME: Final = 0
_READ: Final = frozenset((_SERVER_NAME, _SUPPORTED_GROUPS, _ALPN, _SUPPORTED_VERSIONS, _KEY_SHARE))
_TEXT: Final = frozenset(b"\t\n\r" + bytes(range(0x20, 0x7F)))

_u16 = Struct(">H").unpack_from
_two_u16 = Struct(">HH").unpack_from


class ClientHello(NamedTuple):
    """What a client asks for.

    `server_name` is a valid DNS name in lower case, or None; `server_name_valid` is False where a
    name was sent that is not one. `alpn` is in the client's order, empty where none was sent.
    `version` is the highest offered, as on the wire: 0x0304 is TLS 1.3. `finite_field` says that
    the library may agree on a key over a finite field: a share of ffdhe8192 is random octets to a
    client and a tenth of a second to the server (D(HE)at, CVE-2002-20001), and CPython cannot turn
    the groups off. Programs offer them behind curves, and no share of them unasked.
    """

    server_name: str | None
    server_name_valid: bool
    alpn: tuple[bytes, ...]
    version: int
    finite_field: bool = False


class NotTls(NamedTuple):
    """The octets do not begin with a ClientHello.

    `kind` is FOREIGN_PROTOCOL where they look like text (HTTP, SSH, SMTP), else TLS_GARBAGE.
    """

    kind: ViolationKind


_GARBAGE: Final = NotTls(ViolationKind.TLS_GARBAGE)
_FOREIGN: Final = NotTls(ViolationKind.FOREIGN_PROTOCOL)


def read_client_hello(octets: bytes) -> ClientHello | NeedMore | NotTls:
    """Read the ClientHello at the start of `octets`; what follows it is not looked at.

    `octets` is everything received so far. A caller that waits for `NeedMore.wanted_octets` calls
    at most twice a record, of which there are `MAX_RECORDS`.
    """
    message = _handshake_message(octets)
    if not isinstance(message, bytes):
        return message
    try:
        return _read_message(message) or _GARBAGE
    except (StructError, IndexError):  # a length ran past the end
        return _GARBAGE


def alpn_acceptable(hello: ClientHello, wanted: bytes) -> bool:
    """Whether `hello` may speak `wanted` (`b"imap"`, `b"smtp"`): it names it, or names nothing."""
    return not hello.alpn or wanted in hello.alpn


def alert(description: int) -> bytes:
    """A fatal alert record, to be sent in clear before any key is agreed (RFC 8446 6)."""
    return bytes((_ALERT_RECORD, _MAJOR_VERSION, 3, 0, 2, 2, description))


def _handshake_message(octets: bytes) -> bytes | NeedMore | NotTls:
    """The body of the first handshake message, its records joined."""
    fragments: list[bytes] = []
    end = 0
    for _ in range(MAX_RECORDS):
        begin = end + RECORD_HEADER_OCTETS
        size_octets = _fragment_octets(octets, end)
        if not isinstance(size_octets, int):
            return size_octets
        end = begin + size_octets
        if len(octets) < end:
            return NeedMore(end)
        fragments.append(octets[begin:end])
        message = b"".join(fragments)
        if len(message) < _HANDSHAKE_HEADER_OCTETS:
            continue
        whole = _HANDSHAKE_HEADER_OCTETS + int.from_bytes(message[1:4], "big")
        if whole > MAX_HELLO_OCTETS or len(message) > whole:
            return _GARBAGE  # too long, or something shares the record with the hello
        if len(message) == whole:
            return message[_HANDSHAKE_HEADER_OCTETS:]
    return _GARBAGE


def _fragment_octets(octets: bytes, at: int) -> int | NeedMore | NotTls:
    """The fragment length of the record whose header begins at `at`."""
    if len(octets) > at and octets[at] != _HANDSHAKE_RECORD:
        return _FOREIGN if at == 0 and octets[0] in _TEXT else _GARBAGE
    begin = at + RECORD_HEADER_OCTETS
    if len(octets) < begin:
        return NeedMore(begin)
    size_octets: int = _u16(octets, at + 3)[0]
    if octets[at + 1] != _MAJOR_VERSION or not 0 < size_octets <= _MAX_FRAGMENT_OCTETS:
        return _GARBAGE
    if at == 0 and len(octets) > begin and octets[begin] != _CLIENT_HELLO:
        return _GARBAGE
    return size_octets


def _read_message(body: bytes) -> ClientHello | None:
    """The ClientHello in `body`, None where its lengths disagree.

    Raises `IndexError` or `struct.error` where a length runs past the end.
    """
    version: int = _u16(body)[0]
    session_id_octets = body[_SESSION_ID_AT]
    at = _SESSION_ID_AT + 1 + session_id_octets
    ciphers_octets: int = _u16(body, at)[0]
    at += 2 + ciphers_octets
    compression_octets = body[at]
    at += 1 + compression_octets
    if session_id_octets > _MAX_SESSION_ID_OCTETS or not compression_octets:
        return None
    if ciphers_octets == 0 or ciphers_octets % 2:
        return None
    if at == len(body):
        return ClientHello(None, True, (), version)  # extensions are optional before TLS 1.3
    if at + 2 + _u16(body, at)[0] != len(body):
        return None
    return _read_extensions(body, at + 2, version)


def _read_extensions(body: bytes, at: int, version: int) -> ClientHello | None:
    """The hello from its extensions, which run from `at` to the end of `body`."""
    found: dict[int, bytes] = {}
    end = len(body)
    while at < end:
        kind, size_octets = _two_u16(body, at)
        at += 4
        if kind in _READ:
            if kind in found:
                return None
            found[kind] = body[at : at + size_octets]
        at += size_octets
    if at != end:
        return None
    name = _read_host_name(found[_SERVER_NAME]) if _SERVER_NAME in found else b""
    alpn = _read_alpn(found[_ALPN]) if _ALPN in found else ()
    if _SUPPORTED_VERSIONS in found:
        version = _highest_version(found[_SUPPORTED_VERSIONS])
    if name is None or alpn is None or not version:
        return None
    groups = _read_groups(found.get(_SUPPORTED_GROUPS, b"\0\0"))
    shares = _read_shares(found.get(_KEY_SHARE, b"\0\0"))
    if groups is None or shares is None:
        return None
    server_name = read_server_name(name)
    valid = server_name is not None or not name
    return ClientHello(server_name, valid, alpn, version, _over_finite_field(groups, shares))


def _read_host_name(data: bytes) -> bytes | None:
    """The one host name of a server_name extension (RFC 6066 3), None where malformed."""
    if len(data) < 6 or data[2] != _HOST_NAME:
        return None
    if _u16(data)[0] != len(data) - 2 or _u16(data, 3)[0] != len(data) - 5:
        return None
    return data[5:]


def _read_alpn(data: bytes) -> tuple[bytes, ...] | None:
    """The protocol names of an ALPN extension (RFC 7301 3.1), None where malformed."""
    if len(data) < 4 or _u16(data)[0] != len(data) - 2:
        return None
    names: list[bytes] = []
    at = 2
    while at < len(data):
        end = at + 1 + data[at]
        if end == at + 1 or end > len(data) or len(names) == MAX_ALPN_PROTOCOLS:
            return None
        names.append(data[at + 1 : end])
        at = end
    return tuple(names)


def _read_groups(data: bytes) -> set[int] | None:
    """The groups of a supported_groups extension (RFC 8446 4.2.7), None where malformed."""
    if _u16(data)[0] != len(data) - 2 or len(data) % 2:
        return None
    return {_u16(data, at)[0] for at in range(2, len(data), 2)}


def _read_shares(data: bytes) -> set[int] | None:
    """The groups of a key_share extension (RFC 8446 4.2.8), None where malformed."""
    if _u16(data)[0] != len(data) - 2:
        return None
    groups: set[int] = set()
    at = 2
    while at < len(data):
        group, size_octets = _two_u16(data, at)
        groups.add(group)
        at += 4 + size_octets
    return groups if at == len(data) else None


def _over_finite_field(groups: set[int], shares: set[int]) -> bool:
    """OpenSSL takes the first share it can use; where there is none it asks for one of the groups,
    curves first."""
    if not shares.isdisjoint(_FINITE_FIELDS):
        return True
    return groups.isdisjoint(_CURVES) and not groups.isdisjoint(_FINITE_FIELDS)


def _highest_version(data: bytes) -> int:
    """The highest TLS version of a supported_versions extension (RFC 8446 4.2.1).

    GREASE (RFC 8701) and drafts do not count; 0 where there is none or the list is malformed.
    """
    if len(data) < 3 or data[0] != len(data) - 1 or data[0] % 2:
        return 0
    minors = [data[at + 1] for at in range(1, len(data), 2) if data[at] == _MAJOR_VERSION]
    return _MAJOR_VERSION << 8 | max(minors) if minors else 0
