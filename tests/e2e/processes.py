"""Running programs privately: ports, readiness and an end that leaves nothing behind.

Nothing here waits a fixed time: readiness is polled, and an end is a wait for the exit.
"""

import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

POLL_S = 0.01
READY_S = 15.0
STOP_S = 10.0
# Below the kernel's range for outgoing connections, so that no client takes a port meant to listen.
PORT_RANGE = range(20_000, 32_000)


def free_ports(count: int) -> list[int]:
    """`count` distinct ports that nothing on loopback listens on now."""
    ports: list[int] = []
    for port in random.sample(PORT_RANGE, len(PORT_RANGE)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        ports.append(port)
        if len(ports) == count:
            return ports
    raise AssertionError("no free ports on loopback")


def wait_until(condition: Callable[[], T], what: str, timeout_s: float = READY_S) -> T:
    """The first true result of `condition`; AssertionError naming `what` after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:g} s: {what}")
        time.sleep(POLL_S)
    return result


def greets(port: int, expected: bytes, hello: bytes = b"") -> bool:
    """Whether a server on loopback answers `hello` (or a mere connect) with `expected`."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as peer:
            peer.sendall(hello)
            return peer.recv(512).startswith(expected)
    except OSError:
        return False


@contextmanager
def public_directory(name: str) -> Iterator[Path]:
    """A short-lived directory that other users may enter.

    pytest's own are for one user only, but mail servers and the guard drop their rights; and the
    sockets in it need a short path (108 octets).
    """
    path = Path(tempfile.mkdtemp(prefix=f"gk-{name}-"))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def start(
    arguments: Sequence[str | Path],
    log: Path,
    environment: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a server in the foreground of a session of its own; its output goes to `log`."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [os.fspath(argument) for argument in arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            pass_fds=pass_fds,
            start_new_session=True,
        )


def stop(process: subprocess.Popen[bytes]) -> int:
    """End a server with SIGTERM, its whole session with SIGKILL where that is not enough."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
    return process.returncode


def wait_ready(process: subprocess.Popen[bytes], condition: Callable[[], bool], log: Path) -> None:
    """Wait until a started server is ready; its output is the message where it is not."""

    def is_ready() -> bool:
        assert process.poll() is None, f"it ended by itself:\n{log.read_text()}"
        return condition()

    wait_until(is_ready, f"ready is what writes {log}")


def run_tool(
    *arguments: str | Path, stdin: bytes = b"", timeout_s: float = 20.0, expect: int | None = 0
) -> str:
    """Run a client to its end and return all it printed; `expect` None takes any exit status."""
    done = subprocess.run(
        [os.fspath(argument) for argument in arguments],
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=timeout_s,
        check=False,
    )
    output = done.stdout.decode(errors="replace")
    if expect is not None:
        assert done.returncode == expect, f"{arguments[0]} ended with {done.returncode}:\n{output}"
    return output
