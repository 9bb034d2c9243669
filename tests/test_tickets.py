"""Which verdicts have a ticket, what it stands for, and for how long."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from guard_bench import MX_PEER, SETTINGS, Bench, attempt, client

from gatekeeper.ban import Scope
from gatekeeper.events import (
    AuthOutcome,
    AuthResult,
    ClientListed,
    ConnectionClosed,
    ConnectionOpened,
    JudgedEvent,
    MailAttempt,
    RcptAttempt,
    RcptOutcome,
    RcptResult,
    Violation,
    ViolationKind,
)
from gatekeeper.journal import Entry
from gatekeeper.policy.facts import Facts
from gatekeeper.policy.rules import BuiltIn
from gatekeeper.remembered import AccountLock, LockKind
from gatekeeper.tickets import DRAWN, MAX_PATH_CHARACTERS, MAX_TICKETS, Lots, Tickets, has_ticket
from gatekeeper.verdict import PASS, Action, Reason, Verdict
from gatekeeper.wire.ticket import spell

RCPT = RcptAttempt("ann@example.org", "", "bob@example.net")
ATTEMPT = attempt("x")
BAD = Violation(ViolationKind.PROXY_HEADER, b"")
OPENLY_OURS: list[tuple[JudgedEvent, set[Action]]] = [
    (ConnectionOpened(), {Action.DEFER, Action.DECOY, Action.REJECT, Action.CLOSE}),
    (ClientListed(()), {Action.DEFER, Action.DECOY, Action.REJECT, Action.CLOSE}),
    (ATTEMPT, {Action.DEFER, Action.CLOSE}),
    (AuthOutcome(ATTEMPT, AuthResult.FAILURE), {Action.CLOSE}),
    (
        AuthOutcome(ATTEMPT, AuthResult.SUCCESS),
        {Action.DEFER, Action.DECOY, Action.REJECT, Action.CLOSE},
    ),
    (RCPT, {Action.DEFER, Action.DECOY, Action.REJECT, Action.CLOSE}),
    (RcptOutcome(RCPT, RcptResult.UNKNOWN), {Action.CLOSE}),
    (BAD, {Action.CLOSE}),
    (ConnectionClosed("", 1.0), set()),
]


def saying(verdict: Verdict) -> Bench:
    """A guard with one rule, which has this opinion of everything."""

    def rule(event: JudgedEvent, facts: Facts) -> Verdict | None:
        return verdict

    return Bench(rules=(BuiltIn(Reason.OPERATOR, rule),))


def entry(ticket: str) -> Entry:
    """A refusal with this ticket."""
    verdict = Verdict(Action.DEFER, Reason.SUSPECT_SOURCE, ticket=ticket)
    return Entry(1.0, 1, 0, "ann", "l", "login", verdict, 1.0, 1.0, 10.0, None, None, 1)


def drawing(*numbers: int) -> tuple[Tickets, Iterator[int]]:
    left = iter(numbers)
    return Tickets(lambda _below: next(left)), left


def test_lots_are_all_different_and_lie_below() -> None:
    lots = Lots()
    drawn = [lots.below(1 << 40) for _ in range(3 * DRAWN)]
    assert len(set(drawn)) == len(drawn)
    assert max(drawn) > 1 << 38
    assert {Lots().below(3) for _ in range(100)} == {0, 1, 2}


@pytest.mark.parametrize("action", Action)
def test_a_verdict_under_a_ticket_is_the_same_otherwise(action: Action) -> None:
    verdict = Verdict(action, Reason.HOOK, 1.5, True, 60.0, True, "", "why", "hooks.py:rcpt")
    assert verdict.with_ticket("7f3k2") == verdict
    assert verdict.with_ticket("7f3k2") == replace(verdict, ticket="7f3k2")
    assert verdict.with_ticket("7f3k2").ticket == "7f3k2"


@pytest.mark.parametrize(("event", "with_one"), OPENLY_OURS)
def test_a_ticket_follows_from_the_kind_of_answer_alone(
    event: JudgedEvent, with_one: set[Action]
) -> None:
    for action in Action:
        expected = action in with_one
        for reason in Reason:
            verdict = Verdict(action, reason)
            assert has_ticket(event, verdict) == expected, (action, reason)


async def test_no_two_refusals_have_the_same_ticket_though_all_else_is_equal() -> None:
    bench = saying(Verdict(Action.DEFER, Reason.SUSPECT_SOURCE))
    tickets = [(await bench.attempt(client(), "x")).ticket for _ in range(200)]
    assert len(set(tickets)) == 200
    for place in range(len(tickets[0])):  # none of the letters counts, or stands for the rule
        assert len({ticket[place] for ticket in tickets}) > 15


async def test_what_is_refused_in_the_backends_words_has_none() -> None:
    for action in (Action.DECOY, Action.REJECT):
        bench = saying(Verdict(action, Reason.REPEATED_PASSWORD))
        assert (await bench.attempt(client(), "x")).ticket == ""


async def test_what_a_hook_refuses_in_its_own_words_has_one() -> None:
    bench = saying(Verdict(Action.REJECT, Reason.HOOK, text="not from there"))
    verdict = await bench.attempt(client(), "x")
    assert bench.guard.tickets.find(verdict.ticket) is not None


async def test_only_watching_gives_no_ticket() -> None:
    bench = saying(Verdict(Action.DEFER, Reason.SUSPECT_SOURCE, watched=True))
    assert await bench.attempt(client(), "x") is PASS
    assert [verdict.ticket for verdict, _ in bench.heard] == [""]


async def test_a_ticket_stands_for_its_refusal() -> None:
    bench = saying(Verdict(Action.DEFER, Reason.SUSPECT_SOURCE))
    given = await bench.attempt(client(), "x", "ann@example.org")
    told = bench.guard.tickets.find(given.ticket)
    assert told is not None
    assert (told.entry.name, told.entry.verdict.reason) == ("ann@example.org", given.reason)
    assert (told.entry.at, told.scope, told.recipient) == (bench.now, Scope.AUTH, "")
    assert bench.guard.journal.of(lambda _: True) == [told.entry]
    assert [verdict.ticket for verdict, _ in bench.heard] == [given.ticket]


async def test_a_recipients_ticket_knows_the_paths_but_not_all_of_a_long_one() -> None:
    bench = saying(Verdict(Action.REJECT, Reason.DNS_LISTED))
    long = "x" * 500
    given = await bench.guard.judge(RcptAttempt(f"{long}@example.org", "", long), MX_PEER)
    told = bench.guard.tickets.find(given.ticket)
    assert told is not None
    assert (told.sender, told.recipient) == (long[:MAX_PATH_CHARACTERS],) * 2
    mail = await bench.guard.judge(MailAttempt("bob@example.net"), MX_PEER)
    told = bench.guard.tickets.find(mail.ticket)
    assert told is not None
    assert (told.sender, told.recipient) == ("bob@example.net", "")
    bounce = await bench.guard.judge(RcptAttempt("ann@example.org", "", ""), MX_PEER)
    told = bench.guard.tickets.find(bounce.ticket)
    assert told is not None
    assert told.sender == "<>"


async def test_a_locked_account_is_hung_up_on_with_one_from_an_allowed_address_too() -> None:
    who = client("192.0.2.77")
    bench = Bench(replace(SETTINGS, allow=(who.entity,)))
    logins = bench.guard.evidence.logins
    logins.lock(AccountLock(logins.account_key("ann"), LockKind.OPERATOR, bench.now, until=None))
    assert (await bench.attempt(who, "right")).ticket == ""
    verdict = await bench.outcome(who, "right", result=AuthResult.SUCCESS)
    told = bench.guard.tickets.find(verdict.ticket)
    assert told is not None
    assert told.entry.verdict.reason is Reason.ACCOUNT_LOCKED


async def test_the_outcome_that_is_no_word_on_the_password_keeps_its_ticket() -> None:
    bench = Bench()
    bench.ledger.ban(client().entity, Scope.AUTH, Reason.OPERATOR, seconds=60)
    verdict = await bench.outcome(client(), "x", result=AuthResult.UNAVAILABLE)
    assert bench.guard.tickets.find(verdict.ticket) is not None


def test_a_ticket_in_use_is_drawn_again() -> None:
    tickets, left = drawing(5, 5, 6)
    tickets.keep(entry(tickets.new()), ConnectionOpened(), Scope.AUTH)
    assert tickets.new() == spell(6)
    assert list(left) == []


@pytest.mark.parametrize("scope", list(Scope))
def test_the_oldest_of_a_scope_makes_room_and_no_other(scope: Scope) -> None:
    tickets = Tickets()
    other = Scope.MX if scope is Scope.AUTH else Scope.AUTH
    tickets.keep(entry("22222"), ConnectionOpened(), other)
    given = []
    for _ in range(MAX_TICKETS[scope] + 2):
        given.append(tickets.new())
        tickets.keep(entry(given[-1]), ConnectionOpened(), scope)
    assert [tickets.find(ticket) is None for ticket in given[:3]] == [True, True, False]
    assert tickets.find(given[-1]) is not None
    assert tickets.find("22222") is not None
