"""`gatekeeper run` in the guard's namespace, with bans in its database."""

import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

import trio

from bench import configs
from bench.ban_ends import BACKEND_PORT, Ends
from bench.kernel.stage import GUARDED, address, fresh
from bench.proxies import GuardProcess, guard_command, guard_environment, process_tree, stop
from bench.workshop import BUILD, OUT, Certificates
from demo.namespaces import GUARD, PERSON, Namespaces
from gatekeeper.ban import Ban, Scope
from gatekeeper.store.sqlite import SqliteStore
from gatekeeper.verdict import Reason

_READY_S: Final = 60.0
_RETRY_S: Final = 0.05  # with less the kernel would take it for a flood: 25 connections a second
_MEMORY_S: Final = 30 * 86_400.0
_LASTING_S: Final = 48 * 3600.0  # longer than a database is kept here
_KEPT_S: Final = 6 * 3600.0
_PAGE: Final = 20_000
CERTIFICATES: Final = Certificates(
    ecdsa=BUILD / "ecdsa.pem",
    ecdsa_key=BUILD / "ecdsa.key",
    rsa=BUILD / "rsa.pem",
    rsa_key=BUILD / "rsa.key",
    bundle=BUILD / "bundle.pem",
)


class Guard:
    """One that is running."""

    def __init__(self, process: subprocess.Popen[bytes], directory: Path) -> None:
        self.process = process
        self.began = time.perf_counter()
        self._log = directory / "output.log"

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def pids(self) -> list[int]:
        """With the kernel process and its keeper."""
        return process_tree(self.pid)

    def await_service(self, ends: Ends) -> float:
        """Until the first login has succeeded; seconds from the start. Raises `RuntimeError`."""
        while True:
            try:
                ends.login(PERSON)
                return time.perf_counter() - self.began
            except ConnectionRefusedError as error:
                if self.process.poll() is not None or self._late():
                    raise RuntimeError(f"the guard does not listen: {self.said()}") from error
            time.sleep(_RETRY_S)

    def await_started(self, *, kernel: bool) -> None:
        """Until it says that it has started, with or without the kernel. Raises `RuntimeError`."""
        while " started " not in self.said():
            if self._late():
                raise RuntimeError(f"the guard does not start: {self.said()}")
            time.sleep(0.01)
        if f" kernel={str(kernel).lower()} " not in self.said():
            raise RuntimeError(f"the guard is not what was asked for: {self.said()}")

    def said(self) -> str:
        """Its log."""
        return self._log.read_text(errors="replace")

    def _late(self) -> bool:
        return time.perf_counter() - self.began > _READY_S


@contextlib.contextmanager
def running(
    namespaces: Namespaces, directory: Path, *, nft: bool = True, xdp: str = ""
) -> Iterator[Guard]:
    """A guard with what is in `directory`, ended with the block; its bans stay in the kernel."""
    text = configs.banning(GUARD, GUARDED, BACKEND_PORT, CERTIFICATES, directory)
    enforce = f"nft = {str(nft).lower()}" + (f'\nxdp = ["{xdp}"]' if xdp else "")
    file = directory / "gatekeeper.conf"
    file.write_text(text.replace("nft = true", enforce))
    with namespaces.guard_side(), (directory / "output.log").open("wb") as output:
        process = subprocess.Popen(
            [*guard_command(GuardProcess()), str(file)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=guard_environment(),
        )
    try:
        yield Guard(process, directory)
    finally:
        stop(process)


def remembering(name: str, count: int) -> Path:
    """A directory for a guard whose database holds the first `count` addresses of the stage.

    Large databases take long to write: they are kept for some hours.
    """
    directory = fresh(name)
    if count:
        shutil.copy(_database(count), directory / "state" / configs.BANS)
    return directory


def bans(first: int, last: int) -> Iterator[Ban]:
    """What a database holds, made a minute ago."""
    now = time.time()
    for number in range(first, last):
        until = now + _LASTING_S + number % 500_000
        yield Ban(address(number), Scope.AUTH, Reason.AUTH_FAILURES, 1, now - 60, until)


def _database(count: int) -> Path:
    kept = OUT / "kernel" / f"bans-{count}.db"
    if not kept.exists() or time.time() - kept.stat().st_mtime > _KEPT_S:
        kept.unlink(missing_ok=True)
        made = kept.with_suffix(".new")
        made.unlink(missing_ok=True)
        trio.run(_write, made, count)
        made.rename(kept)
    return kept


async def _write(path: Path, count: int) -> None:
    store = await SqliteStore.open(path, _MEMORY_S)
    written = bans(0, count)
    while page := list(islice(written, _PAGE)):
        await store.record(page, time.time())
    await store.aclose()
