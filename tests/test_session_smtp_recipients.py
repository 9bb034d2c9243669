"""RCPT in an SMTP session that the guard holds back: whose fault it is decides the words."""

from base64 import b64encode

import pytest
from rig import Rig, Talk, guard, virtual_time

from gatekeeper.events import RcptAttempt
from gatekeeper.settings import TlsMode
from gatekeeper.verdict import Action, Reason, Verdict

OF_THE_RECIPIENT = "450 4.7.1 Recipient not accepted now, try again later"
OF_THE_SENDER = "451 4.7.1 Message not accepted now, try again later"
NEVER = "550 5.7.1 Recipient not accepted"


async def in_transaction(rig: Rig, *, logged_in: bool) -> Talk:
    talk = await rig.connect()
    await talk.client.start_tls_client()
    await talk.play("B> 220 mx\nC< 220 mx")
    if logged_in:
        login = "AUTH PLAIN " + b64encode(b"\0ann\0secret").decode()
        await talk.play(f"C> {login}\nB< {login}\nB> 235 welcome\nC< 235 welcome")
    await talk.play(
        "C> MAIL FROM:<ann@a.example>\nB< MAIL FROM:<ann@a.example>\nB> 250 ok\nC< 250 ok"
    )
    return talk


@pytest.mark.parametrize("reason", [Reason.ACCOUNT_HELD, Reason.RECIPIENT_RATE])
@pytest.mark.parametrize(
    ("action", "logged_in", "reply"),
    [
        (Action.DEFER, True, OF_THE_SENDER),
        (Action.DEFER, False, OF_THE_RECIPIENT),
        (Action.REJECT, True, NEVER),
        (Action.DECOY, False, NEVER),
    ],
)
@virtual_time
async def test_an_account_that_is_held_back_hears_451(
    reason: Reason, action: Action, logged_in: bool, reply: str
) -> None:
    async with guard(tls=TlsMode.IMPLICIT) as rig:
        rig.judge.answers[RcptAttempt] = Verdict(action, reason)
        talk = await in_transaction(rig, logged_in=logged_in)
        await talk.play(f"C> RCPT TO:<bob@b.example>\nC< {reply}")
        await talk.play("C> NOOP\nB< NOOP\nB> 250 ok\nC< 250 ok")


@virtual_time
async def test_what_is_no_fault_of_the_account_is_about_the_recipient() -> None:
    async with guard(tls=TlsMode.IMPLICIT) as rig:
        rig.judge.answers[RcptAttempt] = Verdict(Action.DEFER, Reason.UNKNOWN_RECIPIENTS)
        talk = await in_transaction(rig, logged_in=True)
        await talk.play(f"C> RCPT TO:<bob@b.example>\nC< {OF_THE_RECIPIENT}")
