"""Lists are asked before the greeting of port 25, and a refusal costs the backend nothing."""

from base64 import b64encode
from dataclasses import dataclass, field, replace

import pytest
import trio
from fake_resolver import FakeResolver
from guard_bench import Bench
from rig import FakeJudge, Rig, guard, virtual_time
from ticket_mask import masked

from gatekeeper.dnsbl import Blocklists
from gatekeeper.events import (
    AuthAttempt,
    Client,
    ClientListed,
    ConnectionOpened,
    JudgedEvent,
    Listing,
    MailProtocol,
)
from gatekeeper.prefix import Prefix
from gatekeeper.sessions import End
from gatekeeper.settings import (
    AskedOn,
    DnsblSettings,
    Mode,
    PolicySettings,
    Settings,
    TlsMode,
    TlsSettings,
    Treatment,
)
from gatekeeper.verdict import Action, Reason, Verdict
from gatekeeper.wire.proxy_header import encode_v1

LISTED = (Listing("bl.example", ("127.0.0.2",), 1.0),)
REFUSED = Verdict(Action.REJECT, Reason.DNS_LISTED, ticket="7f3k2")
CLIENT = ("203.0.113.9", 50_000, "192.0.2.1", 25)
NOT_ACCEPTED = "554 5.7.1 Mail from your address is not accepted (ref *****)"


@dataclass
class FakeScreen:
    """Says of everybody what a test wants, after a while."""

    says: tuple[Listing, ...] = LISTED
    delay_s: float = 0.0
    asked: list[Client] = field(default_factory=list)
    asked_on: list[AskedOn] = field(default_factory=list)

    async def listings(self, client: Client, on: AskedOn) -> tuple[Listing, ...]:
        """See `gatekeeper.abc.Screen`."""
        self.asked.append(client)
        self.asked_on.append(on)
        await trio.sleep(self.delay_s)
        return self.says

    async def complete(self, event: JudgedEvent, client: Client) -> JudgedEvent:
        """See `gatekeeper.abc.Screen`."""
        if not isinstance(event, AuthAttempt):
            return event
        return replace(event, listings=await self.listings(client, AskedOn.AUTH))


def refusing() -> FakeJudge:
    judge = FakeJudge()
    judge.answers[ClientListed] = REFUSED
    return judge


@pytest.mark.parametrize("tls", [TlsMode.NONE, TlsMode.STARTTLS])
@virtual_time
async def test_a_refused_client_hears_why_in_general_and_the_backend_nothing(tls: TlsMode) -> None:
    screen, judge = FakeScreen(), refusing()
    async with guard(protocol=MailProtocol.SMTP, tls=tls, judge=judge, screen=screen) as rig:
        talk = await rig.connect()
        await talk.client.hear(f"{NOT_ACCEPTED}\r\n".encode())
        await talk.client.hear_end()
        await rig.no_backend_wanted()
        talk.client.close()
        assert await rig.end() is End.REFUSED
    assert judge.events == [ConnectionOpened(1, 1), ClientListed(LISTED)]
    assert [one.address for one in screen.asked] == ["127.0.0.1"]


@virtual_time
async def test_with_implicit_tls_a_refused_client_costs_no_handshake() -> None:
    judge, tls = refusing(), TlsMode.IMPLICIT
    async with guard(protocol=MailProtocol.SMTP, tls=tls, judge=judge, screen=FakeScreen()) as rig:
        talk = await rig.connect()
        await talk.client.hear_end()
        await rig.no_backend_wanted()
        talk.client.close()
        assert await rig.end() is End.REFUSED


@virtual_time
async def test_the_greeting_waits_for_the_lists_and_the_backend_is_not_called_before() -> None:
    screen = FakeScreen(says=(), delay_s=1.5)
    async with guard(protocol=MailProtocol.SMTP, screen=screen) as rig:
        started = trio.current_time()
        talk = await rig.connect()
        await talk.play("""
            B> 220 mx.example ESMTP
            C< 220 mx.example ESMTP
            C> NOOP
            B< NOOP
        """)
        assert trio.current_time() - started >= 1.5
    assert rig.judge.heard(ClientListed) == []


@virtual_time
async def test_listed_but_not_refused_is_greeted() -> None:
    async with guard(protocol=MailProtocol.SMTP, screen=FakeScreen()) as rig:
        talk = await rig.connect()
        await talk.play("""
            B> 220 mx.example ESMTP
            C< 220 mx.example ESMTP
        """)
    assert rig.judge.heard(ClientListed) == [ClientListed(LISTED)]


@pytest.mark.parametrize("protocol", [MailProtocol.SUBMISSION, MailProtocol.IMAP])
@virtual_time
async def test_login_ports_ask_no_list(protocol: MailProtocol) -> None:
    """Homes and phones are on PBL: that is no reason to keep people from logging in."""
    screen = FakeScreen()
    async with guard(protocol=protocol, judge=refusing(), screen=screen) as rig:
        await (await rig.connect()).accept()
    assert screen.asked == []


@virtual_time
async def test_who_is_turned_away_anyway_is_not_asked_about() -> None:
    screen, judge = FakeScreen(), FakeJudge()
    judge.answers[ConnectionOpened] = Verdict(Action.CLOSE, Reason.BANNED)
    async with guard(protocol=MailProtocol.SMTP, judge=judge, screen=screen) as rig:
        talk = await rig.connect()
        await talk.client.hear(b"421 4.7.0 Service closing transmission channel\r\n")
    assert screen.asked == []


@virtual_time
async def test_put_off_is_no_refusal_for_good() -> None:
    judge = FakeJudge()
    judge.answers[ClientListed] = Verdict(Action.DEFER, Reason.DNS_LISTED)
    async with guard(protocol=MailProtocol.SMTP, judge=judge, screen=FakeScreen()) as rig:
        talk = await rig.connect()
        await talk.client.hear(b"421 4.7.0 Service closing transmission channel\r\n")
        await rig.no_backend_wanted()


@virtual_time
async def test_a_client_that_leaves_while_lists_are_asked_is_let_go() -> None:
    async with guard(protocol=MailProtocol.SMTP, screen=FakeScreen((), delay_s=2.0)) as rig:
        talk = await rig.connect()
        talk.client.reset()
        backend = await talk.accept()
        await backend.send(b"220 mx.example ESMTP\r\n")
        assert await rig.end() is End.BROKEN


# -- at a login ---------------------------------------------------------------------------------

PLAIN = b64encode(b"\0ann\0secret").decode()
LOGINS = {
    MailProtocol.SUBMISSION: (
        f"""
        B> 220 mx.example ESMTP
        C< 220 mx.example ESMTP
        C> EHLO client.example
        B< EHLO client.example
        B> 250-mx.example
        B> 250 AUTH PLAIN
        C< 250-guard.example
        C< 250 AUTH PLAIN
        C> AUTH PLAIN {PLAIN}
        """,
        b"454 ",
    ),
    MailProtocol.IMAP: (
        """
        B> * OK ready
        C< * OK ready
        C> a LOGIN ann secret
        """,
        b"a NO [UNAVAILABLE] ",
    ),
}


@pytest.mark.parametrize("protocol", LOGINS)
@virtual_time
async def test_a_credential_is_judged_with_what_lists_of_guessers_say(
    protocol: MailProtocol,
) -> None:
    screen = FakeScreen(delay_s=1.0)
    judge = FakeJudge()
    judge.answers[AuthAttempt] = Verdict(Action.DEFER, Reason.AUTH_LISTED)
    async with guard(protocol=protocol, tls=TlsMode.IMPLICIT, judge=judge, screen=screen) as rig:
        talk = await rig.connect()
        await talk.client.start_tls_client()
        script, answer = LOGINS[protocol]
        await talk.play(script)
        assert (await talk.client.hear_line()).startswith(answer)
        await talk.backend.hear_nothing()
    [attempt] = judge.heard(AuthAttempt)
    assert attempt.listings == LISTED
    assert screen.asked_on == [AskedOn.AUTH]


# -- from the lists to the verdict, with the real guard -----------------------------------------


def settings(mode: Mode = Mode.ENFORCE, second: Treatment = Treatment.ENFORCE) -> Settings:
    """Two lists that must both name a client."""
    return Settings(
        "mx.example",
        TlsSettings(),
        (),
        {},
        mode=mode,
        policy=PolicySettings(dnsbl_reject_score=2.0),
        dnsbl=(DnsblSettings("one.example"), DnsblSettings("two.example", policy=second)),
    )


async def first_line(bench: Bench, with_settings: Settings) -> str:
    """What a client that both lists name hears first; it comes through a balancer."""
    dns = FakeResolver()
    for zone in ("one", "two"):
        dns.put(f"9.113.0.203.{zone}.example", "127.0.0.2")
    screen = Blocklists(
        with_settings, dns, exempt=bench.ledger.exempt, on_zone=lambda _zone, _why: None
    )
    async with (
        guard(
            protocol=MailProtocol.SMTP,
            judge=bench.guard,
            screen=screen,
            proxy_protocol_from=("127.0.0.1",),
        ) as rig,
        trio.open_nursery() as nursery,
    ):
        talk = await rig.connect()
        await talk.client.send(encode_v1(*CLIENT))
        nursery.start_soon(_greet, rig)
        line = await talk.client.hear_line()
        nursery.cancel_scope.cancel()
    return masked(line).decode().rstrip()


async def _greet(rig: Rig) -> None:
    backend = await rig.accept_backend()
    await backend.send(b"220 mx.example ESMTP\r\n")


@virtual_time
async def test_lists_that_together_say_enough_refuse() -> None:
    bench = Bench(settings())
    assert await first_line(bench, settings()) == NOT_ACCEPTED
    assert bench.heard == [(REFUSED, True)]
    [entry] = bench.guard.journal.of(lambda _: True)
    assert entry.what == "listed: one.example=127.0.0.2 two.example=127.0.0.2"
    assert entry.verdict == REFUSED


@pytest.mark.parametrize(
    "observing",
    [
        settings(Mode.OBSERVE),
        replace(settings(), rules={Reason.DNS_LISTED: Treatment.OBSERVE}),
        settings(second=Treatment.OBSERVE),
    ],
    ids=["mode", "rule", "zone"],
)
@virtual_time
async def test_what_is_observed_is_counted_and_told_and_lets_in(observing: Settings) -> None:
    bench = Bench(observing)
    assert await first_line(bench, observing) == "220 mx.example ESMTP"
    assert [enforced for _, enforced in bench.heard] == [False]
    assert bench.guard.would_have[Reason.DNS_LISTED] == 1


@virtual_time
async def test_who_is_never_banned_is_not_refused() -> None:
    bench = Bench(settings(), never=(Prefix.parse("203.0.113.0/24"),))
    assert await first_line(bench, settings()) == "220 mx.example ESMTP"
    assert bench.heard == []
