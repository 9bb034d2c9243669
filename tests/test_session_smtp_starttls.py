"""The SMTP dialogue: STARTTLS of the client."""

import pytest
import trio
from rig import Rig, Talk, guard, virtual_time
from smtp_scripts import DATA, GONE, GREETING, TRANSACTION, violations

from gatekeeper.events import (
    MailProtocol,
    ViolationKind,
)
from gatekeeper.sessions import End
from gatekeeper.settings import Announce, TlsMode

# -- STARTTLS ------------------------------------------------------------------------------------

STARTTLS = """
    C> STARTTLS
    C< 220 2.0.0 Ready to start TLS
"""


async def offered_starttls(rig: Rig) -> Talk:
    talk = await rig.connect()
    await talk.play(GREETING)
    await talk.play("""
        C> EHLO client.example
        B< EHLO client.example
        B> 250-mx.example
        B> 250-CHUNKING
        B> 250 AUTH PLAIN
        C< 250-guard.example
        C< 250-CHUNKING
        C< 250 STARTTLS
    """)
    return talk


@virtual_time
async def test_after_starttls_ehlo_is_due_again_and_offers_auth() -> None:
    async with guard(tls=TlsMode.STARTTLS) as rig:
        talk = await offered_starttls(rig)
        await talk.play(STARTTLS)
        await talk.client.start_tls_client()
        await talk.play("""
            C> MAIL FROM:<>
            C< 503 5.5.1 Send HELO/EHLO first
            C> EHLO client.example
            B< EHLO client.example
            B> 250-mx.example
            B> 250-STARTTLS
            B> 250 AUTH PLAIN
            C< 250-guard.example
            C< 250 AUTH PLAIN
            C> MAIL FROM:<>
            B< MAIL FROM:<>
            B> 250 ok
            C< 250 ok
        """)
        assert rig.table.list()[0].phase == "dialogue"


@virtual_time
async def test_a_chunk_before_the_second_ehlo_is_consumed() -> None:
    async with guard(tls=TlsMode.STARTTLS) as rig:
        talk = await offered_starttls(rig)
        await talk.play(STARTTLS)
        await talk.client.start_tls_client()
        await talk.client.send(b"BDAT 6\r\nQUI")
        await trio.sleep(0.01)
        await talk.client.send(b"T\r\nNOOP\r\n")
        await talk.play("""
            C< 503 5.5.1 Send HELO/EHLO first
            B< NOOP
        """)


@pytest.mark.parametrize("tls", [TlsMode.NONE, TlsMode.IMPLICIT])
@virtual_time
async def test_starttls_is_refused_where_it_is_not_offered(tls: TlsMode) -> None:
    async with guard(tls=tls) as rig:
        talk = await rig.connect()
        if tls is TlsMode.IMPLICIT:
            await talk.client.start_tls_client()
        await talk.play(GREETING)
        await talk.play("C> STARTTLS\nC< 503 5.5.1 STARTTLS not available")


@virtual_time
async def test_starttls_is_refused_a_second_time() -> None:
    async with guard(tls=TlsMode.STARTTLS) as rig:
        talk = await offered_starttls(rig)
        await talk.play(STARTTLS)
        await talk.client.start_tls_client()
        await talk.play("C> STARTTLS\nC< 503 5.5.1 STARTTLS not available")


@virtual_time
async def test_starttls_is_refused_within_a_transaction_and_allowed_after_it() -> None:
    async with guard(tls=TlsMode.STARTTLS) as rig:
        talk = await offered_starttls(rig)
        await talk.play(TRANSACTION)
        await talk.play("C> STARTTLS\nC< 503 5.5.1 STARTTLS not available")
        await talk.client.send(b"BDAT 1 LAST\r\nx")
        await talk.backend.hear(b"BDAT 1 LAST\r\nx")
        await talk.play("B> 250 queued\nC< 250 queued")
        await talk.play(STARTTLS)


@virtual_time
async def test_a_command_injected_with_starttls_ends_the_session() -> None:
    async with guard(tls=TlsMode.STARTTLS) as rig:
        talk = await offered_starttls(rig)
        await talk.play("""
            C> STARTTLS
            C> RSET
            C< 554 5.5.0 SMTP protocol synchronization
            C.
            B.
        """)
        assert violations(talk) == [ViolationKind.STARTTLS_INJECTION]


@virtual_time
async def test_a_command_injected_right_behind_starttls_ends_the_session() -> None:
    async with guard(tls=TlsMode.STARTTLS) as rig:
        talk = await offered_starttls(rig)
        await talk.play(STARTTLS)
        await talk.client.send(b"RSET\r\n")
        assert await talk.client.hear_until_end() in {b"", b"\x15\x03\x03\x00\x02\x02\x32"}
        assert await talk.backend.hear_until_end() == b""
        assert len(violations(talk)) == 1


@virtual_time
async def test_a_backend_that_was_told_of_tls_is_reached_anew_after_starttls() -> None:
    async with guard(tls=TlsMode.STARTTLS, announce=Announce.PROXY_V2, proxy_tlvs=True) as rig:
        talk = await rig.connect()
        first = await talk.accept()
        await first.send(b"220 one\r\n")
        await talk.client.hear(b"220 one\r\n")
        await talk.play(STARTTLS)
        await talk.client.start_tls_client()
        second = await talk.accept()
        await first.hear_until_end()
        assert b"TLSv1.3" in await second.hear_some()
        await second.send(b"220 two\r\n")
        await talk.client.send(b"EHLO c.example\r\n")
        await second.hear(b"EHLO c.example\r\n")


@pytest.mark.parametrize("greeting", ["421 busy", "554 go away"])
@virtual_time
async def test_a_backend_that_refuses_after_starttls_is_an_outage(greeting: str) -> None:
    async with guard(tls=TlsMode.STARTTLS, announce=Announce.PROXY_V2, proxy_tlvs=True) as rig:
        talk = await rig.connect()
        first = await talk.accept()
        await first.send(b"220 one\r\n")
        await talk.client.hear(b"220 one\r\n")
        await talk.play(STARTTLS)
        await talk.client.start_tls_client()
        second = await talk.accept()
        await second.send(greeting.encode() + b"\r\n")
        await talk.play(GONE)
        assert await rig.end() is End.UNAVAILABLE


@virtual_time
async def test_port_25_takes_mail_without_a_login() -> None:
    async with guard(protocol=MailProtocol.SMTP, tls=TlsMode.STARTTLS) as rig:
        talk = await rig.connect()
        await talk.play(GREETING)
        await talk.play("""
            C> EHLO client.example
            B< EHLO client.example
            B> 250-mx.example
            B> 250 AUTH PLAIN
            C< 250-guard.example
            C< 250 STARTTLS
        """)
        await talk.play(TRANSACTION + DATA)
