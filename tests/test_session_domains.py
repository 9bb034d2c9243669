"""RCPT in sessions on port 25, judged by the files of the recipients' domains."""

from dataclasses import replace

import pytest
from guard_bench import SETTINGS, Bench
from rig import Rig, Talk, guard, virtual_time
from ticket_mask import masked

from gatekeeper.events import Client, JudgedEvent, MailProtocol
from gatekeeper.policy.domains import DomainLists, Domains, Listed
from gatekeeper.policy.name_set import NameSet
from gatekeeper.policy.prefix_set import PrefixSet
from gatekeeper.policy.recipient_rules import FREE_UNKNOWN
from gatekeeper.prefix import Prefix
from gatekeeper.settings import Mode, Treatment
from gatekeeper.verdict import Action, Reason, Verdict

NO_SUCH_USER = "550 5.1.1 No such user here (ref *****)"
NOT_ACCEPTED = "550 5.7.1 Recipient not accepted (ref *****)"
HELLO = """
    B> 220 mx.example ESMTP
    C< 220 mx.example ESMTP
    C> EHLO client.example
    B< EHLO client.example
    B> 250 mx.example
    C< 250 guard.example
"""


def names(*held: str) -> NameSet:
    return NameSet.of(held)


ONE = DomainLists(
    valid=names("ann"), black=Listed(senders=names("eve@bad.example"), domains=names("*.spam"))
)
TWO = DomainLists(valid=names("*"), invalid=names("bob"))
TREE = Domains({"one.example": ONE, "two.example": TWO})


class Judge:
    """A whole guard that knows the clients' names."""

    def __init__(self, domains: Domains | None = TREE, reverse_name: str | None = None) -> None:
        self.bench = Bench()
        self.bench.guard.domains = domains
        self.reverse_name = reverse_name

    async def judge(self, event: JudgedEvent, client: Client) -> Verdict:
        """See `gatekeeper.abc.Judge`."""
        return await self.bench.guard.judge(event, replace(client, reverse_name=self.reverse_name))


async def greeted(rig: Rig) -> Talk:
    talk = await rig.connect()
    await talk.play(HELLO)
    return talk


async def passed(talk: Talk, command: str) -> None:
    await talk.play(f"C> {command}\nB< {command}\nB> 250 ok\nC< 250 ok")


async def mail(talk: Talk, sender: str = "bob@elsewhere.example") -> None:
    await passed(talk, f"MAIL FROM:<{sender}>")


async def refused(talk: Talk, recipient: str, reply: str) -> None:
    """The next thing the backend hears is another command, whatever this one was."""
    await talk.play(f"C> RCPT TO:<{recipient}>\nC< {reply}")


@virtual_time
async def test_recipients_of_several_domains_are_judged_one_by_one() -> None:
    async with guard(protocol=MailProtocol.SMTP, judge=Judge()) as rig:
        talk = await greeted(rig)
        await mail(talk)
        await passed(talk, "RCPT TO:<ann@one.example>")
        await refused(talk, "eve@one.example", NO_SUCH_USER)
        await passed(talk, "RCPT TO:<eve@two.example>")
        await refused(talk, "bob@two.example", NO_SUCH_USER)
        await passed(talk, "RCPT TO:<eve@three.example>")
        await talk.play("C> DATA\nB< DATA\nB> 354 go on\nC< 354 go on")
        await talk.play("C> hello\nC> .\nB< hello\nB< .\nB> 250 taken\nC< 250 taken")


@virtual_time
async def test_a_pipelined_group_is_answered_in_order() -> None:
    async with guard(protocol=MailProtocol.SMTP, judge=Judge()) as rig:
        talk = await greeted(rig)
        await talk.client.send(
            b"MAIL FROM:<eve@bad.example>\r\nRCPT TO:<ann@one.example>\r\n"
            b"RCPT TO:<ann@two.example>\r\nRCPT TO:<bob@two.example>\r\n"
        )
        await talk.play("B< MAIL FROM:<eve@bad.example>\nB> 250 mail")
        await talk.play("B< RCPT TO:<ann@two.example>\nB> 250 rcpt")
        await talk.play(f"C< 250 mail\nC< {NOT_ACCEPTED}\nC< 250 rcpt\nC< {NO_SUCH_USER}")


@pytest.mark.parametrize("sender", ["eve@bad.example", "EVE+x@Bad.Example", "a@b.spam"])
@virtual_time
async def test_a_sender_is_refused_by_the_domain_that_does_not_want_him(sender: str) -> None:
    async with guard(protocol=MailProtocol.SMTP, judge=Judge()) as rig:
        talk = await greeted(rig)
        await mail(talk, sender)
        await refused(talk, "ann@one.example", NOT_ACCEPTED)
        await passed(talk, "RCPT TO:<ann@two.example>")
        await passed(talk, "RSET")
        await mail(talk, "")  # the null sender is on no list
        await passed(talk, "RCPT TO:<ann@one.example>")


@virtual_time
async def test_a_sender_the_backend_refused_is_forgotten() -> None:
    async with guard(protocol=MailProtocol.SMTP, judge=Judge()) as rig:
        talk = await greeted(rig)
        await mail(talk)
        nested = "MAIL FROM:<eve@bad.example>"
        await talk.play(f"C> {nested}\nB< {nested}\nB> 503 nested\nC< 503 nested")
        await passed(talk, "RCPT TO:<ann@one.example>")


@pytest.mark.parametrize(
    ("black", "reverse_name", "reply"),
    [
        (Listed(ips=PrefixSet([Prefix.parse("127.0.0.0/8")])), None, NOT_ACCEPTED),
        (Listed(ips=PrefixSet([Prefix.parse("192.0.2.0/24")])), None, "250 ok"),
        (Listed(tld=names("cn")), "host.isp.cn", NOT_ACCEPTED),
        (Listed(tld=names("cn")), "host.isp.example", "250 ok"),
        (Listed(tld=names("cn")), None, "250 ok"),
    ],
)
@virtual_time
async def test_a_client_is_refused_by_the_domain_that_does_not_want_it(
    black: Listed, reverse_name: str | None, reply: str
) -> None:
    judge = Judge(Domains({"one.example": DomainLists(black=black)}), reverse_name)
    async with guard(protocol=MailProtocol.SMTP, judge=judge) as rig:
        talk = await greeted(rig)
        await mail(talk)
        await passed(talk, "RCPT TO:<ann@two.example>")
        if reply == NOT_ACCEPTED:
            await refused(talk, "ann@one.example", NOT_ACCEPTED)
        else:
            await passed(talk, "RCPT TO:<ann@one.example>")


@virtual_time
async def test_global_lists_speak_for_recipients_of_any_domain() -> None:
    black = Listed(domains=names("bad.example"))
    judge = Judge(Domains({}, DomainLists(black=black, invalid=names("root"))))
    async with guard(protocol=MailProtocol.SMTP, judge=judge) as rig:
        talk = await greeted(rig)
        await mail(talk, "eve@bad.example")
        await refused(talk, "ann@any.example", NOT_ACCEPTED)
        await refused(talk, "postmaster", NOT_ACCEPTED)
        await passed(talk, "RSET")
        await mail(talk)
        await refused(talk, "root@any.example", NO_SUCH_USER)
        await passed(talk, "RCPT TO:<postmaster>")


@virtual_time
async def test_vrfy_is_answered_as_rcpt_is() -> None:
    async with guard(protocol=MailProtocol.SMTP, judge=Judge()) as rig:
        talk = await greeted(rig)
        await talk.play(f"C> VRFY eve@one.example\nC< {NO_SUCH_USER}")
        await passed(talk, "VRFY ann@one.example")


@virtual_time
async def test_who_submits_mail_is_judged_by_no_domain() -> None:
    async with guard(protocol=MailProtocol.SUBMISSION, judge=Judge()) as rig:
        talk = await greeted(rig)
        await mail(talk)
        await passed(talk, "RCPT TO:<eve@one.example>")


@virtual_time
async def test_whom_the_operator_allows_no_domain_refuses() -> None:
    judge = Judge()
    allow = (Prefix.parse("127.0.0.0/8"),)
    judge.bench.guard.reconfigure(replace(SETTINGS, allow=allow))
    async with guard(protocol=MailProtocol.SMTP, judge=judge) as rig:
        talk = await greeted(rig)
        await mail(talk, "eve@bad.example")
        await passed(talk, "RCPT TO:<eve@one.example>")


# -- observe, checks ------------------------------------------------------------------------------

RULES = [
    (Reason.UNKNOWN_USER, "bob@elsewhere.example", "nobody@one.example"),
    (Reason.SENDER_BLACKLISTED, "eve@bad.example", "ann@one.example"),
    (Reason.CLIENT_BLACKLISTED, "bob@elsewhere.example", "ann@four.example"),
]
FOUR = DomainLists(black=Listed(ips=PrefixSet([Prefix.parse("127.0.0.1")])))


@pytest.mark.parametrize(("rule", "sender", "recipient"), RULES)
@pytest.mark.parametrize("by", ["the configuration", "the domain", "a pause"])
@virtual_time
async def test_a_rule_that_is_observed_refuses_nobody(
    rule: Reason, sender: str, recipient: str, by: str
) -> None:
    checks = {rule: Treatment.OBSERVE} if by == "the domain" else None
    lists = {"one.example": ONE, "four.example": FOUR}
    judge = Judge(Domains({name: replace(one, checks=checks) for name, one in lists.items()}))
    if by == "the configuration":
        judge.bench.guard.reconfigure(replace(SETTINGS, rules={rule: Treatment.OBSERVE}))
    judge.bench.guard.suspend(by == "a pause")
    async with guard(protocol=MailProtocol.SMTP, judge=judge) as rig:
        talk = await greeted(rig)
        await mail(talk, sender)
        await passed(talk, f"RCPT TO:<{recipient}>")
    assert judge.bench.guard.would_have == {rule: 1}
    [(verdict, enforced)] = judge.bench.heard
    assert (verdict.action, verdict.reason, enforced) == (Action.REJECT, rule, False)


@pytest.mark.parametrize(("rule", "sender", "recipient"), RULES)
@virtual_time
async def test_a_domain_cannot_enforce_what_the_configuration_observes(
    rule: Reason, sender: str, recipient: str
) -> None:
    checks = {rule: Treatment.ENFORCE}
    lists = {"one.example": ONE, "four.example": FOUR}
    judge = Judge(Domains({name: replace(one, checks=checks) for name, one in lists.items()}))
    judge.bench.guard.reconfigure(replace(SETTINGS, mode=Mode.OBSERVE))
    async with guard(protocol=MailProtocol.SMTP, judge=judge) as rig:
        talk = await greeted(rig)
        await mail(talk, sender)
        await passed(talk, f"RCPT TO:<{recipient}>")


# -- harvesters -----------------------------------------------------------------------------------


@virtual_time
async def test_who_guesses_recipients_is_slowed_and_banned_as_if_the_backend_had_refused() -> None:
    judge = Judge()
    async with guard(protocol=MailProtocol.SMTP, judge=judge) as rig:
        talk = await greeted(rig)
        await mail(talk)
        await passed(talk, "RCPT TO:<ann@one.example>")
        most = SETTINGS.policy.harvest_ban
        for number in range(most + 40):
            await talk.client.send(b"RCPT TO:<guess%d@one.example>\r\n" % number)
        heard = b""
        while b"transmission channel" not in heard or not heard.endswith(b"\r\n"):
            heard += await talk.client.hear_some()
        await talk.backend.hear_end()
    lines = masked(heard).decode().splitlines()
    assert set(lines[:-1]) == {NO_SUCH_USER}
    assert most * 0.9 < len(lines) < most * 1.1  # different ones are counted by estimate
    [ban] = judge.bench.ledger.bans()
    assert ban.reason is Reason.UNKNOWN_RECIPIENTS
    late = [verdict.delay_s for verdict, _ in judge.bench.heard]
    assert late[FREE_UNKNOWN - 1] == 0.0
    assert late[2 * FREE_UNKNOWN] > 0.0
    assert max(late) == SETTINGS.policy.tarpit_max_s
