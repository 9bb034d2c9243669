"""Transparent mode as the guard sees it: where is dialled, by whom, and who keeps the kernel ready.

`gatekeeper.enforce.keeper` is the process that does the last, `gatekeeper.kernel.dial` what is done
for a dial. Nothing here loads pyroute2, which the guard has no use for.
"""

import contextlib
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final

from gatekeeper.errors import EnforcerError, PermissionMissing
from gatekeeper.kernel.options import Options, Target, arguments
from gatekeeper.settings import Endpoint

READY: Final = b"ready"  # the keeper's last line; those before it are doubts
START_TIMEOUT_S: Final = 20.0  # imports, netlink, and a trial of backends that do not answer
END_S: Final = 5.0
_SAID_MAX_OCTETS: Final = 64 * 1024
_EX_NOPERM: Final = 77


def targets(endpoints: Iterable[Endpoint]) -> tuple[Target, ...]:
    """Numeric endpoints as the privileged processes take them, each once, in their order."""
    return tuple(dict.fromkeys(map(_target, endpoints)))


def endpoint(target: Target) -> Endpoint:
    """The endpoint of a target."""
    return Endpoint(socket.inet_ntop(family(target), target.packed), target.port)


def family(target: Target) -> socket.AddressFamily:
    """The address family of a target."""
    return socket.AF_INET if len(target.packed) == 4 else socket.AF_INET6


class KernelDialler:
    """Implements `gatekeeper.abc.Dialler`: asks the kernel process, which knows its targets by
    their numbers since it was started. `ask` is `KernelClient.dial`."""

    def __init__(
        self, ask: Callable[[int, str, int], Awaitable[socket.socket]], known: Sequence[Target]
    ) -> None:
        self._ask = ask
        self._numbers = {each: number for number, each in enumerate(known)}

    async def dial(self, target: Endpoint, source: str, port: int) -> socket.socket:
        """See `Dialler.dial`."""
        number = self._numbers.get(_target(target))
        if number is None:
            raise EnforcerError("the kernel process was not started with it: that takes a restart")
        sock = await self._ask(number, source, port)
        sock.setblocking(False)  # it is; this object, made of the descriptor, does not know
        return sock


def spawn_keeper(known: Sequence[Target]) -> tuple[subprocess.Popen[bytes], list[str]]:
    """Start the keeper and wait until all is there; the process, and its doubts.

    Called before rights are dropped; blocks. It ends, and takes all away, when its standard input
    is closed, by us or by our end. What it mends later it says on our standard error output.
    Raises `PermissionMissing` or `EnforcerError`; then nothing is left running.
    """
    command = [sys.executable, "-I", "-m", "gatekeeper.enforce.keeper"]
    try:
        process = subprocess.Popen(  # noqa: S603  # our own interpreter and module
            [*command, *arguments(Options(dial=tuple(known)))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd="/",
            env={},
        )
    except OSError as error:
        raise EnforcerError(f"transparent: cannot start the keeper: {error}") from error
    try:
        said = _hear(process).splitlines()
        if said[-1:] != [READY]:
            raise _why(process, b" ".join(said[-1:]).decode(errors="replace"))
    except BaseException:
        process.kill()
        end_keeper(process)
        raise
    return process, [line.decode(errors="replace") for line in said[:-1]]


def end_keeper(process: subprocess.Popen[bytes]) -> None:
    """Have the keeper take all away, and wait for its end a little: it ends by itself."""
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(END_S)


def _hear(process: subprocess.Popen[bytes]) -> bytes:
    """What it says until it is ready, or has ended, or the time is over."""
    assert process.stdout is not None, "it was made with a pipe"
    said = b""
    deadline = time.monotonic() + START_TIMEOUT_S
    while not said.endswith(READY + b"\n") and len(said) < _SAID_MAX_OCTETS:
        left_s = max(deadline - time.monotonic(), 0)
        if not select.select([process.stdout], [], [], left_s)[0]:
            raise EnforcerError("transparent: the keeper does not answer")
        octets = os.read(process.stdout.fileno(), _SAID_MAX_OCTETS)
        if not octets:
            break
        said += octets
    return said


def _why(process: subprocess.Popen[bytes], said: str) -> Exception:
    """What to raise for a keeper that ended, and what it said last."""
    if process.wait(START_TIMEOUT_S) == _EX_NOPERM:
        return PermissionMissing(f"transparent: {said}")
    return EnforcerError(f"transparent: {said or 'the keeper did not start'}")


def _target(endpoint: Endpoint) -> Target:
    version = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
    return Target(socket.inet_pton(version, endpoint.host), endpoint.port)
