"""The guard as a judge: who is banned when, and what counts. All time is virtual."""

from dataclasses import replace

import pytest
from guard_bench import (
    BAN,
    BANNED,
    GUESSES,
    MINUTE_S,
    MX_PEER,
    OFFICE,
    POLICY,
    SETTINGS,
    Bench,
    attempt,
    client,
)

from gatekeeper.ban import Origin, Scope
from gatekeeper.events import (
    AuthAttempt,
    AuthOutcome,
    AuthResult,
    ConnectionClosed,
    ConnectionOpened,
    JudgedEvent,
    MailProtocol,
    RcptAttempt,
    RcptResult,
    Violation,
    ViolationKind,
)
from gatekeeper.policy.facts import Facts
from gatekeeper.policy.recipient_rules import FREE_UNKNOWN
from gatekeeper.policy.recipients import NEW_NET_RECIPIENTS
from gatekeeper.policy.rules import BUILT_IN, BuiltIn
from gatekeeper.prefix import Prefix
from gatekeeper.remembered import AccountLock, LockKind
from gatekeeper.verdict import PASS, Action, Reason, Verdict


@pytest.fixture
def bench() -> Bench:
    return Bench()


# -- the ban -------------------------------------------------------------------------------------


async def test_guesser_is_delayed_more_and_more_and_banned_at_the_ban_score(bench: Bench) -> None:
    verdicts = []
    for number in range(GUESSES):
        assert await bench.attempt(client(), f"guess {number}") == PASS
        verdicts.append(await bench.outcome(client(), f"guess {number}"))
        bench.now += 10
    delays = [verdict.delay_s for verdict in verdicts[:-1]]
    assert delays[0] == 0.0
    assert delays == sorted(delays)
    assert delays[-1] == POLICY.tarpit_max_s
    assert {verdict.action for verdict in verdicts[:-1]} <= {Action.PASS, Action.DELAY}
    assert verdicts[-1] == BAN
    (ban,) = bench.bans()
    assert (ban.prefix, ban.scope, ban.level) == (client().entity, Scope.AUTH, 1)
    assert (ban.reason, ban.origin) == (Reason.AUTH_FAILURES, Origin.RULE)


async def test_spraying_one_password_over_accounts_bans_sooner(bench: Bench) -> None:
    for number in range(GUESSES):
        verdict = await bench.outcome(client(), "Summer2026!", f"user{number}")
        if verdict.ban:
            break
    assert number + 1 < GUESSES


async def test_parallel_guesses_ban_once_and_close_the_rest(bench: Bench) -> None:
    """Many connections guess at once; the answer that reaches the score bans, whichever it is."""
    connections = [client(port=50_000 + number) for number in range(2 * GUESSES)]
    events = [attempt(f"guess {number}") for number in range(2 * GUESSES)]
    for each, event in zip(connections, events, strict=True):
        assert await bench.guard.judge(event, each) == PASS
    verdicts = [
        await bench.guard.judge(AuthOutcome(event, AuthResult.FAILURE), each)
        for each, event in zip(connections, events, strict=True)
    ]
    assert verdicts[GUESSES - 1] == BAN
    assert verdicts[GUESSES:] == [BANNED] * GUESSES
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


async def test_what_a_banned_client_had_under_way_raises_no_score(bench: Bench) -> None:
    await bench.guesses(client())
    before = bench.score(client())
    await bench.guesses(client(), 5 * GUESSES)
    assert bench.score(client()) == before


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
    assert lasted == [POLICY.ban_first_s * 2**level for level in range(4)]


async def test_after_a_ban_ran_out_one_mistype_is_not_the_next_ban(bench: Bench) -> None:
    await bench.guesses(client())
    (first,) = bench.bans()
    bench.now = first.until + 1
    assert not (await bench.outcome(client(), "mistyped")).ban
    more = [(await bench.outcome(client(), f"more {number}")).ban for number in range(GUESSES)]
    assert any(more), "who guesses on is banned again"
    assert more.index(True) < GUESSES - 1, "and sooner"
    second = bench.ledger.find(client().entity, Scope.AUTH)
    assert second is not None
    assert second.level == 2


async def test_unbanned_client_starts_anew(bench: Bench) -> None:
    await bench.guesses(client())
    bench.ledger.lift(client().entity, Scope.AUTH)
    assert bench.score(client()) == 0.0
    assert await bench.outcome(client(), "one more tpyo") == PASS
    assert bench.score(client()) == pytest.approx(POLICY.auth_failure_weight)


async def test_lifting_a_networks_ban_leaves_its_members_scores(bench: Bench) -> None:
    """The one with the network's own address included."""
    first = client("203.0.113.0")
    await bench.guesses(first, 2)
    before = bench.score(first)
    network = Prefix.parse("203.0.113.0/24")
    bench.ledger.ban(network, Scope.AUTH, Reason.OPERATOR)
    bench.ledger.lift(network, Scope.AUTH)
    assert bench.score(first) == before > 0.0


# -- what counts ---------------------------------------------------------------------------------


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
    assert bench.score(OFFICE) < SETTINGS.policy.auth_tarpit_score


async def test_same_pair_from_another_address_is_the_same_device(bench: Bench) -> None:
    """A phone with a dead password carries it along; a botnet's next guess is another pair."""
    await bench.outcome(client("203.0.113.9"), "secret")
    await bench.outcome(client("203.0.113.10"), "secret")
    await bench.outcome(client("203.0.113.11"), "another")
    assert bench.score(client("203.0.113.10")) == 0.0
    assert bench.score(client("203.0.113.11")) > 0.0


async def test_failures_without_a_visible_password_each_count(bench: Bench) -> None:
    """SCRAM shows no password."""
    event = AuthOutcome(AuthAttempt("SCRAM-SHA-256", "ann"), AuthResult.FAILURE)
    verdicts = [await bench.guard.judge(event, client()) for _ in range(GUESSES)]
    assert verdicts[-1] == BAN


@pytest.mark.parametrize("account", ["\ud800\udcff\0", "\r\nann", "x" * 65_536, "\u0130" * 999])
async def test_account_names_that_are_no_names_are_counted(bench: Bench, account: str) -> None:
    assert await bench.attempt(client(), "x", account) == PASS
    assert await bench.outcome(client(), "x", account) == PASS
    assert bench.score(client()) == pytest.approx(POLICY.auth_failure_weight)
    assert await bench.outcome(client(), "right", account, AuthResult.SUCCESS) == PASS


async def test_hopping_inside_one_64_counts_together(bench: Bench) -> None:
    for number in range(GUESSES):
        verdict = await bench.outcome(client(f"2001:db8:1:2::{number + 1:x}"), f"guess {number}")
    assert verdict == BAN
    assert await bench.guard.judge(ConnectionOpened(), client("2001:db8:1:2:ffff::1")) == BANNED
    assert await bench.guard.judge(ConnectionOpened(), client("2001:db8:1:3::1")) == PASS


@pytest.mark.parametrize("result", [AuthResult.UNAVAILABLE, AuthResult.PROTOCOL])
async def test_outage_never_scores(bench: Bench, result: AuthResult) -> None:
    for number in range(100):
        assert await bench.outcome(client(), f"password {number}", result=result) == PASS
    assert bench.score(client()) == 0.0


async def test_password_tried_in_an_outage_still_counts_when_it_is_wrong(bench: Bench) -> None:
    await bench.outcome(client(), "guess", result=AuthResult.UNAVAILABLE)
    await bench.outcome(client(), "guess")
    assert bench.score(client()) > 0.0


async def test_scopes_are_apart(bench: Bench) -> None:
    """A webmail host with a guessing user still delivers mail."""
    await bench.guesses(client())
    assert await bench.guard.judge(ConnectionOpened(), client()) == BANNED
    assert await bench.guard.judge(ConnectionOpened(), MX_PEER) == PASS
    assert bench.score(client(), Scope.MX) == 0.0


async def test_submission_and_imap_share_a_scope(bench: Bench) -> None:
    for number in range(GUESSES):
        protocol = (MailProtocol.IMAP, MailProtocol.SUBMISSION)[number % 2]
        verdict = await bench.outcome(client(protocol=protocol), f"guess {number}")
    assert verdict == BAN


async def test_right_password_is_never_delayed(bench: Bench) -> None:
    await bench.guesses(client(), GUESSES - 1)
    assert await bench.outcome(client(), "right", "own", AuthResult.SUCCESS) == PASS


async def test_slow_honest_mistakes_decay(bench: Bench) -> None:
    for number in range(60):
        assert (await bench.outcome(client(), f"tpyo {number}")).action <= Action.DELAY
        bench.now += POLICY.auth_half_life_s
    assert bench.bans() == []


async def test_hostile_violations_ban_from_the_ports_they_were_made_on(bench: Bench) -> None:
    event = Violation(ViolationKind.SMUGGLING, b"", fatal=True)
    needed = -(-POLICY.auth_ban_score // POLICY.hostile_violation_weight)
    verdicts = [await bench.guard.judge(event, client()) for _ in range(int(needed))]
    assert verdicts[:-1] == [PASS] * (len(verdicts) - 1)
    assert verdicts[-1] == Verdict(Action.CLOSE, Reason.PROTOCOL_ABUSE, ban=True)
    assert await bench.guard.judge(ConnectionOpened(), MX_PEER) == PASS


# -- recipients ----------------------------------------------------------------------------------


async def test_dictionary_of_recipients_is_answered_late_then_closed_on(bench: Bench) -> None:
    verdicts = [await bench.rcpt(MX_PEER, RcptResult.UNKNOWN, f"name{n}") for n in range(40)]
    assert verdicts[0] == PASS
    assert verdicts[FREE_UNKNOWN + 3].action is Action.DELAY
    assert verdicts[-1] == Verdict(Action.CLOSE, Reason.UNKNOWN_RECIPIENTS)
    assert bench.bans() == [], "not yet: it may be a stale list"


async def test_dictionary_that_goes_on_is_banned_from_port_25(bench: Bench) -> None:
    for number in range(2 * POLICY.harvest_ban):
        verdict = await bench.rcpt(MX_PEER, RcptResult.UNKNOWN, f"name{number}")
        if verdict.ban:
            break
    (ban,) = bench.bans()
    assert ban.scope is Scope.MX
    assert ban.until - ban.since == POLICY.harvest_ban_first_s
    assert 0.9 * POLICY.harvest_ban < number < 1.1 * POLICY.harvest_ban


async def test_held_account_is_announced_once(bench: Bench) -> None:
    await bench.outcome(client("198.51.100.7"), "right", result=AuthResult.SUCCESS)
    bench.guard.evidence.logins.familiarity.learned = True
    await bench.outcome(client(), "right", result=AuthResult.SUCCESS)
    sender = client(protocol=MailProtocol.SUBMISSION)
    for number in range(NEW_NET_RECIPIENTS + 5):
        await bench.rcpt(sender, RcptResult.ACCEPTED, f"name{number}", "ann")
    ((lock, account),) = bench.locked
    assert (lock.kind, account) == (LockKind.HELD, "ann")
    verdict = await bench.guard.judge(RcptAttempt("x@example.org", "ann"), sender)
    assert verdict == Verdict(Action.DEFER, Reason.ACCOUNT_HELD)


# -- verdicts on attempts ------------------------------------------------------------------------


async def test_guess_that_is_refused_here_may_be_the_one_that_bans(bench: Bench) -> None:
    bench.guard.reconfigure(replace(SETTINGS, trap_accounts=("root",)))
    verdict = await bench.attempt(client(), "x", "root")
    assert verdict.ban
    assert [ban.prefix for ban in bench.bans()] == [client().entity]


async def test_login_at_a_locked_account_is_no_guess(bench: Bench) -> None:
    """Its phones go on, with whatever they have."""
    logins = bench.guard.evidence.logins
    logins.locks.put(
        AccountLock(logins.account_key("ann"), LockKind.OPERATOR, bench.now, until=None)
    )
    verdicts = [await bench.attempt(client(), f"password {n}") for n in range(3 * GUESSES)]
    assert {verdict.reason for verdict in verdicts} == {Reason.ACCOUNT_LOCKED}
    assert bench.score(client()) == 0.0
    assert bench.bans() == []


async def test_roaming_owner_whose_mechanism_shows_no_password_is_never_told_it_is_wrong(
    bench: Bench,
) -> None:
    """SCRAM, while strangers guess so much that even what comes back must prove more."""
    scram = AuthAttempt("SCRAM-SHA-256", "ann")
    await bench.guard.judge(AuthOutcome(scram, AuthResult.SUCCESS), OFFICE)
    logins = bench.guard.evidence.logins
    logins.familiarity.learned = True
    account = logins.accounts.get(logins.account_key("ann"))
    assert account is not None
    account.lane_until = bench.now + 30 * 24 * 3600.0
    roaming = client("198.51.100.7")
    verdicts = []
    for _ in range(4 * 60):
        verdicts.append(await bench.guard.judge(scram, roaming))
        bench.now += MINUTE_S
    assert {verdict.action for verdict in verdicts} == {Action.PASS, Action.DEFER}
    assert verdicts[0].reason is Reason.ACCOUNT_LANE_LOCKED
    assert await bench.guard.judge(scram, OFFICE) == PASS, "at home it is as ever"


async def test_local_refusal_is_as_late_as_the_backends_would_be(bench: Bench) -> None:
    verdicts = await bench.guesses(client(), GUESSES - 1)
    refused = await bench.attempt(client(), "guess 1")
    assert refused.action is Action.REJECT
    assert refused.delay_s == verdicts[-1].delay_s


async def test_repeated_password_is_answered_here_for_a_fixed_time(bench: Bench) -> None:
    await bench.outcome(client(), "guess")
    started, forwarded = bench.now, []
    while bench.now < started + 3600.0:
        bench.now += MINUTE_S
        if await bench.attempt(client(), "guess") == PASS:
            forwarded.append(bench.now)
            await bench.outcome(client(), "guess")
    assert len(forwarded) == pytest.approx(3600.0 / POLICY.refused_for_s, abs=1)


# -- the guard and those around it ---------------------------------------------------------------


async def test_listener_hears_verdicts_but_not_every_pass(bench: Bench) -> None:
    verdicts = await bench.guesses(client())
    assert bench.heard == [(verdict, True) for verdict in verdicts if verdict != PASS]
    assert 1 < len(bench.heard) < GUESSES


async def test_the_first_guess_that_shuts_strangers_out_is_told_once_in_a_siege() -> None:
    bench = Bench()
    await bench.outcome(OFFICE, "right", result=AuthResult.SUCCESS)
    bench.guard.evidence.logins.familiarity.learned = True
    for number in range(3 * bench.guard.evidence.logins.settings.lane_guesses):
        stranger = client(f"192.0.{number}.7")
        if (await bench.attempt(stranger, f"guess {number}")).action is Action.PASS:
            await bench.outcome(stranger, f"guess {number}")
        bench.now += 1
    [(lock, account)] = bench.locked
    assert (lock.kind, account) == (LockKind.LANE, "ann")
    assert bench.locks_enforced == [True]
    assert lock.until is not None
    bench.now = lock.until + 48 * 3600
    bench.locked.clear()
    bench.guard.suspend(on=True)
    for number in range(60):
        await bench.outcome(client(f"192.1.{number}.7"), f"another guess {number}")
    assert [lock.kind for lock, _ in bench.locked] == [LockKind.LANE]
    assert bench.locks_enforced == [True, False]


async def test_operators_rule_speaks_beside_the_built_in_ones() -> None:
    def no_tuesdays(event: JudgedEvent, facts: Facts) -> Verdict | None:
        if isinstance(event, ConnectionOpened):
            return Verdict(Action.DEFER, Reason.OPERATOR)
        return None

    bench = Bench(rules=(*BUILT_IN, BuiltIn(Reason.OPERATOR, no_tuesdays)))
    judge = bench.guard.judge
    assert await judge(ConnectionOpened(), client()) == Verdict(Action.DEFER, Reason.OPERATOR)
    assert await judge(attempt("x"), client()) == PASS
    bench.ledger.ban(client().entity, Scope.AUTH, Reason.OPERATOR, seconds=9)
    assert await judge(ConnectionOpened(), client()) == BANNED


async def test_rule_is_not_asked_about_events_it_has_no_opinion_on() -> None:
    asked: list[JudgedEvent] = []

    def curious(event: JudgedEvent, facts: Facts) -> Verdict | None:
        asked.append(event)
        return None

    bench = Bench(rules=(BuiltIn(Reason.OPERATOR, curious, (AuthAttempt,), strangers=True),))
    await bench.guard.judge(ConnectionOpened(), client())
    await bench.attempt(client(), "right")
    await bench.outcome(client(), "right", result=AuthResult.SUCCESS)
    await bench.attempt(client(), "right")  # from where it is at home
    assert len(asked) == 1


def test_judging_does_not_yield_to_the_scheduler(bench: Bench) -> None:
    """So the session that bans writes its refusal before the kernel hears of the ban."""
    judging = bench.guard.judge(attempt("x"), client())
    with pytest.raises(StopIteration) as stopped:
        judging.send(None)  # the first step is the last
    assert stopped.value.value == PASS
