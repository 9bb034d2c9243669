"""The verb `explain`, over a real control socket and a real guard: what it knows; its bounds."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio.testing
from control_rig import DEFAULTS, HOME, Rig, served
from guard_bench import MX_PEER, client

from gatekeeper.ban import Scope
from gatekeeper.control_verbs import ENFORCER_DEADLINE_S
from gatekeeper.events import AuthResult, RcptAttempt, RcptResult, Violation, ViolationKind
from gatekeeper.explain import MAX_TIMELINE, OLDEST_LINES
from gatekeeper.policy.recipients import NEW_NET_RECIPIENTS
from gatekeeper.policy.rules import BUILT_IN
from gatekeeper.prefix import Prefix
from gatekeeper.settings import Mode, Treatment
from gatekeeper.verdict import Reason

PASSWORD = "correct horse battery staple"
ATTACKER = client()
BY_THEMSELVES = [rule.name.value for rule in BUILT_IN if rule.observed]  # they only watch


async def explained(rig: Rig, what: str) -> dict[str, Any]:
    reply = await rig.ask("explain", what=what)
    assert reply.pop("ok"), reply
    (row,) = reply.values()
    return dict(row)


async def guess_until_banned(rig: Rig) -> None:
    for number in range(30):
        if rig.bench.bans():
            return
        await rig.login(ATTACKER, f"guess {number}")
    raise AssertionError("a guesser is banned")


def told(row: dict[str, Any], *keys: str) -> Sequence[tuple[Any, ...]]:
    return [tuple(line[key] for key in keys) for line in row["timeline"]]


# -- addresses -------------------------------------------------------------------------------------


async def test_banned_address_tells_its_ban_what_led_to_it_and_how_to_lift_it(
    tmp_path: Path,
) -> None:
    async with served(tmp_path) as rig:
        await rig.login(HOME, "right")
        await guess_until_banned(rig)
        await rig.hold()
        (made,) = rig.bench.bans()
        row = await explained(rig, ATTACKER.address)
    (ban,) = row["bans"]
    assert (ban["scope"], ban["reason"], ban["level"]) == ("auth", "auth-failures", 1)
    assert ban["until"] == made.until
    assert ban["kernel_s"] == ban["remaining_s"] > 0
    assert row["kernel"] == "ok"
    assert row["undo"] == [f"gatekeeper ban del {ATTACKER.address}"]
    lines = told(row, "what", "account", "weight", "reason", "standing", "knowledge")
    assert lines[0] == ("login: failure", "ann", 1.0, "none", "stranger", "wrong")
    assert (row["timeline"][-1]["ban"], row["timeline"][-1]["action"]) == (True, "close")
    scores = [line["score"] for line in row["timeline"]]
    assert scores == sorted(scores)
    assert scores[-1] >= row["timeline"][-1]["ban_score"] - 0.25


async def test_ban_lifted_as_told_is_over(tmp_path: Path) -> None:
    async with served(tmp_path) as rig:
        await guess_until_banned(rig)
        (command,) = (await explained(rig, ATTACKER.address))["undo"]
        assert (await rig.run(*shlex.split(command)[1:])).exit_code == 0
        row = await explained(rig, ATTACKER.address)
    assert (row["bans"], row["undo"]) == ([], [])
    assert row["scopes"]["auth"]["score"] == 0.0


async def test_past_ban_is_told_and_needs_no_undoing(tmp_path: Path) -> None:
    async with served(tmp_path) as rig:
        await guess_until_banned(rig)
        rig.bench.now = rig.bench.bans()[0].until
        row = await explained(rig, ATTACKER.address)
    (ban,) = row["bans"]
    assert (ban["remaining_s"], ban["level"], row["undo"]) == (0.0, 1, [])


async def test_ban_of_the_network_around_is_told_beside_ones_own(tmp_path: Path) -> None:
    async with served(tmp_path) as rig:
        network = Prefix.parse("203.0.113.0/24")
        rig.bench.ledger.ban(network, Scope.AUTH, Reason.OPERATOR, note="my words")
        rig.bench.ledger.ban(ATTACKER.entity, Scope.MX, Reason.UNKNOWN_RECIPIENTS)
        row = await explained(rig, ATTACKER.address)
    assert [(ban["prefix"], ban["scope"], ban["note"]) for ban in row["bans"]] == [
        ("203.0.113.9", "mx", ""),
        ("203.0.113.0/24", "auth", "my words"),
    ]
    assert row["undo"] == [
        "gatekeeper ban del 203.0.113.9",
        "gatekeeper ban del 203.0.113.0/24",
    ]


async def test_ban_the_kernel_alone_holds_is_told(tmp_path: Path) -> None:
    async with served(tmp_path) as rig:
        made = rig.bench.ledger.ban(ATTACKER.entity, Scope.AUTH, Reason.OPERATOR, seconds=60)
        assert made is not None
        await rig.hold()
        rig.bench.ledger.lift(ATTACKER.entity, Scope.AUTH)
        (ban,) = (await explained(rig, ATTACKER.address))["bans"]
    assert (ban["origin"], ban["kernel_s"], ban["until"]) == ("kernel-only", 60.0, None)


async def test_kernel_that_fails_hides_nothing_else(tmp_path: Path) -> None:
    async with served(tmp_path) as rig:
        await guess_until_banned(rig)
        rig.enforcer.fails = True
        row = await explained(rig, ATTACKER.address)
    assert row["kernel"] == "the kernel process is gone"
    assert [ban["kernel_s"] for ban in row["bans"]] == [None]


async def test_stuck_kernel_delays_an_explanation_by_one_deadline(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with served(tmp_path) as rig:
        autojump_clock.autojump_threshold = 0.05  # real sockets are in between
        await guess_until_banned(rig)
        rig.enforcer.hangs = True
        started = trio.current_time()
        row = await explained(rig, ATTACKER.address)
    assert row["kernel"] == f"no answer within {ENFORCER_DEADLINE_S:g} s"
    assert trio.current_time() - started == pytest.approx(ENFORCER_DEADLINE_S, abs=0.5)


async def test_office_tells_who_is_at_home_and_what_that_raises(tmp_path: Path) -> None:
    policy = DEFAULTS.policy
    async with served(tmp_path) as rig:
        for account in ("ann", "bob"):
            await rig.login(HOME, "right", account)
        await rig.login(HOME, "tpyo", "bob")
        row = await explained(rig, HOME.address)
    assert (row["accounts_at_home"], row["spared"], row["bans"]) == (2, True, [])
    ban_score = policy.auth_ban_score + 2 * policy.auth_ban_score_per_account
    assert row["scopes"]["auth"]["ban_score"] == ban_score
    assert row["last_login_s"] == 20.0
    assert told(row, "what", "standing")[-1] == ("login: failure", "familiar")


async def test_timeline_of_a_64_is_that_of_all_its_addresses(tmp_path: Path) -> None:
    async with served(tmp_path) as rig:
        for number in range(3):
            await rig.login(client(f"2001:db8:1:2::{number:x}"), f"guess {number}")
        await rig.login(client("2001:db8:1:3::1"), "guess")
        row = await explained(rig, "2001:db8:1:2:ffff::1")
        wider = await explained(rig, "2001:db8:1::/48")
    assert row["address"] == "2001:db8:1:2::/64"
    assert told(row, "address") == [("2001:db8:1:2::/64",)] * 3
    assert [network["prefix"] for network in row["networks"]] == [
        "2001:db8:1::/56",
        "2001:db8:1::/48",
    ]
    assert {network["score"] for network in row["networks"]} == {4.0}
    assert (wider["network"], len(wider["timeline"])) == ("2001:db8:1::/48", 4)


async def test_network_is_explained_as_a_whole(tmp_path: Path) -> None:
    async with served(tmp_path) as rig:
        for number in range(3):
            await rig.login(client(f"203.0.113.{number}"), f"guess {number}")
        await rig.login(client("203.0.114.1"), "guess")
        rig.bench.ledger.ban(Prefix.parse("203.0.113.0/24"), Scope.AUTH, Reason.OPERATOR)
        row = await explained(rig, "203.0.113.77/24")
    assert (row["network"], len(row["timeline"])) == ("203.0.113.0/24", 3)
    assert (row["networks"][0]["score"], row["bans"][0]["prefix"]) == (3.0, "203.0.113.0/24")
    assert row["undo"] == ["gatekeeper ban del 203.0.113.0/24"]


@pytest.mark.parametrize("what", ["203.0.0.0/16", "203.0.113.0/31", "2001:db8::/32", "0.0.0.0/0"])
async def test_other_networks_are_a_slip(tmp_path: Path, what: str) -> None:
    async with served(tmp_path) as rig:
        assert (await rig.ask("explain", what=what))["code"] == "bad-request"


async def test_peer_on_port_25_tells_its_recipients_and_violations(tmp_path: Path) -> None:
    async with served(tmp_path) as rig:
        await rig.bench.guard.judge(Violation(ViolationKind.SMUGGLING, b""), MX_PEER)
        for number in range(12):
            await rig.bench.rcpt(MX_PEER, RcptResult.UNKNOWN, f"name{number}")
        row = await explained(rig, MX_PEER.address)
    assert row["unknown_recipients"] >= 10
    assert row["mostly_unknown"] is True
    assert row["scopes"]["mx"]["score"] == DEFAULTS.policy.hostile_violation_weight
    whats = {what for (what,) in told(row, "what")}
    assert whats == {"violation: smuggling", "recipient: unknown"}


async def test_network_that_guesses_speaks_for_an_address_nobody_has_seen(tmp_path: Path) -> None:
    async with served(tmp_path) as rig:
        await rig.login(client("203.0.113.1"), "guess")
        row = await explained(rig, "203.0.113.200")
        assert (await rig.ask("explain", what="203.0.114.1"))["code"] == "not-found"
    assert (row["timeline"], row["networks"][0]["score"]) == ([], 1.0)


async def test_exempt_address_is_told_to_be_one(tmp_path: Path) -> None:
    async with served(tmp_path, never=(Prefix.parse("127.0.0.0/8"),)) as rig:
        assert (await explained(rig, "127.0.0.1"))["never_banned"] is True


# -- accounts --------------------------------------------------------------------------------------


async def test_account_tells_its_locks_and_who_guesses_at_it_from_where(tmp_path: Path) -> None:
    async with served(tmp_path) as rig:
        await rig.login(HOME, "right", "Ann")
        for number in range(3):
            await rig.login(client(f"192.0.{number}.1"), f"guess {number}")
        await rig.ask("account-lock", account="ann", note="stolen")
        await rig.login(HOME, "right")
        row = await explained(rig, "ANN")
    assert (row["account"], row["guesses"]) == ("Ann", 3)
    assert row["attacked_at"] == DEFAULTS.policy.attacked_guesses
    assert [lock["note"] for lock in row["locks"]] == ["stolen"]
    assert told(row, "address", "what", "reason") == [
        ("198.51.100.7", "login: success", "none"),
        ("192.0.0.1", "login: failure", "none"),
        ("192.0.1.1", "login: failure", "none"),
        ("192.0.2.1", "login: failure", "none"),
        ("198.51.100.7", "login", "account-locked"),
    ]
    assert row["undo"] == ["gatekeeper account unlock Ann"]


async def test_recipients_put_off_for_a_held_account_are_in_its_timeline(tmp_path: Path) -> None:
    async with served(tmp_path) as rig:
        abroad = client("192.0.2.77")
        await rig.login(HOME, "right")
        rig.bench.guard.evidence.logins.familiarity.learned = True
        await rig.bench.outcome(abroad, "right", "ann", AuthResult.SUCCESS)
        for _ in range(NEW_NET_RECIPIENTS + 1):
            await rig.bench.rcpt(abroad, RcptResult.ACCEPTED, authcid="ann")
        rig.bench.now += 1
        await rig.bench.guard.judge(RcptAttempt("bob@example.org", "ann"), abroad)
        row = await explained(rig, "ann")
    assert [lock["kind"] for lock in row["locks"]] == ["held"]
    assert told(row, "what", "reason")[-1] == ("recipient", "account-held")


async def test_account_nobody_has_is_explained_by_what_was_tried(tmp_path: Path) -> None:
    async with served(tmp_path) as rig:
        await rig.login(ATTACKER, "guess", "Nobody")
        row = await explained(rig, "nobody")
        assert (await rig.ask("explain", what="somebody"))["code"] == "not-found"
    assert (row["account"], row["known"], row["undo"]) == ("Nobody", False, [])
    assert len(row["timeline"]) == 1


async def test_trap_is_told_to_be_one(tmp_path: Path) -> None:
    async with served(tmp_path, replace(DEFAULTS, trap_accounts=("trap",))) as rig:
        await rig.login(ATTACKER, "guess", "trap")
        row = await explained(rig, "trap")
    assert row["trap"] is True
    assert told(row, "what", "ban") == [("login", True)]  # a trap weighs as much as a ban


@pytest.mark.parametrize(
    "name", ["a b", "$(reboot)", "x'; reboot #", "-h", "--", "\x1b[2J\r\n", "\ud800", "#", "*"]
)
async def test_command_that_undoes_is_safe_to_paste_and_works(tmp_path: Path, name: str) -> None:
    async with served(tmp_path) as rig:
        await rig.ask("account-lock", account=name)
        (command,) = (await explained(rig, name))["undo"]
        words = shlex.split(command, comments=True)
        assert len(words) == 4
        assert words[3].startswith("#")
        assert (await rig.run(*words[1:])).exit_code == 0
        assert (await rig.ask("account-list"))["accounts"] == []


# -- all -------------------------------------------------------------------------------------------


async def test_climate_is_told_with_its_figures(tmp_path: Path) -> None:
    async with served(tmp_path) as rig:
        for number in range(30):
            await rig.login(client(f"192.{number}.2.1"), f"guess {number}", "ann")
            await rig.login(HOME, "right")
        row = await explained(rig, "ann")
        report = (await rig.ask("status"))["status"]
    level = row["attack_level"]
    assert level["high"] is (report["attack_level"] == "high") is True
    assert level["guesses"] == report["strangers_guesses"] > level["high_from"] > 10
    assert level["strangers_logins"] == report["strangers_logins"]
    assert (row["learned"], row["outage"], row["only_watching"]) == (False, False, BY_THEMSELVES)


async def test_rules_that_only_watch_are_named(tmp_path: Path) -> None:
    observing = replace(DEFAULTS, mode=Mode.OBSERVE)
    one = replace(DEFAULTS, rules={Reason.ATTACK_LEVEL: Treatment.OBSERVE})
    for settings, expected in ((observing, None), (one, ["attack-level", *BY_THEMSELVES])):
        async with served(tmp_path, settings) as rig:
            await rig.login(ATTACKER, "guess")
            row = await explained(rig, ATTACKER.address)
        if expected is None:
            assert len(row["only_watching"]) == row["rules"] > 10
        else:
            assert sorted(row["only_watching"]) == sorted(expected)


async def test_long_timeline_is_cut_in_the_middle(tmp_path: Path) -> None:
    violation = Violation(ViolationKind.PROXY_HEADER, b"")
    async with served(tmp_path) as rig:
        started = rig.bench.now
        for _ in range(MAX_TIMELINE + 25):
            await rig.bench.guard.judge(violation, ATTACKER)
            rig.bench.now += 1
        row = await explained(rig, ATTACKER.address)
    instants = [line["at"] - started for line in row["timeline"]]
    assert (len(instants), row["left_out"]) == (MAX_TIMELINE, 25)
    assert instants[:OLDEST_LINES] == list(range(OLDEST_LINES))
    assert instants[OLDEST_LINES:] == list(range(OLDEST_LINES + 25, MAX_TIMELINE + 25))


async def test_no_secret_and_no_key_of_one_is_in_an_explanation(tmp_path: Path) -> None:
    async with served(tmp_path) as rig:
        await rig.login(HOME, PASSWORD, right=PASSWORD)
        await rig.login(ATTACKER, PASSWORD + "r", right=PASSWORD)
        replies = [await rig.ask("explain", what=w) for w in ("ann", ATTACKER.address)]
        for good in rig.bench.guard.evidence.logins.accounts:
            marks = [hex(password.mark) for password in good.passwords]
    text = json.dumps(replies)
    assert PASSWORD not in text
    assert marks
    assert not any(mark in text for mark in marks)


@pytest.mark.parametrize("arguments", [{}, {"what": ""}, {"what": 5}, {"what": "a", "x": 1}])
async def test_bad_request_is_refused(tmp_path: Path, arguments: dict[str, object]) -> None:
    async with served(tmp_path) as rig:
        assert (await rig.ask("explain", **arguments))["code"] == "bad-request"


@pytest.mark.parametrize("what", ["x" * 60_000, "\r\n\0", "::1%lo", "1.2.3.4.5", "\udcff"])
async def test_anything_may_be_asked_for(tmp_path: Path, what: str) -> None:
    async with served(tmp_path) as rig:
        assert (await rig.ask("explain", what=what))["code"] == "not-found"
