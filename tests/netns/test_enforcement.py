"""From the Ledger to the packets, while others do their worst to the kernel's half."""

import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import trio

from gatekeeper.ban import Ban, Origin, Scope
from gatekeeper.chronicle import Chronicle
from gatekeeper.enforcement import Enforcement
from gatekeeper.errors import GatekeeperError
from gatekeeper.guard import Guard
from gatekeeper.health import Health
from gatekeeper.ledger import Ledger
from gatekeeper.log import Log
from gatekeeper.prefix import Prefix
from gatekeeper.settings import Settings, TlsSettings
from gatekeeper.startup import Prepared
from gatekeeper.verdict import Reason

from .hosts import Hosts

pytestmark = pytest.mark.netns

ONE, TWO = "10.77.0.2", "10.77.0.3"
SETTINGS = Settings("guard.example", TlsSettings(), (), {})
TABLE = "inet gatekeeper"
SOON_S = 10.0  # on a busy host


class Desk:
    """A guard without listeners: Ledger, policy, and its kernel process on the guard's host."""

    def __init__(self, hosts: Hosts, ledger: Ledger | None = None, syn_rate: int = 0) -> None:
        self.hosts = hosts
        self.health: list[str] = []
        self.ledger = ledger or Ledger(SETTINGS.policy, (), time.time)
        guard = Guard(
            SETTINGS, self.ledger, clock=time.time, account_secret=b"a", password_secret=b"p" * 16
        )
        self.sock, self.process = hosts.spawn(syn_rate=syn_rate, syn_burst=5)
        self.enforcement = Enforcement(
            SETTINGS,
            Prepared((), (self.sock, self.process), ""),
            self.ledger,
            guard,
            Chronicle(Log(lambda _lines: None)),
            Health(self._say),
            clock=time.time,
        )
        self.enforcement.pages.close()
        self.enforcement.restored.set()

    def _say(self, part: str, error: GatekeeperError | None) -> None:
        self.health.append(f"{part}: {error or 'ok'}")

    def ban(self, text: str, seconds: float = 600.0) -> None:
        made = self.ledger.ban(
            Prefix.parse(text),
            Scope.AUTH,
            Reason.OPERATOR,
            seconds=seconds,
            origin=Origin.OPERATOR,
        )
        assert made is not None

    def banned(self) -> set[str]:
        return {str(ban.prefix) for ban in self.ledger.bans()}

    async def in_kernel(self, *texts: str) -> None:
        """Wait until the kernel holds just these of scope auth."""
        await self.until_held(lambda held: held == set(texts))

    async def until_held(self, condition: Callable[[set[str]], bool]) -> None:
        with trio.fail_after(SOON_S):
            while True:
                try:
                    held = {str(each.prefix) for each in await self.enforcement.enforcer.held()}
                except GatekeeperError:
                    held = {"nobody answers"}
                if condition(held):
                    return
                await trio.sleep(0.01)

    async def until_in_kernel(self, text: str) -> None:
        """Wait until the kernel holds this one of scope auth, however many others."""
        with trio.fail_after(3 * SOON_S):
            while True:
                prefix = Prefix.parse(text)
                if await self.enforcement.enforcer.remaining_s(prefix, Scope.AUTH) is not None:
                    return
                await trio.sleep(0.01)

    def nft(self, command: str) -> None:
        self.hosts.guard.command("nft", command)


async def until(condition: Callable[[], bool], within_s: float = SOON_S) -> None:
    """Wait for what the kernel and its process do in their own time."""
    with trio.fail_after(within_s):
        while not condition():  # noqa: ASYNC110  # nobody could set an event
            await trio.sleep(0.01)


@pytest.fixture
async def desk(hosts: Hosts, nursery: trio.Nursery) -> AsyncIterator[Desk]:
    made = Desk(hosts)
    nursery.start_soon(made.enforcement.run)
    yield made
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("command", ["flush ruleset", f"delete table {TABLE}"])
async def test_a_table_taken_away_is_back_with_its_bans(desk: Desk, command: str) -> None:
    desk.ban(ONE)
    await desk.in_kernel(ONE)
    desk.nft(command)
    await desk.in_kernel(ONE)
    assert desk.hosts.dropped(ONE, Hosts.AUTH)
    assert desk.banned() == {ONE}
    assert desk.enforcement.report()["repaired"] == {"missing": 1}


async def test_rules_taken_away_are_back(desk: Desk) -> None:
    desk.ban(ONE)
    await desk.in_kernel(ONE)
    desk.nft(f"flush chain {TABLE} prerouting")
    with trio.fail_after(SOON_S):
        while not await trio.to_thread.run_sync(desk.hosts.dropped, ONE, Hosts.AUTH):
            pass
    assert desk.banned() == {ONE}


async def test_an_element_deleted_by_hand_is_an_unban(desk: Desk) -> None:
    desk.ban(ONE)
    desk.ban(TWO)
    await desk.in_kernel(ONE, TWO)
    desk.nft(f"delete element {TABLE} ban4_auth {{ {ONE} }}")
    await until(lambda: desk.banned() == {TWO})
    desk.enforcement.reconciler.compare()
    await desk.in_kernel(TWO)
    assert desk.hosts.welcome(ONE, Hosts.AUTH)


async def test_an_element_added_by_hand_is_a_ban(desk: Desk) -> None:
    await desk.in_kernel()
    desk.nft(f"add element {TABLE} ban4_auth {{ {ONE} timeout 1h }}")
    await until(lambda: desk.banned() == {ONE})
    (ban,) = desk.ledger.bans()
    assert ban.origin is Origin.OPERATOR
    assert 3500 < ban.remaining_s(time.time()) <= 3600


async def test_a_full_set_is_said_and_goes_on_when_there_is_room(desk: Desk) -> None:
    nets = [Prefix(bytes([11, i >> 8, i & 255, 0]), 24) for i in range(65_536)]
    desk.ledger.restore([_ban()._replace(prefix=net) for net in nets])
    desk.enforcement.reconciler.compare()
    await desk.until_in_kernel(str(nets[-1]))
    desk.ban("12.0.0.0/24")
    await until(lambda: any("set is full" in line for line in desk.health), within_s=30)
    desk.ban(ONE)  # of another set, and held up by nobody
    await desk.until_in_kernel(ONE)
    for net in nets[:256]:
        desk.ledger.lift(net, Scope.AUTH)
    await desk.until_in_kernel("12.0.0.0/24")
    await until(lambda: desk.health[-1] == "enforcer: ok")


async def test_somebody_elses_long_transaction_stops_no_session(desk: Desk) -> None:
    await desk.in_kernel()
    numbers = ", ".join(f"{10 + (i >> 16)}.{i >> 8 & 255}.{i & 255}.1" for i in range(200_000))
    text = "table ip other {\nset big {\ntype ipv4_addr\n}\n}\n"
    text += f"add element ip other big {{ {numbers} }}\n"
    done = trio.Event()
    turns = 0

    async def transaction() -> None:
        await trio.to_thread.run_sync(
            lambda: desk.hosts.guard.command("nft", "-f", "-", stdin=text)
        )
        done.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(transaction)
        while not done.is_set():
            await trio.sleep(0.01)
            turns += 1
            if turns == 10:
                desk.ban(ONE)
    assert turns > 20  # it takes seconds, in which the loop goes on
    await desk.in_kernel(ONE)


async def test_a_kernel_process_that_was_killed_is_there_again(desk: Desk) -> None:
    desk.ban(ONE)
    await desk.in_kernel(ONE)
    for text in (TWO, "10.9.9.9"):  # it may be killed again
        desk.nft("flush set inet gatekeeper ban4_mx")  # news are on their way as it dies
        (child,) = children(desk.process.pid)
        os.kill(child, signal.SIGKILL)
        desk.ban(text)
        await desk.until_held({ONE, text}.issubset)
    assert desk.process.poll() is None
    assert desk.hosts.dropped(ONE, Hosts.AUTH)
    assert desk.hosts.dropped(TWO, Hosts.AUTH)
    assert desk.banned() == {ONE, TWO, "10.9.9.9"}


async def test_without_any_kernel_process_the_guard_says_so_and_bans_stay(desk: Desk) -> None:
    desk.ban(ONE)
    await desk.in_kernel(ONE)
    os.kill(desk.process.pid, signal.SIGKILL)  # the parent, and with it the child
    await trio.to_thread.run_sync(desk.process.wait)
    desk.ban(TWO)
    await until(lambda: any("is gone" in line for line in desk.health))
    assert desk.banned() == {ONE, TWO}
    assert desk.hosts.dropped(ONE, Hosts.AUTH)


async def test_a_guard_that_was_killed_leaves_its_bans_and_finds_them(
    hosts: Hosts, nursery: trio.Nursery
) -> None:
    async with trio.open_nursery() as life:
        first = Desk(hosts)
        life.start_soon(first.enforcement.run)
        first.ban(ONE)
        first.ban(TWO)
        await first.in_kernel(ONE, TWO)
        life.cancel_scope.cancel()
    first.sock.close()  # as the end of its process does
    await trio.to_thread.run_sync(first.process.wait)
    assert hosts.dropped(ONE, Hosts.AUTH)

    kept = Ledger(SETTINGS.policy, (), time.time)  # as a Store would have it: without the second
    kept.restore([ban for ban in first.ledger.bans() if str(ban.prefix) == ONE])
    kept.restore([_ban()._replace(prefix=Prefix.parse("10.9.9.9"))])
    second = Desk(hosts, kept)
    nursery.start_soon(second.enforcement.run)
    await second.in_kernel(ONE, TWO, "10.9.9.9")
    await until(lambda: second.banned() == {ONE, TWO, "10.9.9.9"})
    assert second.enforcement.report()["repaired"] == {"missing": 1, "unknown": 1}
    nursery.cancel_scope.cancel()


async def test_a_flood_is_a_short_ban_that_escalates_nothing(
    hosts: Hosts, nursery: trio.Nursery
) -> None:
    desk = Desk(hosts, syn_rate=1)
    nursery.start_soon(desk.enforcement.run)
    await desk.in_kernel()
    while await trio.to_thread.run_sync(hosts.welcome_at_once, ONE, Hosts.AUTH):
        pass
    await until(lambda: desk.banned() == {ONE})
    assert {(ban.scope, ban.reason) for ban in desk.ledger.bans()} == {
        (scope, Reason.SYN_FLOOD) for scope in Scope
    }
    desk.ledger.lift(Prefix.parse(ONE), Scope.AUTH)
    later = desk.ledger.ban(Prefix.parse(ONE), Scope.AUTH, Reason.AUTH_FAILURES)
    assert later is not None
    assert later.level == 1
    nursery.cancel_scope.cancel()


async def test_connections_of_other_processes_are_reset(desk: Desk) -> None:
    await desk.in_kernel()
    with desk.hosts.open(ONE, Hosts.AUTH) as mine, desk.hosts.open(TWO, Hosts.AUTH) as others:
        desk.ban(ONE)
        with pytest.raises(ConnectionResetError):
            await trio.to_thread.run_sync(mine.recv, 1)
        others.settimeout(0.25)
        with pytest.raises(TimeoutError):
            others.recv(1)


def children(pid: int) -> list[int]:
    """The processes that this one started."""
    return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def _ban() -> Ban:
    now = time.time()
    return Ban(Prefix.parse(ONE), Scope.AUTH, Reason.OPERATOR, 1, now, now + 600.0)


def test_the_operator_reads_the_table(hosts: Hosts) -> None:
    hosts.spawn(syn_rate=25)
    text = hosts.guard.run(
        subprocess.check_output, ["nft", "-t", "list", "table", "inet", "gatekeeper"], text=True
    )
    assert text.count("comment") >= 18
    assert "limit rate over 25/second" in text
