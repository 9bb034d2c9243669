"""Debian's fail2ban, unpacked and run as its own service does, in the guard's namespace.

As shipped but for: the dovecot jail is on and reads a file of ours, bans are nftables', and no
mail is sent. Its `auto` backend is pyinotify where Debian's recommended package is installed, which
is unpacked here too, or else polling.
"""

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bench.detection.real_programs import program
from bench.kernel.stage import fresh
from demo.namespaces import GUARD, Namespaces

RETRIES: Final = 5  # Debian's default
_READY_S: Final = 20.0
_FOUND_S: Final = 10.0
_STOP_S: Final = 10.0
_PYTHON: Final = "/usr/bin/python3"  # Debian's own, for which the package is made
_JAIL: Final = """\
[DEFAULT]
banaction = nftables
backend = {backend}
[sshd]
enabled = false
[dovecot]
enabled = true
logpath = {log}
"""


class Fail2ban:
    """One that is running."""

    def __init__(self, directory: Path) -> None:
        self._log = directory / "mail.log"
        self._own = directory / "fail2ban.log"

    def fail(self, source: str) -> None:
        """A line of Dovecot's about a wrong password."""
        now = datetime.now(UTC).strftime("%b %d %H:%M:%S")
        line = (
            f"{now} mail dovecot: imap-login: Disconnected: Connection closed (auth failed, "
            f"1 attempts in 2 secs): user=<someone>, method=PLAIN, rip={source}, lip={GUARD}, "
            "TLS, session=<0123456789abcdef>\n"
        )
        with self._log.open("a") as file:
            file.write(line)

    def await_found(self, source: str, count: int) -> None:
        """Until it has read so many failures. Raises `TimeoutError`."""
        deadline = time.monotonic() + _FOUND_S
        while self._own.read_text().count(f"Found {source} ") < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"fail2ban does not find: {self._own.read_text()[-2000:]}")
            time.sleep(0.05)

    def await_ready(self, process: subprocess.Popen[bytes]) -> None:
        """Until its jail runs. Raises `RuntimeError`."""
        deadline = time.monotonic() + _READY_S
        while "Jail 'dovecot' started" not in self.said():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"fail2ban does not start: {self.said()}")
            time.sleep(0.05)

    def said(self) -> str:
        """Its log."""
        return self._own.read_text() if self._own.exists() else ""


def packages() -> list[Path]:
    """fail2ban and its modules, unpacked, downloaded once. Raises `MissingError`."""
    return [program(name).tree for name in ("fail2ban", "python3-pyinotify")]


@contextlib.contextmanager
def running(namespaces: Namespaces, trees: list[Path], backend: str) -> Iterator[Fail2ban]:
    """A server whose only jail is Dovecot's, of these `packages`, ended with the block."""
    package = trees[0]
    directory = fresh(f"fail2ban-{backend}")
    config = directory / "etc"
    shutil.copytree(package / "etc/fail2ban", config)
    (directory / "mail.log").touch()
    (config / "jail.local").write_text(_JAIL.format(backend=backend, log=directory / "mail.log"))
    (config / "fail2ban.local").write_text("[Definition]\ndbfile = None\n")
    words = [
        *(_PYTHON, str(package / "usr/bin/fail2ban-server"), "-f", "-x"),
        *("-c", str(config), "-s", str(directory / "socket"), "-p", str(directory / "pid")),
        *("--logtarget", str(directory / "fail2ban.log")),
    ]
    modules = os.pathsep.join(str(each / "usr/lib/python3/dist-packages") for each in trees)
    # The clock's zone is that of the lines: fail2ban takes them for local time.
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": modules, "TZ": "UTC"}
    with namespaces.guard_side(), (directory / "output.log").open("wb") as output:
        process = subprocess.Popen(
            [*words, "start"], stdout=output, stderr=subprocess.STDOUT, env=environment
        )
    try:
        started = Fail2ban(directory)
        started.await_ready(process)
        yield started
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
