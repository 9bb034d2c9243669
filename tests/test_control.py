"""The control socket, over a real Unix socket: every verb, and every way to misuse it."""

import json
import os
import socket
import stat
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from gatekeeper import control as control_module
from gatekeeper.abc import BanChange, HeldBan
from gatekeeper.ban import Ban, Origin, Scope
from gatekeeper.control import MAX_CLIENTS, MAX_REQUEST_OCTETS, Control, serve
from gatekeeper.control_verbs import ENFORCER_DEADLINE_S, ban_row
from gatekeeper.control_words import ROWS_PER_PIECE
from gatekeeper.errors import EnforcerError
from gatekeeper.log import Log
from gatekeeper.prefix import Prefix
from gatekeeper.sessions import SessionView
from gatekeeper.verdict import Reason

NOW = 1_000_000.0
HOST = Prefix.parse("192.0.2.1")
EXEMPT = Prefix.parse("127.0.0.1")


class FakeBans:
    """A Ledger that takes every prefix but `EXEMPT` and, as the real one, no /8."""

    def __init__(self) -> None:
        self.made: dict[tuple[Prefix, Scope], Ban] = {}

    def ban(
        self,
        prefix: Prefix,
        scope: Scope,
        reason: Reason,
        *,
        seconds: float | None = None,
        origin: Origin = Origin.RULE,
        note: str = "",
    ) -> Ban | None:
        if prefix.length == 8:
            raise ValueError("an IPv4 ban is for a /32 or /24, not a /8")
        if prefix == EXEMPT:
            return None
        ban = Ban(prefix, scope, reason, 1, NOW, NOW + (seconds or 600), origin, note)
        self.made[prefix, scope] = ban
        return ban

    @property
    def now(self) -> float:
        return NOW

    def lift(self, prefix: Prefix, scope: Scope) -> Ban | None:
        return self.made.pop((prefix, scope), None)

    def bans(self) -> list[Ban]:
        return list(self.made.values())


@dataclass
class FakeEnforcer:
    """Holds what it is told to; may fail or hang."""

    holding: list[HeldBan] = field(default_factory=list)
    fails: bool = False
    hangs: bool = False

    async def apply(self, changes: Sequence[BanChange], now: float) -> None:
        lifted = {(change.prefix, change.scope) for change in changes}
        self.holding = [ban for ban in self.holding if (ban.prefix, ban.scope) not in lifted]

    async def held(self) -> list[HeldBan]:
        if self.hangs:
            await trio.sleep_forever()
        if self.fails:
            raise EnforcerError("the kernel process is gone")
        return self.holding

    async def remaining_s(self, prefix: Prefix, scope: Scope) -> float | None:
        if self.fails:
            raise EnforcerError("the kernel process is gone")
        found = [ban for ban in self.holding if (ban.prefix, ban.scope) == (prefix, scope)]
        return found[0].remaining_s if found else None

    async def dropped(self) -> dict[str, int]:
        return {"dropped4_auth": 3, "dropped6_auth": 4}

    async def fill(self, ends: Iterable[tuple[Prefix, Scope, float]], now: float) -> None:
        raise NotImplementedError

    async def walk(self, take: Callable[[Sequence[HeldBan]], None]) -> None:
        raise NotImplementedError

    async def suspend(self, *, on: bool) -> None:
        raise NotImplementedError

    async def aclose(self) -> None:
        raise NotImplementedError


class FakeSessions:
    """One session, which can be kicked by its account."""

    def list(self) -> Sequence[SessionView]:
        view = SessionView(
            "a1", "imaps", "imap", "192.0.2.9", 4, "u\u202e", "relay", 61.5, True, 41.0
        )
        return [view]

    def kick(self, selector: str) -> int:
        return int(selector == "u@example.org")


@dataclass
class Guard:
    """A served control socket and the parts behind it."""

    path: Path
    bans: FakeBans = field(default_factory=FakeBans)
    enforcer: FakeEnforcer = field(default_factory=FakeEnforcer)
    logged: list[bytes] = field(default_factory=list)

    async def connect(self) -> trio.SocketStream:
        return await trio.open_unix_socket(str(self.path))

    async def ask(self, verb: str, **arguments: object) -> dict[str, Any]:
        return await self.send(json.dumps({"verb": verb} | arguments).encode() + b"\n")

    async def send(self, octets: bytes) -> dict[str, Any]:
        async with await self.connect() as stream:
            await stream.send_all(octets)
            return await receive(stream)


async def receive(stream: trio.SocketStream) -> dict[str, Any]:
    line = b""
    while not line.endswith(b"\n"):
        octets = await stream.receive_some(65536)
        assert octets, line
        line += octets
    assert line.count(b"\n") == 1
    reply: dict[str, Any] = json.loads(line)
    return reply


@asynccontextmanager
async def served(directory: Path) -> AsyncIterator[Guard]:
    guard = Guard(directory / "control.sock")
    log = Log(guard.logged.append, journal=True)
    control = Control(
        guard.bans, guard.enforcer, FakeSessions(), lambda: {"pid": 7, "where": directory},
        clock=lambda: NOW,
    )  # fmt: skip
    async with trio.open_nursery() as nursery:
        await nursery.start(serve, guard.path, control, log)
        yield guard
        nursery.cancel_scope.cancel()
    await log.aclose()


async def test_status_is_what_the_guard_says(tmp_path: Path) -> None:
    async with served(tmp_path) as guard:
        status = {"pid": 7, "where": str(tmp_path), "dropped_packets": 7}
        assert await guard.ask("status") == {"ok": True, "status": status}


async def test_a_ban_only_the_kernel_knows_can_be_lifted(tmp_path: Path) -> None:
    async with served(tmp_path) as guard:
        guard.enforcer.holding += [HeldBan(HOST, scope, 5.04) for scope in Scope]
        (row,) = (await guard.ask("ban-del", prefix="192.0.2.1", scope="mx"))["bans"]
        assert (row["scope"], row["origin"], row["remaining_s"]) == ("mx", "kernel-only", 5.0)
        assert [ban.scope for ban in guard.enforcer.holding] == [Scope.AUTH]
        guard.enforcer.fails = True
        assert (await guard.ask("ban-del", prefix="192.0.2.1"))["code"] == "failed"


async def test_who_lists_every_field(tmp_path: Path) -> None:
    async with served(tmp_path) as guard:
        (row,) = (await guard.ask("who"))["sessions"]
    assert row == {
        "id": "a1",
        "listener": "imaps",
        "protocol": "imap",
        "address": "192.0.2.9",
        "port": 4,
        "account": "u\u202e",
        "phase": "relay",
        "since_s": 61.5,
        "idle": True,
        "idle_s": 41.0,
    }


async def test_kick_counts_or_finds_nobody(tmp_path: Path) -> None:
    async with served(tmp_path) as guard:
        assert await guard.ask("kick", selector="u@example.org") == {"ok": True, "kicked": 1}
        assert (await guard.ask("kick", selector="nobody"))["code"] == "not-found"


async def test_ban_is_made_listed_and_lifted(tmp_path: Path) -> None:
    async with served(tmp_path) as guard:
        made = await guard.ask(
            "ban-add", prefix="192.0.2.1", scope="auth", seconds=3600, note="my words"
        )
        expected = {
            "prefix": "192.0.2.1",
            "scope": "auth",
            "level": 1,
            "reason": "operator",
            "origin": "operator",
            "since": NOW,
            "until": NOW + 3600,
            "remaining_s": 3600.0,
            "kernel_s": None,
            "note": "my words",
        }
        assert made == {"ok": True, "bans": [expected]}
        guard.enforcer.holding.append(HeldBan(HOST, Scope.AUTH, 3599.04))
        listed = await guard.ask("ban-list")
        assert listed == {"ok": True, "kernel": "ok", "bans": [expected | {"kernel_s": 3599.0}]}
        assert len((await guard.ask("ban-del", prefix="192.0.2.1"))["bans"]) == 1
        guard.enforcer.holding.clear()  # as the feed would have it a moment later
        assert (await guard.ask("ban-del", prefix="192.0.2.1"))["code"] == "not-found"


async def test_all_scopes_are_banned_by_default(tmp_path: Path) -> None:
    async with served(tmp_path) as guard:
        await guard.ask("ban-add", prefix="192.0.2.1")
        assert set(guard.bans.made) == {(HOST, Scope.AUTH), (HOST, Scope.MX)}
        assert guard.bans.made[HOST, Scope.AUTH].until == NOW + 600  # the policy's own time


async def test_ban_the_kernel_alone_holds_is_listed(tmp_path: Path) -> None:
    async with served(tmp_path) as guard:
        guard.enforcer.holding.append(HeldBan(HOST, Scope.MX, 5.0))
        (row,) = (await guard.ask("ban-list"))["bans"]
    assert (row["prefix"], row["scope"], row["origin"]) == ("192.0.2.1", "mx", "kernel-only")
    assert (row["remaining_s"], row["kernel_s"]) == (None, 5.0)


async def test_list_goes_on_without_the_kernel(tmp_path: Path) -> None:
    async with served(tmp_path) as guard:
        await guard.ask("ban-add", prefix="192.0.2.1", scope="mx")
        guard.enforcer.fails = True
        reply = await guard.ask("ban-list")
    assert reply["kernel"] == "the kernel process is gone"
    assert [row["kernel_s"] for row in reply["bans"]] == [None]


async def test_stuck_kernel_delays_a_list_and_no_more(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with served(tmp_path) as guard:
        autojump_clock.autojump_threshold = 0.05  # real sockets are in between
        guard.enforcer.hangs = True
        reply = await guard.ask("ban-list")
    assert reply["kernel"] == f"no answer within {ENFORCER_DEADLINE_S:g} s"


async def test_long_list_comes_whole_soonest_end_first(tmp_path: Path) -> None:
    count = 2 * ROWS_PER_PIECE + 1
    async with served(tmp_path) as guard:
        for number in range(count):
            prefix = Prefix(number.to_bytes(4, "big"), 32)
            guard.bans.ban(prefix, Scope.MX, Reason.OPERATOR, seconds=count - number)
        rows = (await guard.ask("ban-list"))["bans"]
    assert [row["remaining_s"] for row in rows] == list(range(1, count + 1))


@pytest.mark.parametrize("count", [0, ROWS_PER_PIECE - 1, ROWS_PER_PIECE])
async def test_list_at_the_edge_of_a_piece(tmp_path: Path, count: int) -> None:
    async with served(tmp_path) as guard:
        for number in range(count):
            guard.bans.ban(Prefix(number.to_bytes(4, "big"), 32), Scope.MX, Reason.OPERATOR)
        assert len((await guard.ask("ban-list"))["bans"]) == count


async def test_exempt_prefix_is_refused(tmp_path: Path) -> None:
    async with served(tmp_path) as guard:
        assert (await guard.ask("ban-add", prefix="127.0.0.1"))["code"] == "exempt"
        assert not guard.bans.made


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"verb": 5},
        {"verb": "reboot"},
        {"verb": "_do_kick"},
        {"verb": "status", "extra": 1},
        {"verb": "kick"},
        {"verb": "kick", "selector": ""},
        {"verb": "kick", "selector": ["u@example.org"]},
        {"verb": "ban-add"},
        {"verb": "ban-add", "prefix": "nonsense"},
        {"verb": "ban-add", "prefix": "10.0.0.0/8"},
        {"verb": "ban-add", "prefix": "192.0.2.1", "scope": "both"},
        {"verb": "ban-add", "prefix": "192.0.2.1", "scope": None},
        {"verb": "ban-add", "prefix": "192.0.2.1", "second": 5},
        {"verb": "ban-add", "prefix": "192.0.2.1", "seconds": 0},
        {"verb": "ban-add", "prefix": "192.0.2.1", "seconds": "60"},
        {"verb": "ban-add", "prefix": "192.0.2.1", "seconds": True},
        {"verb": "ban-add", "prefix": "192.0.2.1", "seconds": float("nan")},
        {"verb": "ban-add", "prefix": "192.0.2.1", "seconds": float("inf")},
        {"verb": "ban-add", "prefix": "192.0.2.1", "seconds": 10**400},
        {"verb": "ban-add", "prefix": "192.0.2.1", "note": 5},
        {"verb": "ban-del", "prefix": "192.0.2.1", "note": "x"},
    ],
    ids=str,
)
async def test_bad_request_changes_nothing(tmp_path: Path, request_: dict[str, object]) -> None:
    async with served(tmp_path) as guard:
        reply = await guard.send(json.dumps(request_).encode() + b"\n")
        assert (reply["ok"], reply["code"]) == (False, "bad-request")
        assert not guard.bans.made


@pytest.mark.parametrize(
    "line", [b"", b"{", b"[]", b"\xff\xfe", b"1" * 5000, b"[" * 50_000, b'"status"'], ids=len
)
async def test_line_that_is_no_request_is_answered(tmp_path: Path, line: bytes) -> None:
    async with served(tmp_path) as guard:
        assert (await guard.send(line + b"\n"))["code"] == "bad-request"
        assert (await guard.ask("status"))["ok"]


async def test_requests_share_a_connection_in_any_cut(tmp_path: Path) -> None:
    lines = b'{"verb": "status"}\n{"verb": "who"}\n'
    async with served(tmp_path) as guard, await guard.connect() as stream:
        for octet in lines:
            await stream.send_all(bytes([octet]))
        replies = b""
        while replies.count(b"\n") < 2:
            replies += await stream.receive_some(65536)
    first, second = map(json.loads, replies.splitlines())
    assert "status" in first
    assert "sessions" in second


async def test_endless_line_is_refused(tmp_path: Path) -> None:
    async with served(tmp_path) as guard:
        reply = await guard.send(b"x" * (MAX_REQUEST_OCTETS + 1))
        assert reply["error"] == "the request is too long"


async def test_silent_client_is_dropped_after_the_deadline(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with served(tmp_path) as guard, await guard.connect() as stream:
        autojump_clock.autojump_threshold = 0.05  # real sockets are in between
        await stream.send_all(b'{"verb"')
        assert await stream.receive_some(100) == b""


async def test_client_that_leaves_mid_reply_harms_nobody(tmp_path: Path) -> None:
    async with served(tmp_path) as guard:
        for number in range(50 * ROWS_PER_PIECE):
            guard.bans.ban(Prefix(number.to_bytes(4, "big"), 32), Scope.MX, Reason.OPERATOR)
        async with await guard.connect() as stream:
            await stream.send_all(b'{"verb": "ban-list"}\n')
            await stream.receive_some(100)
        assert (await guard.ask("status"))["ok"]


async def test_one_client_too_many_is_told(tmp_path: Path) -> None:
    async with served(tmp_path) as guard:
        streams = [await guard.connect() for _ in range(MAX_CLIENTS)]
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert (await guard.send(b""))["error"] == "too many clients"
        for stream in streams:
            await stream.aclose()
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert (await guard.ask("status"))["ok"]


async def test_socket_is_for_owner_and_group_and_goes_with_the_guard(tmp_path: Path) -> None:
    async with served(tmp_path) as guard:
        mode = guard.path.stat().st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o660
    assert not guard.path.exists()


async def test_file_of_a_dead_guard_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "control.sock"))
    async with served(tmp_path) as guard:
        assert (await guard.ask("status"))["ok"]


async def test_socket_of_a_living_guard_is_left_alone(tmp_path: Path) -> None:
    async with served(tmp_path) as guard:
        with pytest.RaisesGroup(OSError):
            async with served(tmp_path):
                pytest.fail("two guards on one socket")
        assert (await guard.ask("status"))["ok"]


async def test_changes_are_logged_with_who_asked(tmp_path: Path) -> None:
    async with served(tmp_path) as guard:
        await guard.ask("ban-add", prefix="192.0.2.1", note="a\nb")
        await guard.ask("kick", selector="nobody")
        await guard.ask("status")
    uid = os.getuid()
    assert b"".join(guard.logged).decode().splitlines() == [
        f'<6>control verb=ban-add what=192.0.2.1 uid={uid} result=ok note="a\\nb"',
        f'<4>control verb=kick what=nobody uid={uid} result=not-found note=""',
    ]


def test_client_knows_the_sockets_name() -> None:
    from gatekeeper.cli.client import SOCKET_NAME

    assert SOCKET_NAME == control_module.SOCKET_NAME


def test_a_ban_is_told_by_the_systems_clock_and_what_is_left_by_its_own() -> None:
    ban = Ban(HOST, Scope.AUTH, Reason.OPERATOR, 1, NOW, NOW + 600)
    row = ban_row(ban, NOW + 60, None, ahead_s=3600)
    assert (row["since"], row["until"]) == (NOW + 3600, NOW + 4200)
    assert row["remaining_s"] == 540
