"""What is counted of what happens, and that no stranger can make a count of his own."""

from collections import Counter

import pytest
import trio
from guard_bench import BANNED, OFFICE, Bench, attempt, client
from legs import a_session
from trio.testing import MockClock

from gatekeeper.abc import Lift
from gatekeeper.ban import Ban, Scope
from gatekeeper.events import (
    AuthOutcome,
    AuthResult,
    ConnectionOpened,
    JudgedEvent,
    MailProtocol,
    RcptAttempt,
    RcptOutcome,
    RcptResult,
    Violation,
    ViolationKind,
)
from gatekeeper.sessions import End
from gatekeeper.tally import (
    AWAY_S,
    DELAY_BOUNDS_S,
    Histogram,
    LoginResult,
    RecipientResult,
    Tally,
)
from gatekeeper.verdict import PASS, Action, Reason, Verdict

IMAP = client()
MX = client(protocol=MailProtocol.SMTP)


def refused(action: Action) -> Verdict:
    return Verdict(action, Reason.SUSPECT_SOURCE)


@pytest.mark.parametrize(
    ("event", "verdict", "result"),
    [
        (AuthOutcome(attempt("x"), AuthResult.SUCCESS), PASS, LoginResult.SUCCESS),
        (AuthOutcome(attempt("x"), AuthResult.FAILURE), PASS, LoginResult.FAILURE),
        (AuthOutcome(attempt("x"), AuthResult.UNAVAILABLE), PASS, LoginResult.UNAVAILABLE),
        (AuthOutcome(attempt("x"), AuthResult.PROTOCOL), PASS, LoginResult.PROTOCOL),
        (AuthOutcome(attempt("x"), AuthResult.FAILURE), refused(Action.DELAY), LoginResult.FAILURE),
        (AuthOutcome(attempt("x"), AuthResult.FAILURE), BANNED, LoginResult.CLOSED),
        (
            AuthOutcome(attempt("x"), AuthResult.SUCCESS),
            refused(Action.REJECT),
            LoginResult.REFUSED_HERE,
        ),
        (attempt("x"), refused(Action.DEFER), LoginResult.PUT_OFF),
        (attempt("x"), refused(Action.DECOY), LoginResult.REFUSED_HERE),
        (attempt("x"), refused(Action.REJECT), LoginResult.REFUSED_HERE),
        (attempt("x"), BANNED, LoginResult.CLOSED),
        (attempt("x"), PASS, None),  # its outcome is counted
        (attempt("x"), refused(Action.DELAY), None),
    ],
)
def test_each_credential_is_counted_once(
    event: JudgedEvent, verdict: Verdict, result: LoginResult | None
) -> None:
    tally = Tally()
    tally.judged(IMAP, event, verdict)
    expected = Counter() if result is None else Counter({(MailProtocol.IMAP, "test", result): 1})
    assert tally.logins == expected
    assert not tally.recipients


@pytest.mark.parametrize("said", list(AuthResult))
def test_every_word_of_a_backend_on_a_login_has_a_count(said: AuthResult) -> None:
    tally = Tally()
    tally.judged(IMAP, AuthOutcome(attempt("x"), said), PASS)
    assert tally.logins.total() == 1


@pytest.mark.parametrize("said", list(RcptResult))
def test_every_word_of_a_backend_on_a_recipient_has_a_count(said: RcptResult) -> None:
    tally = Tally()
    tally.judged(MX, RcptOutcome(RcptAttempt("ann@example.org"), said), PASS)
    ((key, count),) = tally.recipients.items()
    assert (key[2].value, count) == (said.value, 1)


def test_recipients_refused_here_are_counted_apart() -> None:
    tally = Tally()
    for action in (Action.DEFER, Action.REJECT, Action.CLOSE):
        tally.judged(MX, RcptAttempt("ann@example.org"), refused(action))
    assert [key[2] for key in tally.recipients] == [
        RecipientResult.PUT_OFF,
        RecipientResult.REFUSED_HERE,
        RecipientResult.CLOSED,
    ]


async def test_a_guard_tells_of_every_event_whoever_it_is_of() -> None:
    bench, tally = Bench(), Tally()
    bench.guard.on_judged = tally.judged
    await bench.guard.judge(ConnectionOpened(), IMAP)
    await bench.guesses(IMAP, 12)
    await bench.outcome(OFFICE, "right", result=AuthResult.SUCCESS)
    by_result = {key[2]: count for key, count in tally.logins.items()}
    assert tally.begun == {"test": 1}
    assert by_result[LoginResult.SUCCESS] == 1
    assert by_result[LoginResult.FAILURE] + by_result[LoginResult.CLOSED] == 12
    assert sum(tally.delays.counts) > 0
    assert tally.delays.total > 0


async def test_names_of_strangers_make_no_counts() -> None:
    bench, tally = Bench(), Tally()
    bench.guard.on_judged = tally.judged
    for number in range(200):
        who = client(f"203.0.113.{number % 250}")
        await bench.attempt(who, f"p{number}", f"account{number}")
        await bench.outcome(who, f"p{number}", f"account{number}")
        await bench.rcpt(MX, RcptResult.UNKNOWN, f"name{number}")
        violation = Violation(ViolationKind.BAD_SYNTAX, b"")
        await bench.guard.judge(violation, who)
    counted = [*tally.logins, *tally.recipients, *tally.violations, *tally.begun]
    assert len(counted) < len(LoginResult) + len(RecipientResult) + 2
    assert "account" not in repr(counted)
    assert "203.0.113" not in repr(counted)


def test_a_value_is_in_the_bucket_whose_bound_it_reaches() -> None:
    histogram = Histogram(DELAY_BOUNDS_S)
    for value in (0.1, 0.5, 0.6, 8.0, 16.0, 17.0):
        histogram.add(value)
    assert histogram.counts == [2, 1, 0, 0, 1, 1, 1]
    assert histogram.total == pytest.approx(42.2)


async def test_ends_of_sessions_are_counted_by_what_ended_them() -> None:
    await trio.lowlevel.checkpoint()
    tally = Tally()
    session = a_session("203.0.113.9")
    session.end = End.BANNED
    tally.session(session)
    session.end = None  # it was cut by the end of the guard
    tally.session(session)
    name = session.client.listener
    assert tally.ends == {(name, End.BANNED): 1, (name, End.SHUTDOWN): 1}


def test_bans_and_lifts_are_counted() -> None:
    tally = Tally()
    tally.ban(Ban(IMAP.entity, Scope.AUTH, Reason.AUTH_FAILURES, 1, 0.0, 600.0))
    tally.ban(Lift(IMAP.entity, Scope.AUTH))
    assert tally.bans == {(Reason.AUTH_FAILURES, Scope.AUTH): 1}
    assert tally.lifts == {Scope.AUTH: 1}


async def test_a_backend_is_away_for_a_while_after_it_failed(autojump_clock: MockClock) -> None:
    """None of its clients may come to show that it is back, where a balancer keeps them away."""
    tally = Tally()
    assert (tally.backend_of("b").tried, tally.away("b")) == (False, "")
    tally.backend("b", 0.002, "")
    assert (tally.backend_of("b").tried, tally.away("b")) == (True, "")
    tally.backend("b", 5.0, "it is gone")
    await trio.sleep(AWAY_S - 1)
    assert tally.away("b") == "it is gone"
    await trio.sleep(1)
    assert tally.away("b") == ""
    assert tally.backend_of("b").why == "it is gone"
    tally.backend("b", 5.0, "it is gone")
    tally.backend("b", 0.002, "")
    assert (tally.away("b"), tally.backend_of("b").failures) == ("", 2)


def test_reloads_are_counted_with_their_times() -> None:
    now = 1000.0
    tally = Tally(lambda: now)
    tally.reloaded("")
    now = 2000.0
    tally.reloaded("line 3: unknown key")
    told = tally.reloads
    assert (told.done, told.done_at, told.failed, told.failed_at) == (1, 1000.0, 1, 2000.0)
    assert not told.ok
    tally.reloaded("")
    assert told.ok
