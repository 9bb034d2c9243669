"""Notices to a program: real scripts, good ones and bad ones."""

import json
import os
import time
from pathlib import Path

import pytest
import trio

from gatekeeper import notices
from gatekeeper.errors import DeliveryError
from gatekeeper.messengers import Program

BODY = notices.encoded(notices.zone("zen.example", "refused"), "mail.example.org", 1.0)
DEADLINE_S = 20.0  # real; for a script that answers at once, on a busy machine


def script(directory: Path, *lines: str) -> Path:
    path = directory / "hook.sh"
    path.write_text("#!/bin/sh\n" + "\n".join(lines) + "\n", encoding="utf-8")
    path.chmod(0o755)
    return path


async def failure(path: Path, deadline_s: float = DEADLINE_S, body: bytes = BODY) -> str:
    with pytest.raises(DeliveryError) as raised:
        await Program(path, deadline_s).send(body)
    return str(raised.value)


async def test_a_program_gets_the_notice_and_nothing_of_the_guards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_GUARD", "x")
    hook = script(
        tmp_path, f"cat > {tmp_path}/body", f"env > {tmp_path}/env", f"pwd > {tmp_path}/pwd",
        f"ls -l /proc/self/fd > {tmp_path}/fds",
    )  # fmt: skip
    inherited = os.open(tmp_path, os.O_RDONLY)
    try:
        await Program(hook, DEADLINE_S).send(BODY)
    finally:
        os.close(inherited)
    assert json.loads((tmp_path / "body").read_text())["subject"] == "zen.example"
    names = {line.partition("=")[0] for line in (tmp_path / "env").read_text().splitlines()}
    assert names <= {"PATH", "LANG", "PWD", "SHLVL", "_", "OLDPWD"}
    assert (tmp_path / "pwd").read_text() == "/\n"
    fds = (tmp_path / "fds").read_text()
    assert str(tmp_path) + "\n" not in fds.replace(f"{tmp_path}/fds", "")


async def test_a_program_need_not_read_and_may_write_without_end(tmp_path: Path) -> None:
    hook = script(
        tmp_path, "exec 0<&-", "head -c 3000000 /dev/zero", "head -c 3000000 /dev/zero >&2"
    )
    await Program(hook, DEADLINE_S).send(BODY)


@pytest.mark.parametrize(
    ("line", "words"),
    [("exit 3", "it ended with status 3"), ("kill -9 $$", "it was killed by signal 9")],
)
async def test_a_program_that_fails_is_told_of(tmp_path: Path, line: str, words: str) -> None:
    assert await failure(script(tmp_path, "cat > /dev/null", line)) == words


async def test_a_program_that_is_gone_or_no_program_is_told_of(tmp_path: Path) -> None:
    assert await failure(tmp_path / "none") == f"{tmp_path}/none: No such file or directory"
    hook = script(tmp_path, "exit 0")
    hook.write_bytes(b"\x7fELF nonsense")
    assert "Exec format error" in await failure(hook)
    hook.chmod(0o644)
    assert "Permission denied" in await failure(hook)


async def test_a_program_that_hangs_is_killed_with_all_it_has_started(tmp_path: Path) -> None:
    hook = script(
        tmp_path, "trap '' TERM INT HUP", f"sleep 1000 & echo $! > {tmp_path}/child", "sleep 1000"
    )
    before = time.monotonic()
    assert await failure(hook, 0.5) == "it took longer than 0.5 s"
    assert time.monotonic() - before < 10
    assert await trio.to_thread.run_sync(is_gone, int((tmp_path / "child").read_text()))


async def test_a_body_it_does_not_read_does_not_hang_it(tmp_path: Path) -> None:
    hook = script(tmp_path, "exit 0")
    await Program(hook, DEADLINE_S).send(b"x" * 1_000_000)


async def test_cancelling_leaves_nothing(tmp_path: Path) -> None:
    hook = script(tmp_path, f"echo $$ > {tmp_path}/pid", "exec sleep 1000")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Program(hook, 1000.0).send, BODY)
        with trio.fail_after(DEADLINE_S):
            await trio.to_thread.run_sync(wait_for, tmp_path / "pid")
        nursery.cancel_scope.cancel()
    assert is_gone(int((tmp_path / "pid").read_text()))


def wait_for(path: Path) -> None:
    """Until a script has written into the file."""
    while not path.exists() or not path.read_text():
        time.sleep(0.01)


def is_gone(pid: int) -> bool:
    """Whether a killed process is one no more, or a zombie that its new parent has yet to see."""
    until = time.monotonic() + DEADLINE_S
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.01)
    return False
