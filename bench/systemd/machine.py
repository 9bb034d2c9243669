"""A Debian tree that is booted by systemd-nspawn: its own processes, network and control groups.

A boot is a real one for everything here: systemd starts as process 1 with an empty /run, and the
network namespace is new, so that no table of nftables is left of the one before. The kernel is the
host's. A reboot ends nspawn with 133 (systemd-nspawn(1), `--keep-unit`), and it is started again.
"""

import contextlib
import importlib.metadata
import os
import shutil
import subprocess
import sysconfig
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PACKAGES: Final = (
    "systemd,systemd-sysv,dbus,udev,python3,python3-venv,nftables,libnftables1,iproute2,procps"
)
GUARD: Final = "/opt/gatekeeper/current/bin/gatekeeper"
REBOOTED: Final = 133
BOOT_S: Final = 90.0
_VERSION: Final = "bench"


def make_tree(path: Path, suite: str) -> None:
    """A fresh Debian of `suite`. Takes some 30 s, and a mirror."""
    options = ("--quiet", "--variant=minbase", f"--include={PACKAGES}")
    subprocess.run(["mmdebstrap", *options, suite, str(path)], check=True)


def install(tree: Path) -> None:
    """Put this checkout into the tree, with what it depends on: all of it is Python alone."""
    home = tree / "opt/gatekeeper"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    inside(tree, "python3", "-m", "venv", "--without-pip", f"/opt/gatekeeper/{_VERSION}")
    (home / "current").symlink_to(_VERSION)
    (site,) = (home / _VERSION / "lib").glob("python3*/site-packages")
    here = Path(sysconfig.get_path("purelib"))
    for file in _dependencies():
        target = site / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(here / file, target)
    for name in ("gatekeeper", "nft"):
        shutil.copytree(ROOT / name, site / name, ignore=shutil.ignore_patterns("__pycache__"))
    command = home / _VERSION / "bin/gatekeeper"
    command.write_text(
        f"#!{os.path.dirname(GUARD)}/python\nfrom gatekeeper.cli import main\nmain()\n"
    )
    command.chmod(0o755)
    units = tree / "etc/systemd/system"
    for unit in (ROOT / "systemd").glob("*.s*"):
        shutil.copy(unit, units)


def inside(tree: Path, *command: str) -> None:
    """Run a command in a tree that is not booted."""
    subprocess.run(["chroot", tree, *command], check=True, stdout=subprocess.DEVNULL)


def _dependencies() -> Iterator[Path]:
    """The files of everything that is installed beside this Python and locked for use."""
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        name, equals, _ = line.partition("==")
        if not equals or "sys_platform ==" in line or "os_name ==" in line:
            continue
        for file in importlib.metadata.files(name) or ():
            if ".." not in file.parts and file.suffix != ".pyc":
                yield Path(file)


@dataclass
class Machine:
    """A booted tree."""

    tree: Path
    log: Path
    boots: int = 0
    over: bool = False
    _process: subprocess.Popen[bytes] | None = None

    def run(self, *command: str, check: bool = True, timeout_s: float = 120) -> str:
        """What a command in the machine prints, both outputs."""
        enter = ["nsenter", "-t", str(self._leader()), "-m", "-u", "-i", "-n", "-p", "-C", "--"]
        done = subprocess.run(
            [*enter, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=timeout_s,
        )
        if check and done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stdout}")
        return done.stdout.strip()

    def shell(self, script: str, *, check: bool = True) -> str:
        """As `run`, for the shell."""
        return self.run("sh", "-c", script, check=check)

    def wait_for(self, script: str, within_s: float = BOOT_S) -> float:
        """Wait until the shell finds `script` true; the seconds it took."""
        begun = time.monotonic()
        while True:
            with contextlib.suppress(RuntimeError, OSError, ValueError):
                self.shell(script)
                return time.monotonic() - begun
            if time.monotonic() - begun > within_s:
                raise RuntimeError(f"not within {within_s:g} s: {script}\n{self._journal()}")
            time.sleep(0.05)

    def _journal(self) -> str:
        with contextlib.suppress(RuntimeError, OSError, ValueError):
            return self.run("journalctl", "-b", "--no-pager", "-n", "40")
        return ""

    def _leader(self) -> int:
        pid = self._process.pid if self._process is not None else 0
        children = Path(f"/proc/{pid}/task/{pid}/children")
        found = children.read_text().split() if children.exists() else []
        if not found:
            raise RuntimeError("it is not booted")
        return int(found[0])

    def reboot(self) -> None:
        """Reboot it, and wait until it has begun to."""
        boots = self.boots
        self.run("systemctl", "reboot", check=False)
        deadline = time.monotonic() + BOOT_S
        while self.boots == boots:
            if time.monotonic() > deadline:
                raise RuntimeError("it does not reboot")
            time.sleep(0.05)

    def kill(self) -> None:
        """End it the hard way, if it is still there."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    def keep_booted(self) -> None:
        """Boot it, and again whenever it reboots, until it is `over` or switched off."""
        with self.log.open("ab") as output:
            while not self.over:
                self._process = subprocess.Popen(
                    _nspawn(self.tree),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env=os.environ | {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
                )
                self.boots += 1
                if self._process.wait() != REBOOTED:
                    return


def _nspawn(tree: Path) -> list[str]:
    # Rights as on a real machine. nspawn's own filter of system calls forbids Landlock and bpf.
    filtered = "landlock_create_ruleset landlock_add_rule landlock_restrict_self bpf"
    return [
        *("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--console=pipe"),
        *("--capability=all", f"--system-call-filter={filtered}"),
        *("--rlimit=RLIMIT_NOFILE=1024:524288", "--private-network"),
        *(f"--directory={tree}", f"--machine=gatekeeper-{os.getpid()}", "--boot"),
    ]


@contextlib.contextmanager
def booted(tree: Path, log: Path) -> Iterator[Machine]:
    """The machine, running until the block ends."""
    machine = Machine(tree, log)
    keeper = threading.Thread(target=machine.keep_booted, daemon=True)
    keeper.start()
    try:
        yield machine
    finally:
        machine.over = True
        with contextlib.suppress(RuntimeError, OSError, ValueError):
            machine.run("systemctl", "poweroff", check=False)
        keeper.join(BOOT_S)
        machine.kill()
