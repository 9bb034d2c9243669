"""What a service manager hands over and hears: real sockets, and a manager that is a socket."""

import fcntl
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from gatekeeper.errors import ConfigError
from gatekeeper.systemd import STATUS_S, Notifier, inherited

PROGRAM = """
import os, sys
for number, descriptor in enumerate(sys.argv[1:], 3):  # as systemd numbers them
    os.dup2(int(descriptor), number)
os.environ["LISTEN_PID"] = os.environ.get("PRETEND_PID") or str(os.getpid())
from gatekeeper.systemd import inherited
for each in inherited():
    print(each.name, each.socket.getsockname()[1], each.socket.getblocking(),
          os.get_inheritable(each.socket.fileno()))
print(sorted(key for key in os.environ if key.startswith("LISTEN_")))
"""


def started(sockets: list[socket.socket], **environment: str) -> list[str]:
    """What a process says that is started with `sockets` as systemd starts one."""
    high = [fcntl.fcntl(sock, fcntl.F_DUPFD, 60) for sock in sockets]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, high)],
        pass_fds=high,
        env=environment | {"PYTHONPATH": str(Path(__file__).parent.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    for descriptor in high:
        os.close(descriptor)
    return done.stdout.splitlines()


@pytest.fixture
def sockets() -> Iterator[list[socket.socket]]:
    """Two listening sockets, their descriptors beyond those they are passed as."""
    made = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    yield made
    for each in made:
        each.close()


def test_sockets_come_with_their_names_and_go_no_further(sockets: list[socket.socket]) -> None:
    ports = [sock.getsockname()[1] for sock in sockets]
    assert started(sockets, LISTEN_FDS="2", LISTEN_FDNAMES="imaps:smtp") == [
        f"imaps {ports[0]} False False",
        f"smtp {ports[1]} False False",
        "[]",
    ]


def test_sockets_without_names_are_unknown(sockets: list[socket.socket]) -> None:
    ports = [sock.getsockname()[1] for sock in sockets]
    said = started(sockets, LISTEN_FDS="2")
    assert said == [f"unknown {port} False False" for port in ports] + ["[]"]


def test_sockets_of_another_process_are_left_alone(sockets: list[socket.socket]) -> None:
    assert started(sockets, LISTEN_FDS="2", PRETEND_PID="1") == ["[]"]


def test_what_is_no_socket_is_told_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    monkeypatch.setattr("gatekeeper.systemd._FIRST", reading)
    mine = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "imaps"}
    with pytest.raises(ConfigError, match=rf"descriptor {reading} \(imaps\).*non-socket"):
        inherited(mine)
    os.close(reading)
    os.close(writing)


def test_a_number_that_is_none_is_a_line() -> None:
    with pytest.raises(ConfigError, match="LISTEN_FDS='two' is no number"):
        inherited({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "two"})


class Manager:
    """The service manager's end of the notices."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.socket.setblocking(False)

    def heard(self) -> list[str]:
        """All lines that have come."""
        lines: list[str] = []
        while True:
            try:
                lines += self.socket.recv(4096).decode().splitlines()
            except BlockingIOError:
                return lines


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "notify") if request.param == "path" else f"@gatekeeper-{tmp_path.name}"


@pytest.fixture
def manager(address: str) -> Iterator[Manager]:
    made = Manager(address)
    yield made
    made.socket.close()


def test_each_notice_is_one_the_manager_knows(address: str, manager: Manager) -> None:
    notifier = Notifier.of({"NOTIFY_SOCKET": address})
    notifier.ready()
    assert manager.heard() == ["READY=1"]
    before = time.monotonic_ns() // 1000
    notifier.reloading()
    first, stamp = manager.heard()
    assert first == "RELOADING=1"
    assert before <= int(stamp.removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000
    notifier.stopping(45.5)
    assert manager.heard() == ["STOPPING=1", "EXTEND_TIMEOUT_USEC=45500000"]


@pytest.mark.parametrize("address", ["path"], indirect=True)
async def test_signs_of_life_come_twice_in_the_time_wanted(
    address: str, manager: Manager, autojump_clock: trio.testing.MockClock
) -> None:
    environment = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "3000000"}
    notifier = Notifier.of(environment)
    assert environment == {}, "nobody inherits it"
    with trio.move_on_after(11):
        await notifier.run(lambda: "enforce:\n2 sessions")
    assert manager.heard() == ["WATCHDOG=1", "STATUS=enforce: 2 sessions"] * 8


@pytest.mark.parametrize("address", ["path"], indirect=True)
async def test_a_loop_that_is_stuck_shows_no_sign_of_life(address: str, manager: Manager) -> None:
    notifier = Notifier(address, watchdog_s=0.02)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(notifier.run, str)
        await trio.testing.wait_all_tasks_blocked()
        manager.heard()
        time.sleep(0.1)  # noqa: ASYNC251  # what is tested: nobody else has his turn
        assert manager.heard() == []
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("address", ["path"], indirect=True)
@pytest.mark.parametrize(
    "watchdog",
    [{}, {"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "soon"}],
    ids=["none", "another process's", "nonsense"],
)
async def test_without_a_watchdog_there_is_a_status_all_the_same(
    address: str, manager: Manager, watchdog: dict[str, str], autojump_clock: trio.testing.MockClock
) -> None:
    notifier = Notifier.of({"NOTIFY_SOCKET": address} | watchdog)
    with trio.move_on_after(2.5 * STATUS_S):
        await notifier.run(lambda: "well")
    assert manager.heard().count("STATUS=well") == 3


async def test_without_a_manager_nobody_is_told_and_nothing_runs(
    autojump_clock: trio.testing.MockClock,
) -> None:
    notifier = Notifier.of({})
    notifier.ready()
    notifier.stopping(1)
    with trio.fail_after(1):
        await notifier.run(lambda: "never asked for")


def test_a_manager_that_is_gone_or_does_not_read_harms_nobody(tmp_path: Path) -> None:
    Notifier(str(tmp_path / "nobody")).ready()
    address = str(tmp_path / "deaf")
    deaf = Manager(address)
    notifier = Notifier(address)
    for _ in range(2000):  # far beyond net.unix.max_dgram_qlen
        notifier.ready()
    assert 0 < len(deaf.heard()) < 2000
    deaf.socket.close()
