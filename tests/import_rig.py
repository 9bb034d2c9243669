"""What the tests of `gatekeeper import` share: a control socket, and the bans behind it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from click.testing import CliRunner, Result
from control_rig import DEFAULTS, Rig, served

from gatekeeper.ban import Ban
from gatekeeper.cli import cli
from gatekeeper.prefix import Prefix

EXEMPT = Prefix.parse("198.51.100.7")
BAN_MAX_S = DEFAULTS.policy.ban_max_s


@asynccontextmanager
async def rigged(directory: Path) -> AsyncIterator[Rig]:
    """A guard that never bans `EXEMPT`."""
    async with served(directory, never=(EXEMPT,)) as rig:
        yield rig


async def run(rig: Rig, *arguments: str, stdin: str = "") -> Result:
    """What `gatekeeper import ARGUMENTS` does."""
    command = ["import", *arguments, "--socket", str(rig.path)]
    return await trio.to_thread.run_sync(lambda: CliRunner().invoke(cli, command, input=stdin))


def held(rig: Rig) -> dict[tuple[str, str], Ban]:
    """The bans in force, by prefix and scope."""
    return {(str(ban.prefix), ban.scope.value): ban for ban in rig.bench.ledger.bans()}


def seconds(rig: Rig, prefix: str, scope: str = "auth") -> float:
    """How long a ban lasts in all."""
    ban = held(rig)[prefix, scope]
    return ban.until - ban.since
