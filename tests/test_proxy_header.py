"""PROXY headers: written for backends, read from balancers."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatekeeper.events import Violation, ViolationKind
from gatekeeper.wire.need_more import NeedMore
from gatekeeper.wire.proxy_header import (
    BAD_HEADER,
    LOCAL_V2,
    MAX_V1_OCTETS,
    MAX_V2_OCTETS,
    ProxyHeader,
    TlsFacts,
    encode_v1,
    encode_v2,
    read_proxy_header,
)

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
V4 = ("192.0.2.7", 40_000, "198.51.100.1", 993)
V6 = ("2001:db8::7", 40_000, "2001:db8::1", 993)
TLS = TlsFacts("TLSv1.3", "TLS_AES_256_GCM_SHA384")


def v2(command: int, family: int, body: bytes) -> bytes:
    return SIGNATURE + bytes([command, family]) + len(body).to_bytes(2, "big") + body


# -- written ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("addresses", "line"),
    [
        (V4, b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 993\r\n"),
        (V6, b"PROXY TCP6 2001:db8::7 2001:db8::1 40000 993\r\n"),
        (
            ("::ffff:192.0.2.7", 1, "::ffff:198.51.100.1", 2),
            b"PROXY TCP4 192.0.2.7 198.51.100.1 1 2\r\n",
        ),
        (
            ("192.0.2.7", 1, "2001:db8::1", 2),
            b"PROXY TCP6 ::ffff:192.0.2.7 2001:db8::1 1 2\r\n",
        ),
        (("fe80::1%eth0", 1, "fe80::2%eth0", 2), b"PROXY TCP6 fe80::1 fe80::2 1 2\r\n"),
    ],
)
def test_version_1_is_one_line(addresses: tuple[str, int, str, int], line: bytes) -> None:
    assert encode_v1(*addresses) == line


def test_version_2_is_binary() -> None:
    ports = bytes.fromhex("9c4003e1")
    addresses = bytes([192, 0, 2, 7, 198, 51, 100, 1])
    assert encode_v2(*V4) == v2(0x21, 0x11, addresses + ports)
    addresses = bytes.fromhex("20010db800000000000000000000000720010db8000000000000000000000001")
    assert encode_v2(*V6) == v2(0x21, 0x21, addresses + ports)


def test_mixed_families_are_sent_as_ipv6() -> None:
    header = encode_v2("192.0.2.7", 1, "2001:db8::1", 2)
    assert header[13] == 0x21
    assert header[16:32] == bytes(10) + b"\xff\xff" + bytes([192, 0, 2, 7])


def test_tls_facts_are_a_tlv_with_two_inside() -> None:
    tlv = encode_v2(*V4, tls=TLS)[28:]
    inner = b"\x21\x00\x07TLSv1.3" + b"\x23\x00\x16TLS_AES_256_GCM_SHA384"
    client_and_verify = b"\x01" + b"\x00\x00\x00\x01"
    assert tlv == b"\x20" + (5 + len(inner)).to_bytes(2, "big") + client_and_verify + inner


def test_alpn_and_authority_are_tlvs() -> None:
    header = encode_v2(*V4, server_name="Mail.example.org", alpn=b"imap")
    assert header[28:] == b"\x01\x00\x04imap" + b"\x02\x00\x10mail.example.org"


@pytest.mark.parametrize("name", ["", "a_b.example", "192.0.2.1", "a\udcffb", "x" * 300])
def test_an_authority_that_is_no_dns_name_is_left_out(name: str) -> None:
    assert encode_v2(*V4, server_name=name) == encode_v2(*V4)


def test_headers_fit_what_the_strictest_backends_read() -> None:
    """Postfix reads 536 octets, Exim 232; both get no TLVs, and IMAP's stay small as well."""
    assert len(encode_v2(*V6)) == 52
    name = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 61])
    assert len(encode_v2(*V6, tls=TLS, server_name=name, alpn=b"imap")) < 536


@pytest.mark.parametrize("encode", [encode_v1, encode_v2])
def test_what_is_no_address_is_our_own_fault(encode: Callable[..., bytes]) -> None:
    with pytest.raises(ValueError, match="not an IP address"):
        encode("mail.example.org", 1, "192.0.2.1", 2)


# -- read ------------------------------------------------------------------------------------------

SAMPLES = [
    (encode_v1(*V4), V4),
    (encode_v1(*V6), V6),
    (encode_v2(*V4), V4),
    (encode_v2(*V6, tls=TLS, server_name="mail.example.org", alpn=b"imap"), V6),
    (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 0 65535\r\n", ("192.0.2.7", 0, "::1", 65_535)),
    (b"PROXY UNKNOWN\r\n", (None, 0, None, 0)),
    (b"PROXY UNKNOWN ffff::1 ::1 1 2\r\n", (None, 0, None, 0)),
    (LOCAL_V2, (None, 0, None, 0)),
    (v2(0x20, 0x11, bytes(12)), (None, 0, None, 0)),
    (v2(0x21, 0x00, b"ignored"), (None, 0, None, 0)),
]


@pytest.mark.parametrize(("octets", "said"), SAMPLES)
def test_a_header_is_read_and_the_rest_is_left(
    octets: bytes, said: tuple[str | None, int, str | None, int]
) -> None:
    assert read_proxy_header(octets + b"\x16\x03\x01") == ProxyHeader(*said, len(octets))


@pytest.mark.parametrize("octets", [sample for sample, _ in SAMPLES])
def test_a_header_in_pieces_is_wanted_until_it_is_whole(octets: bytes) -> None:
    for cut in range(len(octets)):
        answer = read_proxy_header(octets[:cut])
        assert isinstance(answer, NeedMore)
        assert cut < answer.wanted_octets <= len(octets)


@pytest.mark.parametrize("octets", [sample for sample, _ in SAMPLES])
def test_random_cuts_end_in_the_same_header(octets: bytes) -> None:
    dice = random.Random(3)
    for _ in range(20):
        have = 0
        while isinstance(answer := read_proxy_header(octets[:have]), NeedMore):
            have = min(len(octets), answer.wanted_octets + dice.randint(0, 9))
        assert answer == read_proxy_header(octets)


@pytest.mark.parametrize(
    "octets",
    [
        b"GET / HTTP/1.1\r\n",
        b"\x16\x03\x01",
        b"\r\n\r\n\x01",
        b"PROXY\r\n",
        b"proxy TCP4 192.0.2.7 198.51.100.1 1 2\r\n",
        b"PROXY  TCP4 192.0.2.7 198.51.100.1 1 2\r\n",
        b"PROXY TCP4 192.0.2.7  198.51.100.1 1 2\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 1 2 \r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 1\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 01 2\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 1 65536\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 +1 2\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 -1 2\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 \xb2 2\r\n",
        b"PROXY TCP4 192.0.2.256 198.51.100.1 1 2\r\n",
        b"PROXY TCP4 192.0.2 198.51.100.1 1 2\r\n",
        b"PROXY TCP4 192.0.2.7\0 198.51.100.1 1 2\r\n",
        b"PROXY TCP4 ::1 ::1 1 2\r\n",
        b"PROXY TCP6 192.0.2.7 ::1 1 2\r\n",
        b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
        b"PROXY UDP4 192.0.2.7 198.51.100.1 1 2\r\n",
        b"PROXY UNKNOWN " + b"x" * MAX_V1_OCTETS + b"\r\n",
        b"PROXY TCP4 " + b"1" * MAX_V1_OCTETS,
        v2(0x11, 0x11, bytes(12)),
        v2(0x22, 0x11, bytes(12)),
        v2(0x21, 0x11, bytes(11)),
        v2(0x21, 0x21, bytes(35)),
        v2(0x21, 0x12, bytes(12)),
        v2(0x21, 0x31, bytes(216)),
        v2(0x21, 0x01, bytes(12)),
        v2(0x21, 0x11, bytes(MAX_V2_OCTETS)),
        v2(0x20, 0x00, bytes(MAX_V2_OCTETS))[:16],
    ],
)
def test_what_is_no_header_is_a_violation(octets: bytes) -> None:
    answer = read_proxy_header(octets)
    assert answer == Violation(ViolationKind.PROXY_HEADER, b"", fatal=True)
    assert answer is BAD_HEADER


def test_the_longest_line_is_107_octets() -> None:
    longest = b"PROXY UNKNOWN " + b"x" * (MAX_V1_OCTETS - 16) + b"\r\n"
    assert len(longest) == MAX_V1_OCTETS
    assert read_proxy_header(longest) == ProxyHeader(None, 0, None, 0, MAX_V1_OCTETS)
    assert read_proxy_header(longest[:-2] + b"x\r\n") is BAD_HEADER


ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str)
PORTS = st.integers(0, 65_535)


@given(source=ADDRESSES, source_port=PORTS, destination=ADDRESSES, destination_port=PORTS)
@settings(max_examples=100)
def test_what_is_written_is_read_the_same(
    source: str, source_port: int, destination: str, destination_port: int
) -> None:
    addresses = (source, source_port, destination, destination_port)
    answers = [read_proxy_header(encode(*addresses)) for encode in (encode_v1, encode_v2)]
    for answer in answers:
        assert isinstance(answer, ProxyHeader)
        assert (answer.source_port, answer.destination_port) == (source_port, destination_port)
    assert len({(answer.source, answer.destination) for answer in answers}) == 1  # type: ignore[union-attr]  # asserted above


@given(
    beginning=st.sampled_from(
        [b"", b"PROXY ", b"PROXY TCP4 ", b"PROXY TCP6 ::1 ::1 ", SIGNATURE, SIGNATURE + b"\x21\x11"]
    ),
    octets=st.one_of(
        st.binary(max_size=120), st.text("0123456789.: \r\nf", max_size=60).map(str.encode)
    ),
)
@settings(max_examples=300)
def test_any_octets_get_an_answer(beginning: bytes, octets: bytes) -> None:
    answer = read_proxy_header(beginning + octets)
    match answer:
        case NeedMore(wanted_octets):
            assert wanted_octets > len(beginning + octets)
        case ProxyHeader():
            assert answer.size_octets <= len(beginning + octets)
        case Violation():
            assert answer is BAD_HEADER
