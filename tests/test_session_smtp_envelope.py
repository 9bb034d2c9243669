"""Verdicts on EHLO, MAIL and the end of a message: what the client and the backend hear of them."""

import pytest
from rig import guard, virtual_time
from smtp_scripts import DATA, EHLO, GREETING, TRANSACTION, greeted, in_data

from gatekeeper.events import HelloAttempt, MailAttempt, MessageEnd
from gatekeeper.sessions import End
from gatekeeper.verdict import Action, Reason, Verdict

DEFER = Verdict(Action.DEFER, Reason.TARPIT)
REJECT = Verdict(Action.REJECT, Reason.TARPIT)
CLOSE = Verdict(Action.CLOSE, Reason.TARPIT)

HANG_UP = """
    C< 421 4.7.0 Service closing transmission channel
    C.
"""


@virtual_time
async def test_all_three_are_judged_with_what_came_before() -> None:
    async with guard() as rig:
        talk = await in_data(rig)
        await talk.play("""
            C> hello
            C> .
            B< hello
            B< .
            B> 250 ok
            C< 250 ok
        """)
        assert rig.judge.heard(HelloAttempt) == [HelloAttempt("client.example", extended=True)]
        assert rig.judge.heard(MailAttempt) == [MailAttempt("a@b.example", "client.example")]
        assert rig.judge.heard(MessageEnd) == [MessageEnd("a@b.example", 1, len(b"hello\r\n.\r\n"))]


@pytest.mark.parametrize(
    ("verdict", "reply"),
    [
        (DEFER, "450 4.7.1 Not accepted now, try again later"),
        (REJECT, "550 5.7.1 Not accepted"),
    ],
)
@virtual_time
async def test_a_refused_hello_is_not_forwarded_and_may_be_mended(
    verdict: Verdict, reply: str
) -> None:
    async with guard() as rig:
        rig.judge.answers[HelloAttempt] = [verdict]
        talk = await rig.connect()
        await talk.play(
            GREETING
            + f"""
            C> EHLO localhost
            C< {reply}
            """
            + EHLO
            + TRANSACTION
        )


@pytest.mark.parametrize(
    ("verdict", "reply"),
    [
        (DEFER, "450 4.7.1 Sender not accepted now, try again later"),
        (REJECT, "550 5.7.1 Sender not accepted"),
    ],
)
@virtual_time
async def test_a_refused_sender_is_not_forwarded_and_another_may_come(
    verdict: Verdict, reply: str
) -> None:
    async with guard() as rig:
        rig.judge.answers[MailAttempt] = [verdict]
        talk = await greeted(rig)
        await talk.play(
            f"""
            C> MAIL FROM:<x@spam.example>
            C< {reply}
            """
            + TRANSACTION
            + DATA
        )


@pytest.mark.parametrize("event", [HelloAttempt, MailAttempt])
@virtual_time
async def test_close_ends_the_session(event: type) -> None:
    async with guard() as rig:
        rig.judge.answers[event] = CLOSE
        talk = await rig.connect()
        await talk.play(GREETING)
        if event is HelloAttempt:
            await talk.play("C> EHLO client.example" + HANG_UP)
        else:
            await talk.play(EHLO + "C> MAIL FROM:<a@b.example>" + HANG_UP)
        assert await rig.end() is End.REFUSED


@pytest.mark.parametrize(
    ("verdict", "reply"),
    [
        (DEFER, "451 4.7.1 Message not accepted now, try again later"),
        (REJECT, "554 5.7.1 Message not accepted"),
        (CLOSE, "421 4.7.0 Service closing transmission channel"),
    ],
)
@virtual_time
async def test_a_refused_message_is_not_delivered(verdict: Verdict, reply: str) -> None:
    async with guard() as rig:
        rig.judge.answers[MessageEnd] = verdict
        talk = await in_data(rig)
        await talk.play(f"""
            C> hello
            C> .
            C< {reply}
            C.
        """)
        await talk.backend.hear_reset()
        assert await rig.end() is End.REFUSED


@virtual_time
async def test_the_last_chunk_of_a_refused_message_is_not_begun() -> None:
    async with guard() as rig:
        rig.judge.answers[MessageEnd] = REJECT
        talk = await greeted(rig)
        await talk.play(TRANSACTION)
        await talk.client.send(b"BDAT 3\r\nabc")
        await talk.backend.hear(b"BDAT 3\r\nabc")
        await talk.play("""
            B> 250 ok
            C< 250 ok
            C> BDAT 0 LAST
            C< 554 5.7.1 Message not accepted
            C.
        """)
        await talk.backend.hear_reset()
        assert rig.judge.heard(MessageEnd) == [MessageEnd("a@b.example", 1, 3)]


@virtual_time
async def test_each_message_is_counted_anew() -> None:
    async with guard() as rig:
        talk = await in_data(rig)
        answered = """
            C> hello
            C> .
            B< hello
            B< .
            B> 250 ok
            C< 250 ok
        """
        await talk.play(answered + TRANSACTION + DATA + answered)
        first, second = rig.judge.heard(MessageEnd)
        assert first == second
