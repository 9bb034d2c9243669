"""AUTH in an SMTP session: what the backend sees, what the client hears, and what is judged."""

from base64 import b64encode
from contextlib import AbstractAsyncContextManager

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
from gatekeeper.session.smtp_auth import AUTH_REPLY_S
from gatekeeper.sessions import End
from gatekeeper.settings import LimitSettings, TlsMode
from gatekeeper.verdict import Action, Reason, Verdict
from gatekeeper.wire.smtp import MAX_SASL_LINE_OCTETS

DEFER = Verdict(Action.DEFER, Reason.TARPIT)
REJECT = Verdict(Action.REJECT, Reason.AUTH_FAILURES)
CLOSE = Verdict(Action.CLOSE, Reason.BANNED)


def base64(text: str) -> str:
    return b64encode(text.encode()).decode()


PLAIN = "AUTH PLAIN " + base64("\0ann\0secret")
SCRAM_FIRST = base64("n,,n=ann,r=abc")
SCRAM_FINAL = base64("c=biws,r=abcdef,p=cHJvb2Y=")
XOAUTH2 = base64("user=ann\1auth=Bearer token\1\1")
SUCCESS = "B> 235 2.7.0 welcome\nC< 235 2.7.0 welcome\n"
FAILURE = "B> 535 5.7.8 no\nC< 535 5.7.8 no\n"
CLOSING = "C< 421 4.7.0 Service closing transmission channel\nC.\n"
GONE = "C< 421 4.3.2 Service not available, try again later\nC.\n"


async def secured(rig: Rig) -> Talk:
    """A client over TLS that has said EHLO."""
    talk = await rig.connect()
    await talk.client.start_tls_client()
    await talk.play("""
        B> 220 mx.example ESMTP
        C< 220 mx.example ESMTP
        C> EHLO client.example
        B< EHLO client.example
        B> 250-mx.example
        B> 250 AUTH PLAIN LOGIN GSSAPI
        C< 250-guard.example
        C< 250 AUTH PLAIN LOGIN
    """)
    return talk


def attempts(talk: Talk) -> list[tuple[str, str, bytes | None]]:
    return [
        (event.mechanism, event.authcid, event.secret and event.secret.declassify())
        for event in talk.judge.heard(AuthAttempt)
    ]


def results(talk: Talk) -> list[AuthResult]:
    return [event.result for event in talk.judge.heard(AuthOutcome)]


def submission() -> AbstractAsyncContextManager[Rig]:
    return guard(tls=TlsMode.IMPLICIT)


# -- mechanisms ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "attempt"),
    [
        (f"C> {PLAIN}\nB< {PLAIN}\n", ("PLAIN", "ann", b"secret")),
        (
            f"""
            C> AUTH PLAIN
            B< AUTH PLAIN
            B> 334
            C< 334
            C> {base64("boss" + chr(0) + "ann" + chr(0) + "secret")}
            B< {base64("boss" + chr(0) + "ann" + chr(0) + "secret")}
            """,
            ("PLAIN", "ann", b"secret"),
        ),
        (
            f"""
            C> auth login
            B< auth login
            B> 334 VXNlcm5hbWU6
            C< 334 VXNlcm5hbWU6
            C> {base64("ann")}
            B< {base64("ann")}
            B> 334 UGFzc3dvcmQ6
            C< 334 UGFzc3dvcmQ6
            C> {base64("secret")}
            B< {base64("secret")}
            """,
            ("LOGIN", "ann", b"secret"),
        ),
        (
            f"""
            C> AUTH LOGIN {base64("ann")}
            B< AUTH LOGIN {base64("ann")}
            B> 334 UGFzc3dvcmQ6
            C< 334 UGFzc3dvcmQ6
            C> {base64("secret")}
            B< {base64("secret")}
            """,
            ("LOGIN", "ann", b"secret"),
        ),
        (
            f"""
            C> AUTH SCRAM-SHA-256 {SCRAM_FIRST}
            B< AUTH SCRAM-SHA-256 {SCRAM_FIRST}
            B> 334 c2VydmVyLWZpcnN0
            C< 334 c2VydmVyLWZpcnN0
            C> {SCRAM_FINAL}
            B< {SCRAM_FINAL}
            B> 334 dj1vaw==
            C< 334 dj1vaw==
            C>
            B<
            """,
            ("SCRAM-SHA-256", "ann", None),
        ),
        (f"C> AUTH XOAUTH2 {XOAUTH2}\nB< AUTH XOAUTH2 {XOAUTH2}\n", ("XOAUTH2", "ann", b"token")),
    ],
    ids=["plain", "plain without initial response", "login", "login with it", "scram", "xoauth2"],
)
@pytest.mark.parametrize("right", [True, False])
@virtual_time
async def test_a_credential_is_judged_and_the_backends_word_passes(
    script: str, attempt: object, right: bool
) -> None:
    async with submission() as rig:
        talk = await secured(rig)
        await talk.play(script + "\n" + (SUCCESS if right else FAILURE))
        assert attempts(talk) == [attempt]
        assert results(talk) == [AuthResult.SUCCESS if right else AuthResult.FAILURE]
        assert rig.table.list()[0].account == ("ann" if right else "")


@virtual_time
async def test_a_failure_told_in_a_challenge_counts_there_and_only_once() -> None:
    async with submission() as rig:
        talk = await secured(rig)
        await talk.play(f"""
            C> AUTH XOAUTH2 {XOAUTH2}
            B< AUTH XOAUTH2 {XOAUTH2}
            B> 334 eyJzdGF0dXMiOiI0MDEifQ==
            C< 334 eyJzdGF0dXMiOiI0MDEifQ==
        """)
        assert results(talk) == [AuthResult.FAILURE]
        await talk.play("C>\nB<\n" + FAILURE)
        assert results(talk) == [AuthResult.FAILURE]


@virtual_time
async def test_a_failure_told_in_a_challenge_may_end_the_session() -> None:
    async with submission() as rig:
        rig.judge.answers[AuthOutcome] = CLOSE
        talk = await secured(rig)
        await talk.play(f"""
            C> AUTH XOAUTH2 {XOAUTH2}
            B< AUTH XOAUTH2 {XOAUTH2}
            B> 334 eyJzdGF0dXMiOiI0MDEifQ==
        """)
        await talk.play(CLOSING)


@virtual_time
async def test_the_prompt_of_xoauth2_is_no_failure() -> None:
    async with submission() as rig:
        talk = await secured(rig)
        await talk.play(f"""
            C> AUTH XOAUTH2
            B< AUTH XOAUTH2
            B> 334
            C< 334
            C> {XOAUTH2}
            B< {XOAUTH2}
        """)
        await talk.play(SUCCESS)
        assert results(talk) == [AuthResult.SUCCESS]


@virtual_time
async def test_what_is_pipelined_behind_a_login_waits_for_its_result() -> None:
    async with submission() as rig:
        talk = await secured(rig)
        await talk.play(f"""
            C> {PLAIN}
            C> MAIL FROM:<ann@a.example>
            B< {PLAIN}
        """)
        await talk.backend.hear_nothing()
        await talk.play(SUCCESS + "B< MAIL FROM:<ann@a.example>")


# -- exchanges that come to nothing --------------------------------------------------------------

BEGUN = """
    C> AUTH LOGIN
    B< AUTH LOGIN
    B> 334 VXNlcm5hbWU6
    C< 334 VXNlcm5hbWU6
"""
CANCELLED = """
    B< *
    B> 501 cancelled
"""
NEXT = """
    C> NOOP
    B< NOOP
"""


@virtual_time
async def test_a_client_may_cancel() -> None:
    async with submission() as rig:
        talk = await secured(rig)
        await talk.play(BEGUN + "C> *" + CANCELLED + "C< 501 cancelled" + NEXT)
        assert not rig.judge.heard(AuthAttempt, AuthOutcome, Violation)


@virtual_time
async def test_bad_base64_cancels_the_backends_half() -> None:
    async with submission() as rig:
        talk = await secured(rig)
        await talk.play(BEGUN + "C> YW5u=\n" + CANCELLED + "C< 501 5.5.2 Cannot decode response")
        await talk.play(NEXT)
        assert [event.kind for event in rig.judge.heard(Violation)] == [ViolationKind.BAD_BASE64]


@virtual_time
async def test_a_response_two_parsers_could_read_differently_cancels_the_backends_half() -> None:
    three_nuls = base64("\0ann\0secret\0")
    async with submission() as rig:
        talk = await secured(rig)
        await talk.play("""
            C> AUTH PLAIN
            B< AUTH PLAIN
            B> 334
            C< 334
        """)
        await talk.play(f"C> {three_nuls}" + CANCELLED + "C< 501 5.5.2 Cannot decode response")
        await talk.play(NEXT)
        assert [event.kind for event in rig.judge.heard(Violation)] == [ViolationKind.BAD_SASL]


@pytest.mark.parametrize("answer", ["334", "235 welcome"])
@virtual_time
async def test_a_backend_that_goes_on_with_a_cancelled_exchange_is_a_fault(answer: str) -> None:
    async with submission() as rig:
        talk = await secured(rig)
        await talk.play(BEGUN + f"C> YW5u=\nB< *\nB> {answer}\n" + GONE)


@virtual_time
async def test_a_response_too_long_ends_the_session() -> None:
    async with submission() as rig:
        talk = await secured(rig)
        await talk.play(BEGUN)
        await talk.client.send(b"A" * MAX_SASL_LINE_OCTETS)
        await talk.play(CANCELLED + "C< 500 5.5.6 Authentication line too long\nC.")
        assert await rig.end() is End.VIOLATION


@pytest.mark.parametrize(
    ("command", "reply"),
    [
        ("AUTH PLAIN !", "501 5.5.2 Cannot decode response"),
        ("AUTH PLAIN =", "501 5.5.2 Cannot decode response"),
        ("AUTH PLAIN " + base64("ann"), "501 5.5.2 Cannot decode response"),
        ("AUTH GSSAPI", "504 5.5.4 Unrecognized authentication type"),
        ("AUTH EXTERNAL =", "504 5.5.4 Unrecognized authentication type"),
        ("AUTH", "501 5.5.4 Bad argument"),
    ],
)
@virtual_time
async def test_a_command_that_cannot_be_read_never_reaches_the_backend(
    command: str, reply: str
) -> None:
    async with submission() as rig:
        talk = await secured(rig)
        await talk.play(f"C> {command}\nC< {reply}" + NEXT)
        assert len(rig.judge.heard(Violation)) == 1


@virtual_time
async def test_the_backend_may_not_know_the_mechanism() -> None:
    async with submission() as rig:
        talk = await secured(rig)
        await talk.play(f"C> {PLAIN}\nB< {PLAIN}\nB> 504 what\nC< 504 what" + NEXT)
        assert results(talk) == [AuthResult.PROTOCOL]


@virtual_time
async def test_a_second_login_is_refused() -> None:
    async with submission() as rig:
        talk = await secured(rig)
        await talk.play(f"C> {PLAIN}\nB< {PLAIN}\n" + SUCCESS)
        await talk.play(f"C> {PLAIN}\nC< 503 5.5.1 Already authenticated" + NEXT)
        assert len(attempts(talk)) == 1


@virtual_time
async def test_a_second_login_is_refused_after_one_without_a_name() -> None:
    nameless = "AUTH OAUTHBEARER " + base64("n,,\1auth=Bearer token\1\1")
    async with submission() as rig:
        talk = await secured(rig)
        await talk.play(f"C> {nameless}\nB< {nameless}\n" + SUCCESS)
        await talk.play(f"C> {PLAIN}\nC< 503 5.5.1 Already authenticated" + NEXT)


@pytest.mark.parametrize("protocol", [MailProtocol.SMTP, MailProtocol.SUBMISSION])
@virtual_time
async def test_auth_on_plaintext_and_on_port_25_is_refused_unseen(protocol: MailProtocol) -> None:
    at_25 = protocol is MailProtocol.SMTP
    async with guard(protocol=protocol, tls=TlsMode.IMPLICIT if at_25 else TlsMode.NONE) as rig:
        talk = await rig.connect()
        if at_25:
            await talk.client.start_tls_client()
        await talk.play("B> 220 mx\nC< 220 mx")
        reply = "503 5.5.1 Authentication not enabled"
        if not at_25:
            reply = "530 5.7.0 Must issue a STARTTLS command first"
        await talk.play(f"C> {PLAIN}\nC< {reply}" + NEXT)
        assert [e.kind for e in rig.judge.heard(Violation)] == [ViolationKind.AUTH_NOT_OFFERED]
        assert not attempts(talk)


# -- verdicts ------------------------------------------------------------------------------------

REFUSALS = {
    "DEFER": (DEFER, "454 4.7.0 Temporary authentication failure"),
    "REJECT": (REJECT, "535 5.7.8 Authentication credentials invalid"),
    "CLOSE": (CLOSE, "421 4.7.0 Service closing transmission channel"),
}


@pytest.mark.parametrize("action", REFUSALS)
@virtual_time
async def test_a_refused_initial_response_is_never_forwarded(action: str) -> None:
    verdict, reply = REFUSALS[action]
    async with submission() as rig:
        rig.judge.answers[AuthAttempt] = verdict
        talk = await secured(rig)
        await talk.play(f"C> {PLAIN}\nC< {reply}" + ("\nC.\nB." if verdict is CLOSE else NEXT))
        assert not rig.judge.heard(AuthOutcome)


@pytest.mark.parametrize("action", REFUSALS)
@virtual_time
async def test_a_refusal_amid_an_exchange_cancels_the_backends_half(action: str) -> None:
    verdict, reply = REFUSALS[action]
    async with submission() as rig:
        rig.judge.answers[AuthAttempt] = verdict
        talk = await secured(rig)
        await talk.play(BEGUN)
        await talk.play(f"""
            C> {base64("ann")}
            B< {base64("ann")}
            B> 334 UGFzc3dvcmQ6
            C< 334 UGFzc3dvcmQ6
            C> {base64("secret")}
            B< *
            B> 501 cancelled
            C< {reply}
        """)
        await talk.play("C.\nB." if verdict is CLOSE else NEXT)


@virtual_time
async def test_a_tarpit_delays_the_refusal() -> None:
    async with submission() as rig:
        rig.judge.answers[AuthAttempt] = Verdict(Action.REJECT, Reason.TARPIT, delay_s=8.0)
        talk = await secured(rig)
        before = trio.current_time()
        await talk.play(f"C> {PLAIN}\nC< 535 5.7.8 Authentication credentials invalid")
        assert trio.current_time() - before >= 8.0


@virtual_time
async def test_a_tarpit_delays_the_backends_refusal() -> None:
    async with submission() as rig:
        rig.judge.answers[AuthOutcome] = Verdict(Action.DELAY, Reason.TARPIT, delay_s=8.0)
        talk = await secured(rig)
        before = trio.current_time()
        await talk.play(f"C> {PLAIN}\nB< {PLAIN}\n" + FAILURE)
        assert trio.current_time() - before >= 8.0
        await talk.play(NEXT)


@virtual_time
async def test_the_failure_that_bans_is_heard_before_the_end() -> None:
    async with submission() as rig:
        rig.judge.answers[AuthOutcome] = CLOSE
        talk = await secured(rig)
        await talk.play(f"C> {PLAIN}\nB< {PLAIN}\n" + FAILURE + CLOSING + "B.")
        assert await rig.end() is End.REFUSED


@pytest.mark.parametrize("verdict", [REJECT, CLOSE])
@virtual_time
async def test_a_right_password_may_still_be_refused(verdict: Verdict) -> None:
    async with submission() as rig:
        rig.judge.answers[AuthOutcome] = verdict
        talk = await secured(rig)
        await talk.play(f"""
            C> {PLAIN}
            B< {PLAIN}
            B> 235 welcome
            C< 535 5.7.8 Authentication credentials invalid
        """)
        await talk.play(CLOSING + "B.")
        assert await rig.end() is End.REFUSED
        assert rig.ended[0].authcid == ""


# -- backends that misbehave ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "result"),
    [("454 later", AuthResult.UNAVAILABLE), ("421 down", AuthResult.UNAVAILABLE)],
)
@virtual_time
async def test_an_outage_is_no_failure(reply: str, result: AuthResult) -> None:
    async with submission() as rig:
        talk = await secured(rig)
        await talk.play(f"C> {PLAIN}\nB< {PLAIN}\nB> {reply}\nC< {reply}")
        assert results(talk) == [result]
        await talk.play("C." if reply.startswith("421") else NEXT)


@pytest.mark.parametrize("how", ["end", "reset", "silence"])
@pytest.mark.parametrize("begun", [True, False])
@virtual_time
async def test_a_backend_that_does_not_answer_is_no_failure(how: str, begun: bool) -> None:
    async with submission() as rig:
        talk = await secured(rig)
        before = trio.current_time()
        if begun:
            await talk.play(BEGUN + f"C> {base64('ann')}\nB< {base64('ann')}")
        else:
            await talk.play(f"C> {PLAIN}\nB< {PLAIN}")
        if how == "end":
            talk.backend.close()
        elif how == "reset":
            talk.backend.reset()
        await talk.play(GONE)
        assert trio.current_time() - before <= AUTH_REPLY_S + 2
        assert not rig.judge.heard(AuthOutcome, Violation)


@virtual_time
async def test_a_backend_that_hangs_up_while_the_client_thinks_is_no_failure() -> None:
    async with submission() as rig:
        talk = await secured(rig)
        await talk.play(BEGUN)
        talk.backend.close()
        await talk.play(GONE)


@virtual_time
async def test_a_client_that_thinks_too_long_hears_421() -> None:
    async with guard(tls=TlsMode.IMPLICIT, limits=LimitSettings(smtp_idle_s=20.0)) as rig:
        talk = await secured(rig)
        await talk.play(BEGUN + "C< 421 4.4.2 Timeout exceeded\nC.\nB.")


@virtual_time
async def test_a_login_nobody_judged_is_never_passed_on() -> None:
    async with submission() as rig:
        talk = await secured(rig)
        await talk.play("C> AUTH LOGIN\nB< AUTH LOGIN\nB> 235 welcome\n" + GONE)
        assert await rig.end() is End.UNAVAILABLE
        assert rig.ended[0].authcid == ""


@virtual_time
async def test_a_challenge_after_the_credential_takes_no_second_credential() -> None:
    async with submission() as rig:
        talk = await secured(rig)
        await talk.play(f"""
            C> {PLAIN}
            B< {PLAIN}
            B> 334
            C< 334
            C> {base64(chr(0) + "bob" + chr(0) + "guess")}
            B< *
            B> 501 cancelled
            C< 501 5.5.2 Cannot decode response
        """)
