"""pause, resume, breaker reset and ban flush, from the command line to a real guard and Ledger."""

import os
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from control_rig import DEFAULTS, HOME, Rig, served

from gatekeeper import safety_verbs
from gatekeeper.abc import BanChange, Lift
from gatekeeper.ban import Ban, Origin, Scope
from gatekeeper.policy.breaker import MIN_BANS, People
from gatekeeper.prefix import Prefix, entity
from gatekeeper.remembered import AccountLock, LockKind
from gatekeeper.verdict import PASS, Action, Reason

MANY = 5_000
OFFICE = People(2**20 - 1, 2**20 - 1)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    settings = replace(DEFAULTS, trap_accounts=("root",))
    async with served(tmp_path, settings) as running:
        yield running


def address(number: int) -> Prefix:
    return Prefix((0x0A000000 + number).to_bytes(4, "big"), 32)


def held(rig: Rig) -> set[tuple[str, str]]:
    return {(str(ban.prefix), ban.scope.value) for ban in rig.bench.bans()}


def suspended(rig: Rig) -> tuple[bool, bool]:
    """The guard and the kernel."""
    return rig.bench.guard.suspended, rig.enforcer.suspended


def four_bans(rig: Rig) -> None:
    """One of each kind."""
    bench = rig.bench
    bench.ledger.ban(address(1), Scope.AUTH, Reason.AUTH_FAILURES)
    bench.ledger.ban(address(2), Scope.MX, Reason.UNKNOWN_RECIPIENTS)
    bench.ledger.ban(address(3), Scope.AUTH, Reason.OPERATOR, origin=Origin.OPERATOR)
    bench.ledger.ban(address(4), Scope.AUTH, Reason.OPERATOR, origin=Origin.IMPORT)


# -- pause ------------------------------------------------------------------------------------


async def test_pause_lets_a_banned_client_in_and_resume_refuses_it_again(rig: Rig) -> None:
    rig.bench.ledger.ban(HOME.entity, Scope.AUTH, Reason.AUTH_FAILURES)
    assert (await rig.login(HOME, "right")).reason is Reason.BANNED
    result = await rig.run("pause", "--for", "1h", "--reason", "all locked out")
    assert result.exit_code == 0
    assert re.fullmatch(
        r"paused until (\S+ )?\d\d:\d\d:\d\d, 1h: nothing is enforced\n", result.output
    )
    assert suspended(rig) == (True, True)
    assert await rig.login(HOME, "right") == PASS
    status = await rig.run("status")
    assert re.search(r"^paused +yes$", status.output, re.MULTILINE)
    assert re.search(r"^paused_for +(1h|59m\d+s)$", status.output, re.MULTILINE)
    assert re.search(r"^paused_note +all locked out$", status.output, re.MULTILINE)
    result = await rig.run("resume")
    assert (result.output, result.exit_code) == ("resumed, 1 ban in force\n", 0)
    assert suspended(rig) == (False, False)
    assert (await rig.login(HOME, "right")).reason is Reason.BANNED


async def test_who_reminds_of_a_pause_and_only_then(rig: Rig) -> None:
    rig.session("ann")
    assert (await rig.run("who")).stderr == ""
    await rig.run("pause", "--for", "10m")
    result = await rig.run("who")
    assert re.fullmatch(
        r"gatekeeper: paused for (10m|9m59s) more: nothing is enforced\n", result.stderr
    )
    assert "ann" in result.stdout


async def test_explain_says_that_the_guard_is_paused(rig: Rig) -> None:
    await rig.login(HOME, "right")
    assert "paused" not in (await rig.run("explain", "ann")).output
    await rig.run("pause", "--for", "10m")
    told = (await rig.run("explain", "ann")).output
    assert "  paused: nothing is enforced, until its time is over or gatekeeper resume\n" in told


async def test_what_the_operator_has_locked_stays_locked_in_a_pause(rig: Rig) -> None:
    logins = rig.bench.guard.evidence.logins
    logins.lock(AccountLock(logins.account_key("ann"), LockKind.OPERATOR, rig.bench.now, None))
    await rig.run("pause", "--for", "10m")
    verdict = await rig.login(HOME, "right")
    assert (verdict.action, verdict.reason) == (Action.REJECT, Reason.ACCOUNT_LOCKED)


async def test_kernel_that_does_not_follow_is_told_of(rig: Rig) -> None:
    rig.enforcer.fails = True
    result = await rig.run("pause", "--for", "10m")
    assert result.exit_code == 1
    assert result.stderr == (
        "gatekeeper: the kernel may still drop what was banned: the kernel process is gone\n"
    )
    assert rig.pause.active
    result = await rig.run("resume")
    assert result.exit_code == 1
    assert "may not drop yet" in result.stderr
    assert not rig.bench.guard.suspended


@pytest.mark.parametrize(
    "arguments", [("pause",), ("pause", "--for", "0s"), ("pause", "--for", "x")]
)
async def test_pause_needs_a_time(rig: Rig, arguments: tuple[str, ...]) -> None:
    assert (await rig.run(*arguments)).exit_code == 2
    assert not rig.pause.active
    for seconds in (None, 0, -1, "1", 1e12):
        reply = await rig.ask("pause", seconds=seconds)
        assert reply["code"] == "bad-request"
    assert not rig.pause.active


async def test_resume_without_a_pause_is_not_found(rig: Rig) -> None:
    result = await rig.run("resume")
    assert (result.exit_code, result.output) == (3, "gatekeeper: the guard is not paused\n")


async def test_log_has_who_asked_and_for_what(rig: Rig) -> None:
    four_bans(rig)
    await rig.run("pause", "--for", "10m", "--reason", "a b")
    await rig.run("resume")
    await rig.run("resume")
    await rig.run("ban", "flush", "--yes", "--scope", "mx")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.log.run)
        await rig.log.aclose()
        nursery.cancel_scope.cancel()
    lines = [line for line in b"".join(rig.logged).decode().splitlines() if " control " in line]
    told = [re.sub(r"^.* control ", "", line) for line in lines]
    uid = os.getuid()
    assert told == [
        f'verb=pause what="" uid={uid} result=ok note="a b"',
        f'verb=resume what="" uid={uid} result=ok note=""',
        f'verb=resume what="" uid={uid} result=not-found note=""',
        f'verb=ban-flush what=mx uid={uid} result=ok note=""',
    ]


# -- the breaker ------------------------------------------------------------------------------


async def test_breaker_is_told_of_and_reset(rig: Rig) -> None:
    result = await rig.run("breaker", "reset")
    assert (result.exit_code, result.output) == (3, "gatekeeper: the breaker is closed\n")
    breaker, now = rig.bench.guard.banning.breaker, rig.bench.now
    for number in range(MIN_BANS):
        breaker.admits((address(number), Scope.AUTH), OFFICE, now)
    status = await rig.run("status")
    assert re.search(r"^breaker +open, people: of 20 bans", status.output, re.MULTILINE)
    assert re.search(r"^breaker_for +10m$", status.output, re.MULTILINE)
    verdict = await rig.login(HOME, "x", "root")
    assert verdict.reason is Reason.BREAKER_OPEN
    told = (await rig.run("explain", HOME.address)).output
    assert "the breaker is open, people: of 20 bans" in told
    assert re.search(r"breaker-open +not banned", told)
    assert "breaker-open: a rule would have banned it, but the breaker is open" in told
    result = await rig.run("breaker", "reset")
    assert result.output == (
        "closed the breaker; it had opened by people: of 20 bans wanted within 10 minutes 20 met"
        " people, 20 their networks\n"
    )
    assert (await rig.login(HOME, "y", "root")).ban


# -- ban flush --------------------------------------------------------------------------------


async def test_flush_without_yes_only_tells(rig: Rig) -> None:
    four_bans(rig)
    result = await rig.run("ban", "flush")
    assert result.exit_code == 2
    assert result.stdout == "would lift 4 bans\n"
    assert result.stderr == "gatekeeper: nothing was lifted; --yes does it\n"
    assert len(held(rig)) == 4


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ((), set()),
        (("--scope", "mx"), {1, 3, 4}),
        (("--scope", "auth"), {2}),
        (("--origin", "rule"), {3, 4}),
        (("--origin", "operator"), {1, 2, 4}),
        (("--origin", "import"), {1, 2, 3}),
        (("--reason", "auth-failures"), {2, 3, 4}),
        (("--reason", "operator", "--origin", "import"), {1, 2, 3}),
    ],
)
async def test_flush_lifts_what_is_asked_for(
    rig: Rig, options: tuple[str, ...], left: set[int]
) -> None:
    four_bans(rig)
    result = await rig.run("ban", "flush", "--yes", *options)
    lifted = 4 - len(left)
    assert result.output == f"lifted {lifted} ban{'' if lifted == 1 else 's'}\n"
    assert {ban.prefix for ban in rig.bench.bans()} == {address(number) for number in left}


async def test_flush_keeps_the_history_unless_it_is_to_forget(rig: Rig) -> None:
    four_bans(rig)
    await rig.run("ban", "flush", "--yes")
    again = rig.bench.ledger.ban(address(1), Scope.AUTH, Reason.AUTH_FAILURES)
    assert again is not None
    assert again.level == 2
    await rig.run("ban", "flush", "--yes", "--forget")
    again = rig.bench.ledger.ban(address(1), Scope.AUTH, Reason.AUTH_FAILURES)
    assert again is not None
    assert again.level == 1


async def test_flush_lifts_what_only_the_kernel_holds_where_all_is_to_go(rig: Rig) -> None:
    now = rig.bench.now
    alien = Ban(entity("192.0.2.77"), Scope.AUTH, Reason.OPERATOR, 1, now, now + 600)
    four_bans(rig)
    await rig.hold()
    await rig.enforcer.apply([alien], now)
    result = await rig.run("ban", "flush", "--yes", "--origin", "rule")
    assert result.output == "lifted 2 bans\n"
    assert len(await rig.enforcer.held()) == 5
    result = await rig.run("ban", "flush", "--yes", "--scope", "auth")
    assert result.output == "lifted 2 bans, and 2 that only the kernel holds\n", (
        "the rule's ban has no feed here that would have lifted it"
    )
    assert {one.scope for one in await rig.enforcer.held()} == {Scope.AUTH, Scope.MX}


async def test_flush_says_when_the_kernel_does_not_answer(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    four_bans(rig)
    monkeypatch.setattr(rig.enforcer, "walk", rig.enforcer.gone)
    result = await rig.run("ban", "flush", "--yes")
    assert result.exit_code == 1
    assert result.stdout == "lifted 4 bans\n"
    assert result.stderr.startswith("gatekeeper: what only it holds was not lifted: ")
    assert held(rig) == set()


@pytest.mark.parametrize(
    "arguments", [{"scope": "x"}, {"origin": "x"}, {"reason": "x"}, {"more": "x"}, {"go": 1}]
)
async def test_flush_refuses_what_it_does_not_know(rig: Rig, arguments: dict[str, object]) -> None:
    four_bans(rig)
    reply = await rig.ask("ban-flush", **({"go": "yes"} | arguments))
    assert reply["code"] == "bad-request"
    assert len(held(rig)) == 4


async def test_many_lifts_do_not_stop_the_loop(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others get their turn after every few hundred of them."""
    monkeypatch.setattr(safety_verbs, "ROW_EVERY", 1000)
    for number in range(MANY):
        rig.bench.ledger.ban(address(number), Scope.AUTH, Reason.AUTH_FAILURES)
    lifts: list[BanChange] = []
    most = 0

    async def watch() -> None:
        nonlocal most
        before = 0
        while before < MANY:
            await trio.lowlevel.checkpoint()
            most, before = max(most, len(lifts) - before), len(lifts)

    rig.bench.ledger.subscribe(lifts.append)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        reply = await rig.ask("ban-flush", go="yes")
    assert rig.bench.bans() == []
    assert [row["lifted"] for row in reply["progress"]] == [1000, 2000, 3000, 4000, MANY, MANY]
    assert all(isinstance(change, Lift) and not change.forget for change in lifts)
    assert 0 < most <= 400
