"""`gatekeeper notify test`, over a real control socket; and what has no messenger at all."""

from pathlib import Path

import trio
import trio.testing
from click.testing import CliRunner, Result
from control_rig import served
from test_notify import Fake

from gatekeeper.cli import cli
from gatekeeper.control import Control, serve
from gatekeeper.log import Log
from gatekeeper.notify import Herald
from gatekeeper.notify_verbs import PATIENCE_S, notify_verbs


async def tried(directory: Path, *messengers: Fake) -> Result:
    """What `gatekeeper notify test` does with these messengers."""
    async with served(directory) as rig:
        herald = Herald(messengers, "mail.example.org", rig.log)
        control = Control(
            rig.bench.ledger, rig.enforcer, rig.table, dict, lambda: 0.0, notify_verbs(herald)
        )
        path = directory / "notify.sock"
        async with trio.open_nursery() as nursery:
            await nursery.start(serve, path, control, Log(lambda _octets: None))
            line = ["notify", "test", "--socket", str(path)]
            result = await trio.to_thread.run_sync(lambda: CliRunner().invoke(cli, line))
            nursery.cancel_scope.cancel()
    return result


async def test_all_took_it(tmp_path: Path) -> None:
    program, webhook = Fake(), Fake("webhook")
    result = await tried(tmp_path, program, webhook)
    assert (result.exit_code, result.stdout) == (0, "exec: taken\nwebhook: taken\n")
    assert [body["kind"] for body in program.bodies + webhook.bodies] == ["test", "test"]


async def test_one_did_not_take_it(tmp_path: Path) -> None:
    failing = Fake("webhook", failure="hooks.example: HTTP status 404")
    result = await tried(tmp_path, Fake(), failing)
    assert (result.exit_code, result.stdout) == (1, "exec: taken\n")
    assert result.stderr == "gatekeeper: webhook: not taken: hooks.example: HTTP status 404\n"


async def test_nobody_is_named(tmp_path: Path) -> None:
    result = await tried(tmp_path)
    assert result.exit_code == 3
    assert result.stderr == (
        "gatekeeper: nobody is to be told: [notify] in the configuration names neither exec nor"
        " webhook\n"
    )


async def test_one_that_hangs_is_told_of_in_time(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    autojump_clock.autojump_threshold = 0.5  # a real command and a real socket are in between
    result = await tried(tmp_path, Fake(takes_s=1000.0))
    assert result.exit_code == 1
    assert f"no word within {PATIENCE_S:g} s" in result.stderr
