"""The host lacks what the guard needs: a disk with room, a free port, directories it may write to.

What can go on goes on and says so; what cannot start says in one line why, with its exit code.
"""

import contextlib
import os
import pwd
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .certificates import Authority, Pair
from .guard_process import COMMAND, Guard, Service, configuration, guard
from .line_client import LineClient
from .processes import run_tool, wait_until
from .sink import Sink, sink

BANNED = "192.0.2.66"
LATER = "192.0.2.67"
FILLER = "filler"


def pairs(public: Path) -> list[Pair]:
    """A certificate, which a listener without TLS does not show."""
    return [Authority.make(public / "host-trouble-pki").issue("x", "localhost")]


@pytest.fixture
def behind() -> Iterator[Sink]:
    with sink() as one:
        yield one


@contextlib.contextmanager
def small_disk(path: Path) -> Iterator[None]:
    """A file system of 1 MiB at `path`, the guard's."""
    path.mkdir(parents=True)
    options = f"size=1m,mode=0700,uid={pwd.getpwnam('nobody').pw_uid}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", path], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


def remount(path: Path, mode: str) -> None:
    """Make the file system `ro` or `rw`."""
    subprocess.run(["mount", "-o", f"remount,{mode}", path], check=True)


def fill(path: Path) -> None:
    """Leave no octet."""
    with (path / FILLER).open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass
    assert os.statvfs(path).f_bfree == 0


def serves(running: Guard) -> bool:
    with LineClient(running.ports["mx"]) as client:
        return client.reply().startswith(b"220 ")


def store_health(running: Guard) -> str:
    """What `gatekeeper status` says of the Store."""
    lines = running.command("status", expect=None).splitlines()
    return next(line for line in lines if line.startswith("store_health")).split(maxsplit=1)[1]


def test_a_disk_that_cannot_be_written_to_costs_nothing_but_time(
    public: Path, behind: Sink
) -> None:
    directory = public / "host-trouble"
    disk = directory / "state"
    services = [Service("mx", "smtp", "none", behind.smtp_port)]
    with small_disk(disk):
        with guard(directory, services, pairs(public)) as running:
            _full(running, disk)
        remount(disk, "ro")
        with guard(directory, services, pairs(public)) as running:
            _read_only(running, disk)
        with guard(directory, services, pairs(public)) as running:
            listed = running.command("ban", "list")
            assert BANNED in listed
            assert LATER in listed


def _full(running: Guard, disk: Path) -> None:
    """It goes on from memory, says so once, and writes what it owes when there is room."""
    fill(disk)
    running.command("ban", "add", BANNED, "--for", "1h")
    assert store_health(running).endswith("database or disk is full")
    assert running.log().count("health part=store") == 1
    assert serves(running)
    (disk / FILLER).unlink()
    wait_until(lambda: store_health(running) == "ok", "the store")


def _read_only(running: Guard, disk: Path) -> None:
    """What the last life wrote is read; the rest is as above."""
    assert BANNED in running.command("ban", "list")
    running.command("ban", "add", LATER, "--for", "1h")
    why = "gatekeeper.db: cannot be used as the database: Read-only file system"
    assert store_health(running).endswith(why)
    assert serves(running)
    remount(disk, "rw")
    wait_until(lambda: store_health(running) == "ok", "the store")


def test_what_keeps_it_from_starting_is_one_line(public: Path, behind: Sink) -> None:
    directory = public / "cannot-start"
    run = directory / "run"
    run.mkdir(parents=True)
    services = [Service("mx", "smtp", "none", 1)]
    file = directory / "gatekeeper.toml"
    file.write_text(configuration(directory, services, {"mx": behind.smtp_port}, pairs(public)))
    assert run_tool(COMMAND, "run", "-c", file, expect=78) == (
        f"gatekeeper: mx: 127.0.0.1:{behind.smtp_port}: Address already in use\n"
    )
    run.rmdir()
    run.write_text("")
    said = run_tool(COMMAND, "run", "-c", file, expect=78)
    assert said == f"gatekeeper: {run}: not a directory (named in {file}:5)\n"
