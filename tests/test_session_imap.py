"""The IMAP dialogue: from the greeting to the login, and the hand-over to the relay."""

from contextlib import AbstractAsyncContextManager

import pytest
import trio
from rig import Rig, Talk, guard, virtual_time

from gatekeeper.events import (
    AuthAttempt,
    AuthOutcome,
    ConnectionOpened,
    MailProtocol,
    Violation,
    ViolationKind,
)
from gatekeeper.sessions import End
from gatekeeper.settings import Announce, LimitSettings, TlsMode
from gatekeeper.verdict import Action, Reason, Verdict

CLOSE = Verdict(Action.CLOSE, Reason.BANNED)

GREETING = """
    B> * OK [CAPABILITY IMAP4rev1 LITERAL+ AUTH=PLAIN] ready
    C< * OK [CAPABILITY IMAP4rev1 LITERAL+ AUTH=PLAIN] ready
"""
PLAIN_GREETING = """
    B> * OK ready
    C< * OK ready
"""
LOGIN = """
    C> a LOGIN ann secret
    B< a LOGIN ann secret
    B> a OK welcome
    C< a OK welcome
"""
NEXT = """
    C> z NOOP
    B< z NOOP
    B> z OK done
    C< z OK done
"""
GONE = """
    C< * BYE [UNAVAILABLE] Service not available, try again later
    C.
"""


def imap(
    tls: TlsMode = TlsMode.IMPLICIT,
    announce: Announce = Announce.NONE,
    limits: LimitSettings | None = None,
) -> AbstractAsyncContextManager[Rig]:
    return guard(protocol=MailProtocol.IMAP, tls=tls, announce=announce, limits=limits)


async def greeted(rig: Rig) -> Talk:
    """A client over TLS that was greeted."""
    talk = await rig.connect()
    await talk.client.start_tls_client()
    await talk.play(GREETING)
    return talk


def violations(talk: Talk) -> list[ViolationKind]:
    return [event.kind for event in talk.judge.heard(Violation)]


# -- commands before the login -------------------------------------------------------------------


@virtual_time
async def test_a_session_without_a_login() -> None:
    async with imap() as rig:
        talk = await greeted(rig)
        await talk.play("""
            C> a LOGOUT
            B< a LOGOUT
            B> * BYE bye
            B> a OK done
            C< * BYE bye
            C< a OK done
            C.
            B.
        """)
        assert await rig.end() is End.LOGOUT
        assert rig.judge.events == [ConnectionOpened()]


@virtual_time
async def test_capabilities_are_the_guards_wherever_they_stand() -> None:
    async with imap(tls=TlsMode.STARTTLS) as rig:
        talk = await rig.connect()
        await talk.play("""
            B> * OK [CAPABILITY IMAP4rev1 SASL-IR STARTTLS AUTH=PLAIN COMPRESS=DEFLATE] ready
            C< * OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] ready
            C> a CAPABILITY
            B< a CAPABILITY
            B> * CAPABILITY IMAP4rev1 AUTH=GSSAPI IDLE
            B> a OK [CAPABILITY IMAP4rev1 LOGIN-REFERRALS] done
            C< * CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED IDLE
            C< a OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] done
            C> b STARTTLS
            C< b OK Begin TLS negotiation now
        """)
        await talk.client.start_tls_client()
        await talk.play("""
            C> c CAPABILITY
            B< c CAPABILITY
            B> * CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN AUTH=GSSAPI
            B> c OK done
            C< * CAPABILITY IMAP4rev1 AUTH=PLAIN
            C< c OK done
            C> d LOGIN ann secret
            B< d LOGIN ann secret
            B> * CAPABILITY IMAP4rev1 UNAUTHENTICATE IDLE
            B> d OK [CAPABILITY IMAP4rev1 COMPRESS=DEFLATE IDLE] welcome
            C< * CAPABILITY IMAP4rev1 IDLE
            C< d OK [CAPABILITY IMAP4rev1 IDLE] welcome
        """)


@virtual_time
async def test_the_backend_gets_one_command_at_a_time() -> None:
    async with imap() as rig:
        talk = await greeted(rig)
        await talk.play("""
            C> a NOOP
            C> b ID NIL
            B< a NOOP
        """)
        await talk.backend.hear_nothing()
        await talk.play("""
            B> a OK done
            B< b ID NIL
            B> * ID NIL
            B> b OK done
            C< a OK done
            C< * ID NIL
            C< b OK done
        """)


@virtual_time
async def test_names_only_a_trusted_host_may_use_are_taken_out_of_id() -> None:
    async with imap() as rig:
        talk = await greeted(rig)
        await talk.play("""
            C> a ID ("name" "mua" "x-originating-ip" "192.0.2.1")
            B< a ID ("name" "mua")
            B> a OK done
            C< a OK done
            C> b ID ("X-Originating-IP" "192.0.2.1")
            B< b ID NIL
        """)


@virtual_time
async def test_refused_commands_never_reach_the_backend() -> None:
    async with imap() as rig:
        talk = await greeted(rig)
        await talk.play("""
            C> a SELECT INBOX
            C< a BAD Unknown command
            C> b COMPRESS DEFLATE
            C< b BAD Unknown command
        """)
        await talk.play(NEXT)
        assert violations(talk) == [ViolationKind.FORBIDDEN_VERB] * 2


@virtual_time
async def test_too_many_errors_end_the_session() -> None:
    async with imap(limits=LimitSettings(errors_per_session=2)) as rig:
        talk = await greeted(rig)
        await talk.play("""
            C> a X
            C> b X
            C< a BAD Unknown command
            C< b BAD Unknown command
            C< * BYE Too many errors
            C.
        """)
        assert await rig.end() is End.VIOLATION


@virtual_time
async def test_a_violation_may_end_the_session() -> None:
    async with imap() as rig:
        rig.judge.answers[Violation] = CLOSE
        talk = await greeted(rig)
        await talk.play("C> a X\nC< a BAD Unknown command\nC< * BYE Connection closed\nC.\nB.")


@virtual_time
async def test_a_foreign_protocol_ends_the_session() -> None:
    async with imap() as rig:
        talk = await greeted(rig)
        await talk.play("C> GET / HTTP/1.1\nC< * BYE Not IMAP\nC.\nB.")


# -- ends ----------------------------------------------------------------------------------------


@virtual_time
async def test_the_login_as_a_whole_has_its_time() -> None:
    async with imap(limits=LimitSettings(imap_login_timeout_s=30.0)) as rig:
        before = trio.current_time()
        talk = await greeted(rig)
        for _ in range(3):
            await talk.play(NEXT)
            await trio.sleep(8)
        await talk.play("""
            C< * BYE Disconnected for inactivity
            C.
            B.
        """)
        assert await rig.end() is End.TIMEOUT
        assert trio.current_time() - before <= 33


@virtual_time
async def test_a_bye_between_commands_is_passed_on() -> None:
    async with imap() as rig:
        talk = await greeted(rig)
        await talk.play("B> * BYE shutting down\nC< * BYE shutting down\nC.")
        assert await rig.end() is End.UNAVAILABLE


@pytest.mark.parametrize("command", ["NOOP", "CAPABILITY", "ID NIL"])
@virtual_time
async def test_a_bye_as_an_answer_is_passed_on(command: str) -> None:
    async with imap() as rig:
        talk = await greeted(rig)
        await talk.play(f"""
            C> a {command}
            B< a {command}
            B> * OK wait
            B> * BYE shutting down
            C< * OK wait
            C< * BYE shutting down
            C.
        """)
        assert await rig.end() is End.BACKEND


@virtual_time
async def test_what_else_the_backend_says_between_commands_is_passed_on() -> None:
    async with imap() as rig:
        talk = await greeted(rig)
        await talk.play("""
            B> * OK still here
            C< * OK still here
            B> * CAPABILITY IMAP4rev1 STARTTLS
            C< * CAPABILITY IMAP4rev1
        """)


@pytest.mark.parametrize("said", ["a OK nobody asked", "+ go on", "220 SMTP", ""])
@virtual_time
async def test_what_is_not_untagged_between_commands_is_a_fault(said: str) -> None:
    async with imap() as rig:
        talk = await greeted(rig)
        await talk.play(f"B> {said}\n" + GONE)


@pytest.mark.parametrize("answer", ["+ go on", "b OK another's", "a", "a BYE"])
@virtual_time
async def test_an_answer_that_is_none_is_a_fault(answer: str) -> None:
    async with imap() as rig:
        talk = await greeted(rig)
        before = trio.current_time()
        await talk.play(f"C> a NOOP\nB< a NOOP\nB> {answer}\n" + GONE)
        assert trio.current_time() == before


@pytest.mark.parametrize("how", ["end", "reset", "silence", "half"])
@pytest.mark.parametrize("command", [None, "a NOOP", "a LOGOUT", "a LOGIN ann secret"])
@virtual_time
async def test_a_backend_that_does_not_answer_is_an_outage(how: str, command: str | None) -> None:
    async with imap() as rig:
        talk = await greeted(rig)
        if command is not None:
            await talk.play(f"C> {command}\nB< {command}")
        match how:
            case "end":
                talk.backend.close()
            case "reset":
                talk.backend.reset()
            case "half":
                await talk.backend.send(b"* OK ha")
                talk.backend.close()
            case _ if command is None:
                return
        await talk.play(GONE)
        assert await rig.end() is End.UNAVAILABLE
        assert not rig.judge.heard(AuthOutcome, Violation)


@virtual_time
async def test_a_client_that_leaves_takes_its_backend_connection_along() -> None:
    async with imap() as rig:
        talk = await greeted(rig)
        talk.client.close()
        await talk.play("B.")
        assert await rig.end() is End.CLIENT


# -- STARTTLS ------------------------------------------------------------------------------------


@virtual_time
async def test_login_on_plaintext_is_refused_without_asking_for_the_literal() -> None:
    async with imap(tls=TlsMode.STARTTLS) as rig:
        talk = await rig.connect()
        await talk.play(PLAIN_GREETING)
        await talk.play("""
            C> a LOGIN ann {6}
            C< a NO [PRIVACYREQUIRED] TLS is required to log in
            C> b AUTHENTICATE PLAIN
            C< b NO [PRIVACYREQUIRED] TLS is required to log in
        """)
        await talk.play(NEXT)
        assert not rig.judge.heard(AuthAttempt)


@virtual_time
async def test_a_command_injected_with_starttls_ends_the_session() -> None:
    async with imap(tls=TlsMode.STARTTLS) as rig:
        talk = await rig.connect()
        await talk.play(PLAIN_GREETING)
        await talk.play("C> a STARTTLS\nC> b NOOP\nC< * BYE Protocol synchronization\nC.\nB.")
        assert violations(talk) == [ViolationKind.STARTTLS_INJECTION]


@virtual_time
async def test_a_command_injected_right_behind_starttls_ends_the_session() -> None:
    async with imap(tls=TlsMode.STARTTLS) as rig:
        talk = await rig.connect()
        await talk.play(PLAIN_GREETING)
        await talk.play("C> a STARTTLS\nC< a OK Begin TLS negotiation now\nC> b NOOP")
        await talk.client.hear_until_end()
        assert await talk.backend.hear_until_end() == b""
        assert len(violations(talk)) == 1
        assert await rig.end() is End.TLS


@pytest.mark.parametrize("tls", [TlsMode.NONE, TlsMode.IMPLICIT])
@virtual_time
async def test_starttls_is_refused_where_it_is_not_offered(tls: TlsMode) -> None:
    async with imap(tls=tls) as rig:
        talk = await rig.connect()
        if tls is TlsMode.IMPLICIT:
            await talk.client.start_tls_client()
        await talk.play(PLAIN_GREETING)
        await talk.play("C> a STARTTLS\nC< a BAD STARTTLS not available\n" + NEXT)


@virtual_time
async def test_a_backend_that_was_told_of_tls_is_reached_anew_after_starttls() -> None:
    async with imap(tls=TlsMode.STARTTLS, announce=Announce.PROXY_V2) as rig:
        talk = await rig.connect()
        first = await talk.accept()
        assert b"TLSv1" not in await first.hear_some()
        await talk.play(PLAIN_GREETING)
        await talk.play("C> a STARTTLS\nC< a OK Begin TLS negotiation now")
        await talk.client.start_tls_client()
        second = await talk.accept()
        assert b"TLSv1.3" in await second.hear_some()
        await first.hear_until_end()
        await second.send(b"* OK again\r\n")
        await talk.play(NEXT)


@virtual_time
async def test_a_bye_of_the_second_connection_is_passed_on() -> None:
    async with imap(tls=TlsMode.STARTTLS, announce=Announce.PROXY_V2) as rig:
        talk = await rig.connect()
        await (await talk.accept()).hear_some()
        await talk.play(PLAIN_GREETING)
        await talk.play("C> a STARTTLS\nC< a OK Begin TLS negotiation now")
        await talk.client.start_tls_client()
        await (await talk.accept()).hear_some()
        await talk.play("B> * BYE full\nC< * BYE full\nC.")


# -- to the relay --------------------------------------------------------------------------------


@virtual_time
async def test_after_the_login_both_ways_are_open() -> None:
    async with imap() as rig:
        talk = await greeted(rig)
        await talk.play(LOGIN)
        [view] = rig.table.list()
        assert (view.phase, view.account) == ("relay", "ann")
        await talk.play("""
            B> * 3 EXISTS
            C< * 3 EXISTS
            C> b SELECT INBOX
            B< b SELECT INBOX
            B> b OK done
            C< b OK done
            C> c LOGOUT
            B< c LOGOUT
            B> * BYE bye
            B> c OK done
            C< * BYE bye
            C< c OK done
        """)
        talk.backend.close()
        await talk.play("C.")
        assert await rig.end() is End.LOGOUT


@virtual_time
async def test_what_was_pipelined_reaches_the_other_side_in_order_and_once() -> None:
    async with imap() as rig:
        talk = await greeted(rig)
        await talk.client.send(b"a LOGIN ann secret\r\nb SELECT INBOX\r\nc NO")
        await talk.backend.hear(b"a LOGIN ann secret\r\n")
        await talk.backend.hear_nothing()
        await talk.backend.send(b"a OK welcome\r\n* 3 EXISTS\r\n* 1 REC")
        await talk.backend.hear(b"b SELECT INBOX\r\n")
        await talk.client.hear(b"a OK welcome\r\n* 3 EXISTS\r\n* 1 REC")
        await talk.client.send(b"OP\r\n")
        await talk.backend.send(b"ENT\r\nb OK done\r\n")
        await talk.backend.hear(b"c NOOP\r\n")
        await talk.client.hear(b"ENT\r\nb OK done\r\n")
        await talk.backend.hear_nothing()
        await talk.client.hear_nothing()


@virtual_time
async def test_a_client_may_leave_with_its_login() -> None:
    async with imap() as rig:
        talk = await greeted(rig)
        await talk.client.send(b"a LOGIN ann secret\r\n")
        await talk.backend.hear(b"a LOGIN ann secret\r\n")
        talk.client.reset()
        await trio.sleep(1)
        await talk.backend.send(b"a OK welcome\r\n")
        await talk.backend.hear_until_end()
        assert await rig.end() in {End.BROKEN, End.CLIENT}


@virtual_time
async def test_a_session_kicked_while_its_login_succeeds_never_reaches_the_relay() -> None:
    async with imap() as rig:

        def kick(event: object) -> None:
            if isinstance(event, AuthOutcome):
                assert rig.table.kick("127.0.0.1") == 1

        rig.judge.decide = kick
        talk = await greeted(rig)
        before = trio.current_time()
        await talk.play("C> a LOGIN ann secret\nB< a LOGIN ann secret\nB> a OK welcome")
        await talk.backend.hear_until_end()
        assert await rig.end() is End.KICKED
        assert trio.current_time() == before
