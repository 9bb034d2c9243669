"""The SMTP dialogue: commands, and how a session ends."""

import pytest
import trio
from rig import guard, virtual_time
from smtp_scripts import GONE, GREETING, TRANSACTION, greeted, violations

from gatekeeper.events import (
    ConnectionOpened,
    HelloAttempt,
    RcptAttempt,
    RcptOutcome,
    RcptResult,
    Violation,
    ViolationKind,
)
from gatekeeper.sessions import End
from gatekeeper.settings import LimitSettings
from gatekeeper.verdict import Action, Reason, Verdict

REJECT = Verdict(Action.REJECT, Reason.UNKNOWN_RECIPIENTS)
DEFER = Verdict(Action.DEFER, Reason.TARPIT)
CLOSE = Verdict(Action.CLOSE, Reason.BANNED)


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
        assert rig.judge.events == [
            ConnectionOpened(),
            HelloAttempt("client.example", extended=True),
        ]


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
@pytest.mark.parametrize("verb", ["VRFY", "EXPN"])
async def test_a_question_for_a_recipient_is_judged_as_one(verb: str) -> None:
    async with guard() as rig:
        rig.judge.answers[RcptOutcome] = CLOSE
        talk = await greeted(rig)
        await talk.play(f"""
            C> {verb} nobody@d.example
            B< {verb} nobody@d.example
            B> 550 5.1.1 unknown
            C< 550 5.1.1 unknown
            C< 421 4.7.0 Service closing transmission channel
            C.
        """)
        attempt = RcptAttempt("nobody@d.example")
        assert rig.judge.heard(RcptAttempt, RcptOutcome) == [
            attempt,
            RcptOutcome(attempt, RcptResult.UNKNOWN),
        ]


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
