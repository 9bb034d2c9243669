"""A real guard on a virtual clock behind a real control socket, and commands that talk to it."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import trio
from click.testing import CliRunner, Result
from guard_bench import SETTINGS, Bench, client
from legs import a_session

from gatekeeper.account_verbs import AccountVerbs
from gatekeeper.ban import Scope
from gatekeeper.ban_verbs import BanVerbs
from gatekeeper.cli import cli
from gatekeeper.control import Control, serve
from gatekeeper.enforce.memory import MemoryEnforcer
from gatekeeper.errors import EnforcerError
from gatekeeper.events import AuthResult, Client
from gatekeeper.explain import Explain
from gatekeeper.log import Log
from gatekeeper.pausing import Pause
from gatekeeper.prefix import Prefix
from gatekeeper.safety_verbs import SafetyVerbs
from gatekeeper.sessions import Session, SessionTable
from gatekeeper.settings import PolicySettings, Settings
from gatekeeper.verdict import Action, Verdict

DEFAULTS = replace(SETTINGS, policy=PolicySettings())
HOME = client("198.51.100.7")


class Enforcer(MemoryEnforcer):
    """A kernel that holds what it is told to; it may hang or fail."""

    hangs = fails = suspended = False

    async def suspend(self, *, on: bool) -> None:
        if self.fails:
            raise EnforcerError("the kernel process is gone")
        self.suspended = on

    async def gone(self, *_: object) -> None:
        """What every call does when the process is gone."""
        raise EnforcerError("the kernel process is gone")

    async def remaining_s(self, prefix: Prefix, scope: Scope) -> float | None:
        if self.hangs:
            await trio.sleep_forever()
        if self.fails:
            raise EnforcerError("the kernel process is gone")
        return await super().remaining_s(prefix, scope)


@dataclass
class Rig:
    """The parts behind the socket."""

    path: Path
    bench: Bench
    enforcer: Enforcer
    table: SessionTable
    pause: Pause
    logged: list[bytes]
    log: Log

    async def ask(self, verb: str, **arguments: object) -> dict[str, Any]:
        """The reply to one request."""
        async with await trio.open_unix_socket(str(self.path)) as stream:
            await stream.send_all(json.dumps({"verb": verb} | arguments).encode() + b"\n")
            line = bytearray()
            while not line.endswith(b"\n"):
                octets = await stream.receive_some(65536)
                assert octets, line
                line += octets
        reply: dict[str, Any] = json.loads(line)
        return reply

    async def run(self, *arguments: str) -> Result:
        """What `gatekeeper ARGUMENTS` does here."""
        line = [*arguments, "--socket", str(self.path)]
        return await trio.to_thread.run_sync(lambda: CliRunner().invoke(cli, line))

    async def login(
        self, who: Client, password: str, account: str = "ann", *, right: str = "right"
    ) -> Verdict:
        """One login as a session does it: the backend is asked where the guard lets it be."""
        verdict = await self.bench.attempt(who, password, account)
        if verdict.action <= Action.DELAY:
            result = AuthResult.SUCCESS if password == right else AuthResult.FAILURE
            verdict = await self.bench.outcome(who, password, account, result)
        self.bench.now += 10
        return verdict

    def session(self, account: str, address: str = HOME.address) -> Session:
        """A session that is logged in."""
        session = a_session(address)
        session.authcid = account
        self.table.add(session)
        self.table.established(session)
        return session

    async def hold(self) -> None:
        """The kernel holds every ban the Ledger has now."""
        await self.enforcer.apply(self.bench.bans(), self.bench.now)


@asynccontextmanager
async def served(
    directory: Path, settings: Settings = DEFAULTS, never: tuple[Prefix, ...] = ()
) -> AsyncIterator[Rig]:
    """A rig whose socket answers until the block ends."""
    bench = Bench(settings, never)
    table = SessionTable(lambda _session: None, lambda _session, _error: None)
    enforcer = Enforcer(lambda: bench.now)
    pause = Pause(
        enforcer,
        (bench.guard.suspend,),
        clock=lambda: bench.now,
        on_begin=lambda _seconds, _note: None,
        on_end=lambda _why: None,
    )
    logged: list[bytes] = []
    log = Log(logged.append)
    rig = Rig(directory / "control.sock", bench, enforcer, table, pause, logged, log)
    accounts = AccountVerbs(bench.guard, table, lambda: bench.now)
    explain = Explain(bench.guard, bench.ledger, rig.enforcer, accounts, lambda: bench.now)
    safety = SafetyVerbs(bench.guard, bench.ledger, enforcer, pause)
    bans = BanVerbs(bench.ledger, lambda: settings.policy.ban_max_s)
    control = Control(
        bench.ledger,
        rig.enforcer,
        table,
        lambda: bench.guard.report() | pause.report(),
        lambda: bench.now,
        {**accounts.verbs(), **explain.verbs(), **safety.verbs(), **bans.verbs()},
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pause.run)
        await nursery.start(serve, rig.path, control, log)
        yield rig
        nursery.cancel_scope.cancel()
    await log.aclose()
