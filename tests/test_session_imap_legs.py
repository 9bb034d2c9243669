"""Both legs of an IMAP session: reaching the backend, telling it who the client is, its TLS."""

import contextlib
from functools import partial

import pytest
import trio
from rig import guard, virtual_time

from gatekeeper.events import ConnectionOpened, MailProtocol
from gatekeeper.session.imap_legs import MAX_ANSWER_OCTETS, PREPARE_S
from gatekeeper.sessions import End
from gatekeeper.settings import Announce, TlsMode
from gatekeeper.wire.proxy_header import ProxyHeader, read_proxy_header

imap = partial(guard, protocol=MailProtocol.IMAP)

GREETING = """
    B> * OK ready
    C< * OK ready
"""
GONE = """
    C< * BYE [UNAVAILABLE] Service not available, try again later
    C.
"""


@virtual_time
async def test_a_greeting_of_bye_passes_and_ends_the_session() -> None:
    async with imap() as rig:
        talk = await rig.connect()
        await talk.play("B> * BYE full\nC< * BYE full\nC.\nB.")
        assert await rig.end() is End.UNAVAILABLE


@pytest.mark.parametrize(
    "greeting", ["* PREAUTH welcome ann", "* NO", "a OK", "+ OK", "220 SMTP", "* CAPABILITY X"]
)
@virtual_time
async def test_a_greeting_that_is_not_ok_is_an_outage(greeting: str) -> None:
    async with imap() as rig:
        talk = await rig.connect()
        await talk.play(f"B> {greeting}\n" + GONE)
        assert rig.judge.events == [ConnectionOpened()]


@pytest.mark.parametrize("how", ["end", "reset", "silence", "no listener"])
@virtual_time
async def test_a_backend_without_a_greeting_is_an_outage(how: str) -> None:
    async with imap() as rig:
        if how == "no listener":
            rig.backends[0].close()
        talk = await rig.connect()
        before = trio.current_time()
        if how != "no listener":
            backend = await talk.accept()
            if how == "end":
                backend.close()
            elif how == "reset":
                backend.reset()
        await talk.play(GONE)
        assert trio.current_time() - before <= PREPARE_S + 2
        assert rig.judge.events == [ConnectionOpened()]


@virtual_time
async def test_an_answer_without_an_end_is_a_fault() -> None:
    async with imap() as rig:
        talk = await rig.connect()
        await talk.play(GREETING + "C> a NOOP\nB< a NOOP")
        line = b"* OK " + b"x" * 1000 + b"\r\n"
        with contextlib.suppress(trio.BrokenResourceError):
            await talk.backend.send(line * (MAX_ANSWER_OCTETS // len(line) + 10))
        await talk.play(GONE)


# -- who the client is ---------------------------------------------------------------------------


@virtual_time
async def test_the_trusted_id_comes_before_the_clients_greeting() -> None:
    async with imap(announce=Announce.IMAP_ID) as rig:
        talk = await rig.connect()
        await talk.play("B> * OK ready")
        [view] = rig.table.list()
        line = await talk.backend.hear_line()
        assert line.startswith(b'gk2 ID ("x-originating-ip" "127.0.0.1" "x-originating-port" ')
        assert f'"x-session-id" "{view.id}"'.encode() in line
        assert f'"x-originating-port" "{view.port}"'.encode() in line
        assert b'"x-client-transport" "insecure")' in line
        await talk.client.hear_nothing()
        await talk.play("""
            B> * ID ("name" "Dovecot")
            B> gk2 OK done
            C< * OK ready
            C> a NOOP
            B< a NOOP
        """)


@virtual_time
async def test_the_trusted_id_is_sent_anew_after_starttls() -> None:
    async with imap(announce=Announce.IMAP_ID, tls=TlsMode.STARTTLS) as rig:
        talk = await rig.connect()
        await talk.play("B> * OK ready")
        assert b"insecure" in await talk.backend.hear_line()
        await talk.play("B> gk2 OK done\nC< * OK ready\nC> a STARTTLS")
        await talk.play("C< a OK Begin TLS negotiation now")
        await talk.client.start_tls_client()
        await talk.accept()
        await talk.play("B> * OK ready")
        assert b'"x-client-transport" "TLS"' in await talk.backend.hear_line()
        await talk.play("B> gk2 OK done\nC> a NOOP\nB< a NOOP")


@pytest.mark.parametrize("answer", ["gk2 BAD what", "gk2 NO", "* BYE no", "+", "gk1 OK done"])
@virtual_time
async def test_a_backend_that_refuses_the_trusted_id_is_an_outage(answer: str) -> None:
    async with imap(announce=Announce.IMAP_ID) as rig:
        talk = await rig.connect()
        await talk.play("B> * OK ready")
        await talk.backend.hear_line()
        await talk.play(f"B> {answer}\n" + GONE)


@virtual_time
async def test_proxy_v2_comes_first_with_what_tls_became() -> None:
    async with imap(announce=Announce.PROXY_V2, tls=TlsMode.IMPLICIT) as rig:
        talk = await rig.connect()
        await talk.client.start_tls_client()
        octets = await (await talk.accept()).hear_some()
        header = read_proxy_header(octets)
        assert isinstance(header, ProxyHeader)
        assert header.size_octets == len(octets)
        assert b"TLSv1.3" in octets
        assert b"guard.example" in octets
        await talk.play(GREETING)


# -- the backend's TLS ---------------------------------------------------------------------------

STARTTLS = """
    B> * OK ready
    B< gk1 STARTTLS
    B> gk1 OK go
"""


@pytest.mark.parametrize("tls", [TlsMode.IMPLICIT, TlsMode.STARTTLS])
@virtual_time
async def test_the_backends_certificate_is_verified(tls: TlsMode) -> None:
    async with imap(backend_tls=tls) as rig:
        talk = await rig.connect()
        await talk.accept()
        if tls is TlsMode.STARTTLS:
            await talk.play(STARTTLS)
            await talk.backend.start_tls_server("mx.example")
            await talk.play("C< * OK ready")
        else:
            await talk.backend.start_tls_server("mx.example")
            await talk.play(GREETING)
        await talk.play("C> a NOOP\nB< a NOOP")


@pytest.mark.parametrize("tls", [TlsMode.IMPLICIT, TlsMode.STARTTLS])
@virtual_time
async def test_a_backend_with_a_certificate_for_another_name_is_refused(tls: TlsMode) -> None:
    async with imap(backend_tls=tls) as rig:
        talk = await rig.connect()
        await talk.accept()
        if tls is TlsMode.STARTTLS:
            await talk.play(STARTTLS)
        await talk.backend.fail_tls_server("imposter.example")
        await talk.play(GONE)
        assert rig.judge.events == [ConnectionOpened()]


@pytest.mark.parametrize(
    "answer", ["gk1 NO no", "gk1 BAD what", "+", "gk1 OK go\nB> * OK injected"]
)
@virtual_time
async def test_a_backend_that_does_not_start_tls_properly_is_an_outage(answer: str) -> None:
    async with imap(backend_tls=TlsMode.STARTTLS) as rig:
        talk = await rig.connect()
        await talk.play(f"B> * OK ready\nB< gk1 STARTTLS\nB> {answer}\n" + GONE)


# -- what the backend can do ---------------------------------------------------------------------

APPEND = b"b APPEND INBOX {2000+}\r\n" + b"x" * 2000 + b"\r\n"


@pytest.mark.parametrize(
    "greeting", ["[CAPABILITY IMAP4rev1 LITERAL+]", "[CAPABILITY IMAP4rev1]", "ready"]
)
@virtual_time
async def test_what_passes_after_the_login_is_the_same_whatever_the_backend_announces(
    greeting: str,
) -> None:
    async with imap(tls=TlsMode.IMPLICIT) as rig:
        talk = await rig.connect()
        await talk.client.start_tls_client()
        await talk.play(f"B> * OK {greeting} ready\nC< * OK {greeting} ready")
        await talk.play("C> a LOGIN ann x\nB< a LOGIN ann x\nB> a OK in\nC< a OK in")
        await talk.client.send(APPEND)
        await talk.backend.hear(APPEND)
