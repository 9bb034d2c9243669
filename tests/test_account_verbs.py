"""The verbs about accounts, over a real control socket, a real guard and real sessions."""

from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
from control_rig import DEFAULTS, HOME, Rig, served
from guard_bench import Bench, attempt, client

from gatekeeper.account_verbs import MAX_FAMILIAR_ROWS, MAX_NAMES, AccountVerbs
from gatekeeper.control_words import ROWS_PER_PIECE, Arguments
from gatekeeper.events import AuthOutcome, AuthResult, Client, RcptResult
from gatekeeper.policy.accounts import FAMILIAR_S
from gatekeeper.policy.keys import net_key, place
from gatekeeper.policy.recipients import NEW_NET_RECIPIENTS
from gatekeeper.prefix import Prefix
from gatekeeper.remembered import AccountLock, LockKind
from gatekeeper.sessions import End
from gatekeeper.settings import Mode
from gatekeeper.verdict import PASS, Action, Reason

LOCKED = (Action.REJECT, Reason.ACCOUNT_LOCKED)


async def row_of(rig: Rig, name: str) -> dict[str, Any]:
    reply = await rig.ask("account-show", account=name)
    assert reply["ok"], reply
    row: dict[str, Any] = reply["account"]
    return row


async def guessed_at(rig: Rig, number: int, account: str = "ann") -> None:
    """So many guesses by strangers, each from another address."""
    for each in range(number):
        await rig.bench.outcome(client(f"203.0.{each}.9"), f"guess {each}", account)


# -- lock and unlock -------------------------------------------------------------------------------


async def test_lock_refuses_the_right_password_from_home_and_unlock_lets_it_in(
    tmp_path: Path,
) -> None:
    async with served(tmp_path) as rig:
        assert await rig.login(HOME, "right") == PASS
        reply = await rig.ask("account-lock", account="Ann", seconds=3600, note="stolen")
        assert (reply["known"], reply["enforced"]) == (True, True)
        assert reply["until"] == rig.bench.now + 3600
        verdict = await rig.login(HOME, "right")
        assert (verdict.action, verdict.reason) == LOCKED
        assert (await rig.ask("account-unlock", account="ann"))["lifted"] == ["operator"]
        assert await rig.login(HOME, "right") == PASS


async def test_lock_for_a_time_ends_by_itself(tmp_path: Path) -> None:
    async with served(tmp_path) as rig:
        await rig.ask("account-lock", account="ann", seconds=60)
        assert (await rig.login(HOME, "right")).reason is Reason.ACCOUNT_LOCKED
        rig.bench.now += 60
        assert (await rig.ask("account-show", account="ann"))["code"] == "not-found"
        assert await rig.login(HOME, "right") == PASS


async def test_lock_ends_the_accounts_sessions_and_no_others(tmp_path: Path) -> None:
    async with served(tmp_path) as rig:
        sessions = [rig.session("ann"), rig.session("ANN", "192.0.2.4"), rig.session("bob")]
        reply = await rig.ask("account-lock", account="Ann")
        assert reply["ended"] == 2
        assert [session.end for session in sessions] == [End.LOCKED, End.LOCKED, None]


@pytest.mark.parametrize("where", [HOME, client("192.0.2.77")])
async def test_login_that_the_backend_accepts_after_the_lock_is_refused(
    tmp_path: Path, where: Client
) -> None:
    """The credential was judged and sent on before the lock; nothing else happened since."""
    async with served(tmp_path) as rig:
        await rig.login(HOME, "right")
        event = attempt("right")
        assert await rig.bench.guard.judge(event, where) == PASS
        await rig.ask("account-lock", account="ann")
        verdict = await rig.bench.guard.judge(AuthOutcome(event, AuthResult.SUCCESS), where)
        assert (verdict.action, verdict.reason) == LOCKED


async def test_locked_account_is_locked_for_allowed_clients_too(tmp_path: Path) -> None:
    settings = replace(DEFAULTS, allow=(Prefix.parse("198.51.100.0/24"),))
    async with served(tmp_path, settings) as rig:
        event = attempt("right")
        assert await rig.bench.guard.judge(event, HOME) == PASS
        await rig.ask("account-lock", account="ann")
        for late in (AuthOutcome(event, AuthResult.SUCCESS), event):
            verdict = await rig.bench.guard.judge(late, HOME)
            assert (verdict.action, verdict.reason) == LOCKED
        failed = AuthOutcome(event, AuthResult.FAILURE)
        assert await rig.bench.guard.judge(failed, HOME) == PASS
        assert await rig.bench.guard.judge(attempt("right", "bob"), HOME) == PASS
        assert rig.bench.score(HOME) == 0.0


@pytest.mark.parametrize("allow", [(), (Prefix.parse("198.51.100.7"),)])
async def test_observe_mode_refuses_nothing_and_the_reply_says_so(
    tmp_path: Path, allow: tuple[Prefix, ...]
) -> None:
    settings = replace(DEFAULTS, mode=Mode.OBSERVE, allow=allow)
    async with served(tmp_path, settings) as rig:
        assert (await rig.ask("account-lock", account="ann"))["enforced"] is False
        assert await rig.login(HOME, "right") == PASS
        assert rig.bench.guard.would_have[Reason.ACCOUNT_LOCKED] == 2  # attempt and outcome


async def test_account_never_seen_is_locked_and_shown_by_the_name_it_was_given(
    tmp_path: Path,
) -> None:
    async with served(tmp_path) as rig:
        reply = await rig.ask("account-lock", account="bbo", note="my words")
        assert (reply["known"], reply["ended"], reply["until"]) == (False, 0, None)
        (row,) = (await rig.ask("account-list"))["accounts"]
        assert row["account"] == "bbo"
        assert row["locks"] == [
            {
                "kind": "operator",
                "since": rig.bench.now,
                "until": None,
                "remaining_s": None,
                "note": "my words",
            }
        ]
        assert (await row_of(rig, "BBO"))["known"] is False


async def test_unlock_takes_every_lock_and_forgets_what_led_to_it(tmp_path: Path) -> None:
    policy = DEFAULTS.policy
    async with served(tmp_path) as rig:
        await rig.login(HOME, "right")
        await guessed_at(rig, policy.lane_guesses + 3)
        account = rig.bench.guard.evidence.logins.accounts.get(
            rig.bench.guard.evidence.logins.account_key("ann")
        )
        assert account is not None
        rig.bench.guard.evidence.logins.hold(account, "new-networks", rig.bench.now)
        await rig.ask("account-lock", account="ann")
        kinds = [lock["kind"] for lock in (await row_of(rig, "ann"))["locks"]]
        assert sorted(kinds) == ["held", "lane", "operator"]
        reply = await rig.ask("account-unlock", account="ann")
        assert sorted(reply["lifted"]) == ["held", "lane", "operator"]
        assert reply["guesses"] >= policy.lane_guesses
        row = await row_of(rig, "ann")
        assert (row["locks"], row["guesses"], row["attacked"]) == ([], 0, False)
        assert (await rig.ask("account-unlock", account="ann"))["code"] == "not-found"


async def test_account_that_is_only_guessed_at_can_be_calmed(tmp_path: Path) -> None:
    async with served(tmp_path) as rig:
        await rig.login(HOME, "right")
        await guessed_at(rig, DEFAULTS.policy.attacked_guesses)
        reply = await rig.ask("account-unlock", account="ann")
        assert (reply["lifted"], reply["guesses"]) == ([], DEFAULTS.policy.attacked_guesses)
        assert (await rig.ask("account-list"))["accounts"] == []


async def test_account_let_go_after_a_burst_from_a_new_network_may_send_again(
    tmp_path: Path,
) -> None:
    async with served(tmp_path) as rig:
        bench, abroad = rig.bench, client("192.0.2.77")
        await rig.login(HOME, "right")
        bench.guard.evidence.logins.familiarity.learned = True
        await bench.outcome(abroad, "right", "ann", AuthResult.SUCCESS)
        for _ in range(NEW_NET_RECIPIENTS + 1):
            await bench.rcpt(abroad, RcptResult.ACCEPTED, authcid="ann")
        assert [lock.note for lock, _ in bench.locked] == ["new-network-burst"]
        assert (await rig.ask("account-unlock", account="ann"))["lifted"] == ["held"]
        await bench.rcpt(abroad, RcptResult.ACCEPTED, authcid="ann")
        assert (await row_of(rig, "ann"))["locks"] == []


async def test_lock_and_unlock_are_to_be_written_down(tmp_path: Path) -> None:
    async with served(tmp_path) as rig:
        logins = rig.bench.guard.evidence.logins
        key = logins.account_key("ann")
        for verb in ("account-lock", "account-unlock"):
            logins.changes.locks.clear()
            await rig.ask(verb, account="ann")
            assert (key, LockKind.OPERATOR) in logins.changes.locks


# -- names and keys --------------------------------------------------------------------------------


async def test_account_can_be_named_by_the_key_that_is_shown(tmp_path: Path) -> None:
    async with served(tmp_path) as rig:
        logins = rig.bench.guard.evidence.logins
        logins.lock(AccountLock(0xAB, LockKind.OPERATOR, rig.bench.now, None, "before the start"))
        (row,) = (await rig.ask("account-list"))["accounts"]
        assert row["account"] == "#00000000000000ab"
        assert (await row_of(rig, row["account"]))["locks"] == row["locks"]
        assert (await rig.ask("account-unlock", account=row["account"]))["ok"]
        assert logins.locks.find(0xAB, LockKind.OPERATOR, rig.bench.now) is None


async def test_lock_by_key_ends_the_sessions_of_its_account(tmp_path: Path) -> None:
    async with served(tmp_path) as rig:
        await rig.login(HOME, "right")
        session = rig.session("ann")
        reply = await rig.ask("account-lock", account=(await row_of(rig, "ann"))["key"])
        assert (reply["account"], reply["ended"], session.end) == ("ann", 1, End.LOCKED)


async def test_account_whose_name_looks_like_a_key_is_that_account(tmp_path: Path) -> None:
    name = "#00000000000000ab"
    async with served(tmp_path) as rig:
        await rig.login(HOME, "right", name)
        await rig.ask("account-lock", account=name)
        assert (await rig.login(HOME, "right", name)).reason is Reason.ACCOUNT_LOCKED


@pytest.mark.parametrize("name", ["\x1b[2J\r\n", "\ud800", "x" * 1024, "a b'\";$(reboot)", "-h"])
async def test_account_may_be_called_anything(tmp_path: Path, name: str) -> None:
    async with served(tmp_path) as rig:
        assert (await rig.ask("account-lock", account=name))["account"] == name
        assert (await rig.login(HOME, "right", name)).reason is Reason.ACCOUNT_LOCKED
        assert (await rig.ask("account-unlock", account=name))["ok"]


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"account": ""},
        {"account": 5},
        {"account": "x" * 1025},
        {"account": "é" * 513},
        {"account": "ann", "seconds": 0},
        {"account": "ann", "seconds": 1e12},
        {"account": "ann", "until": 5},
    ],
    ids=str,
)
async def test_bad_lock_changes_nothing(tmp_path: Path, arguments: dict[str, object]) -> None:
    async with served(tmp_path) as rig:
        session = rig.session("ann")
        assert (await rig.ask("account-lock", **arguments))["code"] == "bad-request"
        assert (await rig.ask("account-list"))["accounts"] == []
        assert session.end is None


async def test_names_of_locked_accounts_are_bounded(tmp_path: Path) -> None:
    bench = Bench(DEFAULTS)
    verbs = AccountVerbs(bench.guard, Nobody())
    lock = verbs.verbs()["account-lock"]
    for number in range(MAX_NAMES + 1):
        await lock(Arguments({"account": f"user{number}"}))
    names = [verbs.name_of(bench.guard.evidence.logins.account_key(n)) for n in ("user0", "user1")]
    assert names[0].startswith("#")
    assert names[1] == "user1"


class Nobody:
    """A table without sessions."""

    def end_account(self, authcid: str, end: End) -> int:
        return 0


# -- list and show ---------------------------------------------------------------------------------


async def test_list_has_what_is_out_of_the_ordinary_and_all_has_everybody(tmp_path: Path) -> None:
    async with served(tmp_path) as rig:
        for account in ("ann", "bob", "carol", "dave"):
            await rig.login(HOME, "right", account)
        await guessed_at(rig, DEFAULTS.policy.attacked_guesses, "bob")
        await rig.ask("account-lock", account="carol")
        reply = await rig.ask("account-list")
        assert [(row["account"], row["attacked"]) for row in reply["accounts"]] == [
            ("bob", True),
            ("carol", False),
        ]
        everybody = (await rig.ask("account-list", all="yes"))["accounts"]
        assert [row["account"] for row in everybody] == ["ann", "bob", "carol", "dave"]


async def test_each_lock_has_an_end_of_its_own(tmp_path: Path) -> None:
    policy = DEFAULTS.policy
    async with served(tmp_path) as rig:
        await rig.login(HOME, "right")
        await guessed_at(rig, policy.lane_guesses + 3)
        await rig.ask("account-lock", account="ann", seconds=7200)
        (row,) = (await rig.ask("account-list"))["accounts"]
        assert {lock["kind"]: lock["remaining_s"] for lock in row["locks"]} == {
            "operator": 7200.0,
            "lane": policy.lane_lock_s,
        }


async def test_show_tells_where_an_account_is_at_home_newest_first(tmp_path: Path) -> None:
    async with served(tmp_path) as rig:
        started = rig.bench.now
        await rig.login(HOME, "right")
        await rig.login(client("2001:db8:1:2::9"), "right")
        row = await row_of(rig, "ANN")
    assert (row["account"], row["known"], row["locks"]) == ("ann", True, [])
    assert row["familiar"] == [
        {"net": "2001:db8:1:2::/64", "first_at": started + 10, "last_at": started + 10},
        {"net": "198.51.100.0/24", "first_at": started, "last_at": started},
    ]


async def test_instants_are_the_systems_where_the_guards_clock_goes_apart(tmp_path: Path) -> None:
    bench = Bench(DEFAULTS)
    verbs = AccountVerbs(bench.guard, Nobody(), lambda: bench.now + 5000)
    await bench.outcome(HOME, "right", "ann", AuthResult.SUCCESS)
    row = verbs.describe(bench.guard.evidence.logins.account_key("ann"))
    assert row["last_at"] == row["now"] == bench.now + 5000


async def test_list_of_many_accounts_comes_in_short_pieces(tmp_path: Path) -> None:
    """Also where hardly any is listed: looking for it must not stop the loop."""
    bench = Bench(DEFAULTS)
    logins = bench.guard.evidence.logins
    for number in range(50 * ROWS_PER_PIECE):
        account, _ = logins.accounts.touch(number, bench.now)
        account.name = f"user{number}"
    verbs = AccountVerbs(bench.guard, Nobody())
    for every, most in (("no", 0), ("yes", ROWS_PER_PIECE)):
        pieces = await verbs.verbs()["account-list"](Arguments({"all": every}))
        counts, longest = [], 0.0
        while True:
            started = perf_counter()
            piece = next(pieces, None)
            longest = max(longest, perf_counter() - started)
            if piece is None:
                break
            counts.append(piece.count('"account"'))
        assert len(counts) == 50 + 2
        assert max(counts) == most
        assert longest < 0.1  # a few ms on a quiet machine


async def test_few_found_among_many_make_a_whole_reply(tmp_path: Path) -> None:
    async with served(tmp_path) as rig:
        logins = rig.bench.guard.evidence.logins
        for number in range(5 * ROWS_PER_PIECE):
            logins.accounts.touch(number, rig.bench.now)
        for number in (3, 2 * ROWS_PER_PIECE + 3):
            logins.lock(AccountLock(number, LockKind.HELD, rig.bench.now, None))
        rows = (await rig.ask("account-list"))["accounts"]
    assert [row["account"] for row in rows] == [f"#{3:016x}", f"#{2 * ROWS_PER_PIECE + 3:016x}"]


async def test_list_goes_on_while_accounts_and_locks_come_and_go(tmp_path: Path) -> None:
    bench = Bench(DEFAULTS)
    logins = bench.guard.evidence.logins
    for number in range(2 * ROWS_PER_PIECE):
        logins.lock(AccountLock(number, LockKind.HELD, bench.now, bench.now + 60))
    pieces = await AccountVerbs(bench.guard, Nobody()).verbs()["account-list"](Arguments({}))
    next(pieces)
    next(pieces)
    for number in range(2 * ROWS_PER_PIECE):
        logins.unlock(number, LockKind.HELD)
        logins.accounts.touch(number, bench.now)
    assert '"locks": []' in "".join(pieces)


# -- familiar-add ----------------------------------------------------------------------------------


async def test_logins_of_the_past_make_an_account_familiar(tmp_path: Path) -> None:
    async with served(tmp_path) as rig:
        now = rig.bench.now
        rows = [
            ["Ann", "198.51.100.7", now - 60],
            ["ann", "2001:db8::1", now - 120],
            ["old", "198.51.100.7", now - FAMILIAR_S - 1],
        ]
        assert (await rig.ask("familiar-add", rows=rows))["added"] == 2
        nets = [net["net"] for net in (await row_of(rig, "ann"))["familiar"]]
        assert nets == ["198.51.100.0/24", "2001:db8::/64"]
        logins = rig.bench.guard.evidence.logins
        assert (await rig.ask("account-show", account="old"))["code"] == "not-found"
        key = logins.account_key("ann"), net_key(Prefix.parse("198.51.100.0/24"))
        assert key in logins.changes.pairs


async def test_logins_of_the_past_make_no_place_older(tmp_path: Path) -> None:
    async with served(tmp_path) as rig:
        now = rig.bench.now
        await rig.login(HOME, "right", "bob")
        await rig.ask("familiar-add", rows=[["ann", HOME.address, now - FAMILIAR_S + 60]])
        rig.bench.now += 3600
        nets = rig.bench.guard.evidence.logins.neighbourhood.nets
        assert nets.accounts(place(HOME.entity).net, rig.bench.now) == 2


@pytest.mark.parametrize(
    "rows",
    [
        "ann",
        [["ann", "198.51.100.7"]],
        [["ann", "nowhere", 1_700_000_000]],
        [["ann", 5, 1_700_000_000]],
        [["ann", "198.51.100.7", "today"]],
        [["ann", "198.51.100.7", None]],
        [["ann", "198.51.100.7", float("nan")]],
        [["ann", "198.51.100.7", float("inf")]],
        [["ann", "198.51.100.7", 10**400]],
        [["ann", "198.51.100.7", 1_700_000_000], []],
        [["ann", "198.51.100.7", 1_700_000_000]] * (MAX_FAMILIAR_ROWS + 1),
    ],
    ids=lambda rows: str(rows)[:40],
)
async def test_bad_rows_add_nothing_and_the_guard_lives(tmp_path: Path, rows: object) -> None:
    async with served(tmp_path) as rig:
        assert (await rig.ask("familiar-add", rows=rows))["code"] == "bad-request"
        assert (await rig.ask("account-list", all="yes"))["accounts"] == []
