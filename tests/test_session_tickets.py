"""What tickets tell those who collect them: nothing. Whatever the rule is, refusals of one kind are
the same octets but for the ticket, and what the backend would have said has none."""

from base64 import b64encode

import pytest
import trio
from guard_bench import SETTINGS
from rig import Rig, Talk, guard, virtual_time
from ticket_mask import MASK, TICKETED, masked

from gatekeeper.events import (
    AuthAttempt,
    AuthOutcome,
    ConnectionOpened,
    JudgedEvent,
    MailProtocol,
    RcptAttempt,
)
from gatekeeper.guard import Guard
from gatekeeper.ledger import Ledger
from gatekeeper.policy.facts import Facts
from gatekeeper.policy.rules import BuiltIn
from gatekeeper.session.likeness import ENOUGH
from gatekeeper.settings import TlsMode
from gatekeeper.verdict import Action, Reason, Verdict

PLAIN = b64encode(b"\0ann\0secret").decode()
LOGIN = {
    MailProtocol.SUBMISSION: f"AUTH PLAIN {PLAIN}",
    MailProtocol.IMAP: f"a AUTHENTICATE PLAIN {PLAIN}",
}
GREETING = {MailProtocol.SUBMISSION: "220 mx.example ESMTP", MailProtocol.IMAP: "* OK ready"}
WRONG = {
    MailProtocol.SUBMISSION: "535 5.7.8 Error: authentication failed",
    MailProtocol.IMAP: "a NO [AUTHENTICATIONFAILED] Nope.",
}
each_protocol = pytest.mark.parametrize("protocol", [MailProtocol.SUBMISSION, MailProtocol.IMAP])
# Told in words of their own, on purpose: a decent sender can mend what they name.
OF_A_RECIPIENT = {Reason.UNKNOWN_USER, Reason.ACCOUNT_HELD, Reason.RECIPIENT_RATE, Reason.SPF_FAIL}
AT_THE_DOOR = {Reason.REVERSE_DNS, Reason.EARLY_TALKER}


class OneRule:
    """A guard with one rule, whose opinion of a kind of event a test may change."""

    def __init__(self) -> None:
        self.kind: type = AuthAttempt
        self.opinion: Verdict | None = None
        self.guard = Guard(
            SETTINGS,
            Ledger(SETTINGS.policy, (), trio.current_time),
            clock=trio.current_time,
            account_secret=b"a",
            password_secret=b"p",
            rules=(BuiltIn(Reason.OPERATOR, self._rule),),
        )

    def _rule(self, event: JudgedEvent, _facts: Facts) -> Verdict | None:
        return self.opinion if isinstance(event, self.kind) else None


async def answer_of(rig: Rig, command: str) -> bytes:
    """All that a client over TLS hears of the guard for one command it does not pass on."""
    talk = await greeted(rig)
    await talk.client.send(f"{command}\r\n".encode())
    heard = await talk.client.hear_line()
    talk.client.close()
    await talk.backend.hear_end()
    return heard


async def greeted(rig: Rig, source: str = "127.0.0.1") -> Talk:
    talk = await rig.connect(source)
    await talk.client.start_tls_client()
    greeting = GREETING[rig.service.listener.protocol]
    await talk.play(f"B> {greeting}\nC< {greeting}")
    return talk


@each_protocol
@pytest.mark.parametrize("action", [Action.DEFER, Action.CLOSE])
@virtual_time
async def test_whichever_rule_puts_a_login_off_the_octets_are_the_same(
    protocol: MailProtocol, action: Action
) -> None:
    rule = OneRule()
    async with guard(protocol=protocol, tls=TlsMode.IMPLICIT, judge=rule.guard) as rig:
        heard = []
        for reason in Reason:
            rule.opinion = Verdict(action, reason)
            heard.append(await answer_of(rig, LOGIN[protocol]))
    [same] = set(map(masked, heard))
    assert MASK in same
    assert len(set(heard)) == len(heard), "each has a ticket of its own"


@each_protocol
@pytest.mark.parametrize("action", [Action.DECOY, Action.REJECT])
@virtual_time
async def test_what_the_backend_would_have_said_has_no_ticket(
    protocol: MailProtocol, action: Action
) -> None:
    rule = OneRule()
    async with guard(protocol=protocol, tls=TlsMode.IMPLICIT, judge=rule.guard) as rig:
        for number in range(ENOUGH):  # its words are learnt
            user = b64encode(b"\0user%d\0secret" % number).decode()
            command = LOGIN[protocol].replace(PLAIN, user)
            talk = await greeted(rig, f"127.0.1.{number + 1}")
            await talk.play(f"C> {command}\nB< {command}\nB> {WRONG[protocol]}")
            await talk.play(f"C< {WRONG[protocol]}")
            talk.client.close()
        heard = set()
        for reason in Reason:
            rule.opinion = Verdict(action, reason)
            heard.add(await answer_of(rig, LOGIN[protocol]))
    assert heard == {f"{WRONG[protocol]}\r\n".encode()}


@virtual_time
async def test_a_right_password_taken_back_looks_like_a_wrong_one_that_ends_the_session() -> None:
    rule = OneRule()
    rule.kind = AuthOutcome
    heard = []
    async with guard(tls=TlsMode.IMPLICIT, judge=rule.guard) as rig:
        command = LOGIN[MailProtocol.SUBMISSION]
        for source, words, action in (
            ("127.0.1.1", WRONG[MailProtocol.SUBMISSION], Action.CLOSE),
            ("127.0.1.2", "235 2.7.0 welcome", Action.CLOSE),
            ("127.0.1.3", "235 2.7.0 welcome", Action.REJECT),
        ):
            rule.opinion = Verdict(action, Reason.ACCOUNT_LOCKED)
            talk = await greeted(rig, source)
            await talk.play(f"C> {command}\nB< {command}\nB> {words}")
            heard.append((await talk.client.hear_until_end()).splitlines()[-1])
    [same] = set(map(masked, heard))
    assert same == b"421 4.7.0 Service closing transmission channel " + MASK


@pytest.mark.parametrize("action", [Action.DEFER, Action.REJECT])
@virtual_time
async def test_whichever_rule_refuses_a_recipient_the_octets_are_the_same(action: Action) -> None:
    rule = OneRule()
    rule.kind = RcptAttempt
    async with guard(protocol=MailProtocol.SMTP, judge=rule.guard) as rig:
        talk = await rig.connect()
        await talk.play("B> 220 mx.example\nC< 220 mx.example")
        heard = {}
        for reason in Reason:
            rule.opinion = Verdict(action, reason)
            await talk.client.send(b"RCPT TO:<ann@example.org>\r\n")
            heard[reason] = await talk.client.hear_line()
    assert all(map(TICKETED.search, heard.values()))
    assert (
        len({masked(line) for reason, line in heard.items() if reason not in OF_A_RECIPIENT}) == 1
    )


@pytest.mark.parametrize("action", [Action.DEFER, Action.REJECT, Action.CLOSE])
@virtual_time
async def test_whichever_rule_turns_a_client_away_the_octets_are_the_same(action: Action) -> None:
    rule = OneRule()
    rule.kind = ConnectionOpened
    async with guard(protocol=MailProtocol.SMTP, judge=rule.guard) as rig:
        heard = {}
        for reason in Reason:
            rule.opinion = Verdict(action, reason)
            talk = await rig.connect()
            heard[reason] = await talk.client.hear_until_end()
            talk.client.close()
    assert all(map(TICKETED.search, heard.values()))
    assert len({masked(line) for reason, line in heard.items() if reason not in AT_THE_DOOR}) == 1
