"""The guard as a judge: who is banned when, and who never is. All time is virtual."""

import dataclasses

import pytest

from gatekeeper.ban import Ban, Origin, Scope
from gatekeeper.events import (
    AuthAttempt,
    AuthOutcome,
    AuthResult,
    Client,
    ConnectionClosed,
    ConnectionOpened,
    JudgedEvent,
    MailProtocol,
    RcptAttempt,
    RcptOutcome,
    RcptResult,
    Violation,
    ViolationKind,
)
from gatekeeper.guard import Guard
from gatekeeper.ledger import Ledger
from gatekeeper.policy.facts import Facts
from gatekeeper.policy.rules import BUILT_IN
from gatekeeper.prefix import Prefix, entity
from gatekeeper.secret import Secret
from gatekeeper.settings import Mode, PolicySettings, Settings, TlsSettings
from gatekeeper.verdict import PASS, Action, Reason, Verdict

SETTINGS = Settings(hostname="mail.example.org", tls=TlsSettings(), listeners=(), backends={})
BANNED = Verdict(Action.CLOSE, Reason.BANNED)
BAN = Verdict(Action.CLOSE, Reason.AUTH_FAILURES, ban=True)
MINUTE_S = 60.0
DAY_S = 86_400.0


def client(
    address: str = "203.0.113.9", protocol: MailProtocol = MailProtocol.IMAP, port: int = 50_000
) -> Client:
    return Client(address, port, "192.0.2.1", 993, entity(address), "test", protocol)


OFFICE = client("203.0.113.200")
MX_PEER = client(protocol=MailProtocol.SMTP)


class Bench:
    """A guard and its Ledger on one clock that moves when told to."""

    def __init__(self, settings: Settings = SETTINGS, never: tuple[Prefix, ...] = ()) -> None:
        self.now = 1_000_000.0
        self.ledger = Ledger(settings.policy, never, lambda: self.now)
        self.heard: list[tuple[Verdict, bool]] = []
        self.guard = Guard(
            settings,
            self.ledger,
            clock=lambda: self.now,
            fingerprint_key=b"k" * 32,
            on_verdict=lambda _client, _event, verdict, enforced: self.heard.append(
                (verdict, enforced)
            ),
        )

    async def attempt(self, who: Client, password: str, account: str = "ann") -> Verdict:
        return await self.guard.judge(attempt(password, account), who)

    async def outcome(
        self,
        who: Client,
        password: str,
        account: str = "ann",
        result: AuthResult = AuthResult.FAILURE,
    ) -> Verdict:
        return await self.guard.judge(AuthOutcome(attempt(password, account), result), who)

    async def rcpt(self, who: Client, result: RcptResult) -> Verdict:
        event = RcptOutcome(RcptAttempt("someone@example.org"), result)
        return await self.guard.judge(event, who)

    def bans(self) -> list[Ban]:
        return self.ledger.bans()


def attempt(password: str | None, account: str = "ann") -> AuthAttempt:
    secret = None if password is None else Secret(password.encode())
    return AuthAttempt("PLAIN", account, secret=secret)


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_guesser_is_banned_on_the_eighth_wrong_password(bench: Bench) -> None:
    verdicts = []
    for number in range(8):
        assert await bench.attempt(client(), f"guess {number}") == PASS
        verdicts.append(await bench.outcome(client(), f"guess {number}"))
        bench.now += 10
    assert verdicts[:2] == [PASS, PASS]
    assert [verdict.delay_s for verdict in verdicts[2:7]] == [1, 2, 4, 8, 8]
    assert {verdict.action for verdict in verdicts[2:7]} == {Action.DELAY}
    assert verdicts[7] == BAN
    (ban,) = bench.bans()
    assert (ban.prefix, ban.scope, ban.level) == (client().entity, Scope.AUTH, 1)
    assert (ban.reason, ban.origin) == (Reason.AUTH_FAILURES, Origin.RULE)


async def test_spraying_one_password_over_accounts_counts_each(bench: Bench) -> None:
    for number in range(8):
        await bench.outcome(client(), "Summer2026!", f"user{number}")
    assert len(bench.bans()) == 1


async def test_parallel_guesses_ban_once_and_close_the_rest(bench: Bench) -> None:
    """Sixteen connections guess at once; the eighth answer bans, whichever connection it is on."""
    connections = [client(port=50_000 + number) for number in range(16)]
    for number, each in enumerate(connections):
        assert await bench.attempt(each, f"guess {number}") == PASS
    verdicts = [
        await bench.outcome(each, f"guess {number}") for number, each in enumerate(connections)
    ]
    assert verdicts[7] == BAN
    assert verdicts[8:] == [BANNED] * 8
    assert [ban.level for ban in bench.bans()] == [1]


@pytest.mark.parametrize(
    "event",
    [
        ConnectionOpened(),
        attempt("right"),
        AuthOutcome(attempt("right"), AuthResult.SUCCESS),
        Violation(ViolationKind.NUL, b""),
    ],
)
async def test_banned_client_is_closed_on_at_once(bench: Bench, event: JudgedEvent) -> None:
    bench.ledger.ban(client().entity, Scope.AUTH, Reason.OPERATOR)
    assert await bench.guard.judge(event, client()) == BANNED


async def test_end_of_a_banned_connection_passes(bench: Bench) -> None:
    bench.ledger.ban(client().entity, Scope.AUTH, Reason.OPERATOR)
    assert await bench.guard.judge(ConnectionClosed("", 1.0), client()) == PASS


async def test_member_of_a_banned_network_is_closed_on(bench: Bench) -> None:
    bench.ledger.ban(Prefix.parse("203.0.113.0/24"), Scope.AUTH, Reason.OPERATOR)
    assert await bench.guard.judge(ConnectionOpened(), client()) == BANNED


async def test_offender_is_banned_for_longer_each_time(bench: Bench) -> None:
    lasted: list[float] = []
    guess = 0
    while len(lasted) < 4:
        guess += 1
        await bench.outcome(client(), f"guess {guess}")
        for ban in bench.bans():
            lasted.append(ban.until - ban.since)
            bench.now = ban.until
    assert lasted == [600, 1200, 2400, 4800]


async def test_office_with_one_stale_phone_is_never_banned(bench: Bench) -> None:
    """One forgotten phone repeats one wrong password each minute for a day behind the NAT of
    colleagues who work, mistype now and then, and wait for nothing."""
    for minute in range(24 * 60):
        assert await bench.outcome(OFFICE, "last year's", "phone") == PASS
        right = await bench.outcome(OFFICE, "right", f"user{minute % 40}", AuthResult.SUCCESS)
        assert right == PASS
        if minute % 240 == 0:
            assert (await bench.outcome(OFFICE, f"tpyo {minute}", "bob")).action <= Action.DELAY
        bench.now += MINUTE_S
    assert bench.bans() == []
    assert bench.guard.score(OFFICE.entity, Scope.AUTH) < SETTINGS.policy.auth_tarpit_score


async def test_same_password_of_another_account_is_another_guess(bench: Bench) -> None:
    for account in ("ann", "bob", "ann"):
        await bench.outcome(client(), "secret", account)
    assert bench.guard.score(client().entity, Scope.AUTH) == 2.0


async def test_same_pair_from_another_address_counts_there(bench: Bench) -> None:
    await bench.outcome(client("203.0.113.9"), "secret")
    await bench.outcome(client("203.0.113.10"), "secret")
    assert bench.guard.score(entity("203.0.113.10"), Scope.AUTH) == 1.0


async def test_failures_without_a_visible_password_each_count(bench: Bench) -> None:
    event = AuthOutcome(attempt(None), AuthResult.FAILURE)
    for _ in range(8):
        verdict = await bench.guard.judge(event, client())
    assert verdict == BAN


async def test_account_names_that_are_no_text_are_counted(bench: Bench) -> None:
    assert await bench.outcome(client(), "x", "\ud800\udcff\0") == PASS
    assert bench.guard.score(client().entity, Scope.AUTH) == 1.0


async def test_hopping_inside_one_64_counts_together(bench: Bench) -> None:
    for number in range(8):
        verdict = await bench.outcome(client(f"2001:db8:1:2::{number + 1:x}"), f"guess {number}")
    assert verdict == BAN
    assert await bench.guard.judge(ConnectionOpened(), client("2001:db8:1:2:ffff::1")) == BANNED
    assert await bench.guard.judge(ConnectionOpened(), client("2001:db8:1:3::1")) == PASS


@pytest.mark.parametrize("result", [AuthResult.UNAVAILABLE, AuthResult.PROTOCOL])
async def test_outage_never_scores(bench: Bench, result: AuthResult) -> None:
    for number in range(100):
        assert await bench.outcome(client(), f"password {number}", result=result) == PASS
    assert bench.guard.score(client().entity, Scope.AUTH) == 0.0


async def test_password_tried_in_an_outage_still_counts_when_it_is_wrong(bench: Bench) -> None:
    await bench.outcome(client(), "guess", result=AuthResult.UNAVAILABLE)
    await bench.outcome(client(), "guess")
    assert bench.guard.score(client().entity, Scope.AUTH) == 1.0


async def test_scopes_are_apart(bench: Bench) -> None:
    """A webmail host with a guessing user still delivers mail."""
    for number in range(8):
        await bench.outcome(client(), f"guess {number}")
    assert await bench.guard.judge(ConnectionOpened(), client()) == BANNED
    assert await bench.guard.judge(ConnectionOpened(), MX_PEER) == PASS
    assert bench.guard.score(client().entity, Scope.MX) == 0.0


async def test_submission_and_imap_share_a_scope(bench: Bench) -> None:
    for number in range(8):
        protocol = (MailProtocol.IMAP, MailProtocol.SUBMISSION)[number % 2]
        verdict = await bench.outcome(client(protocol=protocol), f"guess {number}")
    assert verdict == BAN


async def test_right_password_is_never_delayed_and_washes_nothing(bench: Bench) -> None:
    for number in range(7):
        await bench.outcome(client(), f"guess {number}")
    assert await bench.outcome(client(), "right", "own", AuthResult.SUCCESS) == PASS
    assert await bench.outcome(client(), "guess 8") == BAN


async def test_slow_honest_mistakes_decay(bench: Bench) -> None:
    for number in range(60):
        assert (await bench.outcome(client(), f"tpyo {number}")).action <= Action.DELAY
        bench.now += 2 * 3600
    assert bench.bans() == []


async def test_dictionary_of_recipients_is_banned_from_port_25(bench: Bench) -> None:
    verdicts = [await bench.rcpt(MX_PEER, RcptResult.UNKNOWN) for _ in range(20)]
    assert verdicts[3] == PASS
    assert verdicts[4] == Verdict(Action.DELAY, Reason.TARPIT, 1.0)
    assert verdicts[19] == Verdict(Action.CLOSE, Reason.UNKNOWN_RECIPIENTS, ban=True)
    assert [ban.scope for ban in bench.bans()] == [Scope.MX]


async def test_relay_denied_counts_half_into_the_same_score(bench: Bench) -> None:
    for _ in range(10):
        await bench.rcpt(MX_PEER, RcptResult.UNKNOWN)
    for _ in range(20):
        verdict = await bench.rcpt(MX_PEER, RcptResult.RELAY_DENIED)
    assert verdict.ban


async def test_two_hostile_violations_ban_from_the_auth_ports(bench: Bench) -> None:
    event = Violation(ViolationKind.SMUGGLING, b"", fatal=True)
    assert await bench.guard.judge(event, client()) == PASS
    verdict = await bench.guard.judge(event, client())
    assert verdict == Verdict(Action.CLOSE, Reason.PROTOCOL_ABUSE, ban=True)


async def test_unbanned_client_starts_anew(bench: Bench) -> None:
    for number in range(8):
        await bench.outcome(client(), f"guess {number}")
    bench.ledger.lift(client().entity, Scope.AUTH)
    assert await bench.outcome(client(), "one more tpyo") == PASS
    assert bench.guard.score(client().entity, Scope.AUTH) == 1.0


async def test_allowed_network_passes_and_is_never_counted() -> None:
    bench = Bench(dataclasses.replace(SETTINGS, allow=(Prefix.parse("203.0.113.0/25"),)))
    for number in range(100):
        assert await bench.outcome(client(), f"guess {number}") == PASS
    assert bench.guard.score(client().entity, Scope.AUTH) == 0.0
    assert bench.heard == []
    for number in range(8):
        await bench.outcome(OFFICE, f"guess {number}")
    assert len(bench.bans()) == 1, "only the rest of the world is judged"


async def test_never_banned_host_is_refused_but_not_shut_out() -> None:
    """A webmail on the guard's own host: all its users share one address."""
    bench = Bench(never=(Prefix.parse("203.0.113.9"),))
    for number in range(50):
        verdict = await bench.outcome(client(), f"guess {number}")
    assert verdict == Verdict(Action.CLOSE, Reason.AUTH_FAILURES, delay_s=8.0)
    assert bench.heard[-1] == (verdict, True)
    assert bench.bans() == []
    assert await bench.guard.judge(ConnectionOpened(), client()) == PASS
    assert await bench.outcome(client(), "right", result=AuthResult.SUCCESS) == PASS


async def test_observe_mode_bans_nobody_and_tells_what_it_would_do() -> None:
    bench = Bench(dataclasses.replace(SETTINGS, mode=Mode.OBSERVE))
    for number in range(20):
        assert await bench.outcome(client(), f"guess {number}") == PASS
    assert bench.bans() == []
    assert (BAN, False) in bench.heard
    assert not any(enforced for _, enforced in bench.heard)


async def test_listener_hears_verdicts_but_not_every_pass(bench: Bench) -> None:
    for number in range(8):
        await bench.outcome(client(), f"guess {number}")
    assert len(bench.heard) == 6
    assert bench.heard[-1] == (BAN, True)


async def test_operators_rule_speaks_beside_the_built_in_ones() -> None:
    def no_tuesdays(event: JudgedEvent, facts: Facts) -> Verdict | None:
        if isinstance(event, ConnectionOpened):
            return Verdict(Action.DEFER, Reason.OPERATOR)
        return None

    ledger = Ledger(PolicySettings(), (), lambda: 0.0)
    rules = (*BUILT_IN, no_tuesdays)
    guard = Guard(SETTINGS, ledger, clock=lambda: 0.0, fingerprint_key=b"k", rules=rules)
    assert await guard.judge(ConnectionOpened(), client()) == Verdict(Action.DEFER, Reason.OPERATOR)
    assert await guard.judge(attempt("x"), client()) == PASS
    ledger.ban(client().entity, Scope.AUTH, Reason.OPERATOR, seconds=9)
    assert await guard.judge(ConnectionOpened(), client()) == BANNED


def test_judging_does_not_yield_to_the_scheduler(bench: Bench) -> None:
    """So the session that bans writes its refusal before the kernel hears of the ban."""
    judging = bench.guard.judge(attempt("x"), client())
    with pytest.raises(StopIteration) as stopped:
        judging.send(None)  # the first step is the last
    assert stopped.value.value == PASS


async def test_after_a_ban_ran_out_one_mistype_is_not_the_next_ban(bench: Bench) -> None:
    person = client()
    for number in range(8):
        await bench.outcome(person, f"guess {number}")
    first = bench.ledger.find(person.entity, person.scope)
    assert first is not None
    bench.now = first.until + 1
    assert not (await bench.outcome(person, "mistyped")).ban
    verdicts = [await bench.outcome(person, f"more {number}") for number in range(3)]
    assert [verdict.ban for verdict in verdicts] == [False, False, True]
    second = bench.ledger.find(person.entity, person.scope)
    assert second is not None
    assert second.level == 2
