"""A client of port 25 before the guard's own judge and screen, with DNS from a table."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from math import inf

import trio
from fake_resolver import FakeResolver
from guard_bench import Bench
from rig import Talk, guard
from trio.testing import MockClock

from gatekeeper.abc import Resolver
from gatekeeper.envelope.screen import EnvelopeScreen
from gatekeeper.envelope.spf import Evaluation, SpfChecks
from gatekeeper.events import Client, Listing, MailProtocol
from gatekeeper.findings import SpfResult
from gatekeeper.records import RecordType
from gatekeeper.settings import (
    AskedOn,
    DnsSettings,
    PolicySettings,
    Settings,
    TlsSettings,
    Treatment,
)
from gatekeeper.verdict import Reason
from gatekeeper.wire.proxy_header import encode_v1

DEADLINE_S = 2.0
CLIENT = ("203.0.113.9", 50_000, "192.0.2.1", 25)
RULES = (Reason.HELLO, Reason.SENDER_DOMAIN, Reason.SPF_FAIL)
SETTINGS = Settings(
    "mx.example",
    TlsSettings(),
    (),
    {},
    policy=PolicySettings(tarpit_base_s=0.0, tarpit_max_s=0.0),
    dns=DnsSettings(deadline_s=DEADLINE_S),
    rules=dict.fromkeys(RULES, Treatment.ENFORCE),
)
MX, TXT = RecordType.MX, RecordType.TXT


class PatientSpf(SpfChecks):
    """Virtual time stands still while a thread works: to the clock it looks like nothing to do."""

    async def _in_thread(self, evaluation: Evaluation) -> SpfResult | None:
        clock = trio.lowlevel.current_clock()
        assert isinstance(clock, MockClock)
        threshold, clock.autojump_threshold = clock.autojump_threshold, inf
        try:
            return await super()._in_thread(evaluation)
        finally:
            clock.autojump_threshold = threshold


class Screen(EnvelopeScreen):
    """A whole Screen: no list is asked."""

    def __init__(self, settings: Settings, resolver: Resolver, **more: Callable[..., bool]) -> None:
        super().__init__(settings, resolver, **more)
        self.spf = PatientSpf(resolver)

    async def listings(self, client: Client, on: AskedOn) -> tuple[Listing, ...]:
        """See `gatekeeper.abc.Screen`."""
        del client, on
        return ()


def zone() -> FakeResolver:
    dns = FakeResolver()
    for name in ("b.example", "xn--bcher-kva.example", "client.example"):
        dns.put(name, "10 mx.b.example", type_=MX)
        dns.put(name, "v=spf1 ip4:203.0.113.9 -all", type_=TXT)
    dns.put("forged.example", "10 mx.b.example", type_=MX)
    dns.put("forged.example", "v=spf1 -all", type_=TXT)
    dns.put("soft.example", "10 mx.b.example", type_=MX)
    dns.put("soft.example", "v=spf1 ~all", type_=TXT)
    dns.put("null.example", "0 .", type_=MX)
    return dns


@asynccontextmanager
async def talking(
    dns: FakeResolver | None = None,
    settings: Settings = SETTINGS,
    bench: Bench | None = None,
    ours: frozenset[str] = frozenset({"mx.example", "d.example"}),
) -> AsyncIterator[tuple[Talk, Bench]]:
    """A client from 203.0.113.9, before its greeting."""
    bench = bench or Bench(settings)
    screen = Screen(
        settings,
        zone() if dns is None else dns,
        exempt=lambda one: (
            bench.ledger.exempt(one)
            or (bench.guard.domains is not None and bench.guard.domains.exempts(one))
        ),
        is_ours=ours.__contains__,
    )
    async with guard(
        protocol=MailProtocol.SMTP,
        judge=bench.guard,
        screen=screen,
        proxy_protocol_from=("127.0.0.1",),
    ) as rig:
        talk = await rig.connect()
        await talk.client.send(encode_v1(*CLIENT))
        yield talk, bench


async def refused(talk: Talk, command: str, reply: str) -> None:
    """The guard itself answers, with a ticket behind the words; the backend hears nothing."""
    await talk.client.send(f"{command}\r\n".encode())
    line = (await talk.client.hear_line()).decode()
    assert line.partition(" (ref ")[0] == reply
    await talk.backend.hear_nothing()


def passed(*commands: str) -> str:
    """A script in which the backend takes all commands."""
    return "".join(f"C> {one}\nB< {one}\nB> 250 ok\nC< 250 ok\n" for one in commands)


RCPT = passed("RCPT TO:<c@d.example>")
RSET = passed("RSET")


def reasons(bench: Bench, *, enforced: bool = True) -> list[Reason]:
    return [verdict.reason for verdict, carried_out in bench.heard if carried_out is enforced]
