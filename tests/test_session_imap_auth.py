"""LOGIN and AUTHENTICATE in an IMAP session: what the backend sees, what the client hears, and what
is judged."""

from base64 import b64encode
from functools import partial

import pytest
import trio
from rig import Rig, Talk, guard, virtual_time

from gatekeeper.events import (
    AuthAttempt,
    AuthOutcome,
    AuthResult,
    MailProtocol,
    Violation,
    ViolationKind,
)
from gatekeeper.sessions import End
from gatekeeper.settings import TlsMode
from gatekeeper.verdict import Action, Reason, Verdict

DEFER = Verdict(Action.DEFER, Reason.TARPIT)
REJECT = Verdict(Action.REJECT, Reason.AUTH_FAILURES)
CLOSE = Verdict(Action.CLOSE, Reason.BANNED)


def base64(text: str) -> str:
    return b64encode(text.encode()).decode()


PLAIN = base64("\0ann\0secret")
XOAUTH2 = base64("user=ann\1auth=Bearer token\1\1")
SUCCESS = "B> a OK welcome\nC< a OK welcome\n"
FAILURE = "B> a NO [AUTHENTICATIONFAILED] no\nC< a NO [AUTHENTICATIONFAILED] no\n"
CLOSING = "C< * BYE Connection closed\nC.\n"
GONE = "C< * BYE [UNAVAILABLE] Service not available, try again later\nC.\n"
NEXT = "C> z NOOP\nB< z NOOP\nB> z OK done\nC< z OK done\n"


async def greeted(rig: Rig) -> Talk:
    talk = await rig.connect()
    await talk.client.start_tls_client()
    await talk.play("B> * OK ready\nC< * OK ready")
    return talk


def attempts(talk: Talk) -> list[tuple[str, str, bytes | None]]:
    return [
        (event.mechanism, event.authcid, event.secret and event.secret.declassify())
        for event in talk.judge.heard(AuthAttempt)
    ]


def results(talk: Talk) -> list[AuthResult]:
    return [event.result for event in talk.judge.heard(AuthOutcome)]


imap = partial(guard, protocol=MailProtocol.IMAP, tls=TlsMode.IMPLICIT)

# -- LOGIN ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    ["a LOGIN ann secret", 'a login "ann" "secret"', 'a LOGIN ann "secret"'],
)
@pytest.mark.parametrize("right", [True, False])
@virtual_time
async def test_a_login_is_judged_and_the_backends_word_passes(command: str, right: bool) -> None:
    async with imap() as rig:
        talk = await greeted(rig)
        await talk.play(f"C> {command}\nB< {command}\n" + (SUCCESS if right else FAILURE))
        assert attempts(talk) == [("LOGIN", "ann", b"secret")]
        assert results(talk) == [AuthResult.SUCCESS if right else AuthResult.FAILURE]
        if not right:
            await talk.play(NEXT)


@virtual_time
async def test_quoted_strings_are_read_and_passed_on_as_they_came() -> None:
    async with imap() as rig:
        talk = await greeted(rig)
        await talk.play(r"""
            C> a LOGIN "a\"n\\n" "{3}"
            B< a LOGIN "a\"n\\n" "{3}"
        """)
        assert attempts(talk) == [("LOGIN", 'a"n\\n', b"{3}")]


@virtual_time
async def test_synchronising_literals_are_asked_for_by_the_guard_and_replayed() -> None:
    async with imap() as rig:
        talk = await greeted(rig)
        await talk.play("""
            C> a LOGIN {3}
            C< + OK
            C> ann {6}
            C< + OK
        """)
        await talk.backend.hear_nothing()
        await talk.play("""
            C> secret
            B< a LOGIN {3}
        """)
        await talk.backend.hear_nothing()
        await talk.play("""
            B> + go on
            B< ann {6}
            B> + and on
            B< secret
        """)
        await talk.play(SUCCESS)
        assert attempts(talk) == [("LOGIN", "ann", b"secret")]


@virtual_time
async def test_non_synchronising_literals_are_made_synchronising() -> None:
    # A backend that does not know them would read their octets as commands, which nobody judged.
    async with imap() as rig:
        talk = await greeted(rig)
        await talk.client.send(b"a LOGIN {22+}\r\nb LOGIN victim guess\r\n {6+}\r\nsecret\r\n")
        await talk.play("B< a LOGIN {22}")
        await talk.backend.hear_nothing()
        await talk.play("B> a BAD no literals here\nC< a BAD no literals here\n" + NEXT)
        assert attempts(talk) == [("LOGIN", "b LOGIN victim guess\r\n", b"secret")]


@virtual_time
async def test_a_literal_may_hold_what_looks_like_a_command() -> None:
    async with imap() as rig:
        talk = await greeted(rig)
        await talk.client.send(b"a LOGIN ann {14}\r\n")
        await talk.client.hear(b"+ OK\r\n")
        await talk.client.send(b"x\r\nA2 OK y\r\n\r\n\r\n")
        await talk.backend.hear(b"a LOGIN ann {14}\r\n")
        await talk.backend.send(b"+ go on\r\n")
        await talk.backend.hear(b"x\r\nA2 OK y\r\n\r\n\r\n")
        await talk.play(FAILURE)
        assert attempts(talk) == [("LOGIN", "ann", b"x\r\nA2 OK y\r\n\r\n")]


@pytest.mark.parametrize("answer", ["NO [TOOBIG] too big", "NO not so", "BAD no literals"])
@virtual_time
async def test_a_backend_that_refuses_a_literal_gets_no_more_and_blames_nobody(answer: str) -> None:
    async with imap() as rig:
        talk = await greeted(rig)
        await talk.play(f"""
            C> a LOGIN ann {{6}}
            C< + OK
            C> secret
            B< a LOGIN ann {{6}}
            B> a {answer}
            C< a {answer}
        """)
        await talk.play(NEXT)
        assert AuthResult.FAILURE not in results(talk)


@virtual_time
async def test_a_bye_in_place_of_a_continuation_is_passed_on() -> None:
    async with imap() as rig:
        talk = await greeted(rig)
        await talk.play("""
            C> a LOGIN ann {6}
            C< + OK
            C> secret
            B< a LOGIN ann {6}
            B> * BYE enough
            C< * BYE enough
            C.
        """)
        assert results(talk) == [AuthResult.UNAVAILABLE]


@virtual_time
async def test_untagged_responses_before_the_answer_are_passed_on() -> None:
    async with imap() as rig:
        talk = await greeted(rig)
        await talk.play("""
            C> a LOGIN ann secret
            B< a LOGIN ann secret
            B> * OK still working
            B> * CAPABILITY IMAP4rev1 UNAUTHENTICATE
            B> a OK welcome
            C< * OK still working
            C< * CAPABILITY IMAP4rev1
            C< a OK welcome
        """)


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        ("a NO no", AuthResult.FAILURE),
        ("a NO [UNAVAILABLE] later", AuthResult.UNAVAILABLE),
        ("a BAD what", AuthResult.PROTOCOL),
        ("a NO [PRIVACYREQUIRED] TLS", AuthResult.PROTOCOL),
    ],
)
@virtual_time
async def test_only_a_word_against_the_credential_is_a_failure(
    answer: str, result: AuthResult
) -> None:
    async with imap() as rig:
        talk = await greeted(rig)
        await talk.play(f"C> a LOGIN ann x\nB< a LOGIN ann x\nB> {answer}\nC< {answer}")
        assert results(talk) == [result]
        await talk.play(NEXT)


@virtual_time
async def test_a_bye_instead_of_an_answer_is_an_outage() -> None:
    async with imap() as rig:
        talk = await greeted(rig)
        await talk.play("C> a LOGIN ann x\nB< a LOGIN ann x\nB> * BYE down\nC< * BYE down\nC.")
        assert results(talk) == [AuthResult.UNAVAILABLE]
        assert await rig.end() is End.BACKEND


@virtual_time
async def test_a_continuation_nobody_needs_is_a_fault() -> None:
    async with imap() as rig:
        talk = await greeted(rig)
        await talk.play("C> a LOGIN ann x\nB< a LOGIN ann x\nB> + more\n" + GONE)
        assert not results(talk)


# -- AUTHENTICATE --------------------------------------------------------------------------------

BEGUN = """
    C> a AUTHENTICATE PLAIN
    B< a AUTHENTICATE PLAIN
    B> +
    C< +
"""
CANCELLED = """
    B< *
    B> a BAD cancelled
"""


@pytest.mark.parametrize(
    "script",
    [
        f"C> a AUTHENTICATE PLAIN {PLAIN}\nB< a AUTHENTICATE PLAIN {PLAIN}\n",
        BEGUN + f"C> {PLAIN}\nB< {PLAIN}\n",
    ],
    ids=["with initial response", "without"],
)
@pytest.mark.parametrize("right", [True, False])
@virtual_time
async def test_authenticate_is_judged_and_the_backends_word_passes(
    script: str, right: bool
) -> None:
    async with imap() as rig:
        talk = await greeted(rig)
        await talk.play(script + (SUCCESS if right else FAILURE))
        assert attempts(talk) == [("PLAIN", "ann", b"secret")]
        assert results(talk) == [AuthResult.SUCCESS if right else AuthResult.FAILURE]
        if not right:
            await talk.play(NEXT)


@virtual_time
async def test_a_client_may_cancel() -> None:
    async with imap() as rig:
        talk = await greeted(rig)
        await talk.play(BEGUN + "C> *" + CANCELLED + "C< a BAD cancelled\n" + NEXT)
        assert not rig.judge.heard(AuthAttempt, AuthOutcome, Violation)


@pytest.mark.parametrize(
    ("response", "reply", "kind"),
    [
        ("YW5u=", "a BAD Invalid base64", ViolationKind.BAD_BASE64),
        (base64("\0ann\0x\0"), "a BAD Cannot decode response", ViolationKind.BAD_SASL),
    ],
)
@virtual_time
async def test_a_response_that_cannot_be_read_cancels_the_backends_half(
    response: str, reply: str, kind: ViolationKind
) -> None:
    async with imap() as rig:
        talk = await greeted(rig)
        await talk.play(BEGUN + f"C> {response}" + CANCELLED + f"C< {reply}\n" + NEXT)
        assert [event.kind for event in rig.judge.heard(Violation)] == [kind]


@pytest.mark.parametrize("answer", ["+", "a OK welcome"])
@virtual_time
async def test_a_backend_that_goes_on_with_a_cancelled_exchange_is_a_fault(answer: str) -> None:
    async with imap() as rig:
        talk = await greeted(rig)
        await talk.play(BEGUN + f"C> YW5u=\nB< *\nB> {answer}\n" + GONE)


@pytest.mark.parametrize(
    ("command", "reply"),
    [
        ("AUTHENTICATE GSSAPI", "a BAD Unsupported authentication mechanism"),
        ("AUTHENTICATE PLAIN !", "a BAD Invalid base64"),
        ("AUTHENTICATE PLAIN =", "a BAD Cannot decode response"),
        ("LOGIN ann", "a BAD Syntax error"),
    ],
)
@virtual_time
async def test_a_command_that_cannot_be_read_never_reaches_the_backend(
    command: str, reply: str
) -> None:
    async with imap() as rig:
        talk = await greeted(rig)
        await talk.play(f"C> a {command}\nC< {reply}\n" + NEXT)
        assert len(rig.judge.heard(Violation)) == 1


@virtual_time
async def test_a_failure_told_in_a_challenge_counts_there_and_only_once() -> None:
    async with imap() as rig:
        talk = await greeted(rig)
        await talk.play(f"""
            C> a AUTHENTICATE XOAUTH2 {XOAUTH2}
            B< a AUTHENTICATE XOAUTH2 {XOAUTH2}
            B> + eyJzdGF0dXMiOiI0MDEifQ==
            C< + eyJzdGF0dXMiOiI0MDEifQ==
        """)
        assert results(talk) == [AuthResult.FAILURE]
        await talk.play("C>\nB<\n" + FAILURE)
        assert results(talk) == [AuthResult.FAILURE]


@virtual_time
async def test_a_login_nobody_judged_is_never_passed_on() -> None:
    async with imap() as rig:
        talk = await greeted(rig)
        await talk.play("C> a AUTHENTICATE PLAIN\nB< a AUTHENTICATE PLAIN\nB> a OK in\n" + GONE)
        assert await rig.end() is End.UNAVAILABLE
        assert rig.ended[0].authcid == ""


@virtual_time
async def test_what_follows_authenticate_in_the_same_segment_waits_for_the_relay() -> None:
    async with imap() as rig:
        talk = await greeted(rig)
        await talk.play(f"""
            C> a AUTHENTICATE PLAIN {PLAIN}
            C> b NOOP
            B< a AUTHENTICATE PLAIN {PLAIN}
        """)
        await talk.backend.hear_nothing()
        await talk.play(SUCCESS + "B< b NOOP")


# -- verdicts ------------------------------------------------------------------------------------

REFUSALS = {
    "DEFER": (DEFER, "a NO [UNAVAILABLE] Temporary authentication failure"),
    "REJECT": (REJECT, "a NO [AUTHENTICATIONFAILED] Authentication failed"),
    "CLOSE": (CLOSE, "* BYE Connection closed"),
}


@pytest.mark.parametrize("action", REFUSALS)
@pytest.mark.parametrize("command", ["LOGIN ann secret", f"AUTHENTICATE PLAIN {PLAIN}"])
@virtual_time
async def test_a_refused_credential_is_never_forwarded(command: str, action: str) -> None:
    verdict, reply = REFUSALS[action]
    async with imap() as rig:
        rig.judge.answers[AuthAttempt] = verdict
        talk = await greeted(rig)
        await talk.play(f"C> a {command}\nC< {reply}\n")
        await talk.play("C.\nB." if verdict is CLOSE else NEXT)
        assert not results(talk)


@virtual_time
async def test_a_refusal_amid_an_exchange_cancels_the_backends_half() -> None:
    async with imap() as rig:
        rig.judge.answers[AuthAttempt] = REJECT
        talk = await greeted(rig)
        await talk.play(BEGUN + f"C> {PLAIN}" + CANCELLED)
        await talk.play("C< a NO [AUTHENTICATIONFAILED] Authentication failed\n" + NEXT)


@virtual_time
async def test_a_tarpit_delays_the_refusal() -> None:
    async with imap() as rig:
        rig.judge.answers[AuthOutcome] = Verdict(Action.DELAY, Reason.TARPIT, delay_s=8.0)
        talk = await greeted(rig)
        before = trio.current_time()
        await talk.play("C> a LOGIN ann x\nB< a LOGIN ann x\n" + FAILURE)
        assert trio.current_time() - before >= 8.0


@virtual_time
async def test_the_failure_that_bans_is_heard_before_the_end() -> None:
    async with imap() as rig:
        rig.judge.answers[AuthOutcome] = CLOSE
        talk = await greeted(rig)
        await talk.play("C> a LOGIN ann x\nB< a LOGIN ann x\n" + FAILURE + CLOSING + "B.")
        assert await rig.end() is End.REFUSED


@pytest.mark.parametrize(
    ("verdict", "reply"),
    [
        (REJECT, "a NO [AUTHENTICATIONFAILED] Authentication failed"),
        (CLOSE, "* BYE Connection closed"),
    ],
)
@virtual_time
async def test_a_right_password_may_still_be_refused(verdict: Verdict, reply: str) -> None:
    async with imap() as rig:
        rig.judge.answers[AuthOutcome] = verdict
        talk = await greeted(rig)
        await talk.play(f"C> a LOGIN ann x\nB< a LOGIN ann x\nB> a OK in\nC< {reply}\nC.\nB.")
        assert await rig.end() is End.REFUSED
        assert rig.ended[0].authcid == ""
