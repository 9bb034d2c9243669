"""What the one Screen of all parts asks, and of whom."""

from dataclasses import replace

import pytest
import trio
import trio.testing
from fake_resolver import FakeResolver
from guard_bench import client
from rig import virtual_time

from gatekeeper.events import (
    AuthAttempt,
    Client,
    HelloAttempt,
    JudgedEvent,
    Listing,
    MailAttempt,
    MailProtocol,
    MessageEnd,
)
from gatekeeper.findings import HelloFault, SenderDomain, SpfResult
from gatekeeper.inquiries import Dns
from gatekeeper.records import RecordType
from gatekeeper.resolver.shared import OUR_OWN
from gatekeeper.settings import (
    AskedOn,
    DnsblSettings,
    DnsSettings,
    Endpoint,
    Settings,
    TlsSettings,
    Treatment,
)
from gatekeeper.verdict import Reason

SETTINGS = Settings(
    "mx.example",
    TlsSettings(),
    (),
    {},
    dns=DnsSettings((Endpoint("127.0.0.1", 1),)),
    dnsbl=(DnsblSettings("auth.example", on=AskedOn.AUTH),),
)
LOGIN, MX = client(), client(protocol=MailProtocol.SMTP)
MAIL, HELLO = MailAttempt("a@b.example", "x.example"), HelloAttempt("mx.example", extended=True)


def table() -> FakeResolver:
    dns = FakeResolver()
    dns.put("9.113.0.203.auth.example", "127.0.0.2")
    dns.put("b.example", "10 mx.b.example", type_=RecordType.MX)
    dns.put("b.example", "v=spf1 -all", type_=RecordType.TXT)
    return dns


async def completed(dns: Dns, *said: tuple[JudgedEvent, Client]) -> list[JudgedEvent]:
    """The Events as they are judged, with the resolver running."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(dns.run)
        await trio.testing.wait_all_tasks_blocked()
        events = [await dns.complete(event, who) for event, who in said]
        nursery.cancel_scope.cancel()
    return events


def made(settings: Settings = SETTINGS) -> Dns:
    dns = Dns(
        settings,
        exempt=lambda _client: False,
        is_ours={"mx.example"}.__contains__,
        on_zone=lambda _zone, _why: None,
    )
    answer_from(dns, table())
    return dns


def answer_from(dns: Dns, stub: FakeResolver) -> None:
    dns.resolver.stub = dns.of_lists.stub = stub


async def test_each_event_is_completed_by_whom_it_concerns() -> None:
    attempt, end = AuthAttempt("PLAIN", "ann"), MessageEnd("a@b.example", 1, 10)
    dns = made()
    events = await completed(dns, (attempt, LOGIN), (MAIL, MX), (HELLO, MX), (end, MX))
    assert events == [
        replace(attempt, listings=(Listing("auth.example", ("127.0.0.2",), 1.0),)),
        replace(MAIL, domain=SenderDomain.FOUND, spf=SpfResult.FAIL),
        replace(HELLO, fault=HelloFault.OURS),
        end,
    ]
    report = dns.report()["senders"]
    assert isinstance(report, dict)
    assert (report["asked"], report["spf_evaluated"]) == (1, 1)


async def test_a_reload_changes_what_is_asked() -> None:
    dns = made()
    dns.resolver.silent = dns.of_lists.silent = 20
    rules = dict.fromkeys((Reason.HELLO, Reason.SPF_FAIL), Treatment.IGNORE)
    dns.reconfigure(replace(SETTINGS, rules=rules))
    assert dns.questions()["silent"] == 0, "there may be other servers now"
    answer_from(dns, table())
    events = await completed(dns, (MAIL, MX), (HELLO, MX))
    assert events == [replace(MAIL, domain=SenderDomain.FOUND), HELLO]


@virtual_time
async def test_silent_domains_of_a_stranger_get_no_listed_client_in() -> None:
    """He opens some sessions and names senders whose servers he keeps silent, and goes on so that
    every question that might show the resolver to be alive is one of his."""
    stub = table()
    stub.silent = {f"s{number}.example" for number in range(100)} | {OUR_OWN.name}
    dns = made()
    answer_from(dns, stub)
    listed = client("203.0.113.9", MailProtocol.SMTP)

    async def say(number: int) -> None:
        event = MailAttempt(f"a@s{number}.example", "x.example")
        await dns.complete(event, client(f"192.0.2.{number // 10}", MailProtocol.SMTP))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(dns.run)
        await trio.testing.wait_all_tasks_blocked()
        async with trio.open_nursery() as senders:
            for number in range(20):
                senders.start_soon(say, number)
        assert dns.resolver.dead
        await say(99)
        assert await dns.listings(listed, AskedOn.AUTH)
        nursery.cancel_scope.cancel()


@virtual_time
async def test_silent_servers_delay_one_session_once() -> None:
    """On a server with few clients, too, where nobody has found out before that they are silent."""
    stub = table()
    dns = made()
    answer_from(dns, stub)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(dns.run)
        await trio.testing.wait_all_tasks_blocked()
        await dns.complete(MAIL, MX)
        stub.silent = {"b.example", "c.example", OUR_OWN.name}
        stub.silent |= {f"{number}.2.0.192.auth.example" for number in range(9)}
        delays_s = []
        for number in range(3):
            await trio.sleep(3600)  # nothing is remembered
            started = trio.current_time()
            who = client(f"192.0.2.{number}", MailProtocol.SMTP)
            await dns.listings(who, AskedOn.AUTH)
            for sender in ("a@b.example", "a@c.example"):
                await dns.complete(MailAttempt(sender, "x.example"), who)
            delays_s.append(trio.current_time() - started)
        nursery.cancel_scope.cancel()
    assert delays_s == pytest.approx([SETTINGS.dns.deadline_s, 0.0, 0.0])
