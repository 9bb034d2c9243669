"""ClientHellos of the real TLS library, whole, in pieces, in several records, and damaged."""

import random
import ssl
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatekeeper.events import ViolationKind
from gatekeeper.wire.client_hello import (
    ALERT_NO_APPLICATION_PROTOCOL,
    MAX_ALPN_PROTOCOLS,
    MAX_HELLO_OCTETS,
    MAX_RECORDS,
    TLS_1_2,
    TLS_1_3,
    ClientHello,
    NotTls,
    alert,
    alpn_acceptable,
    read_client_hello,
)
from gatekeeper.wire.need_more import NeedMore

GARBAGE = NotTls(ViolationKind.TLS_GARBAGE)
FOREIGN = NotTls(ViolationKind.FOREIGN_PROTOCOL)


def client_context(alpn: tuple[str, ...], maximum: ssl.TLSVersion) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = maximum
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


@cache
def real_hello(
    name: str | None = "mail.example.org",
    alpn: tuple[str, ...] = ("imap",),
    maximum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
) -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = client_context(alpn, maximum).wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


def records(message: bytes, *sizes: int) -> bytes:
    """`message` in records of these sizes, the rest in one more."""
    out, at = b"", 0
    for size in (*sizes, len(message)):
        fragment = message[at : at + size]
        at += len(fragment)
        if fragment:
            out += b"\x16\x03\x01" + len(fragment).to_bytes(2, "big") + fragment
    return out


def extension(kind: int, data: bytes) -> bytes:
    return kind.to_bytes(2, "big") + len(data).to_bytes(2, "big") + data


def made_message(extensions: bytes | None, **change: bytes) -> bytes:
    """A handshake message from its parts; `change` replaces parts by name."""
    parts = {
        "version": b"\x03\x03",
        "random": bytes(32),
        "session_id": b"\x00",
        "ciphers": b"\x00\x02\x13\x01",
        "compression": b"\x01\x00",
        **change,
    }
    body = b"".join(parts.values())
    if extensions is not None:
        body += len(extensions).to_bytes(2, "big") + extensions
    return b"\x01" + len(body).to_bytes(3, "big") + body


def made(extensions: bytes | None, **change: bytes) -> bytes:
    return records(made_message(extensions, **change))


def host_name(name: bytes) -> bytes:
    entry = b"\x00" + len(name).to_bytes(2, "big") + name
    return extension(0, len(entry).to_bytes(2, "big") + entry)


def alpn_names(*names: bytes) -> bytes:
    entries = b"".join(bytes([len(name)]) + name for name in names)
    return extension(16, len(entries).to_bytes(2, "big") + entries)


def groups(*offered: int) -> bytes:
    """A supported_groups extension."""
    listed = b"".join(group.to_bytes(2, "big") for group in offered)
    return extension(10, len(listed).to_bytes(2, "big") + listed)


def shares(*sent: tuple[int, int]) -> bytes:
    """A key_share extension: group and size of each share."""
    entries = b"".join(
        group.to_bytes(2, "big") + size.to_bytes(2, "big") + bytes(size) for group, size in sent
    )
    return extension(51, len(entries).to_bytes(2, "big") + entries)


P_256, X25519, FFDHE2048, FFDHE8192, GREASE = 23, 29, 0x0100, 0x0104, 0x2A2A


@pytest.mark.parametrize(
    ("extensions", "expected"),
    [
        (b"", False),
        (groups(X25519, P_256, FFDHE2048) + shares((X25519, 32)), False),
        (groups(P_256, FFDHE8192) + shares(), False),  # P-256 is asked for
        (groups(GREASE, X25519) + shares((GREASE, 1), (X25519, 32)), False),
        (groups(X25519, FFDHE8192) + shares((FFDHE8192, 1_024)), True),
        (groups(X25519, FFDHE2048) + shares((X25519, 32), (FFDHE2048, 256)), True),
        (groups(FFDHE8192) + shares(), True),
        (groups(GREASE, FFDHE2048), True),
    ],
)
def test_a_key_over_a_finite_field_is_told(extensions: bytes, expected: bool) -> None:
    hello = read_client_hello(made(extensions))
    assert isinstance(hello, ClientHello)
    assert hello.finite_field is expected


@pytest.mark.parametrize("maximum", [TLS_1_2, TLS_1_3])
@pytest.mark.parametrize("alpn", [(), ("imap",), ("h2", "http/1.1")])
@pytest.mark.parametrize("name", [None, "mail.example.org"])
def test_real_hellos_are_read(name: str | None, alpn: tuple[str, ...], maximum: int) -> None:
    hello = read_client_hello(real_hello(name, alpn, ssl.TLSVersion(maximum)))
    assert hello == ClientHello(name, True, tuple(n.encode() for n in alpn), maximum)


def test_octets_behind_the_hello_are_not_looked_at() -> None:
    assert read_client_hello(real_hello() + b"\x17early data") == read_client_hello(real_hello())


def test_a_hello_byte_by_byte_is_wanted_until_it_is_whole() -> None:
    whole = real_hello()
    for cut in range(len(whole)):
        assert read_client_hello(whole[:cut]) == NeedMore(5 if cut < 5 else len(whole))


def test_a_hello_over_random_records_is_the_same_hello() -> None:
    message = real_hello()[5:]
    dice = random.Random(7)
    for _ in range(50):
        sizes = [dice.randint(1, 60) for _ in range(dice.randint(1, MAX_RECORDS - 1))]
        whole = records(message, *sizes)
        assert read_client_hello(whole) == read_client_hello(real_hello())
        for cut in dice.sample(range(len(whole)), 20):
            answer = read_client_hello(whole[:cut])
            assert isinstance(answer, NeedMore)
            assert cut < answer.wanted_octets <= len(whole)


def test_waiting_for_the_wanted_octets_takes_two_calls_a_record() -> None:
    whole = records(real_hello()[5:], 1, 1, 1, 1, 100)
    calls, have = 0, 0
    while isinstance(answer := read_client_hello(whole[:have]), NeedMore):
        calls, have = calls + 1, answer.wanted_octets
    assert have == len(whole)
    assert calls == 12


def test_more_records_than_the_bound_are_garbage() -> None:
    message = real_hello()[5:]
    assert isinstance(read_client_hello(records(message, *[1] * (MAX_RECORDS - 1))), ClientHello)
    assert read_client_hello(records(message, *[1] * MAX_RECORDS)) == GARBAGE


def test_a_post_quantum_hello_of_two_kilobytes_is_read() -> None:
    whole = made(host_name(b"mx.example") + shares((0x11EC, 1_800)) + alpn_names(b"smtp"))
    assert read_client_hello(whole) == ClientHello("mx.example", True, (b"smtp",), TLS_1_2)


def test_the_largest_hello_fills_the_bound_and_no_more() -> None:
    spare = MAX_HELLO_OCTETS - len(made_message(extension(21, b"")))
    largest = made_message(extension(21, bytes(spare)))
    assert len(largest) == MAX_HELLO_OCTETS
    assert isinstance(read_client_hello(records(largest)), ClientHello)
    larger = made_message(extension(21, bytes(spare + 1)))
    assert read_client_hello(records(larger, 8_000)) == GARBAGE


def test_a_length_over_the_bound_is_refused_from_its_first_record() -> None:
    assert read_client_hello(b"\x16\x03\x01\x00\x04\x01\x00\x40\x01") == GARBAGE


@pytest.mark.parametrize(
    ("octets", "answer"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", FOREIGN),
        (b"SSH-2.0-Go\r\n", FOREIGN),
        (b"E", FOREIGN),
        (b"\r\n", FOREIGN),
        (b"\x80\x2e\x01\x00\x02", GARBAGE),  # SSLv2
        (b"\x15\x03\x01\x00\x02\x02\x28", GARBAGE),  # an alert
        (b"\x16\x02\x01\x00\x05", GARBAGE),  # no TLS version
        (b"\x16\x03\x01\x00\x00", GARBAGE),  # an empty record
        (b"\x16\x03\x01\x40\x01", GARBAGE),  # a record too large
        (b"\x16\x03\x01\x00\x40\x02", GARBAGE),  # a ServerHello
        (b"\x16\x03\x01\x00\x02\x01\x00\x17\x03", GARBAGE),  # another record inside the hello
    ],
)
def test_what_is_no_hello_is_known_from_its_first_octets(octets: bytes, answer: NotTls) -> None:
    assert read_client_hello(octets) == answer


@pytest.mark.parametrize(
    "message",
    [
        made_message(b"", session_id=b"\x21" + bytes(33)),
        made_message(b"", session_id=b"\xff"),
        made_message(b"", ciphers=b"\x00\x00"),
        made_message(b"", ciphers=b"\x00\x01\x13"),
        made_message(b"", ciphers=b"\xff\xff"),
        made_message(b"", compression=b"\x00"),
        made_message(b"\x00"),
        made_message(b"\x00\x00\x00\x05"),
        made_message(b"\x12\x34\x00\x05"),
        made_message(b"") + b"\x00",
        made_message(None, compression=b"\x01\x00\x00\x04\x00\x00"),
        made_message(host_name(b"a.example") * 2),
        made_message(alpn_names(b"imap") * 2),
        made_message(extension(0, b"")),
        made_message(extension(0, b"\x00\x00")),
        made_message(extension(0, b"\x00\x03\x00\x00\x00")),
        made_message(extension(0, b"\x00\x04\x01\x00\x01a")),
        made_message(extension(0, b"\x00\x04\x00\x00\x02a")),
        made_message(extension(0, b"\x00\x08\x00\x00\x01a\x00\x00\x01b")),
        made_message(extension(10, b"\x00\x03\x00\x17\x00")),
        made_message(extension(10, b"\x00\x04\x00\x17")),
        made_message(extension(51, b"")),
        made_message(extension(51, b"\x00\x05\x01\x04\x00\x02a")),
        made_message(extension(51, b"\x00\x03\x01\x04\x00")),
        made_message(extension(16, b"")),
        made_message(extension(16, b"\x00\x00")),
        made_message(extension(16, b"\x00\x03\x01a")),
        made_message(extension(16, b"\x00\x03\x00\x01a")),
        made_message(extension(16, b"\x00\x02\x02a")),
        made_message(alpn_names(*[b"x"] * (MAX_ALPN_PROTOCOLS + 1))),
        made_message(extension(43, b"\x00")),
        made_message(extension(43, b"\x03\x03\x04\x03")),
        made_message(extension(43, b"\x03\x03\x04\x00")),
        made_message(extension(43, b"\x04\x03\x04")),
        made_message(extension(43, b"\x02\x7f\x1c")),
        b"\x01\x00\x00\x00",
    ],
)
def test_lengths_that_disagree_are_garbage(message: bytes) -> None:
    assert read_client_hello(records(message)) == GARBAGE


def test_a_hello_without_extensions_is_read() -> None:
    assert read_client_hello(made(None)) == ClientHello(None, True, (), TLS_1_2)


def test_a_name_that_is_no_dns_name_is_told_from_none() -> None:
    assert read_client_hello(made(host_name(b"192.0.2.1"))) == ClientHello(None, False, (), TLS_1_2)


def test_grease_and_drafts_are_no_versions() -> None:
    versions = b"\x7a\x7a\x03\x03\x03\x04\x7f\x1c"
    hello = read_client_hello(made(extension(43, bytes([len(versions)]) + versions)))
    assert isinstance(hello, ClientHello)
    assert hello.version == TLS_1_3


@pytest.mark.parametrize(
    ("alpn", "acceptable"),
    [((), True), ((b"imap",), True), ((b"h2", b"imap"), True), ((b"h2", b"http/1.1"), False)],
)
def test_alpn_absent_or_matching_is_acceptable(alpn: tuple[bytes, ...], acceptable: bool) -> None:
    assert alpn_acceptable(ClientHello(None, True, alpn, TLS_1_3), b"imap") is acceptable


def test_a_real_client_understands_the_alert() -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = client_context(("h2",), ssl.TLSVersion.TLSv1_3)
    tls = context.wrap_bio(incoming, outgoing, server_hostname="mail.example.org")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    incoming.write(alert(ALERT_NO_APPLICATION_PROTOCOL))
    with pytest.raises(ssl.SSLError, match="no application protocol"):
        tls.do_handshake()


@given(octets=st.binary(max_size=200))
@settings(max_examples=150)
def test_any_octets_get_an_answer(octets: bytes) -> None:
    for beginning in (b"", b"\x16\x03\x01", b"\x16\x03\x01\x00\xc0\x01\x00\x00\xbc\x03\x03"):
        answer = read_client_hello(beginning + octets)
        assert isinstance(answer, ClientHello | NeedMore | NotTls)


@given(data=st.data())
@settings(max_examples=200)
def test_a_damaged_hello_gets_an_answer(data: st.DataObject) -> None:
    octets = bytearray(real_hello())
    for _ in range(data.draw(st.integers(1, 4))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    answer = read_client_hello(bytes(octets))
    assert isinstance(answer, ClientHello | NeedMore | NotTls)
    if isinstance(answer, NeedMore):
        assert answer.wanted_octets > len(octets)


@given(kind=st.sampled_from([0, 16, 43]), body=st.binary(max_size=24))
def test_any_extension_body_gets_an_answer(kind: int, body: bytes) -> None:
    assert isinstance(read_client_hello(made(extension(kind, body))), ClientHello | NotTls)
