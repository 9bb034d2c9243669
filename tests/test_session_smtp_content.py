"""The SMTP dialogue: content between DATA and its end, and BDAT chunks."""

import contextlib

import pytest
import trio
from rig import Talk, guard, virtual_time
from rig_ends import PATIENCE_S
from smtp_scripts import DATA, EHLO, GONE, GREETING, TRANSACTION, greeted, in_data, violations

from gatekeeper.events import (
    ViolationKind,
)
from gatekeeper.session.smtp import SmtpDialogue
from gatekeeper.session.smtp_content import PASSES_AT_ONCE
from gatekeeper.sessions import End
from gatekeeper.settings import BareNewlines, LimitSettings, TlsMode

# -- content -------------------------------------------------------------------------------------


@virtual_time
async def test_content_passes_unchanged_and_the_dialogue_goes_on() -> None:
    async with guard() as rig:
        talk = await in_data(rig)
        await talk.play("""
            C> Subject: x
            C>
            C> ..stuffed
            C> .
            B< Subject: x
            B<
            B< ..stuffed
            B< .
            B> 250 queued
            C< 250 queued
            C> QUIT
            B< QUIT
        """)


@virtual_time
async def test_what_follows_content_in_the_same_segment_is_a_command() -> None:
    async with guard() as rig:
        talk = await in_data(rig)
        await talk.client.send(b"x\r\n.\r\nNOOP\r\n")
        await talk.backend.hear(b"x\r\n.\r\n")
        await talk.backend.hear_nothing()
        await talk.play("""
            B> 250 queued
            C< 250 queued
            B< NOOP
        """)


@pytest.mark.parametrize("tls", [TlsMode.NONE, TlsMode.IMPLICIT])
@virtual_time
async def test_much_content_passes_whole(tls: TlsMode) -> None:
    content = (b"x" * 70 + b"\r\n") * 20_000 + b".\r\n"
    async with guard(tls=tls) as rig:
        talk = await rig.connect()
        if tls is TlsMode.IMPLICIT:
            await talk.client.start_tls_client()
        await talk.play(GREETING + EHLO + TRANSACTION + DATA)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk.client.send, content)
            await talk.backend.hear(content)
        await talk.play("B> 250 queued\nC< 250 queued")


@pytest.mark.parametrize("how", ["end", "reset", "421"])
@virtual_time
async def test_no_backend_word_after_the_final_dot_is_no_250(how: str) -> None:
    async with guard() as rig:
        talk = await in_data(rig)
        await talk.play("""
            C> x
            C> .
            B< x
            B< .
        """)
        match how:
            case "end":
                talk.backend.close()
            case "reset":
                talk.backend.reset()
            case _:
                await talk.play("B> 421 4.3.2 shutting down\nC< 421 4.3.2 shutting down\nC.")
                return
        await talk.play(GONE)


@virtual_time
async def test_a_backend_that_goes_away_amid_content_is_an_outage() -> None:
    async with guard() as rig:
        talk = await in_data(rig)
        talk.backend.reset()
        await talk.client.send(b"x\r\n")
        await talk.client.send(b"x\r\n.\r\n")
        await talk.play(GONE)


@pytest.mark.parametrize("how", ["end", "reset"])
@virtual_time
async def test_of_a_client_gone_amid_content_the_backend_hears_no_end_of_data(how: str) -> None:
    async with guard() as rig:
        talk = await in_data(rig)
        await talk.client.send(b"x\r\n.")
        await talk.backend.hear(b"x\r\n")
        talk.client.close() if how == "end" else talk.client.reset()
        assert await talk.backend.hear_until_end() == b""
        assert await rig.end() in {End.CLIENT, End.BROKEN}


@virtual_time
async def test_content_that_stops_coming_ends_in_421() -> None:
    async with guard(limits=LimitSettings(content_idle_s=20.0)) as rig:
        talk = await in_data(rig)
        await talk.client.send(b"x\r\n")
        await talk.backend.hear(b"x\r\n")
        await talk.play("""
            C< 421 4.4.2 Timeout exceeded
            C.
            B.
        """)


@virtual_time
async def test_a_smuggled_end_of_data_is_neutralised_and_counted_once() -> None:
    async with guard() as rig:
        talk = await in_data(rig)
        await talk.client.send(b"a\n.\r\nAUTH PLAIN x\r\nb\r.\rc\r\n.\r\n")
        await talk.backend.hear(b"a\n..\r\nAUTH PLAIN x\r\nb\r..\rc\r\n.\r\n")
        await talk.play("B> 250 queued\nC< 250 queued")
        assert violations(talk) == [ViolationKind.SMUGGLING]


@virtual_time
async def test_a_smuggled_end_of_data_is_refused_where_that_is_configured() -> None:
    async with guard(bare_newlines=BareNewlines.REJECT) as rig:
        talk = await in_data(rig)
        await talk.client.send(b"a\r\n")
        await talk.backend.hear(b"a\r\n")
        await talk.client.send(b"b\n.\r\nQUIT\r\n.\r\n")
        await talk.client.hear(b"550 5.5.2 Bare CR or LF around a dot\r\n")
        assert b"." not in await talk.backend.hear_until_end()
        assert await rig.end() is End.VIOLATION


@virtual_time
async def test_refused_data_takes_no_content() -> None:
    async with guard() as rig:
        talk = await greeted(rig)
        await talk.play("""
            C> DATA
            B< DATA
            B> 503 no recipients
            C< 503 no recipients
            C> QUIT
            B< QUIT
        """)


# -- BDAT ----------------------------------------------------------------------------------------

CHUNKS = (b"BDAT 9\r\nQUIT\r\n.\r\nBDAT 4 LAST\r\nx\n.\n", b"NOOP\r\n")


async def _play_chunks(talk: Talk) -> None:
    await talk.backend.hear(CHUNKS[0][:17])
    await talk.backend.send(b"250 first\r\n")
    await talk.backend.hear(CHUNKS[0][17:])
    await talk.backend.send(b"250 last\r\n")
    await talk.backend.hear(CHUNKS[1])
    await talk.client.hear(b"250 first\r\n250 last\r\n")


@virtual_time
async def test_chunks_are_counted_exactly_wherever_they_are_cut() -> None:
    stream = b"".join(CHUNKS)
    async with guard() as rig:
        for cut in range(1, len(stream)):
            talk = await greeted(rig)
            await talk.client.send(stream[:cut])
            await trio.sleep(0.01)
            await talk.client.send(stream[cut:])
            await _play_chunks(talk)
            talk.client.close()


@virtual_time
async def test_a_refused_chunk_is_still_content() -> None:
    async with guard() as rig:
        talk = await greeted(rig)
        await talk.client.send(b"BDAT 6\r\nQUIT\r\nBDAT 6 LAST\r\nQUIT\r\nRSET\r\n")
        await talk.backend.hear(b"BDAT 6\r\nQUIT\r\n")
        await talk.backend.send(b"552 too much\r\n")
        await talk.backend.hear(b"BDAT 6 LAST\r\nQUIT\r\n")
        await talk.backend.send(b"503 after failure\r\n")
        await talk.backend.hear(b"RSET\r\n")
        await talk.client.hear(b"552 too much\r\n503 after failure\r\n")


@virtual_time
async def test_a_malformed_bdat_ends_the_session_and_is_not_forwarded() -> None:
    async with guard() as rig:
        talk = await greeted(rig)
        await talk.play("""
            C> BDAT +6
            C> QUIT
            C< 521 5.5.4 Bad BDAT command
            C.
            B.
        """)


@pytest.mark.parametrize("hello", ["EHLO", "HELO", None])
@virtual_time
async def test_bdat_to_a_backend_without_chunking_ends_the_session(hello: str | None) -> None:
    # Such a backend would take the chunk's octets for commands, which nobody judged.
    async with guard() as rig:
        talk = await rig.connect()
        await talk.play(GREETING)
        if hello is not None:
            await talk.play(f"C> {hello} c.example\nB< {hello} c.example\nB> 250 mx.example")
            await talk.client.hear_line()
        await talk.play("""
            C> BDAT 19 LAST
            C> AUTH PLAIN AGEAYg
            C< 521 5.5.1 BDAT not available
            C.
            B.
        """)
        assert await rig.end() is End.VIOLATION


@virtual_time
async def test_content_that_never_waits_leaves_the_others_their_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    turns = 0
    turns_before_each_pass: list[int] = []

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    enough = trio.Event()

    async def never_waits(_dialogue: SmtpDialogue) -> bytes:
        async with contextlib.nullcontext():  # awaited, and yet no turn is given
            turns_before_each_pass.append(turns)
        if len(turns_before_each_pass) < 4 * PASSES_AT_ONCE:
            return b"line\r\n"
        enough.set()
        return b"\r\n.\r\n"

    monkeypatch.setattr(SmtpDialogue, "_more_content", never_waits)
    async with guard() as rig, trio.open_nursery() as nursery:
        talk = await greeted(rig)
        await talk.play(TRANSACTION + "C> DATA\nB< DATA")
        nursery.start_soon(take_turns)
        await talk.play("B> 354 go on")
        with trio.fail_after(PATIENCE_S):
            await enough.wait()
        nursery.cancel_scope.cancel()
    # Three turns are given; who is first within one is Trio's dice.
    assert turns_before_each_pass[-1] - turns_before_each_pass[0] >= 2
