"""The guard as operators run it: `gatekeeper run -c FILE`, a process of its own."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from .certificates import Pair
from .processes import free_ports, run_tool, start, stop, wait_ready

COMMAND = Path(sys.executable).with_name("gatekeeper")
STARTED = " started "  # once in the log for each life of a guard
TomlValue = str | int | float | bool | Sequence[str]


@dataclass(frozen=True, slots=True)
class Service:
    """One listener with a backend of its own, both named `name`."""

    name: str
    protocol: str  # smtp | submission | imap
    tls: str  # implicit | starttls | none
    backend_port: int
    announce: str = "none"
    backend: dict[str, TomlValue] = field(default_factory=dict)  # further keys of the backend
    backend_host: str = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Guard:
    """A running guard. `ports` are those of its services on `host`."""

    directory: Path
    process: subprocess.Popen[bytes]
    ports: dict[str, int]
    host: str = "127.0.0.1"

    @property
    def configuration(self) -> Path:
        """The file it was started with."""
        return self.directory / "gatekeeper.toml"

    def log(self) -> str:
        """All it has printed so far."""
        return (self.directory / "log").read_text(errors="replace")

    def rss_octets(self) -> int:
        """Its resident memory, that of its own child processes not counted."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("the guard is gone")

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.process.pid, number)

    def command(self, *arguments: str, expect: int | None = 0) -> str:
        """What `gatekeeper ARGUMENTS` prints when it is given this guard's configuration."""
        return run_tool(COMMAND, *arguments, "-c", self.configuration, expect=expect)


def toml(table: str, values: dict[str, TomlValue]) -> str:
    """One TOML table; JSON's strings, numbers and arrays are TOML's too."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    return "\n".join([table, *lines, ""]) + "\n"


def configuration(
    directory: Path,
    services: Sequence[Service],
    ports: dict[str, int],
    pairs: Sequence[Pair],
    *,
    host: str = "127.0.0.1",
    nft: bool = False,
    extra: str = "",
) -> str:
    """The text of a configuration whose state lies below `directory`; `extra` ends it. Where that
    names no resolver nobody answers, at once: tests ask no DNS of the host's."""
    parts = [
        toml(
            "",
            {
                "hostname": "guard.example.test",
                "user": "nobody",
                "state_dir": str(directory / "state"),
                "run_dir": str(directory / "run"),
            },
        ),
        toml(
            "[tls]",
            {
                "certificate": [str(pair.certificate) for pair in pairs],
                "private_key": [str(pair.private_key) for pair in pairs],
            },
        ),
        toml("[enforce]", {"nft": nft}),
        toml("[store]", {"url": f"sqlite://{directory / 'state/gatekeeper.db'}"}),
    ]
    if "[dns]" not in extra:
        parts.append(toml("[dns]", {"servers": ["127.0.0.1:1"]}))
    for service in services:
        name = service.name
        listener: dict[str, TomlValue] = {
            "name": name,
            "protocol": service.protocol,
            "bind": [f"{host}:{ports[name]}"],
            "tls": service.tls,
            "backend": name,
        }
        backend: dict[str, TomlValue] = {
            "address": f"{service.backend_host}:{service.backend_port}",
            "announce": service.announce,
            **service.backend,
        }
        parts += [toml("[[listener]]", listener), toml(f"[backend.{name}]", backend)]
    return "".join(parts) + extra


@contextmanager
def guard(
    directory: Path,
    services: Sequence[Service],
    pairs: Sequence[Pair],
    *,
    host: str = "127.0.0.1",
    nft: bool = False,
    extra: str = "",
) -> Iterator[Guard]:
    """Run the guard below `directory` until the block ends, then check that it ended well."""
    ports = dict(zip((one.name for one in services), free_ports(len(services)), strict=True))
    for name in ("state", "run"):
        (directory / name).mkdir(parents=True, exist_ok=True)  # a second life has the first one's
        # It becomes this user before it opens its database and its control socket.
        if (directory / name).owner() != "nobody":  # what can only be read is given to nobody
            shutil.chown(directory / name, "nobody")
    file = directory / "gatekeeper.toml"
    file.write_text(
        configuration(directory, services, ports, pairs, host=host, nft=nft, extra=extra)
    )

    log = directory / "log"
    lives = log.read_text().count(STARTED) if log.exists() else 0
    process = start([COMMAND, "run", "-c", file], log)
    running = Guard(directory, process, ports, host)

    try:
        # It listens earlier, but answers, and heeds signals, only from here.
        wait_ready(process, lambda: running.log().count(STARTED) > lives, log)
        yield running
    finally:
        status = stop(process)
    assert status == 0, f"the guard ended with {status}:\n{running.log()}"
    assert "Traceback" not in running.log()
