"""What is asked about EHLO and MAIL, of whom, and for how long."""

from dataclasses import replace

import pytest
import trio
from fake_resolver import FakeResolver
from guard_bench import client
from hypothesis import given
from hypothesis import strategies as st
from rig import virtual_time

from gatekeeper.envelope.screen import MAX_ASKED, MAX_OF_CLIENT, EnvelopeScreen
from gatekeeper.events import Client, HelloAttempt, MailAttempt, MailProtocol, MessageEnd
from gatekeeper.findings import HelloFault, SenderDomain, SpfResult
from gatekeeper.prefix import Prefix
from gatekeeper.records import RecordType
from gatekeeper.settings import DnsSettings, Mode, Settings, TlsSettings, Treatment
from gatekeeper.verdict import Reason

DEADLINE_S = 2.0
SETTINGS = Settings("mx.example", TlsSettings(), (), {}, dns=DnsSettings(deadline_s=DEADLINE_S))
STRANGER = client("203.0.113.9", MailProtocol.SMTP)
EXEMPT = client("198.51.100.1", MailProtocol.SMTP)
MX, TXT, AAAA = RecordType.MX, RecordType.TXT, RecordType.AAAA


def ignoring(*rules: Reason) -> Settings:
    return replace(SETTINGS, rules=dict.fromkeys(rules, Treatment.IGNORE))


def made(dns: FakeResolver, settings: Settings = SETTINGS) -> EnvelopeScreen:
    exempt = Prefix.parse("198.51.100.0/24")
    return EnvelopeScreen(settings, dns, exempt=exempt.covers, is_ours={"mx.example"}.__contains__)


def zone() -> FakeResolver:
    dns = FakeResolver()
    dns.put("b.example", "10 mx.b.example", type_=MX)
    dns.put("b.example", "v=spf1 -all", type_=TXT)
    dns.put("null.example", "0 .", type_=MX)
    dns.put("host.example", "192.0.2.1")
    dns.put("six.example", "2001:db8::1", type_=AAAA)
    return dns


async def mail(asked: EnvelopeScreen, sender: str, who: Client = STRANGER) -> MailAttempt:
    event = await asked.complete(MailAttempt(sender, "mail.example.net"), who)
    assert isinstance(event, MailAttempt)
    return event


# -- senders ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sender", "domain", "result"),
    [
        ("a@b.example", SenderDomain.FOUND, SpfResult.FAIL),
        ("a@B.Example.", SenderDomain.FOUND, SpfResult.FAIL),
        ('"a@x.example"@b.example', SenderDomain.FOUND, SpfResult.FAIL),
        ("a@null.example", SenderDomain.NULL_MX, SpfResult.NONE),
        ("a@host.example", SenderDomain.FOUND, SpfResult.NONE),
        ("a@six.example", SenderDomain.FOUND, SpfResult.NONE),
        ("a@nowhere.example", SenderDomain.MISSING, SpfResult.NONE),
        ("a@no..where.example", SenderDomain.MISSING, SpfResult.NONE),
        ("a@\udcff.example", SenderDomain.MISSING, SpfResult.NONE),
        ("a%b.example", SenderDomain.UNREADABLE, None),
        ("<>a@b.example", SenderDomain.UNREADABLE, None),
        ("a@" + "x" * 64 + ".example", SenderDomain.MISSING, SpfResult.NONE),
        ("a@localhost", SenderDomain.MISSING, SpfResult.NONE),
        ("", None, SpfResult.NONE),
        ("root", None, SpfResult.NONE),
        ("a@[203.0.113.9]", None, SpfResult.NONE),
    ],
)
async def test_senders(sender: str, domain: SenderDomain | None, result: SpfResult) -> None:
    event = await mail(made(zone()), sender)
    assert (event.domain, event.spf) == (domain, result)
    assert replace(event, domain=None, spf=None) == MailAttempt(sender, "mail.example.net")


async def test_internationalised_domains_are_asked_by_their_a_labels() -> None:
    dns = zone()
    dns.put("xn--bcher-kva.example", "10 mx.b.example", type_=MX)
    for domain in ("bücher.example", "xn--bcher-kva.example", "BÜCHER.example"):
        assert (await mail(made(dns), f"josé@{domain}")).domain is SenderDomain.FOUND
    assert set(dns.asked) == {"xn--bcher-kva.example"}


async def test_who_has_mx_is_asked_for_no_addresses() -> None:
    dns = zone()
    await mail(made(dns, ignoring(Reason.SPF_FAIL)), "a@b.example")
    assert dns.asked == ["b.example"]


@pytest.mark.parametrize(
    ("ignored", "domain", "result"),
    [
        (Reason.SPF_FAIL, SenderDomain.FOUND, None),
        (Reason.SENDER_DOMAIN, None, SpfResult.FAIL),
    ],
)
async def test_what_a_rule_ignores_is_not_asked(
    ignored: Reason, domain: SenderDomain | None, result: SpfResult | None
) -> None:
    dns = zone()
    event = await mail(made(dns, ignoring(ignored)), "a@b.example")
    assert (event.domain, event.spf) == (domain, result)
    assert len(dns.asked) == 1


async def test_nothing_is_asked_where_both_are_ignored() -> None:
    dns = zone()
    asked = made(dns, ignoring(Reason.SENDER_DOMAIN, Reason.SPF_FAIL))
    assert await mail(asked, "a@b.example") == MailAttempt("a@b.example", "mail.example.net")
    asked.reconfigure(replace(SETTINGS, mode=Mode.OBSERVE))
    assert (await mail(asked, "a@b.example")).spf is SpfResult.FAIL


@pytest.mark.parametrize("protocol", [MailProtocol.SUBMISSION, MailProtocol.IMAP])
async def test_of_the_login_ports_nothing_is_asked(protocol: MailProtocol) -> None:
    dns, who = zone(), client(protocol=protocol)
    asked = made(dns)
    event = MailAttempt("a@nowhere.example", "localhost", "ann")
    assert await asked.complete(event, who) is event
    hello = HelloAttempt("localhost", extended=True)
    assert await asked.complete(hello, who) is hello
    assert dns.asked == []


async def test_of_who_is_exempt_nothing_is_asked() -> None:
    dns = zone()
    asked = made(dns)
    assert await mail(asked, "a@b.example", EXEMPT) == MailAttempt(
        "a@b.example", "mail.example.net"
    )
    hello = HelloAttempt("localhost", extended=True)
    assert await asked.complete(hello, EXEMPT) is hello
    assert dns.asked == []


async def test_other_events_are_as_they_were() -> None:
    end = MessageEnd("a@b.example", 1, 10)
    assert await made(zone()).complete(end, STRANGER) is end


@pytest.mark.parametrize("failure", ["SERVFAIL", "REFUSED"])
async def test_an_error_of_dns_is_no_opinion(failure: str) -> None:
    dns = zone()
    dns.failures["b.example"] = failure
    event = await mail(made(dns), "a@b.example")
    assert (event.domain, event.spf) == (None, SpfResult.TEMPERROR)


@virtual_time
async def test_silence_is_waited_for_once_and_no_longer_than_the_deadline() -> None:
    dns = zone()
    dns.silent.add("b.example")
    dns.deadline_s = 60.0
    asked, started = made(dns), trio.current_time()
    event = await mail(asked, "a@b.example")
    assert trio.current_time() - started == pytest.approx(DEADLINE_S)
    assert event.domain is None
    assert event.spf in {None, SpfResult.TEMPERROR}
    assert asked.report()["unanswered"] == 1


@virtual_time
async def test_a_slow_record_leaves_what_is_known_of_the_domain() -> None:
    dns = zone()
    dns.put("b.example", "v=spf1 a:slow.example -all", type_=TXT)
    dns.delays_s["slow.example"] = 10.0
    event = await mail(made(dns), "a@b.example")
    assert event.domain is SenderDomain.FOUND
    assert event.spf in {None, SpfResult.TEMPERROR}


@virtual_time
async def test_a_flood_of_senders_is_let_by_without_questions() -> None:
    dns = zone()
    dns.silent.add("b.example")
    asked = made(dns)
    crowd = [client(f"192.0.2.{n}", MailProtocol.SMTP) for n in range(MAX_ASKED // MAX_OF_CLIENT)]
    async with trio.open_nursery() as nursery:
        for who in crowd * MAX_OF_CLIENT:
            nursery.start_soon(mail, asked, "a@b.example", who)
        await trio.testing.wait_all_tasks_blocked()
        started = trio.current_time()
        event = await mail(asked, "a@host.example")
        assert event.domain is None
        assert trio.current_time() == started
    assert asked.report()["unasked"] == 1
    assert (await mail(asked, "a@host.example")).domain is SenderDomain.FOUND


@virtual_time
async def test_a_client_takes_no_others_turn() -> None:
    dns = zone()
    dns.silent.add("b.example")
    asked = made(dns)
    async with trio.open_nursery() as nursery:
        for _ in range(MAX_OF_CLIENT):
            nursery.start_soon(mail, asked, "a@b.example")
        await trio.testing.wait_all_tasks_blocked()
        started = trio.current_time()
        other = client("192.0.2.1", MailProtocol.SMTP)
        assert (await mail(asked, "a@host.example", other)).domain is SenderDomain.FOUND
        assert trio.current_time() == started
    assert (await mail(asked, "a@host.example")).domain is SenderDomain.FOUND


@virtual_time
async def test_who_keeps_his_turns_busy_gets_no_forged_sender_by() -> None:
    """All his turns wait for servers of his own that are silent, and more of it waits before the
    forged one."""
    dns = zone()
    dns.silent.add("slow.example")
    asked = made(dns)
    async with trio.open_nursery() as nursery:
        for _ in range(2 * MAX_OF_CLIENT):
            nursery.start_soon(mail, asked, "a@slow.example")
        await trio.testing.wait_all_tasks_blocked()
        event = await mail(asked, "a@b.example")
    assert (event.domain, event.spf) == (SenderDomain.FOUND, SpfResult.FAIL)
    assert asked.report()["unasked"] == 0


@virtual_time
async def test_who_leaves_while_he_waits_for_his_turn_leaves_nothing() -> None:
    dns = zone()
    dns.silent.add("b.example")
    asked = made(dns)
    async with trio.open_nursery() as nursery:
        for _ in range(2 * MAX_OF_CLIENT):
            nursery.start_soon(mail, asked, "a@b.example")
        await trio.sleep(DEADLINE_S / 2)
        nursery.cancel_scope.cancel()
    assert asked.clients == 0
    dns.silent.clear()
    assert (await mail(asked, "a@b.example")).spf is SpfResult.FAIL
    assert asked.clients == 0


# -- EHLO ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("domain", "fault"),
    [
        ("mail.example.net", None),
        ("[203.0.113.9]", None),
        ("mx.example", HelloFault.OURS),
        ("[192.0.2.1]", HelloFault.OURS),
        ("[192.0.2.2]", HelloFault.OTHER_ADDRESS),
        ("localhost", HelloFault.NO_DOT),
        ("!", HelloFault.NO_NAME),
    ],
)
async def test_ehlo_is_completed_with_its_fault(domain: str, fault: HelloFault | None) -> None:
    event = await made(zone()).complete(HelloAttempt(domain, extended=True), STRANGER)
    assert event == HelloAttempt(domain, extended=True, fault=fault)


async def test_ehlo_is_not_looked_at_where_its_rule_is_ignored() -> None:
    event = HelloAttempt("localhost", extended=True)
    assert await made(zone(), ignoring(Reason.HELLO)).complete(event, STRANGER) is event


@given(st.text(), st.text())
def test_whatever_is_said_is_completed(path: str, hello: str) -> None:
    async def complete() -> None:
        asked = made(zone())
        for event in (MailAttempt(path, hello), HelloAttempt(hello, extended=True)):
            assert type(await asked.complete(event, STRANGER)) is type(event)

    trio.run(complete)
