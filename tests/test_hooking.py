"""Hooks in a running guard: taken over as a whole or not at all, and no hindrance at the end."""

import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import trio
import trio.testing
from fake_resolver import FakeResolver
from guard_bench import SETTINGS, Bench, client
from hooks_rig import write

from gatekeeper import hooking
from gatekeeper.control_words import Arguments
from gatekeeper.errors import ConfigError
from gatekeeper.events import HelloAttempt, MailProtocol
from gatekeeper.hooking import Hooking, hook_verbs
from gatekeeper.settings import HookSettings, Settings

PEER = client(protocol=MailProtocol.SMTP)
HELLO = HelloAttempt("client.example", True)
SAYS = "from gatekeeper.hooks import *\ndef helo(event, facts): return refuse('{}')"


def settings(*files: Path) -> Settings:
    return replace(SETTINGS, hooks=HookSettings(files))


def judging(*files: Path) -> Hooking:
    return Hooking(settings(*files), Bench().guard, FakeResolver(), lambda *_: None)


async def said(judge: Hooking) -> str:
    return (await judge.judge(HELLO, PEER)).text


async def test_a_reload_takes_the_new_ones_or_keeps_the_old(tmp_path: Path) -> None:
    before = set(sys.modules)
    path = write(tmp_path / "hooks.py", SAYS.format("one"))
    judge = judging(path)
    assert await said(judge) == "one"
    write(path, SAYS.format("two"))
    await judge.reconfigure(settings(path))
    assert await said(judge) == "two"
    for wrong in ("def helo(:", "1/0", "raise SystemExit", "x = 1"):
        write(path, wrong)
        with pytest.raises(ConfigError, match=str(path)):
            await judge.reconfigure(settings(path))
        assert await said(judge) == "two"
    await judge.reconfigure(settings())
    assert await said(judge) == ""
    assert judge.report() == {}
    assert set(sys.modules) <= before, "no file's module is left behind"


async def test_a_reload_leaves_the_sessions_alone_and_waits_for_no_endless_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    monkeypatch.setattr(threading, "gate", gate, raising=False)
    monkeypatch.setattr(hooking, "LOAD_S", 0.1)
    path = write(tmp_path / "hooks.py", SAYS.format("one"))
    judge = judging(path)
    write(path, "import threading\nthreading.gate.wait()\n" + SAYS.format("two"))
    asked = False

    async def session() -> None:
        nonlocal asked
        asked = await said(judge) == "one"

    async with trio.open_nursery() as nursery:
        nursery.start_soon(session)
        with pytest.raises(ConfigError, match=r"hooks.py: has not ended in 0\.1 s"):
            await judge.reconfigure(settings(path))
    assert asked
    gate.set()


def test_a_guard_does_not_start_with_a_file_of_no_use(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        judging(tmp_path / "hooks.py")


async def test_an_operator_is_told_of_each(tmp_path: Path) -> None:
    path = write(tmp_path / "hooks.py", f"{SAYS.format('x')}\ndef mail(e, f): pass")
    judge = judging(path)
    await said(judge)
    assert judge.report() == {"hooks": "2 ok"}
    reply = "".join(await hook_verbs(judge)["hooks"](Arguments({})))
    assert '"hook": "hooks.py:helo", "called": "thread", "state": "ok", "calls": 1' in reply
    write(path, "def helo(e, f): 1/0")
    await judge.reconfigure(settings(path))
    await said(judge)
    assert judge.report() == {"hooks": "hooks.py:helo failing"}


ENDS = """
import threading, sys
from gatekeeper.hooking import end_despite_threads
threading.Thread(target=threading.Event().wait, daemon={daemon}).start()
print("written", flush=True)
end_despite_threads()
print("went on")
"""


@pytest.mark.parametrize("daemon", [True, False])
def test_the_process_ends_in_spite_of_a_hooks_threads(daemon: bool) -> None:
    code = ENDS.format(daemon=daemon)
    done = subprocess.run([sys.executable, "-c", code], timeout=20, capture_output=True, check=True)
    assert done.stdout == (b"written\nwent on\n" if daemon else b"written\n")


async def test_a_hook_that_will_not_end_does_not_keep_the_guard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    text = """
        import trio
        async def helo(event, facts):
            with trio.CancelScope(shield=True):
                await trio.sleep(100)
    """
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    judge = judging(write(tmp_path / "hooks.py", text))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(judge.run)
        await trio.testing.wait_all_tasks_blocked()
        assert await said(judge) == ""
        assert ended == []
        nursery.cancel_scope.cancel()
    assert ended == [0]
