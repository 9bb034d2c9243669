"""The SMTP dialogue: commands, content and STARTTLS, between a client and a backend."""

import pytest
import trio
from rig import Rig, Talk, guard, virtual_time

from gatekeeper.events import (
    ConnectionOpened,
    MailProtocol,
    RcptAttempt,
    RcptOutcome,
    RcptResult,
    Violation,
    ViolationKind,
)
from gatekeeper.sessions import End
from gatekeeper.settings import Announce, BareNewlines, LimitSettings, TlsMode
from gatekeeper.verdict import Action, Reason, Verdict

REJECT = Verdict(Action.REJECT, Reason.UNKNOWN_RECIPIENTS)
DEFER = Verdict(Action.DEFER, Reason.TARPIT)
CLOSE = Verdict(Action.CLOSE, Reason.BANNED)

GREETING = """
    B> 220 mx.example ESMTP
    C< 220 mx.example ESMTP
"""
EHLO = """
    C> EHLO client.example
    B< EHLO client.example
    B> 250-mx.example Hello client.example
    B> 250-PIPELINING
    B> 250 CHUNKING
    C< 250-guard.example
    C< 250-PIPELINING
    C< 250 CHUNKING
"""
TRANSACTION = """
    C> MAIL FROM:<a@b.example>
    B< MAIL FROM:<a@b.example>
    B> 250 ok
    C< 250 ok
    C> RCPT TO:<c@d.example>
    B< RCPT TO:<c@d.example>
    B> 250 ok
    C< 250 ok
"""
DATA = """
    C> DATA
    B< DATA
    B> 354 go on
    C< 354 go on
"""


async def greeted(rig: Rig) -> Talk:
    talk = await rig.connect()
    await talk.play(GREETING + EHLO)
    return talk


async def in_data(rig: Rig) -> Talk:
    talk = await greeted(rig)
    await talk.play(TRANSACTION + DATA)
    return talk


def violations(talk: Talk) -> list[ViolationKind]:
    return [event.kind for event in talk.judge.heard(Violation)]


# -- plain commands ------------------------------------------------------------------------------


@virtual_time
async def test_a_session_without_mail() -> None:
    async with guard() as rig:
        talk = await greeted(rig)
        await talk.play("""
            C> noop  as written
            B< noop  as written
            B> 250-two
            B> 250 lines
            C< 250-two
            C< 250 lines
            C> QUIT
            B< QUIT
            B> 221 bye
            C< 221 bye
            C.
            B.
        """)
        assert await rig.end() is End.LOGOUT
        assert rig.judge.events == [ConnectionOpened()]


@virtual_time
async def test_the_ehlo_reply_is_the_guards() -> None:
    async with guard() as rig:
        talk = await rig.connect()
        await talk.play(GREETING)
        await talk.play("""
            C> EHLO client.example
            B< EHLO client.example
            B> 250-mx.example Hello client.example
            B> 250-SIZE 1000
            B> 250-STARTTLS
            B> 250-XCLIENT NAME ADDR LOGIN
            B> 250-X-EXPS=LOGIN
            B> 250 AUTH PLAIN
            C< 250-guard.example
            C< 250 SIZE 1000
        """)


@virtual_time
async def test_helo_and_a_refused_ehlo_pass_as_they_are() -> None:
    async with guard() as rig:
        talk = await rig.connect()
        await talk.play(GREETING)
        await talk.play("""
            C> EHLO client.example
            B< EHLO client.example
            B> 502 only HELO here
            C< 502 only HELO here
            C> HELO client.example
            B< HELO client.example
            B> 250 mx.example
            C< 250 mx.example
        """)


@virtual_time
async def test_a_group_reaches_the_backend_one_command_at_a_time_and_is_answered_in_order() -> None:
    def refuse_two(event: object) -> Verdict | None:
        if isinstance(event, RcptAttempt):
            return {"r3@d.example": REJECT, "r50@d.example": DEFER}.get(event.forward_path)
        return None

    async with guard() as rig:
        rig.judge.decide = refuse_two
        talk = await rig.connect()
        await talk.play(GREETING)
        recipients = [b"RCPT TO:<r%d@d.example>\r\n" % number for number in range(100)]
        group = [b"EHLO client.example\r\n", b"MAIL FROM:<>\r\n", *recipients, b"DATA\r\n"]
        await talk.client.send(b"".join(group))
        for command in group:
            if command in {recipients[3], recipients[50]}:
                continue
            await talk.backend.hear(command)
            if command is group[7]:
                await talk.backend.hear_nothing()
            code = b"354" if command == b"DATA\r\n" else b"250"
            await talk.backend.send(code + b" " + command[:20].rstrip() + b"\r\n")
        await talk.client.hear(b"250 guard.example\r\n250 MAIL FROM:<>\r\n")
        for number, command in enumerate(recipients):
            match number:
                case 3:
                    await talk.client.hear(b"550 5.7.1 Recipient not accepted\r\n")
                case 50:
                    await talk.client.hear(
                        b"450 4.7.1 Recipient not accepted now, try again later\r\n"
                    )
                case _:
                    await talk.client.hear(b"250 " + command[:20].rstrip() + b"\r\n")
        await talk.client.hear(b"354 DATA\r\n")
        assert len(rig.judge.heard(RcptAttempt)) == 100
        assert len(rig.judge.heard(RcptOutcome)) == 98


@virtual_time
async def test_what_is_sent_behind_data_ends_an_unauthenticated_session() -> None:
    async with guard() as rig:
        talk = await greeted(rig)
        await talk.play(TRANSACTION)
        await talk.play("""
            C> DATA
            C> AUTH PLAIN AGEAYg==
            C< 554 5.5.0 SMTP protocol synchronization
            C.
            B.
        """)
        assert await rig.end() is End.VIOLATION
        assert violations(talk) == [ViolationKind.EARLY_TALKER]


@virtual_time
async def test_the_word_on_a_recipient_is_judged_before_the_client_hears_it() -> None:
    async with guard() as rig:
        rig.judge.answers[RcptOutcome] = CLOSE
        talk = await greeted(rig)
        await talk.play("""
            C> RCPT TO:<nobody@d.example>
            B< RCPT TO:<nobody@d.example>
            B> 550 5.1.1 unknown
            C< 550 5.1.1 unknown
            C< 421 4.7.0 Service closing transmission channel
            C.
        """)
        assert await rig.end() is End.REFUSED
        attempt = RcptAttempt("nobody@d.example")
        assert rig.judge.heard(RcptOutcome) == [RcptOutcome(attempt, RcptResult.UNKNOWN)]


@virtual_time
async def test_a_recipient_may_end_the_session() -> None:
    async with guard() as rig:
        rig.judge.answers[RcptAttempt] = CLOSE
        talk = await greeted(rig)
        await talk.play("""
            C> RCPT TO:<nobody@d.example>
            C< 421 4.7.0 Service closing transmission channel
            C.
            B.
        """)


@virtual_time
async def test_a_tarpit_delays_the_refusal() -> None:
    async with guard() as rig:
        rig.judge.answers[RcptAttempt] = Verdict(Action.REJECT, Reason.TARPIT, delay_s=8.0)
        talk = await greeted(rig)
        before = trio.current_time()
        await talk.play("""
            C> RCPT TO:<nobody@d.example>
            C< 550 5.7.1 Recipient not accepted
        """)
        assert trio.current_time() - before >= 8.0


@virtual_time
async def test_refused_lines_never_reach_the_backend() -> None:
    async with guard() as rig:
        talk = await greeted(rig)
        await talk.play("""
            C> XCLIENT ADDR=192.0.2.1
            C< 502 5.5.1 Not implemented
            C> X-EXPS LOGIN
            C< 502 5.5.1 Not implemented
            C> NOOP
            B< NOOP
            B> 250 ok
            C< 250 ok
        """)
        assert violations(talk) == [ViolationKind.FORBIDDEN_VERB] * 2


@virtual_time
async def test_too_many_errors_end_the_session() -> None:
    async with guard(limits=LimitSettings(errors_per_session=3)) as rig:
        talk = await greeted(rig)
        await talk.play("""
            C> XCLIENT
            C> XCLIENT
            C> XCLIENT
            C< 502 5.5.1 Not implemented
            C< 502 5.5.1 Not implemented
            C< 502 5.5.1 Not implemented
            C< 421 4.7.0 Too many errors
            C.
        """)
        assert await rig.end() is End.VIOLATION


@virtual_time
async def test_a_violation_may_end_the_session() -> None:
    async with guard() as rig:
        rig.judge.answers[Violation] = CLOSE
        talk = await greeted(rig)
        await talk.play("""
            C> XCLIENT
            C< 502 5.5.1 Not implemented
            C< 421 4.7.0 Service closing transmission channel
            C.
        """)
        assert await rig.end() is End.REFUSED


@virtual_time
async def test_a_silent_client_hears_421() -> None:
    async with guard(limits=LimitSettings(smtp_idle_s=20.0)) as rig:
        talk = await greeted(rig)
        before = trio.current_time()
        await talk.play("""
            C< 421 4.4.2 Timeout exceeded
            C.
            B.
        """)
        assert await rig.end() is End.TIMEOUT
        assert 20.0 <= trio.current_time() - before <= 22.0


@virtual_time
async def test_a_client_that_sends_octet_by_octet_is_timed_from_its_last_command() -> None:
    async with guard(limits=LimitSettings(smtp_idle_s=20.0)) as rig:
        talk = await greeted(rig)
        for _ in range(4):
            await talk.client.send(b"N")
            await trio.sleep(6)
        await talk.play("C< 421 4.4.2 Timeout exceeded")


# -- ends ----------------------------------------------------------------------------------------

STATES = {
    "greeted": "",
    "mail": TRANSACTION[: TRANSACTION.index("    C> RCPT")],
    "rcpt": TRANSACTION,
}
FAREWELL = """
    B> 421 4.3.2 shutting down
    C< 421 4.3.2 shutting down
    C.
"""
GONE = """
    C< 421 4.3.2 Service not available, try again later
    C.
"""


@pytest.mark.parametrize("state", STATES)
@virtual_time
async def test_the_backends_own_421_is_passed_on_between_commands(state: str) -> None:
    async with guard() as rig:
        talk = await greeted(rig)
        await talk.play(STATES[state] + FAREWELL)
        assert await rig.end() is End.UNAVAILABLE


@pytest.mark.parametrize(
    "command",
    ["EHLO again.example", "NOOP", "MAIL FROM:<>", "RCPT TO:<a@b>", "DATA", "VRFY", "BDAT 0 LAST"],
)
@virtual_time
async def test_the_backends_421_as_a_reply_ends_the_session(command: str) -> None:
    async with guard() as rig:
        talk = await greeted(rig)
        await talk.play(f"C> {command}\nB< {command}")
        await talk.play(FAREWELL)
        assert await rig.end() is End.BACKEND


@pytest.mark.parametrize("state", STATES)
@virtual_time
async def test_a_backend_that_hangs_up_between_commands_is_an_outage(state: str) -> None:
    async with guard() as rig:
        talk = await greeted(rig)
        await talk.play(STATES[state])
        talk.backend.close()
        await talk.play(GONE)
        assert await rig.end() is End.UNAVAILABLE


@pytest.mark.parametrize(
    "command", ["EHLO again.example", "NOOP", "MAIL FROM:<>", "RCPT TO:<a@b>", "DATA", "QUIT"]
)
@pytest.mark.parametrize("how", ["end", "reset", "half a reply", "no reply", "nonsense"])
@virtual_time
async def test_a_backend_that_does_not_answer_is_an_outage(command: str, how: str) -> None:
    async with guard(limits=LimitSettings(backend_reply_s=20.0)) as rig:
        talk = await greeted(rig)
        await talk.play(f"C> {command}\nB< {command}")
        match how:
            case "end":
                talk.backend.close()
            case "reset":
                talk.backend.reset()
            case "half a reply":
                await talk.backend.send(b"250-half\r\n250 o")
                talk.backend.close()
            case "no reply":
                pass
            case _:
                await talk.backend.send(b"* OK IMAP4rev1\r\n")
        await talk.play(GONE)
        assert await rig.end() is End.UNAVAILABLE
        assert not rig.judge.heard(RcptOutcome, Violation)


@virtual_time
async def test_what_a_backend_says_unasked_is_a_fault() -> None:
    async with guard() as rig:
        talk = await greeted(rig)
        await talk.backend.send(b"250 ok\r\n")
        await talk.play(GONE)


@virtual_time
async def test_a_second_reply_is_never_taken_for_the_next_commands() -> None:
    async with guard() as rig:
        talk = await greeted(rig)
        await talk.client.send(b"NOOP\r\nRCPT TO:<a@b>\r\n")
        await talk.backend.hear(b"NOOP\r\n")
        await talk.backend.send(b"250 ok\r\n250 one too many\r\n")
        await talk.client.hear(b"250 ok\r\n")
        await talk.play(GONE)
        assert not rig.judge.heard(RcptOutcome)


@virtual_time
async def test_a_client_that_half_closes_is_served_first() -> None:
    async with guard() as rig:
        talk = await greeted(rig)
        await talk.client.send(b"NOOP\r\nQUIT\r\n")
        await talk.client.end()
        await talk.play("""
            B< NOOP
            B> 250 ok
            B< QUIT
            B> 221 bye
            C< 250 ok
            C< 221 bye
            C.
        """)
        assert await rig.end() is End.LOGOUT


@pytest.mark.parametrize("state", STATES)
@virtual_time
async def test_a_client_that_leaves_takes_its_backend_connection_along(state: str) -> None:
    async with guard() as rig:
        talk = await greeted(rig)
        await talk.play(STATES[state])
        talk.client.close()
        await talk.play("B.")
        assert await rig.end() is End.CLIENT


@virtual_time
async def test_a_client_that_resets_is_noted_as_such() -> None:
    async with guard() as rig:
        talk = await greeted(rig)
        talk.client.reset()
        await talk.play("B.")
        assert await rig.end() is End.BROKEN


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


@virtual_time
async def test_much_content_passes_whole() -> None:
    content = b"x" * 70 + b"\r\n"
    content = content * 20_000 + b".\r\n"
    async with guard() as rig:
        talk = await in_data(rig)
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
