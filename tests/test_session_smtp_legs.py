"""Both legs of an SMTP session: reaching the backend, telling it who the client is, its TLS."""

import pytest
import trio
from rig import Rig, Talk, guard, virtual_time

from gatekeeper.events import ConnectionOpened, MailProtocol
from gatekeeper.session.smtp_legs import PREPARE_S
from gatekeeper.sessions import End
from gatekeeper.settings import Announce, LimitSettings, TlsMode
from gatekeeper.wire.proxy_header import ProxyHeader, read_proxy_header

GREETING = """
    B> 220 mx.example ESMTP
    C< 220 mx.example ESMTP
"""
OWN_EHLO = "B< EHLO guard.example\n"
GONE = """
    C< 421 4.3.2 Service not available, try again later
    C.
"""


def ports(rig: Rig, talk: Talk) -> tuple[int, int]:
    """The client's port, and the port it connected to."""
    return talk.client.sock.getsockname()[1], rig.service.listener.bind[0].port


# -- the greeting --------------------------------------------------------------------------------


@virtual_time
async def test_a_greeting_of_many_lines_passes() -> None:
    async with guard() as rig:
        talk = await rig.connect()
        await talk.play("""
            B> 220-mx.example ESMTP
            B> 220 be patient
            C< 220-mx.example ESMTP
            C< 220 be patient
        """)


@pytest.mark.parametrize("greeting", ["421 4.3.2 busy", "554 5.7.1 go away"])
@virtual_time
async def test_a_refusing_greeting_passes_and_ends_the_session(greeting: str) -> None:
    async with guard() as rig:
        talk = await rig.connect()
        await talk.play(f"B> {greeting}\nC< {greeting}\nC.\nB.")
        assert await rig.end() is End.UNAVAILABLE


@pytest.mark.parametrize("how", ["end", "reset", "silence", "nonsense"])
@virtual_time
async def test_a_backend_without_a_greeting_is_an_outage(how: str) -> None:
    async with guard() as rig:
        talk = await rig.connect()
        backend = await talk.accept()
        before = trio.current_time()
        match how:
            case "end":
                backend.close()
            case "reset":
                backend.reset()
            case "nonsense":
                await backend.send(b"SSH-2.0-OpenSSH\r\n")
        await talk.play(GONE)
        assert trio.current_time() - before <= PREPARE_S + 2
        assert rig.judge.events == [ConnectionOpened()]


@virtual_time
async def test_a_dead_backend_is_an_outage_and_no_failure_of_the_client() -> None:
    async with guard() as rig:
        rig.backends[0].close()
        talk = await rig.connect()
        await talk.play(GONE)
        assert await rig.end() is End.UNAVAILABLE
        assert rig.judge.events == [ConnectionOpened()]


@virtual_time
async def test_the_second_address_is_tried_and_then_comes_first_for_a_while() -> None:
    async with guard(backend_addresses=2) as rig:
        rig.backends[0].close()
        for _ in range(2):
            talk = await rig.connect()
            backend = await rig.accept_backend(1)
            await backend.send(b"220 second\r\n")
            await talk.client.hear(b"220 second\r\n")


@virtual_time
async def test_a_client_that_talks_before_the_greeting_is_heard_after_it() -> None:
    async with guard() as rig:
        talk = await rig.connect()
        await talk.client.send(b"NOOP\r\n")
        backend = await talk.accept()
        await backend.hear_nothing()
        await talk.play(GREETING + "B< NOOP")


@virtual_time
async def test_a_backend_that_sends_its_421_in_two_parts_is_understood() -> None:
    async with guard() as rig:
        talk = await rig.connect()
        await talk.play(GREETING)
        await talk.backend.send(b"421 4.3")
        await trio.sleep(1)
        await talk.backend.send(b".2 bye\r\n")
        await talk.play("C< 421 4.3.2 bye\nC.")


@virtual_time
async def test_replies_of_other_codes_in_one_are_a_fault() -> None:
    async with guard() as rig:
        talk = await rig.connect()
        await talk.play(GREETING)
        await talk.play("C> NOOP\nB< NOOP\nB> 250-one\nB> 550 two\n" + GONE)


@virtual_time
async def test_a_client_that_takes_no_reply_is_dropped() -> None:
    async with guard(limits=LimitSettings(smtp_idle_s=30.0)) as rig:
        talk = await rig.connect()
        await talk.play(GREETING)
        flood = (b"250-" + b"x" * 8000 + b"\r\n") * 127 + b"250 x\r\n"

        async def answer() -> None:
            while True:
                line = await talk.backend.hear_some()
                for _ in range(line.count(b"HELP")):
                    await talk.backend.send(flood)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer)
            await talk.client.send(b"HELP\r\n" * 50)
            assert await rig.end() is End.TIMEOUT
            nursery.cancel_scope.cancel()


# -- who the client is ---------------------------------------------------------------------------


@virtual_time
async def test_proxy_v1_comes_first() -> None:
    async with guard(announce=Announce.PROXY_V1) as rig:
        talk = await rig.connect()
        port, local_port = ports(rig, talk)
        await talk.play(f"B< PROXY TCP4 127.0.0.1 127.0.0.1 {port} {local_port}" + GREETING)


@pytest.mark.parametrize("tlvs", [None, True])
@virtual_time
async def test_proxy_v2_comes_first_and_tells_of_tls_where_asked(tlvs: bool | None) -> None:
    async with guard(tls=TlsMode.IMPLICIT, announce=Announce.PROXY_V2, proxy_tlvs=tlvs) as rig:
        talk = await rig.connect()
        await talk.client.start_tls_client()
        backend = await talk.accept()
        octets = await backend.hear_some()
        header = read_proxy_header(octets)
        assert isinstance(header, ProxyHeader)
        assert header.size_octets == len(octets)
        assert (header.source, header.destination) == ("127.0.0.1", "127.0.0.1")
        assert (header.source_port, header.destination_port) == ports(rig, talk)
        assert (b"TLSv1.3" in octets) is (tlvs is True)
        assert (b"guard.example" in octets) is (tlvs is True)
        await talk.play(GREETING)


@virtual_time
async def test_xclient_is_announced_before_the_client_is_greeted() -> None:
    async with guard(announce=Announce.XCLIENT) as rig:
        talk = await rig.connect()
        port, local_port = ports(rig, talk)
        await talk.play("B> 220 mx.example ESMTP\n" + OWN_EHLO)
        await talk.play(f"""
            B> 250-mx.example
            B> 250 XCLIENT NAME ADDR PORT LOGIN DESTPORT
            B< XCLIENT PORT={port} DESTPORT={local_port} NAME=[UNAVAILABLE] ADDR=127.0.0.1
        """)
        await talk.client.hear_nothing()
        await talk.play("""
            B> 220 mx.example ESMTP again
            C< 220 mx.example ESMTP
            C> EHLO client.example
            B< EHLO client.example
        """)


@pytest.mark.parametrize("refusal", ["250 mx.example", "502 no EHLO here"])
@virtual_time
async def test_a_backend_without_xclient_is_an_outage(refusal: str) -> None:
    async with guard(announce=Announce.XCLIENT) as rig:
        talk = await rig.connect()
        await talk.play("B> 220 mx\n" + OWN_EHLO + f"B> {refusal}\n" + GONE)


@virtual_time
async def test_a_backend_that_refuses_xclient_is_an_outage() -> None:
    async with guard(announce=Announce.XCLIENT) as rig:
        talk = await rig.connect()
        await talk.play("B> 220 mx\n" + OWN_EHLO + "B> 250-mx\nB> 250 XCLIENT ADDR\n")
        await talk.play("B< XCLIENT ADDR=127.0.0.1\nB> 550 5.7.0 not you\n" + GONE)


# -- the backend's TLS ---------------------------------------------------------------------------


@pytest.mark.parametrize("tls", [TlsMode.IMPLICIT, TlsMode.STARTTLS])
@virtual_time
async def test_the_backends_certificate_is_verified(tls: TlsMode) -> None:
    async with guard(backend_tls=tls) as rig:
        talk = await rig.connect()
        backend = await talk.accept()
        if tls is TlsMode.STARTTLS:
            await talk.play("B> 220 mx.example ESMTP\n" + OWN_EHLO)
            await talk.play("B> 250-mx\nB> 250 STARTTLS\nB< STARTTLS\nB> 220 go")
        await backend.start_tls_server("mx.example")
        if tls is TlsMode.STARTTLS:
            await talk.play("C< 220 mx.example ESMTP")
        else:
            await talk.play(GREETING)
        await talk.play("C> NOOP\nB< NOOP\nB> 250 ok\nC< 250 ok")


@pytest.mark.parametrize("tls", [TlsMode.IMPLICIT, TlsMode.STARTTLS])
@virtual_time
async def test_a_backend_with_a_certificate_for_another_name_is_refused(tls: TlsMode) -> None:
    async with guard(backend_tls=tls) as rig:
        talk = await rig.connect()
        backend = await talk.accept()
        if tls is TlsMode.STARTTLS:
            await talk.play("B> 220 mx.example ESMTP\n" + OWN_EHLO)
            await talk.play("B> 250-mx\nB> 250 STARTTLS\nB< STARTTLS\nB> 220 go")
        await backend.fail_tls_server("imposter.example")
        await talk.play(GONE)
        assert rig.judge.events == [ConnectionOpened()]


@pytest.mark.parametrize("offer", ["250 mx", "250-mx\nB> 250 STARTTLS\nB< STARTTLS\nB> 454 no"])
@virtual_time
async def test_a_backend_that_will_not_start_tls_is_an_outage(offer: str) -> None:
    async with guard(backend_tls=TlsMode.STARTTLS) as rig:
        talk = await rig.connect()
        await talk.play("B> 220 mx\n" + OWN_EHLO + f"B> {offer}\n" + GONE)


@virtual_time
async def test_replies_injected_before_the_backends_tls_are_an_outage() -> None:
    async with guard(backend_tls=TlsMode.STARTTLS) as rig:
        talk = await rig.connect()
        await talk.play("B> 220 mx\n" + OWN_EHLO + "B> 250-mx\nB> 250 STARTTLS\nB< STARTTLS")
        await talk.play("B> 220 go\nB> 235 injected\n" + GONE)


@virtual_time
async def test_xclient_goes_over_the_backends_tls() -> None:
    async with guard(backend_tls=TlsMode.STARTTLS, announce=Announce.XCLIENT) as rig:
        talk = await rig.connect()
        await talk.play("B> 220 mx.example ESMTP\n" + OWN_EHLO)
        await talk.play("B> 250-mx\nB> 250-XCLIENT ADDR\nB> 250 STARTTLS\nB< STARTTLS\nB> 220 go")
        await talk.backend.start_tls_server("mx.example")
        await talk.play(OWN_EHLO + "B> 250-mx\nB> 250 XCLIENT ADDR\nB< XCLIENT ADDR=127.0.0.1")
        await talk.play("B> 220 again\nC< 220 mx.example ESMTP")


@virtual_time
async def test_requiretls_is_offered_where_both_legs_keep_it() -> None:
    async with guard(
        protocol=MailProtocol.SUBMISSION, tls=TlsMode.IMPLICIT, backend_tls=TlsMode.IMPLICIT
    ) as rig:
        talk = await rig.connect()
        await talk.client.start_tls_client()
        await (await talk.accept()).start_tls_server("mx.example")
        await talk.play(GREETING)
        await talk.play("""
            C> EHLO c.example
            B< EHLO c.example
            B> 250-mx.example
            B> 250 REQUIRETLS
            C< 250-guard.example
            C< 250 REQUIRETLS
        """)
