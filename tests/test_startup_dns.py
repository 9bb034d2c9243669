"""What the one Screen of all parts asks, and of whom."""

from dataclasses import replace

import trio
import trio.testing
from fake_resolver import FakeResolver
from guard_bench import client

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
from gatekeeper.records import RecordType
from gatekeeper.resolver.shared import DEAD_AFTER
from gatekeeper.settings import (
    AskedOn,
    DnsblSettings,
    DnsSettings,
    Endpoint,
    Settings,
    TlsSettings,
    Treatment,
)
from gatekeeper.startup import Dns
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
        nursery.start_soon(dns.resolver.run)
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
    dns.resolver.stub = table()
    return dns


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
    dns.resolver.silent = DEAD_AFTER
    rules = dict.fromkeys((Reason.HELLO, Reason.SPF_FAIL), Treatment.IGNORE)
    dns.reconfigure(replace(SETTINGS, rules=rules))
    assert dns.resolver.report()["silent"] == 0, "there may be other servers now"
    dns.resolver.stub = table()
    events = await completed(dns, (MAIL, MX), (HELLO, MX))
    assert events == [replace(MAIL, domain=SenderDomain.FOUND), HELLO]
