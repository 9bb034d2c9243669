"""The scene: a directory, certificates, the backend's process, the guard's process, the people."""

import contextlib
import functools
import json
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from demo import namespaces
from demo.cast import Cast
from demo.clients import Account, Origin, Somebody
from demo.guard import (
    CHECKOUT,
    LISTENERS,
    Guard,
    GuardError,
    Plan,
    free_ports,
    guard_user,
    make_certificates,
)
from demo.namespaces import Namespaces

ACCOUNT: Final = Account("anna@example.org", "correct-horse")
LOOPBACK: Final = "127.0.0.1"
_TOOL_S: Final = 10.0
_BACKEND_LOG: Final = "backend.log"


@dataclass(frozen=True, slots=True)
class Scene:
    """What is running."""

    guard: Guard
    backend: subprocess.Popen[str]
    cast: Cast
    server: str  # the guard's address for the reader's own tries
    ports: Mapping[str, int]  # by listener, for the same


@contextlib.contextmanager
def scene(spaces: Namespaces | None, *, observe: bool) -> Iterator[Scene]:
    """Build everything, and take it down in the end. Raises `GuardError`."""
    beside_guard = spaces.guard_side if spaces else contextlib.nullcontext
    with contextlib.ExitStack() as stack:
        directory = Path(tempfile.mkdtemp(prefix="gatekeeper-demo-"))
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        with beside_guard():
            backend = stack.enter_context(_backend(directory / _BACKEND_LOG))
        plan = _plan(directory, spaces, _ports_of(backend), observe=observe)
        _prepare(directory, plan.hosts)
        with beside_guard():
            guard = Guard(plan)
        stack.callback(guard.stop)
        server = namespaces.GUARD if spaces else LOOPBACK
        yield Scene(guard, backend, _cast(directory, spaces, plan, guard), server, plan.ports)


def _plan(
    directory: Path, spaces: Namespaces | None, backends: Mapping[str, int], *, observe: bool
) -> Plan:
    mode = "observe" if observe else "enforce"
    if spaces is None:
        ports = free_ports(2)
        return Plan(directory, (LOOPBACK,), ports[0], backends, False, mode, pretended=ports[1])
    hosts = ("0.0.0.0", "::") if spaces.ipv6 else ("0.0.0.0",)
    fixed = {listener.name: listener.port for listener in LISTENERS}
    return Plan(directory, hosts, fixed, backends, True, mode)


def _prepare(directory: Path, hosts: tuple[str, ...]) -> None:
    """Certificates, and a directory that the guard can use when it is no longer root."""
    names = ["localhost", LOOPBACK, namespaces.GUARD]
    if "::" in hosts:
        names += ["::1", namespaces.GUARD_V6]
    make_certificates(directory / "certificates", names)
    if os.geteuid() == 0:
        for path in (directory, *directory.rglob("*")):
            shutil.chown(path, guard_user())


@contextlib.contextmanager
def _backend(log: Path) -> Iterator[subprocess.Popen[str]]:
    """The backend's process, which ends when its standard input does."""
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "demo.backend"],
            cwd=CHECKOUT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            start_new_session=True,  # Ctrl-C is the demo's
        )
    try:
        assert process.stdin is not None, "it was asked for"
        process.stdin.write(json.dumps({ACCOUNT.user: ACCOUNT.password}) + "\n")
        process.stdin.flush()
        yield process
    finally:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=_TOOL_S)
        process.kill()
        process.wait()


def _ports_of(backend: subprocess.Popen[str]) -> dict[str, int]:
    assert backend.stdout is not None, "it was asked for"
    try:
        ports: dict[str, int] = json.loads(backend.stdout.readline())
    except ValueError as error:
        raise GuardError("the demo's backend did not start") from error
    return ports


def _cast(directory: Path, spaces: Namespaces | None, plan: Plan, guard: Guard) -> Cast:
    context = ssl.create_default_context(cafile=str(directory / "certificates" / "ca.pem"))

    def somebody(address: str) -> Somebody:
        if spaces is None:
            return Somebody(Origin(address, LOOPBACK, pretended=True), context)
        server = namespaces.GUARD_V6 if ":" in address else namespaces.GUARD
        return Somebody(Origin(address, server), context)

    return Cast(
        person=somebody(namespaces.PERSON),
        person_v6=somebody(namespaces.PERSON_V6) if spaces and spaces.ipv6 else None,
        stranger=somebody(namespaces.STRANGER),
        attacker=somebody(namespaces.ATTACKER),
        account=ACCOUNT,
        ports=plan.pretended or plan.ports,
        nft=functools.partial(_nft, spaces) if spaces else None,
        gatekeeper=guard.command,
        asked=functools.partial(asked, directory / _BACKEND_LOG),
    )


def asked(log: Path, address: str) -> int:
    """How many wrong passwords from `address` the backend has heard, by its own log."""
    return sum(line.startswith(f"refused {address} ") for line in log.read_text().splitlines())


def _nft(spaces: Namespaces, *words: str) -> str:
    """What `nft WORDS` prints beside the guard. Raises `GuardError` where it fails."""
    with spaces.guard_side():
        done = subprocess.run(
            ["nft", *words], check=False, capture_output=True, text=True, timeout=_TOOL_S
        )
    if done.returncode != 0:
        raise GuardError(f"nft {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout
