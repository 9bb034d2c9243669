"""The Rules on EHLO and MAIL of port 25 as a client meets them: the guard's own judge and screen
between a scripted client and a scripted backend."""

from dataclasses import replace

import pytest
import trio
from envelope_rig import (
    CLIENT,
    DEADLINE_S,
    RCPT,
    RSET,
    RULES,
    SETTINGS,
    TXT,
    passed,
    reasons,
    refused,
    talking,
    zone,
)
from guard_bench import Bench, client
from rig import virtual_time
from smtp_scripts import DATA, EHLO, GREETING

from gatekeeper.ban import Scope
from gatekeeper.events import MailProtocol
from gatekeeper.policy.domains import DomainLists, Domains
from gatekeeper.policy.prefix_set import PrefixSet
from gatekeeper.prefix import Prefix
from gatekeeper.sessions import End
from gatekeeper.verdict import Reason

# -- EHLO ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("domain", "word"),
    [
        ("!", "no-name"),
        ("203.0.113.9", "bare-address"),
        ("mx.example", "ours"),
        ("D.EXAMPLE.", "ours"),
        ("[192.0.2.1]", "ours"),
        ("[198.51.100.7]", "other-address"),
        ("localhost", "no-dot"),
    ],
)
@pytest.mark.parametrize("verb", ["EHLO", "HELO"])
@virtual_time
async def test_a_client_that_does_not_say_who_it_is_may_mend_that(
    verb: str, domain: str, word: str
) -> None:
    async with talking() as (talk, bench):
        await talk.play(GREETING)
        answer = "550 5.7.1 EHLO with a domain of your own is needed"
        await refused(talk, f"{verb} {domain}", answer)
        await refused(talk, "MAIL FROM:<a@b.example>", "503 5.5.1 Send HELO/EHLO first")
        await talk.play(EHLO + passed("MAIL FROM:<a@b.example>") + RCPT + DATA)
        [entry, _] = bench.guard.journal.of(lambda _: True)
        assert entry.what == f"hello: {word} {domain}"
    assert reasons(bench) == [Reason.HELLO, Reason.HELLO]


@pytest.mark.parametrize("domain", ["client.example", "[203.0.113.9]", "xn--bcher-kva.example"])
@virtual_time
async def test_decent_clients_greet(domain: str) -> None:
    async with talking() as (talk, bench):
        await talk.play(GREETING + passed(f"HELO {domain}"))
    assert bench.heard == []


@virtual_time
async def test_ehlo_is_only_watched_where_nothing_is_written() -> None:
    async with talking(settings=replace(SETTINGS, rules={})) as (talk, bench):
        await talk.play(GREETING + passed("HELO localhost", "MAIL FROM:<a@nowhere.example>"))
        await talk.play(RSET + passed("MAIL FROM:<a@forged.example>") + RCPT)
    assert reasons(bench) == []
    assert reasons(bench, enforced=False) == [*RULES]
    assert bench.guard.would_have == dict.fromkeys(RULES, 1)


# -- MAIL ---------------------------------------------------------------------------------------

REFUSALS = [
    ("a@nowhere.example", "550 5.1.8 Sender domain not found", Reason.SENDER_DOMAIN),
    ("a@no..where", "550 5.1.8 Sender domain not found", Reason.SENDER_DOMAIN),
    ("a@null.example", "550 5.7.27 Sender address has null MX", Reason.SENDER_NULL_MX),
    ("a@forged.example", "550 5.7.23 SPF validation failed", Reason.SPF_FAIL),
    ("a%forged.example", "550 5.1.8 Sender domain not found", Reason.SENDER_DOMAIN),
    ("a@forged.example(@b.example)", "550 5.1.8 Sender domain not found", Reason.SENDER_DOMAIN),
    ('"a@b.example"@forged.example', "550 5.7.23 SPF validation failed", Reason.SPF_FAIL),
]


@pytest.mark.parametrize(("sender", "answer", "reason"), REFUSALS, ids=[r[0] for r in REFUSALS])
@virtual_time
async def test_senders_that_are_refused(sender: str, answer: str, reason: Reason) -> None:
    async with talking() as (talk, bench):
        await talk.play(GREETING + EHLO)
        await refused(talk, f"MAIL FROM:<{sender}> SIZE=100", answer)
        await talk.play(passed("MAIL FROM:<a@b.example>") + RCPT + DATA)
        [entry] = bench.guard.journal.of(lambda _: True)
        assert f"<{sender}>" in entry.what
    assert reasons(bench) == [reason]
    assert bench.bans() == []
    assert bench.score(client(CLIENT[0], MailProtocol.SMTP), Scope.MX) == 0.0


@pytest.mark.parametrize(
    "command",
    [
        "MAIL FROM:<>",
        "MAIL FROM:<> SIZE=100 BODY=8BITMIME",
        "MAIL FROM:<a@b.example>",
        "MAIL FROM:<a@soft.example>",
        'MAIL FROM:<"john doe"@b.example>',
        'MAIL FROM:<"a@forged.example"@b.example>',
        "MAIL FROM:<josé@bücher.example> SMTPUTF8",
        "MAIL FROM:<@forged.example:a@b.example>",
        "MAIL FROM:<root>",
        "MAIL FROM:<a@[203.0.113.9]>",
    ],
)
@virtual_time
async def test_senders_that_pass(command: str) -> None:
    async with talking() as (talk, bench):
        await talk.play(GREETING + EHLO + passed(command) + RCPT + DATA)
    assert bench.heard == []


@virtual_time
async def test_the_null_sender_is_whom_ehlo_names() -> None:
    """RFC 7208 2.4; a report of delivery from its own host passes, and nothing else is asked."""
    dns = zone()
    dns.put("client.example", "v=spf1 -all", type_=TXT)
    async with talking(dns) as (talk, bench):
        await talk.play(GREETING + EHLO)
        await refused(talk, "MAIL FROM:<>", "550 5.7.23 SPF validation failed")
    assert dns.asked == ["client.example"]
    assert reasons(bench) == [Reason.SPF_FAIL]


@pytest.mark.parametrize("failure", ["SERVFAIL", "REFUSED", "its answer is broken: Truncated"])
@virtual_time
async def test_an_error_of_dns_refuses_nobody(failure: str) -> None:
    dns = zone()
    for name in ("nowhere.example", "forged.example", "null.example"):
        dns.failures[name] = failure
    async with talking(dns) as (talk, bench):
        await talk.play(GREETING + EHLO)
        for name in dns.failures:
            await talk.play(passed(f"MAIL FROM:<a@{name}>") + RSET)
    assert bench.heard == []


@virtual_time
async def test_a_dead_resolver_delays_mail_by_the_deadline_and_refuses_none() -> None:
    dns = zone()
    dns.silent.add("forged.example")
    dns.deadline_s = 60.0
    async with talking(dns) as (talk, bench):
        await talk.play(GREETING + EHLO)
        started = trio.current_time()
        await talk.play(passed("MAIL FROM:<a@forged.example>") + RCPT + DATA)
        assert DEADLINE_S <= trio.current_time() - started < DEADLINE_S + 1
    assert bench.heard == []


@virtual_time
async def test_a_client_that_leaves_while_dns_is_asked_is_let_go() -> None:
    dns = zone()
    dns.silent.add("forged.example")
    async with talking(dns) as (talk, _):
        await talk.play(GREETING + EHLO)
        await talk.client.send(b"MAIL FROM:<a@forged.example>\r\n")
        talk.client.reset()
        await talk.play("B< MAIL FROM:<a@forged.example>\nB> 250 ok")  # DNS had its time
        assert await talk.rig.end() in {End.BROKEN, End.CLIENT}


@virtual_time
async def test_a_pipelined_group_is_answered_in_order() -> None:
    async with talking() as (talk, _):
        await talk.play(GREETING + EHLO)
        await talk.client.send(b"MAIL FROM:<a@forged.example>\r\nRCPT TO:<c@d.example>\r\n")
        assert (await talk.client.hear_line()).startswith(b"550 5.7.23 ")
        await talk.play("""
            B< RCPT TO:<c@d.example>
            B> 503 5.5.1 need MAIL
            C< 503 5.5.1 need MAIL
        """)


@virtual_time
async def test_whom_the_operator_allows_is_asked_nothing() -> None:
    dns = zone()
    allowing = replace(SETTINGS, allow=(Prefix.parse("203.0.113.0/24"),))
    bench = Bench(allowing, never=allowing.allow)
    async with talking(dns, allowing, bench) as (talk, _):
        await talk.play(GREETING + passed("HELO localhost", "MAIL FROM:<a@forged.example>"))
    assert (dns.asked, bench.heard) == ([], [])


@virtual_time
async def test_whom_the_white_list_of_all_domains_names_is_asked_nothing() -> None:
    dns, bench = zone(), Bench(SETTINGS)
    white = replace(DomainLists().white, ips=PrefixSet((Prefix.parse("203.0.113.9"),)))
    bench.guard.domains = Domains(everywhere=DomainLists(white=white))
    async with talking(dns, bench=bench) as (talk, _):
        await talk.play(GREETING + passed("HELO localhost", "MAIL FROM:<a@forged.example>"))
    assert (dns.asked, bench.heard) == ([], [])
