"""What the guard makes of connections to port 25 before their greeting, and of what it is told."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import trio
from fake_resolver import FakeResolver
from guard_bench import SETTINGS, Bench, client
from rig import guard, virtual_time
from ticket_mask import masked

from gatekeeper.ban import Scope
from gatekeeper.events import (
    ConnectionOpened,
    EarlyTalk,
    JudgedEvent,
    MailProtocol,
    ReverseDns,
    ReverseState,
)
from gatekeeper.policy.domains import DomainLists, Domains, Listed
from gatekeeper.policy.name_set import NameSet, name_key
from gatekeeper.policy.prefix_set import PrefixSet
from gatekeeper.policy.reverse_dns import reverse_question
from gatekeeper.prefix import Prefix
from gatekeeper.records import RecordType
from gatekeeper.reverse_dns import ReverseNames
from gatekeeper.session.entrance import Entrance
from gatekeeper.settings import DnsSettings, Mode, PolicySettings, Settings, Treatment
from gatekeeper.verdict import PASS, Action, Reason, Verdict
from gatekeeper.wire.proxy_header import encode_v1

PEER = client(protocol=MailProtocol.SMTP)
POLICY = PolicySettings()
TALK = EarlyTalk(0.2, 14)
MISSING = ReverseDns(ReverseState.MISSING)
LIE = ReverseDns(ReverseState.UNCONFIRMED, "mail.example.org")
TOO_EARLY = Verdict(Action.REJECT, Reason.EARLY_TALKER)
NO_NAME = Verdict(Action.REJECT, Reason.REVERSE_DNS)
CROWDED = Verdict(Action.DEFER, Reason.TOO_MANY_CONNECTIONS)
HERE, AROUND = POLICY.mx_connections_per_address, POLICY.mx_connections_per_network
ENFORCED = replace(SETTINGS, rules={Reason.REVERSE_DNS: Treatment.ENFORCE})


def mx_score(bench: Bench) -> float:
    return bench.guard.score(PEER.entity, Scope.MX)


async def test_an_early_talker_is_refused_and_held_against_its_address() -> None:
    bench = Bench()
    assert await bench.guard.judge(TALK, PEER) == TOO_EARLY
    assert mx_score(bench) == pytest.approx(POLICY.violation_weight)
    [entry] = bench.guard.journal.of(lambda _: True)
    assert entry.what == "early talk: 14 octets after 0.2 s"
    assert entry.weight == pytest.approx(POLICY.violation_weight)
    assert entry.verdict.ticket, "its answer is openly the guard's own"


async def test_who_goes_on_talking_early_is_banned_from_port_25_alone() -> None:
    bench = Bench()
    verdicts = [await bench.guard.judge(TALK, PEER) for _ in range(round(POLICY.mx_ban_score))]
    assert verdicts[:-1] == [TOO_EARLY] * (len(verdicts) - 1)
    assert verdicts[-1] == Verdict(Action.CLOSE, Reason.PROTOCOL_ABUSE, ban=True)
    [ban] = bench.bans()
    assert (ban.prefix, ban.scope) == (PEER.entity, Scope.MX)


@pytest.mark.parametrize(
    "watching",
    [
        replace(SETTINGS, mode=Mode.OBSERVE),
        replace(SETTINGS, rules={Reason.EARLY_TALKER: Treatment.OBSERVE}),
    ],
    ids=["mode", "rule"],
)
async def test_early_talk_that_is_observed_is_told_and_held_against_nobody(
    watching: Settings,
) -> None:
    bench = Bench(watching)
    assert await bench.guard.judge(TALK, PEER) == PASS
    assert bench.heard == [(TOO_EARLY, False)]
    assert mx_score(bench) == 0


@pytest.mark.parametrize("event", [MISSING, LIE])
async def test_an_address_without_a_name_of_its_own_is_told_and_refused_only_when_enforced(
    event: ReverseDns,
) -> None:
    bench = Bench()
    assert await bench.guard.judge(event, PEER) == PASS
    assert bench.heard == [(NO_NAME, False)]
    bench = Bench(ENFORCED)
    assert await bench.guard.judge(event, PEER) == NO_NAME
    [entry] = bench.guard.journal.of(lambda _: True)
    assert entry.what == f"reverse DNS: {event.state.value} {event.name}".rstrip()
    assert mx_score(bench) == 0, "a name that is wrong is no attack"


@pytest.mark.parametrize(
    ("here", "around", "verdict"),
    [
        (0, 0, PASS),
        (1, 1, PASS),
        (HERE, AROUND, PASS),
        (HERE + 1, HERE + 1, CROWDED),
        (1, AROUND + 1, CROWDED),
    ],
)
async def test_a_crowd_is_put_off(here: int, around: int, verdict: Verdict) -> None:
    bench = Bench()
    assert await bench.guard.judge(ConnectionOpened(here, around), PEER) == verdict
    if verdict is CROWDED:
        [entry] = bench.guard.journal.of(lambda _: True)
        assert entry.what == f"connection: {here} of its address, {around} of its network"


async def test_a_crowd_that_is_observed_comes_in() -> None:
    rules = {Reason.TOO_MANY_CONNECTIONS: Treatment.OBSERVE}
    bench = Bench(replace(SETTINGS, rules=rules))
    assert await bench.guard.judge(ConnectionOpened(1000, 1000), PEER) == PASS
    assert bench.heard == [(CROWDED, False)]


@pytest.mark.parametrize("event", [TALK, MISSING, LIE, ConnectionOpened(1000, 1000)])
async def test_who_is_allowed_is_exempt_from_all_of_them(event: JudgedEvent) -> None:
    bench = Bench(replace(ENFORCED, allow=(Prefix.parse("203.0.113.0/24"),)))
    assert await bench.guard.judge(event, PEER) == PASS
    assert bench.heard == []


# -- from the socket to the verdict ---------------------------------------------------------------

NAME = "host.isp.cn"
NOBODY: Callable[[Prefix], bool] = lambda _entity: False  # noqa: E731
ONLY_ONE = replace(SETTINGS, policy=PolicySettings(mx_connections_per_address=1))


def dns(name: str = NAME, address: str = PEER.address) -> FakeResolver:
    found = FakeResolver()
    if name:
        found.put(reverse_question(PEER.address).name, name, type_=RecordType.PTR)
        found.put(name, address)
    return found


async def first_line(
    bench: Bench,
    found: FakeResolver,
    exempt: Callable[[Prefix], bool] = NOBODY,
    early: bytes = b"",
) -> str:
    """What the client hears first, through a balancer."""
    entrance = Entrance(ReverseNames(DnsSettings(), found), exempt=exempt)
    async with (
        guard(
            protocol=MailProtocol.SMTP,
            judge=bench.guard,
            entrance=entrance,
            policy=POLICY,
            proxy_protocol_from=("127.0.0.1",),
        ) as rig,
        trio.open_nursery() as nursery,
    ):
        talk = await rig.connect()
        await talk.client.send(encode_v1(PEER.address, 50_000, "192.0.2.1", 25) + early)

        async def greet() -> None:
            await (await rig.accept_backend()).send(b"220 mx.example ESMTP\r\n")

        nursery.start_soon(greet)
        line = await talk.client.hear_line()
        nursery.cancel_scope.cancel()
    return masked(line).decode().rstrip()


@pytest.mark.parametrize(
    ("found", "line"),
    [
        (dns(), "220 mx.example ESMTP"),
        (dns(""), "554 5.7.25 Your address lacks a name that leads back (ref *****)"),
        (
            dns(address="192.0.2.1"),
            "554 5.7.25 Your address lacks a name that leads back (ref *****)",
        ),
        (FakeResolver(silent={reverse_question(PEER.address).name}), "220 mx.example ESMTP"),
        (FakeResolver(overloaded=True), "220 mx.example ESMTP"),
        (
            FakeResolver(failures={reverse_question(PEER.address).name: "SERVFAIL"}),
            "220 mx.example ESMTP",
        ),
    ],
    ids=["confirmed", "missing", "a lie", "silence", "overload", "servfail"],
)
@virtual_time
async def test_what_dns_says_decides_only_where_it_says_something(
    found: FakeResolver, line: str
) -> None:
    assert await first_line(Bench(ENFORCED), found) == line


@virtual_time
async def test_an_early_talker_hears_no_more_than_that() -> None:
    bench = Bench()
    line = await first_line(bench, dns(), early=b"EHLO bot\r\n")
    assert line == "554 5.5.0 SMTP protocol synchronization (ref *****)"
    assert mx_score(bench) > 0


@virtual_time
async def test_who_is_on_the_global_white_list_is_exempt_from_all_of_them() -> None:
    """As `app` has it: whom no list is asked about."""
    domains = Domains(
        everywhere=DomainLists(white=Listed(ips=PrefixSet([Prefix.parse("203.0.113.0/24")])))
    )
    bench, found = Bench(ENFORCED), dns("")
    line = await first_line(bench, found, domains.exempts, early=b"NOOP\r\n")
    assert line == "220 mx.example ESMTP"
    assert (bench.heard, found.asked, mx_score(bench)) == ([], [], 0)


@virtual_time
async def test_the_confirmed_name_is_what_the_files_of_a_domain_are_asked_for() -> None:
    bench = Bench()
    black = Listed(tld=NameSet([name_key("cn")]))
    bench.guard.domains = Domains({"one.example": DomainLists(black=black)})
    entrance = Entrance(ReverseNames(DnsSettings(), dns()), exempt=NOBODY)
    async with guard(
        protocol=MailProtocol.SMTP,
        judge=bench.guard,
        entrance=entrance,
        proxy_protocol_from=("127.0.0.1",),
    ) as rig:
        talk = await rig.connect()
        await talk.client.send(encode_v1(PEER.address, 50_000, "192.0.2.1", 25))
        await talk.play("""
            B> 220 mx.example ESMTP
            C< 220 mx.example ESMTP
            C> HELO host.isp.cn
            B< HELO host.isp.cn
            B> 250 mx.example
            C< 250 mx.example
            C> MAIL FROM:<a@isp.cn>
            B< MAIL FROM:<a@isp.cn>
            B> 250 ok
            C< 250 ok
            C> RCPT TO:<ann@one.example>
            C< 550 5.7.1 Recipient not accepted (ref *****)
        """)
