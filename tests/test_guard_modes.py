"""Who is never judged, never banned, or only watched."""

from dataclasses import replace

import pytest
from guard_bench import (
    BAN,
    BANNED,
    GUESSES,
    MX_PEER,
    OFFICE,
    POLICY,
    SETTINGS,
    Bench,
    client,
)

from gatekeeper.ban import Scope
from gatekeeper.events import (
    AuthResult,
    ConnectionOpened,
    RcptResult,
)
from gatekeeper.policy.rules import BuiltIn
from gatekeeper.prefix import Prefix
from gatekeeper.remembered import AccountLock, LockKind
from gatekeeper.settings import Mode, PolicySettings, Treatment
from gatekeeper.verdict import PASS, Action, Reason, Verdict


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_allowed_network_passes_and_is_never_counted() -> None:
    bench = Bench(replace(SETTINGS, allow=(Prefix.parse("203.0.113.0/25"),)))
    assert await bench.guesses(client(), 100) == [PASS] * 100
    assert bench.score(client()) == 0.0
    assert bench.heard == []
    verdicts = [await bench.outcome(OFFICE, f"other {n}") for n in range(GUESSES)]
    assert verdicts[-1] == BAN, "only the rest of the world is judged"


async def test_what_the_operator_has_locked_is_locked_in_an_allowed_network_too() -> None:
    bench = Bench(replace(SETTINGS, allow=(Prefix.parse("203.0.113.0/24"),)))
    logins = bench.guard.evidence.logins
    logins.locks.put(AccountLock(logins.account_key("ann"), LockKind.OPERATOR, bench.now, None))
    locked = Verdict(Action.REJECT, Reason.ACCOUNT_LOCKED)
    assert await bench.attempt(client(), "right") == locked
    assert await bench.outcome(client(), "right", result=AuthResult.SUCCESS) == locked
    assert await bench.outcome(client(), "wrong") == PASS, "the backend has refused it"
    assert await bench.attempt(client(), "right", "bob") == PASS


async def test_never_banned_host_is_refused_but_not_shut_out() -> None:
    """A webmail on the guard's own host: all its users share one address."""
    bench = Bench(never=(Prefix.parse("203.0.113.9"),))
    verdict = (await bench.guesses(client(), 5 * GUESSES))[-1]
    assert verdict == Verdict(Action.CLOSE, Reason.AUTH_FAILURES, delay_s=POLICY.tarpit_max_s)
    assert bench.heard[-1] == (verdict, True)
    assert bench.bans() == []
    assert await bench.guard.judge(ConnectionOpened(), client()) == PASS
    assert await bench.outcome(client(), "right", result=AuthResult.SUCCESS) == PASS


async def test_address_people_log_in_from_is_not_banned_for_guesses(bench: Bench) -> None:
    await bench.outcome(client(), "right", "own", AuthResult.SUCCESS)
    verdicts = await bench.guesses(client(), 5 * GUESSES)
    assert not any(verdict.ban for verdict in verdicts)
    assert verdicts[-1].delay_s == POLICY.tarpit_max_s


async def test_observe_mode_refuses_nothing_and_tells_what_it_would_do() -> None:
    settings = replace(SETTINGS, mode=Mode.OBSERVE, trap_accounts=("root",))
    bench = Bench(settings)
    assert await bench.guesses(client(), 3 * GUESSES) == [PASS] * (3 * GUESSES)
    assert await bench.attempt(client(), "x", "root") == PASS
    assert await bench.attempt(client(), "guess 1") == PASS, "a repetition"
    verdicts = [await bench.rcpt(MX_PEER, RcptResult.UNKNOWN, f"name{n}") for n in range(400)]
    assert verdicts == [PASS] * 400
    assert bench.bans() == []
    assert (BAN, False) in bench.heard
    assert not any(enforced for _, enforced in bench.heard)
    would_have = bench.guard.would_have
    assert would_have[Reason.AUTH_FAILURES] >= GUESSES
    assert would_have[Reason.TRAP_ACCOUNT] == would_have[Reason.REPEATED_PASSWORD] == 1
    assert would_have[Reason.UNKNOWN_RECIPIENTS] > 0


async def test_banned_client_is_only_watched_in_observe_mode() -> None:
    bench = Bench(replace(SETTINGS, mode=Mode.OBSERVE))
    bench.ledger.ban(client().entity, Scope.AUTH, Reason.OPERATOR)
    assert await bench.guard.judge(ConnectionOpened(), client()) == PASS
    assert bench.heard == [(BANNED, False)]


async def test_one_rule_can_be_watched_while_the_others_are_carried_out() -> None:
    bench = Bench(replace(SETTINGS, rules={Reason.AUTH_FAILURES: Treatment.OBSERVE}))
    assert await bench.guesses(client(), 2 * GUESSES) == [PASS] * (2 * GUESSES)
    assert bench.bans() == []
    assert bench.guard.would_have[Reason.AUTH_FAILURES] > 0
    repeated = await bench.attempt(client(), "guess 1")
    assert (repeated.action, repeated.reason) == (Action.REJECT, Reason.REPEATED_PASSWORD)


async def test_one_rule_can_be_carried_out_while_the_others_are_watched() -> None:
    rules = {Reason.REPEATED_PASSWORD: Treatment.ENFORCE}
    bench = Bench(replace(SETTINGS, mode=Mode.OBSERVE, rules=rules))
    assert await bench.guesses(client(), 2 * GUESSES) == [PASS] * (2 * GUESSES)
    assert (await bench.attempt(client(), "guess 1")).action is Action.REJECT
    assert bench.bans() == []


async def test_trap_that_is_only_watched_weighs_as_any_account() -> None:
    """Whether another Rule refuses it, or the backend."""
    traps = replace(
        SETTINGS, trap_accounts=("root",), rules={Reason.TRAP_ACCOUNT: Treatment.OBSERVE}
    )
    bench = Bench(traps)
    assert await bench.attempt(client(), "x", "root") == PASS
    assert await bench.outcome(client(), "x", "root") == PASS
    assert bench.bans() == []
    assert bench.score(client()) == pytest.approx(POLICY.auth_failure_weight)
    sprayed = client("198.51.100.7")
    logins = bench.guard.evidence.logins
    logins.familiarity.learned = logins.newcomers.learned = True
    for number in range(SETTINGS.policy.sprayed_accounts):
        await bench.outcome(client(f"10.{number}.0.1"), "123456", f"user{number}")
    verdict = await bench.attempt(sprayed, "123456", "root")
    assert (verdict.action, verdict.reason) == (Action.DEFER, Reason.SPRAYED_PASSWORD)
    assert 0 < bench.score(sprayed) <= POLICY.auth_ban_score / 2
    assert bench.bans() == []
    assert bench.guard.would_have[Reason.TRAP_ACCOUNT] == 2


async def test_what_is_watched_is_counted_once_where_a_refusal_bans() -> None:
    """The Rules are asked again with the guess counted; those that watch have spoken already."""
    rules = {Reason.SUSPECT_SOURCE: Treatment.OBSERVE}
    policy = PolicySettings()
    bench = Bench(replace(SETTINGS, trap_accounts=("root",), rules=rules, policy=policy))
    await bench.guesses(client(), GUESSES - 1)
    bench.heard.clear()
    bench.guard.would_have.clear()
    verdict = await bench.attempt(client(), "x", "root")
    assert verdict.ban
    assert bench.guard.would_have == {Reason.SUSPECT_SOURCE: 1}
    assert bench.heard == [(Verdict(Action.DEFER, Reason.SUSPECT_SOURCE), False), (verdict, True)]


async def test_ban_that_only_a_counted_guess_brings_is_told_where_it_is_watched() -> None:
    rules = {Reason.AUTH_FAILURES: Treatment.OBSERVE}
    bench = Bench(replace(SETTINGS, trap_accounts=("root",), rules=rules))
    verdict = await bench.attempt(client(), "x", "root")
    assert (verdict.action, verdict.ban) == (Action.DECOY, False)
    assert bench.guard.would_have[Reason.AUTH_FAILURES] == 1
    assert bench.bans() == []


async def test_new_settings_hold_from_the_next_event_on(bench: Bench) -> None:
    await bench.guesses(client(), GUESSES - 1)
    bench.guard.reconfigure(replace(SETTINGS, mode=Mode.OBSERVE, trap_accounts=("root",)))
    assert await bench.outcome(client(), "one more") == PASS
    bench.guard.reconfigure(replace(SETTINGS, trap_accounts=("root",)))
    trap = await bench.attempt(client("198.51.100.7"), "x", "ROOT")
    assert trap.ban
    assert await bench.outcome(client(), "and one") == BAN, "counters have stayed"


REFUSAL = Verdict(Action.REJECT, Reason.DNS_LISTED)


@pytest.mark.parametrize(
    ("mode", "rules", "carried_out"),
    [
        (Mode.ENFORCE, {}, False),
        (Mode.ENFORCE, {Reason.DNS_LISTED: Treatment.ENFORCE}, True),
        (Mode.OBSERVE, {Reason.DNS_LISTED: Treatment.ENFORCE}, True),
        (Mode.OBSERVE, {}, False),
    ],
)
async def test_a_rule_that_is_observed_by_itself_is_carried_out_only_where_that_is_written(
    mode: Mode, rules: dict[Reason, Treatment], carried_out: bool
) -> None:
    rule = BuiltIn(Reason.DNS_LISTED, lambda _event, _facts: REFUSAL, observed=True)
    bench = Bench(replace(SETTINGS, mode=mode, rules=rules), rules=(rule,))
    assert await bench.guard.judge(ConnectionOpened(), client()) == (
        REFUSAL if carried_out else PASS
    )
    assert bench.heard == [(REFUSAL, carried_out)]


async def test_an_ignored_rule_is_silent_whatever_the_mode_is() -> None:
    rules = {Reason.TRAP_ACCOUNT: Treatment.IGNORE, Reason.BANNED: Treatment.IGNORE}
    for mode in Mode:
        traps = replace(SETTINGS, trap_accounts=("root",), mode=mode, rules=rules)
        bench = Bench(traps)
        bench.ledger.ban(client().entity, Scope.AUTH, Reason.OPERATOR)
        assert await bench.attempt(client(), "x", "root") == PASS
        bench.guard.suspend(on=True)
        assert await bench.attempt(client("198.51.100.7"), "x", "root") == PASS
        assert (bench.heard, bench.guard.would_have) == ([], {})


async def test_an_ignored_lock_is_no_lock_for_who_is_allowed() -> None:
    account = client().entity
    rules = {Reason.ACCOUNT_LOCKED: Treatment.IGNORE}
    bench = Bench(replace(SETTINGS, allow=(account,), rules=rules))
    key = bench.guard.evidence.logins.account_key("ann")
    bench.guard.evidence.logins.lock(AccountLock(key, LockKind.OPERATOR, bench.now, None, ""))
    assert await bench.attempt(client(), "right") == PASS
    assert bench.heard == []
