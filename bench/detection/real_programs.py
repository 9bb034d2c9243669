"""fail2ban and CrowdSec as Debian ships them, unpacked and never installed.

So no service starts, nothing registers with CrowdSec's central interface, and no firewall, user or
directory of this machine is touched: fail2ban is imported from the unpacked tree, CrowdSec is run
from it.
"""

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.workshop import OUT

HOME: Final = OUT / "real"
_DOWNLOAD_S: Final = 300.0


class MissingError(Exception):
    """Debian's archive could not be asked."""


@dataclass(frozen=True, slots=True)
class Program:
    """An unpacked package: `tree` is its root directory."""

    name: str
    version: str
    tree: Path


def program(name: str) -> Program:
    """The package `name`, downloaded once. Raises MissingError with apt's words."""
    where = HOME / name
    where.mkdir(parents=True, exist_ok=True)
    if not list(where.glob("*.deb")):
        _run(["apt-get", "download", "-qq", name], where)
    (archive,) = where.glob("*.deb")
    tree = where / "tree"
    if not tree.exists():
        _run(["dpkg-deb", "-x", archive.name, "tree"], where)
    return Program(name, _run(["dpkg-deb", "-f", archive.name, "Version"], where).strip(), tree)


def _run(command: list[str], where: Path) -> str:
    try:
        done = subprocess.run(
            command, cwd=where, capture_output=True, text=True, check=True, timeout=_DOWNLOAD_S
        )
    except FileNotFoundError as error:
        raise MissingError(f"this is no Debian: {error}") from error
    except subprocess.CalledProcessError as error:
        raise MissingError(f"{' '.join(command)}: {error.stderr.strip()}") from error
    return done.stdout
