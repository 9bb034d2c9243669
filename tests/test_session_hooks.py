"""Sessions with hooks: what the client and the backend hear, octet by octet.

The hooks are quick or async ones: the clock of these tests does not wait for threads.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from hooks_rig import HooksRig, hooks_rig
from rig import Rig, Talk, guard, virtual_time

from gatekeeper.events import MailProtocol
from gatekeeper.sessions import End
from gatekeeper.settings import TlsMode

GREETING = """
    B> 220 mx.example ESMTP
    C< 220 mx.example ESMTP
"""
HELLO = f"""{GREETING}
    C> EHLO client.example
    B< EHLO client.example
    B> 250 mx.example
    C< 250 guard.example
"""
SENDER = "MAIL FROM:<bob@elsewhere.example>"
MAIL = f"C> {SENDER}\nB< {SENDER}\nB> 250 ok\nC< 250 ok"
RCPT = "C> RCPT TO:<ann@example.org>\nB< RCPT TO:<ann@example.org>\nB> 250 ok\nC< 250 ok"


@asynccontextmanager
async def hooked(
    directory: Path, text: str, protocol: MailProtocol = MailProtocol.SMTP
) -> AsyncIterator[tuple[HooksRig, Rig]]:
    async with hooks_rig(directory) as hooks:
        hooks.install(f"from gatekeeper.hooks import *\nimport trio\n{text}")
        tls = TlsMode.NONE if protocol is MailProtocol.SMTP else TlsMode.IMPLICIT
        async with guard(protocol=protocol, tls=tls, judge=hooks.judge) as rig:
            yield hooks, rig


async def greeted(rig: Rig, script: str = HELLO) -> Talk:
    talk = await rig.connect()
    await talk.play(script)
    return talk


@pytest.mark.parametrize(
    ("name", "answer", "reply", "goes_on"),
    [
        ("helo", "defer('come later')", "450 4.7.1 come later (ref *****)", True),
        ("helo", "refuse('5.7.25 no name\\r\\n')", "550 5.7.25 no name (ref *****)", True),
        ("helo", "close('4.7.0 bye')", "421 4.7.0 bye (ref *****)", False),
        ("mail", "defer('4.2.0 come later')", "450 4.2.0 come later (ref *****)", True),
        ("mail", "refuse()", "550 5.7.1 Sender not accepted (ref *****)", True),
        ("rcpt", "defer('greylisted')", "450 4.7.1 greylisted (ref *****)", True),
        ("rcpt", "refuse('550 5.1.1 gone')", "550 5.1.1 gone (ref *****)", True),
        ("message_end", "defer('come later')", "451 4.7.1 come later (ref *****)", False),
        ("message_end", "refuse('not this one')", "554 5.7.1 not this one (ref *****)", False),
    ],
)
@virtual_time
async def test_a_refusal_in_a_hooks_own_words(
    tmp_path: Path, name: str, answer: str, reply: str, goes_on: bool
) -> None:
    async with hooked(tmp_path, f"@quick\ndef {name}(event, facts): return {answer}") as (_, rig):
        talk = await greeted(rig, GREETING)
        steps = {
            "helo": "C> EHLO client.example",
            "mail": "C> MAIL FROM:<bob@elsewhere.example>",
            "rcpt": "C> RCPT TO:<ann@example.org>",
            "message_end": "C> DATA\nB< DATA\nB> 354 go on\nC< 354 go on\nC> hello\nC> .",
        }
        if name != "helo":
            await talk.play(HELLO.removeprefix(GREETING))
        if name in {"rcpt", "message_end"}:
            await talk.play(MAIL)
        if name == "message_end":
            await talk.play(RCPT)
        await talk.play(f"{steps[name]}\nC< {reply}")
        if goes_on:
            await talk.play("C> NOOP\nB< NOOP\nB> 250 ok\nC< 250 ok")
        else:
            await talk.play("C.")
            assert await rig.end() is End.REFUSED


@virtual_time
async def test_a_refused_connection_costs_the_backend_nothing(tmp_path: Path) -> None:
    text = "@quick\ndef connection_opened(event, facts): return refuse('not from here')"
    async with hooked(tmp_path, text) as (_, rig):
        talk = await rig.connect()
        await talk.play("C< 554 5.7.1 not from here (ref *****)\nC.")
        await rig.no_backend_wanted()


@virtual_time
async def test_a_delay_is_waited_for(tmp_path: Path) -> None:
    async with hooked(tmp_path, "@quick\ndef helo(event, facts): return delay(7)") as (_, rig):
        talk = await greeted(rig, GREETING)
        began = trio.current_time()
        await talk.play(HELLO.removeprefix(GREETING))
        assert trio.current_time() - began == pytest.approx(7, abs=0.2)


@virtual_time
async def test_a_hook_that_hangs_delays_by_its_deadline_and_loses_nothing(tmp_path: Path) -> None:
    text = "async def rcpt(event, facts): await trio.sleep_forever()"
    async with hooked(tmp_path, text) as (hooks, rig):
        talk = await greeted(rig)
        await talk.play(MAIL)
        began = trio.current_time()
        await talk.play(RCPT)
        assert trio.current_time() - began == pytest.approx(2, abs=0.2)
        assert "1 late" in hooks.report("hooks.py:rcpt")


@virtual_time
async def test_a_ban_ends_a_session_that_a_hook_is_asked_about(tmp_path: Path) -> None:
    text = "async def rcpt(event, facts): await trio.sleep(1)"
    async with hooked(tmp_path, text) as (_, rig):
        talk = await greeted(rig)
        await talk.play(MAIL + "\nC> RCPT TO:<ann@example.org>")
        await trio.sleep(0.5)
        (session,) = rig.table._sessions.values()
        session.authcid = "ann"
        assert session.judging
        assert rig.table.end_account("ann", End.LOCKED) == 1
        assert await rig.end() is End.LOCKED


# -- logins --------------------------------------------------------------------------------------

LOGIN = "C> a LOGIN ann secret"
PLAIN = "AUTH PLAIN AGFubgBzZWNyZXQ="  # ann, secret


@pytest.mark.parametrize("hook", ["auth_attempt", "auth_outcome"])
@pytest.mark.parametrize(
    ("answer", "said", "goes_on"),
    [
        ("defer('not now')", "a NO [UNAVAILABLE] not now (ref *****)", True),
        ("refuse('5.7.1 not there')", "a NO [AUTHENTICATIONFAILED] not there (ref *****)", True),
        ("refuse()", "a NO [AUTHENTICATIONFAILED] Authentication failed", True),
        ("close('[ALERT] go away')", "* BYE - [ALERT] go away (ref *****)", False),
    ],
)
@virtual_time
async def test_a_refused_imap_login(
    tmp_path: Path, hook: str, answer: str, said: str, goes_on: bool
) -> None:
    text = f"@quick\ndef {hook}(event, facts): return {answer}"
    async with hooked(tmp_path, text, MailProtocol.IMAP) as (_, rig):
        talk = await rig.connect()
        await talk.client.start_tls_client()
        await talk.play("B> * OK ready\nC< * OK ready")
        if hook == "auth_attempt":
            await talk.play(f"{LOGIN}\nC< {said}")
            after = "C> z NOOP\nB< z NOOP\nB> z OK done\nC< z OK done" if goes_on else "C."
        else:
            await talk.play(f"{LOGIN}\nB< a LOGIN ann secret\nB> a OK welcome\nC< {said}")
            after = "C."  # what the backend let in is taken back by an end
        await talk.play(after)


@pytest.mark.parametrize("hook", ["auth_attempt", "auth_outcome"])
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("defer('not now')", "454 4.7.0 not now (ref *****)"),
        ("refuse('5.7.1 not there')", "535 5.7.1 not there (ref *****)"),
    ],
)
@virtual_time
async def test_a_refused_smtp_login(tmp_path: Path, hook: str, answer: str, said: str) -> None:
    text = f"@quick\ndef {hook}(event, facts): return {answer}"
    async with hooked(tmp_path, text, MailProtocol.SUBMISSION) as (_, rig):
        talk = await rig.connect()
        await talk.client.start_tls_client()
        await talk.play(GREETING)
        await talk.play("""
            C> EHLO client.example
            B< EHLO client.example
            B> 250-mx.example
            B> 250 AUTH PLAIN
            C< 250-guard.example
            C< 250 AUTH PLAIN
        """)
        if hook == "auth_attempt":
            await talk.play(f"C> {PLAIN}\nC< {said}\nC> NOOP\nB< NOOP\nB> 250 ok\nC< 250 ok")
        else:
            await talk.play(f"C> {PLAIN}\nB< {PLAIN}\nB> 235 welcome\nC< {said}")
            words = said.partition(" ")[2].partition(" ")[2]
            await talk.play(f"C< 421 4.7.0 {words}\nC.")
