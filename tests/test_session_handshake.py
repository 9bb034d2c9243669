"""The ClientHello before OpenSSL sees it: server name, ALPN, and what is not TLS."""

import ssl

import pytest
import trio
from rig import guard, virtual_time
from rig_ends import HOSTNAME, SNI_NAME, authority

from gatekeeper.events import MailProtocol, Violation, ViolationKind
from gatekeeper.sessions import End
from gatekeeper.settings import LimitSettings, TlsMode
from gatekeeper.wire.client_hello import (
    ALERT_DECODE_ERROR,
    ALERT_NO_APPLICATION_PROTOCOL,
    alert,
)

GREETING = """
    B> * OK ready
    C< * OK ready
"""


def client_hello(alpn: str | None = None, *, server_name: str | None = HOSTNAME) -> bytes:
    """The first flight of a client."""
    context = authority().client_context(alpn)
    context.check_hostname = server_name is not None
    outgoing = ssl.MemoryBIO()
    tls = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=server_name)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


@pytest.mark.parametrize("name", [HOSTNAME, SNI_NAME])
@virtual_time
async def test_the_server_name_picks_the_certificate(name: str) -> None:
    async with guard(protocol=MailProtocol.IMAP, tls=TlsMode.IMPLICIT) as rig:
        talk = await rig.connect()
        await talk.client.start_tls_client(server_name=name)
        await talk.play(GREETING)


@pytest.mark.parametrize(
    ("protocol", "alpn"), [(MailProtocol.IMAP, "imap"), (MailProtocol.SUBMISSION, "smtp")]
)
@virtual_time
async def test_the_protocols_own_alpn_is_acknowledged(protocol: MailProtocol, alpn: str) -> None:
    async with guard(protocol=protocol, tls=TlsMode.IMPLICIT) as rig:
        talk = await rig.connect()
        await talk.client.start_tls_client(alpn=alpn)
        stream = talk.client.stream
        assert isinstance(stream, trio.SSLStream)
        assert stream.selected_alpn_protocol() == alpn


@virtual_time
async def test_another_protocols_alpn_gets_alert_120() -> None:
    async with guard(protocol=MailProtocol.IMAP, tls=TlsMode.IMPLICIT) as rig:
        talk = await rig.connect()
        await talk.client.send(client_hello("http/1.1"))
        assert await talk.client.hear_until_end() == alert(ALERT_NO_APPLICATION_PROTOCOL)
        assert await rig.end() is End.TLS
        assert [e.kind for e in rig.judge.heard(Violation)] == [ViolationKind.ALPN_MISMATCH]
        await rig.no_backend_wanted()


@virtual_time
async def test_another_protocols_alpn_gets_alert_120_after_starttls() -> None:
    async with guard(protocol=MailProtocol.IMAP, tls=TlsMode.STARTTLS) as rig:
        talk = await rig.connect()
        await talk.play(GREETING + "C> a STARTTLS\nC< a OK Begin TLS negotiation now")
        await talk.client.send(client_hello("http/1.1"))
        assert await talk.client.hear_until_end() == alert(ALERT_NO_APPLICATION_PROTOCOL)
        assert await rig.end() is End.TLS


@pytest.mark.parametrize(
    ("octets", "reply", "kind"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", b"", ViolationKind.FOREIGN_PROTOCOL),
        (b"EHLO client.example\r\n", b"", ViolationKind.FOREIGN_PROTOCOL),
        (b"SSH-2.0-OpenSSH_9\r\n", b"", ViolationKind.FOREIGN_PROTOCOL),
        (b"\x80\x2e\x01\0\x02" * 9, alert(ALERT_DECODE_ERROR), ViolationKind.TLS_GARBAGE),
        (b"\x16\x03\x01\0\x04\x01\0\0\0", alert(ALERT_DECODE_ERROR), ViolationKind.TLS_GARBAGE),
    ],
)
@virtual_time
async def test_what_is_not_tls_ends_the_session(
    octets: bytes, reply: bytes, kind: ViolationKind
) -> None:
    async with guard(tls=TlsMode.IMPLICIT) as rig:
        talk = await rig.connect()
        await talk.client.send(octets)
        assert await talk.client.hear_until_end() == reply
        assert await rig.end() is End.TLS
        assert [event.kind for event in rig.judge.heard(Violation)] == [kind]
        await rig.no_backend_wanted()


@pytest.mark.parametrize(
    "octets", [b"", b"\x16\x03", client_hello()[:50]], ids=["nothing", "two octets", "a part"]
)
@pytest.mark.parametrize("ends", [True, False])
@virtual_time
async def test_a_hello_that_is_not_finished_has_its_time(octets: bytes, ends: bool) -> None:
    limits = LimitSettings(handshake_timeout_s=10.0)
    async with guard(tls=TlsMode.IMPLICIT, limits=limits) as rig:
        talk = await rig.connect()
        before = trio.current_time()
        await talk.client.send(octets)
        if ends:
            await talk.client.end()
        await talk.client.hear_until_end()
        assert await rig.end() is (End.CLIENT if ends else End.TIMEOUT)
        assert trio.current_time() - before <= (0 if ends else 12)
        assert not rig.judge.heard(Violation)


@virtual_time
async def test_a_hello_in_single_octets_is_read() -> None:
    async with guard(tls=TlsMode.IMPLICIT) as rig:
        talk = await rig.connect()
        hello = client_hello()
        for at in range(len(hello)):
            await talk.client.send(hello[at : at + 1])
            await trio.lowlevel.checkpoint()
        assert (await talk.client.hear_some()).startswith(b"\x16\x03")


@virtual_time
async def test_a_client_without_a_common_version_is_a_tls_failure() -> None:
    async with guard(tls=TlsMode.IMPLICIT) as rig:
        talk = await rig.connect()
        # TLS 1.1 with one cipher suite; shaken hands with by OpenSSL, which refuses.
        body = b"\x03\x02" + bytes(32) + b"\0" + b"\0\x02\xc0\x14" + b"\x01\0"
        message = b"\x01" + len(body).to_bytes(3, "big") + body
        await talk.client.send(b"\x16\x03\x01" + len(message).to_bytes(2, "big") + message)
        assert (await talk.client.hear_until_end()).startswith(b"\x15\x03")
        assert await rig.end() is End.TLS


@virtual_time
async def test_a_client_that_leaves_amid_the_handshake_is_a_tls_failure() -> None:
    async with guard(tls=TlsMode.IMPLICIT) as rig:
        talk = await rig.connect()
        await talk.client.send(client_hello())
        await talk.client.hear_some()
        await talk.client.end()
        await talk.client.hear_until_end()
        assert await rig.end() is End.TLS
