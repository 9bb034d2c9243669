"""Rules' bans through the breaker, with a real guard and Ledger: floods, and a Rule gone wrong."""

from dataclasses import replace

import pytest
from guard_bench import SETTINGS, Bench, attempt, client

from gatekeeper.ban import Origin, Scope
from gatekeeper.banning import LIFTED_AT_ONCE
from gatekeeper.events import (
    AuthAttempt,
    AuthResult,
    Client,
    JudgedEvent,
    MailProtocol,
    Violation,
    ViolationKind,
)
from gatekeeper.policy.breaker import MIN_BANS, WINDOW_S, Cause, Trip
from gatekeeper.policy.facts import Facts
from gatekeeper.policy.keys import place
from gatekeeper.policy.rules import BUILT_IN, BuiltIn
from gatekeeper.prefix import Prefix
from gatekeeper.remembered import AccountLock, LockKind
from gatekeeper.settings import Mode, PolicySettings, Treatment
from gatekeeper.verdict import PASS, Action, Reason, Verdict

POLICY = PolicySettings()
TRAPS = replace(SETTINGS, policy=POLICY, trap_accounts=("root",))
BAN = Verdict(Action.CLOSE, Reason.ATTACK_LEVEL, ban=True)
WITHHELD = Verdict(Action.DEFER, Reason.BREAKER_OPEN)


def everybody(event: JudgedEvent, _facts: Facts) -> Verdict | None:
    """A Rule gone wrong."""
    return BAN if isinstance(event, AuthAttempt) else None


GONE_WRONG = (*BUILT_IN, BuiltIn(Reason.ATTACK_LEVEL, everybody, (AuthAttempt,)))


def office(number: int) -> Client:
    return client(f"100.64.{number}.1")


def bot(number: int) -> Client:
    return client(f"10.{number >> 8}.{number & 255}.9")


async def people_log_in(bench: Bench, offices: int) -> None:
    """Three accounts of each office."""
    for number in range(offices):
        for each in range(3):
            await bench.outcome(office(number), "right", f"u{number}-{each}", AuthResult.SUCCESS)


async def harms(bench: Bench, offices: int) -> list[Verdict]:
    """One login a second, each from another office."""
    verdicts = []
    for number in range(offices):
        bench.now += 1
        verdicts.append(await bench.attempt(office(number), "right", f"u{number}-0"))
    return verdicts


@pytest.fixture
def bench() -> Bench:
    return Bench(TRAPS, rules=GONE_WRONG)


# -- a flood ----------------------------------------------------------------------------------


async def test_five_thousand_bots_at_once_are_banned_while_people_go_on() -> None:
    bench = Bench(TRAPS)
    await people_log_in(bench, 30)
    for number in range(5000):
        bench.now += 0.024  # 2,500 a minute
        await bench.attempt(bot(number), f"guess {number}", "root")
        if number % 100 == 0:
            assert (
                await bench.attempt(office(number // 200), "right", f"u{number // 200}-0") == PASS
            )
    assert len(bench.bans()) == 5000
    assert bench.guard.report()["breaker"] == "closed"
    assert bench.guard.banning.breaker.withheld == 0


async def test_more_bans_a_minute_than_any_attack_brings_are_not_made_and_those_made_stay() -> None:
    bench = Bench(replace(TRAPS, policy=replace(POLICY, breaker_bans_minute=100)))
    trips: list[Trip] = []
    bench.guard.banning.on_trip = trips.append
    verdicts = [await bench.attempt(bot(n), f"guess {n}", "root") for n in range(150)]
    assert len(bench.bans()) == 100
    assert [verdict.ban for verdict in verdicts] == [True] * 100 + [False] * 50
    assert {verdict.action for verdict in verdicts[100:]} == {Action.DEFER}
    assert [trip.cause for trip in trips] == [Cause.RATE]
    assert not bench.guard.banning.lift_some()
    bench.now += POLICY.breaker_hold_s
    assert (await bench.attempt(bot(999), "guess", "root")).ban


# -- a Rule gone wrong ------------------------------------------------------------------------


async def test_rule_that_bans_an_office_a_second_is_stopped_and_its_bans_are_lifted(
    bench: Bench,
) -> None:
    trips: list[Trip] = []
    bench.guard.banning.on_trip = trips.append
    await people_log_in(bench, 40)
    bench.heard.clear()
    verdicts = await harms(bench, 40)
    assert [verdict.ban for verdict in verdicts] == [True] * (MIN_BANS - 1) + [False] * 21
    assert verdicts[MIN_BANS:] == [WITHHELD] * 20
    assert bench.bans() == []
    assert [(trip.cause, trip.figures.met) for trip in trips] == [(Cause.PEOPLE, MIN_BANS)]
    assert bench.guard.would_have[Reason.ATTACK_LEVEL] == 21
    assert bench.heard[-2:] == [(BAN, False), (WITHHELD, True)]
    report = bench.guard.report()
    assert report["breaker"] == (
        "open, people: of 20 bans wanted within 10 minutes 20 met people, 20 their networks"
    )
    assert report["breaker_for_s"] == POLICY.breaker_hold_s
    assert report["bans_withheld"] == 21


async def test_it_bans_again_when_the_cause_is_gone(bench: Bench) -> None:
    await people_log_in(bench, 30)
    await harms(bench, 30)
    bench.now += POLICY.breaker_hold_s
    assert bench.guard.report()["breaker"] == "closed"
    assert await bench.attempt(bot(1), "guess") == BAN
    assert len(bench.bans()) == 1


async def test_it_opens_for_another_time_where_the_rule_goes_on_after_a_reset(bench: Bench) -> None:
    await people_log_in(bench, 60)
    await harms(bench, 30)
    assert bench.guard.banning.breaker.reset(bench.now) is not None
    assert (await bench.attempt(office(50), "right", "u50-0")).ban
    await harms(bench, 30)
    assert bench.guard.banning.breaker.trip(bench.now) is not None
    assert bench.bans() == []


async def test_bans_of_the_operator_and_older_ones_are_not_lifted(bench: Bench) -> None:
    await people_log_in(bench, 30)
    old = await bench.attempt(bot(7), "guess")
    assert old.ban
    bench.ledger.lift(bot(7).entity, Scope.AUTH)
    bench.ledger.ban(bot(7).entity, Scope.AUTH, Reason.AUTH_FAILURES, seconds=1e6)
    bench.now += WINDOW_S + 1
    await harms(bench, 5)
    bench.ledger.ban(office(2).entity, Scope.AUTH, Reason.OPERATOR, origin=Origin.OPERATOR)
    await harms(bench, 30)
    assert {ban.prefix for ban in bench.bans()} == {bot(7).entity, office(2).entity}


async def test_what_a_moment_does_not_allow_is_lifted_later(bench: Bench) -> None:
    """Many bots were banned within the same minutes."""
    many = 2 * LIFTED_AT_ONCE
    bench.guard.reconfigure(replace(TRAPS, policy=replace(POLICY, breaker_people_share=0.01)))
    await people_log_in(bench, 30)
    for number in range(many):
        await bench.attempt(bot(number), "guess")
    await harms(bench, 11)
    assert bench.guard.banning.breaker.trip(bench.now) is not None
    assert len(bench.bans()) == many + 10 - LIFTED_AT_ONCE
    assert bench.guard.banning.lift_some()
    assert not bench.guard.banning.lift_some()
    assert bench.bans() == []


async def test_bytes_that_are_no_protocol_go_through_it_too(bench: Bench) -> None:
    await people_log_in(bench, 30)
    await harms(bench, 30)
    garbage = Violation(ViolationKind.SMUGGLING, b"")
    verdicts = [await bench.guard.judge(garbage, bot(1)) for _ in range(9)]
    assert verdicts[-1].reason is Reason.BREAKER_OPEN
    assert not any(verdict.ban for verdict in verdicts)
    assert bench.bans() == []


async def test_port_25_is_not_banned_from_either_while_it_is_open(bench: Bench) -> None:
    await people_log_in(bench, 30)
    await harms(bench, 30)
    garbage = Violation(ViolationKind.SMUGGLING, b"")
    peer = client(protocol=MailProtocol.SMTP)
    verdicts = [await bench.guard.judge(garbage, peer) for _ in range(9)]
    assert (verdicts[-1].reason, verdicts[-1].delay_s) == (Reason.BREAKER_OPEN, 0.0)
    assert bench.bans() == []


async def test_hosts_that_are_never_banned_do_not_count() -> None:
    never = Prefix.parse("100.64.0.0/16")
    bench = Bench(TRAPS, never=(never,), rules=GONE_WRONG)
    await people_log_in(bench, 30)
    verdicts = await harms(bench, 30)
    assert {verdict.action for verdict in verdicts} == {Action.CLOSE}
    assert bench.guard.banning.breaker.figures(bench.now).bans == 0


async def test_the_journal_says_that_a_ban_was_withheld(bench: Bench) -> None:
    await people_log_in(bench, 30)
    await harms(bench, 30)
    (entry,) = bench.guard.journal.of(
        lambda entry: (
            entry.source == int.from_bytes(office(29).entity.packed, "big")
            and entry.what == "login"
        )
    )
    assert (entry.verdict.reason, entry.verdict.ban) == (Reason.BREAKER_OPEN, False)


async def test_a_rule_that_only_watches_wants_no_ban() -> None:
    bench = Bench(replace(TRAPS, mode=Mode.OBSERVE), rules=GONE_WRONG)
    await people_log_in(bench, 30)
    assert await harms(bench, 30) == [PASS] * 30
    assert bench.guard.report()["breaker"] == "closed"


async def test_people_of_an_ipv6_site_are_met_in_its_other_networks() -> None:
    bench = Bench(TRAPS, rules=GONE_WRONG)
    for number in range(30):
        who = client(f"2001:db8:{number:x}:1::1")
        await bench.outcome(who, "right", f"u{number}", AuthResult.SUCCESS)
    people = bench.guard.evidence.logins.neighbourhood.people
    beside = people(place(client("2001:db8:5:9::1").entity), bench.now)
    assert (beside.here, beside.around.bit_count()) == (0, 1)
    elsewhere = people(place(client("2001:db8:ff:9::1").entity), bench.now)
    assert (elsewhere.here, elsewhere.around) == (0, 0)
    lately = people(place(client("2001:db8:5:1::77").entity), bench.now + 80 * 3600)
    assert (lately.here, lately.around) == (0, 0), "that was days ago"


# -- suspended --------------------------------------------------------------------------------


async def test_suspended_guard_lets_a_banned_client_in_and_counts(bench: Bench) -> None:
    who = client()
    bench.ledger.ban(who.entity, Scope.AUTH, Reason.OPERATOR)
    bench.guard.suspend(True)
    assert await bench.attempt(who, "right") == PASS
    assert await bench.outcome(who, "right", result=AuthResult.SUCCESS) == PASS
    assert bench.guard.would_have[Reason.BANNED] == 2
    assert bench.guard.would_have[Reason.ATTACK_LEVEL] == 1
    assert all(not enforced for _, enforced in bench.heard)
    bench.guard.suspend(False)
    assert (await bench.guard.judge(attempt("right"), who)).reason is Reason.BANNED


def test_suspended_guard_keeps_to_what_the_settings_say_of_locks(bench: Bench) -> None:
    bench.guard.suspend(True)
    bench.guard.reconfigure(TRAPS)
    assert bench.guard.treatment(Reason.ACCOUNT_LOCKED) is Treatment.ENFORCE
    assert bench.guard.treatment(Reason.BANNED) is Treatment.OBSERVE
    bench.guard.reconfigure(replace(TRAPS, mode=Mode.OBSERVE))
    assert bench.guard.treatment(Reason.ACCOUNT_LOCKED) is Treatment.OBSERVE


async def test_suspended_guard_knows_locks_and_learns_from_who_is_banned(bench: Bench) -> None:
    who = client()
    logins = bench.guard.evidence.logins
    bench.ledger.ban(who.entity, Scope.AUTH, Reason.OPERATOR)
    bench.guard.suspend(True)
    await bench.outcome(who, "right", "bob", AuthResult.SUCCESS)
    assert logins.neighbourhood.people(place(who.entity), bench.now).here
    logins.lock(AccountLock(logins.account_key("ann"), LockKind.OPERATOR, bench.now, None))
    assert (await bench.attempt(who, "right")).reason is Reason.ACCOUNT_LOCKED
