"""The privileged process itself: who may ask, what it may do, how it starts and says no."""

import ctypes
import json
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gatekeeper.enforce.spawn import KERNEL

from .hosts import Hosts
from .namespace import Ns

pytestmark = pytest.mark.netns

COMMAND = [sys.executable, *KERNEL]
NOBODY = 65_534
_PR_CAPBSET_DROP, _CAP_NET_ADMIN = 24, 12
_libc = ctypes.CDLL(None)
ONE_BAN = [["10.77.0.2", 32, "auth", 600]]


def ask(sock: socket.socket, **fields: object) -> dict[str, Any]:
    """One question and its answer."""
    sock.settimeout(5.0)
    sock.send(json.dumps(fields).encode())
    answer: dict[str, Any] = json.loads(sock.recv(65_536))
    return answer


def told(sock: socket.socket) -> dict[str, Any]:
    """What is told unasked next."""
    sock.settimeout(5.0)
    event: dict[str, Any] = json.loads(sock.recv(65_536))
    return event


def connect(path: Path) -> socket.socket:
    """Ask for a connection, as the user this thread is."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sock.settimeout(5.0)
    try:
        sock.connect(str(path))
    except OSError:
        sock.close()
        raise
    return sock


@pytest.fixture
def host() -> Iterator[Ns]:
    with Ns() as made:
        yield made


@pytest.fixture
def listening(host: Ns, tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Starts a listening kernel process with these options; the path of its socket."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*options: str) -> Path:
        path = tmp_path / "kernel.sock"
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with listener:
            listener.bind(str(path))
            listener.listen()
            command = [*COMMAND, "--fd", str(listener.fileno()), "--ports-auth=993", *options]
            started.append(host.run(subprocess.Popen, command, pass_fds=[listener.fileno()]))
        return path

    yield start
    for process in started:
        process.terminate()
        assert process.wait(10) == 0


def test_a_listener_serves_several_guards_and_tells_each_of_a_rebuilt_table(
    host: Ns, listening: Callable[..., Path]
) -> None:
    path = listening("--peer-uid", "0")
    with connect(path) as one, connect(path) as other:
        assert told(one) == told(other) == {"event": "started"}
        assert ask(one, verb="hello", id=1) == {"id": 1, "version": 2, "xdp": {}}
        assert ask(other, verb="ban", entries=ONE_BAN, id=4) == {"id": 4}
        host.command("nft", "flush", "ruleset")
        assert told(one) == told(other) == {"event": "rebuilt"}
        assert ask(one, verb="hello", id=2) == {"id": 2, "version": 2, "xdp": {}}
    with connect(path) as later:
        assert told(later) == {"event": "started"}
        assert ask(later, verb="hello", id=3) == {"id": 3, "version": 2, "xdp": {}}


def test_a_stranger_is_hung_up_on(listening: Callable[..., Path]) -> None:
    path = listening("--peer-uid", str(NOBODY))
    with connect(path) as root:  # not even root is the guard
        assert root.recv(100) == b""


def test_a_socket_path_belongs_to_the_guards_user(host: Ns, tmp_path: Path) -> None:
    path = tmp_path / "kernel.sock"
    path.touch()
    command = [*COMMAND, "--socket", str(path), "--peer-uid", str(NOBODY), "--ports-auth=993"]
    process = host.run(subprocess.Popen, command)
    try:
        while not path.is_socket() or path.stat().st_uid != NOBODY:
            assert process.poll() is None
        assert path.stat().st_mode & 0o777 == 0o600
    finally:
        process.terminate()
        process.wait(10)


def test_without_the_capability_it_says_so(host: Ns) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        done = host.run(
            subprocess.run,
            [*COMMAND, "--fd", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            capture_output=True,
            check=False,
            preexec_fn=_forbid_net_admin,
        )
    assert done.returncode == 77
    assert b"CAP_NET_ADMIN" in done.stderr


def _forbid_net_admin() -> None:
    """In the child, before it executes: root without CAP_NET_ADMIN."""
    assert _libc.prctl(_PR_CAPBSET_DROP, _CAP_NET_ADMIN, 0, 0, 0) == 0


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--socket", "/nonexistent/kernel.sock"],
        ["--fd", "0", "--ports-auth=0"],
        ["--fd", "0", "--ports-auth=http"],
        ["--fd", "0", "--ports-auth=25", "--ports-mx=25"],
        ["--fd", "0", "--never=192.0.2.0/33"],
        ["--fd", "0", "--por=25"],
    ],
)
def test_wrong_options_are_a_usage_error(options: list[str]) -> None:
    assert subprocess.run([*COMMAND, *options], capture_output=True, check=False).returncode == 2


def test_a_descriptor_of_another_kind_is_refused(host: Ns) -> None:
    command = [*COMMAND, "--fd", "0", "--ports-auth=993"]
    done = host.run(
        subprocess.run, command, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    assert done.returncode == 1
    assert b"gatekeeper.kernel: " in done.stderr


def test_lists_are_read_in_pages_and_only_once_begun(hosts: Hosts) -> None:
    sock, _ = hosts.spawn()
    assert "error" in ask(sock, verb="list", start=False)
    ask(sock, verb="ban", entries=ONE_BAN)
    page = ask(sock, verb="list", start=True)
    assert page["more"]
    assert (page["scope"], page["length"]) == ("auth", 32)
    assert page["records"][:8] == "0a4d0002"
    # A walk through a set whose table grows may meet an element twice (linux/rhashtable.h).
    for _, remaining_ms in struct.iter_unpack("!4sI", bytes.fromhex(page["records"])):
        assert 0 < remaining_ms <= 600_000
    assert ask(sock, verb="list", start=False, id=3) == {"id": 3, "more": False}
    assert "error" in ask(sock, verb="list", start=False)
