"""The demo's guard: a configuration, and `gatekeeper run` as operators run it."""

import contextlib
import json
import os
import pwd
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CHECKOUT: Final = Path(__file__).parent.parent
# The console script's content: it runs wherever this interpreter does.
COMMAND: Final = (sys.executable, "-c", "from gatekeeper.cli import main; main()")
MAKE_CERTIFICATES: Final = CHECKOUT / "certs-example" / "make-certificates"

START_S: Final = 30.0
STOP_S: Final = 10.0
_LOOPBACK: Final = "127.0.0.1"
BAN_FIRST_S: Final = 12  # long enough to be looked at, short enough to wait for

# The tour has a minute: the same tarpit as by default, at a quarter of its length.
_POLICY: Final = {
    "tarpit_base": "250ms",
    "tarpit_max": "2s",
    "ban_first": f"{BAN_FIRST_S}s",
}


@dataclass(frozen=True, slots=True)
class Listener:
    """One guarded service and the part of the backend behind it."""

    name: str
    protocol: str
    tls: str
    port: int
    backend: str


LISTENERS: Final = (
    Listener("mx", "smtp", "starttls", 10025, "mx"),
    Listener("submission", "submission", "starttls", 10587, "submission"),
    Listener("submissions", "submission", "implicit", 10465, "submission"),
    Listener("imaps", "imap", "implicit", 10993, "imap"),
    Listener("imap", "imap", "starttls", 10143, "imap"),
)


class GuardError(Exception):
    """The guard, or what it needs, could not be started; the text says why."""


def make_certificates(directory: Path, names: Sequence[str]) -> None:
    """A throw-away CA and server certificates below `directory`. Raises `GuardError`."""
    command = [str(MAKE_CERTIFICATES), "-d", str(directory), "-t", "2", *names]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise GuardError(f"make-certificates: {done.stderr.strip()}")


def free_ports(sets: int) -> list[dict[str, int]]:
    """That many different ports on 127.0.0.1 for each listener: its own where that is free, else
    others."""
    found = []
    with contextlib.ExitStack() as held:
        for _ in range(sets):
            ports = {}
            for listener in LISTENERS:
                sock = held.enter_context(socket.socket())
                try:
                    sock.bind((_LOOPBACK, listener.port))
                except OSError:
                    sock.bind((_LOOPBACK, 0))
                ports[listener.name] = int(sock.getsockname()[1])
            found.append(ports)
    return found


@dataclass(frozen=True, slots=True)
class Plan:
    """What the configuration is made of."""

    directory: Path
    hosts: tuple[str, ...]  # addresses to listen on
    ports: Mapping[str, int]  # by listener
    backends: Mapping[str, int]  # ports on 127.0.0.1
    nft: bool
    mode: str = "enforce"
    pretended: Mapping[str, int] | None = None  # ports of the twins that believe PROXY headers

    def text(self) -> str:
        """The configuration file."""
        return "\n".join(
            [
                *self._top(),
                *(self._listener(each, self.ports[each.name]) for each in LISTENERS),
                *(self._twin(each, port) for each, port in self._twins()),
                *(self._backend(name, port) for name, port in self.backends.items()),
            ]
        )

    def _top(self) -> list[str]:
        certificates = self.directory / "certificates"
        kinds = ("ecdsa", "rsa")
        return [
            table(
                "",
                mode=self.mode,
                hostname="guard.example.org",
                user=guard_user(),
                state_dir=str(self.directory / "state"),
                run_dir=str(self.directory / "run"),
            ),
            table(
                "[tls]",
                certificate=[str(certificates / f"fullchain-{kind}.pem") for kind in kinds],
                private_key=[str(certificates / f"privkey-{kind}.pem") for kind in kinds],
            ),
            table("[enforce]", nft=self.nft),
            table("[store]", url=f"sqlite://{self.directory / 'state' / 'gatekeeper.db'}"),
            table("[policy]", **_POLICY),
            table(
                "[limits]", drain="2s"
            ),  # Ctrl-C is to end it, not to wait for a reader's session
        ]

    def _listener(self, listener: Listener, port: int, name: str = "", **more: object) -> str:
        return table(
            "[[listener]]",
            name=name or listener.name,
            protocol=listener.protocol,
            bind=[f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host in self.hosts],
            tls=listener.tls,
            backend=listener.backend,
            **more,
        )

    def _twins(self) -> list[tuple[Listener, int]]:
        ports = self.pretended or {}
        return [(each, ports[each.name]) for each in LISTENERS if each.name in ports]

    def _twin(self, listener: Listener, port: int) -> str:
        name = f"{listener.name}-balanced"
        return self._listener(listener, port, name, proxy_protocol_from=["127.0.0.1"])

    def _backend(self, name: str, port: int) -> str:
        return table(f"[backend.{name}]", address=f"127.0.0.1:{port}", announce="proxy-v2")


def table(title: str, **values: object) -> str:
    """One TOML table; JSON's strings, numbers, booleans and lists are TOML's as well."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    return "\n".join([*([title] if title else []), *lines, ""])


def guard_user() -> str:
    """Whom the guard becomes: as root it gives its rights up, else there are none."""
    return "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name


class Guard:
    """The running process."""

    def __init__(self, plan: Plan) -> None:
        """Starts it where the calling thread is. Raises `GuardError`."""
        self.configuration = plan.directory / "gatekeeper.toml"
        self.log = plan.directory / "gatekeeper.log"
        self.configuration.write_text(plan.text())
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*COMMAND, "run", "-c", str(self.configuration)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is the demo's: it ends the guard in order
            )
        try:
            self._await_start(kernel=plan.nft)
        except BaseException:
            self.stop()
            raise

    def _await_start(self, *, kernel: bool) -> None:
        deadline = time.monotonic() + START_S
        while " started " not in (said := self.log.read_text(errors="replace")):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise GuardError(f"the guard did not start:\n{said.strip()}")
            time.sleep(0.05)
        if kernel and " kernel=true " not in said:
            raise GuardError(f"the guard cannot use the kernel here:\n{said.strip()}")

    def command(self, *words: str) -> str:
        """What `gatekeeper WORDS -c FILE` prints. Raises `GuardError` where it fails."""
        command = [*COMMAND, *words, "-c", str(self.configuration)]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=STOP_S)
        if done.returncode != 0:
            raise GuardError(f"gatekeeper {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def stop(self) -> int:
        """SIGTERM, and SIGKILL where that is not enough; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()
