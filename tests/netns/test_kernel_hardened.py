"""The privileged process as it runs: what binds it, what it imports, and who follows whom."""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gatekeeper.enforce.spawn import KERNEL, spawn_kernel
from gatekeeper.kernel.options import Options

from .hosts import Hosts
from .namespace import Ns, link
from .test_kernel_process import ONE_BAN, ask, connect, told
from .xdp_rig import mount_bpffs

pytestmark = pytest.mark.netns

NET_ADMIN, PERFMON, BPF = 1 << 12, 1 << 38, 1 << 39
RESTART_S = 1.0
BPFFS = Path("/sys/fs/bpf")


def child_of(process: subprocess.Popen[bytes]) -> int:
    """The one that serves."""
    (pid,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return int(pid)


def status(pid: int) -> dict[str, str]:
    """The lines of /proc/PID/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def gone(pid: int, within_s: float) -> bool:
    """Whether it ends in time."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    with contextlib.closing(os.fdopen(fd)) as process:
        return bool(select.select([process], [], [], within_s)[0])


@pytest.fixture
def bpf_host() -> Iterator[tuple[Ns, str]]:
    """A host with an interface and a bpffs of its own; the interface's name."""
    if not BPFFS.is_dir():
        pytest.skip("this kernel has no BPF file system")
    with Ns() as host, Ns() as other:
        interface, _ = link(host, Hosts.GUARD, other, Hosts.WORLD)
        mount_bpffs(host, BPFFS)
        yield host, interface


def test_both_have_one_capability_a_filter_and_nothing_to_gain(hosts: Hosts) -> None:
    _, process = hosts.spawn()
    for pid in (process.pid, child_of(process)):
        now = status(pid)
        held = {name: int(now[name], 16) for name in ("CapPrm", "CapEff", "CapBnd")}
        assert set(held.values()) == {NET_ADMIN}
        assert int(now["CapInh"], 16) == int(now["CapAmb"], 16) == 0
        assert (now["NoNewPrivs"], now["Seccomp"], now["Threads"]) == ("1", "2", "1")
    assert status(process.pid)["Seccomp_filters"] == "1"
    assert status(child_of(process))["Seccomp_filters"] == "2"


def test_both_are_bounded(hosts: Hosts) -> None:
    _, process = hosts.spawn()
    for pid in (process.pid, child_of(process)):
        limits = Path(f"/proc/{pid}/limits").read_text()
        rows = {row[:25].strip(): row[25:].split()[:2] for row in limits.splitlines()}
        assert rows["Max open files"] == ["256", "256"]
        assert rows["Max core file size"] == ["0", "0"]
        assert rows["Max address space"] == [str(1 << 30)] * 2
        assert os.readlink(f"/proc/{pid}/cwd") == "/"
        assert Path(f"/proc/{pid}/environ").read_bytes() == b""
        assert status(pid)["Umask"] == "0077"


def test_with_xdp_it_keeps_what_that_needs_and_serves(bpf_host: tuple[Ns, str]) -> None:
    host, interface = bpf_host
    sock, process = host.run(spawn_kernel, Options((993,), (25,), xdp=(interface,)))
    with sock:
        hello = ask(sock, verb="hello")
        assert hello["xdp"] == {interface: "native"}
        assert int(status(process.pid)["CapEff"], 16) == NET_ADMIN | BPF | PERFMON
        assert int(status(child_of(process))["CapEff"], 16) == NET_ADMIN | BPF
        ask(sock, verb="ban", entries=ONE_BAN)
        os.kill(child_of(process), signal.SIGKILL)  # the next one takes the pins over
        assert told(sock) == {"event": "started"}
        assert ask(sock, verb="hello")["xdp"] == {interface: "native"}
        assert ask(sock, verb="get", entry=ONE_BAN[0][:3])["remaining_ms"] > 0
        assert "xdp_dropped4_auth" in ask(sock, verb="counters")["counters"]
    assert process.wait(10) == 0
    assert host.run(os.listdir, BPFFS / "gatekeeper")


def test_a_start_without_xdp_removes_what_one_with_it_left(bpf_host: tuple[Ns, str]) -> None:
    host, interface = bpf_host
    for options in (Options((993,), xdp=(interface,)), Options((993,))):
        sock, process = host.run(spawn_kernel, options)
        sock.close()
        assert process.wait(10) == 0
    assert "gatekeeper" not in host.run(os.listdir, BPFFS)


PROBE = """
import importlib.util, json
json.dump({
    "path": sys.path,
    "imported": sorted(sys.modules),
    "found": [name for name in ("trio", "click", "pytest") if importlib.util.find_spec(name)],
}, sys.stdout)
"""


def test_only_the_library_and_the_package_can_be_imported(tmp_path: Path) -> None:
    """The process's own start, with another end."""
    entry = Path(KERNEL[-1])
    script = entry.read_text().replace("os.path.abspath(__file__)", repr(str(entry)))
    probe = tmp_path / "entry.py"
    probe.write_text(script.replace("    sys.exit(main())\n", PROBE))
    done = subprocess.run(
        [sys.executable, *KERNEL[:-1], str(probe)], capture_output=True, text=True, check=True
    )
    seen = json.loads(done.stdout)
    assert all(Path(each).is_relative_to(sys.base_prefix) for each in seen["path"])
    assert not any("-packages" in each for each in seen["path"])
    foreign = {name for name in seen["imported"] if _top(name) not in sys.stdlib_module_names}
    assert foreign >= {"gatekeeper", "gatekeeper.kernel.main"}
    assert all(f"{name}.".startswith("gatekeeper.kernel.") for name in foreign - {"gatekeeper"})
    assert seen["found"] == []


def _top(name: str) -> str:
    return name.partition(".")[0].replace("__main__", "sys")


class TestSupervision:
    def test_a_killed_child_is_followed_and_bans_are_held(self, hosts: Hosts) -> None:
        sock, process = hosts.spawn()
        ask(sock, verb="ban", entries=ONE_BAN)
        for _ in range(2):
            first = child_of(process)
            begun = time.monotonic()
            os.kill(first, signal.SIGKILL)
            assert told(sock) == {"event": "started"}
            assert time.monotonic() - begun < RESTART_S
            assert child_of(process) != first
            assert ask(sock, verb="get", entry=ONE_BAN[0][:3])["remaining_ms"] > 0

    def test_what_was_asked_meanwhile_is_answered(self, hosts: Hosts) -> None:
        sock, process = hosts.spawn()
        os.kill(child_of(process), signal.SIGKILL)
        sock.send(b'{"verb":"hello","id":7}')
        assert told(sock) == {"event": "started"}
        assert told(sock)["id"] == 7

    def test_a_listener_outlives_its_child(self, hosts: Hosts, tmp_path: Path) -> None:
        path = tmp_path / "kernel.sock"
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(str(path))
            listener.listen()
            fd = listener.fileno()
            command = [sys.executable, *KERNEL, "--fd", str(fd), "--peer-uid=0"]
            process = hosts.guard.run(subprocess.Popen, command, pass_fds=[fd])
        try:
            with connect(path) as one:
                assert told(one) == {"event": "started"}
                os.kill(child_of(process), signal.SIGKILL)
                assert one.recv(100) == b""
            with connect(path) as other:
                assert told(other) == {"event": "started"}
                assert ask(other, verb="hello", id=1)["id"] == 1
        finally:
            process.terminate()
            assert process.wait(10) == 0

    def test_the_child_goes_with_its_parent(self, hosts: Hosts) -> None:
        sock, process = hosts.spawn()
        child = child_of(process)
        process.kill()
        assert gone(child, RESTART_S)
        assert process.wait(10) == -signal.SIGKILL
        assert sock.recv(100) == b""

    @pytest.mark.parametrize("to_child", [False, True])
    def test_sigterm_ends_both(self, hosts: Hosts, to_child: bool) -> None:
        _, process = hosts.spawn()
        child = child_of(process)
        os.kill(child if to_child else process.pid, signal.SIGTERM)
        assert process.wait(10) == 0
        assert gone(child, 0)

    def test_signals_for_the_guard_are_no_matter(self, hosts: Hosts) -> None:
        sock, process = hosts.spawn()
        for pid in (process.pid, child_of(process)):
            os.kill(pid, signal.SIGINT)
            os.kill(pid, signal.SIGHUP)
        assert ask(sock, verb="hello", id=3)["id"] == 3

    def test_both_end_with_the_guard(self, hosts: Hosts) -> None:
        sock, process = hosts.spawn()
        child = child_of(process)
        sock.close()
        assert process.wait(10) == 0
        assert gone(child, 0)
