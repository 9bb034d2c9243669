"""A whole guard before backends that see the clients themselves: `gatekeeper run`, real packets."""

import contextlib
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from e2e.guard_process import COMMAND, STARTED, TomlValue, toml
from e2e.processes import public_directory, start, stop, wait_ready

from .transparent_net import (
    BALANCER,
    BEHIND,
    BEHIND_V6,
    CLIENT,
    CLIENT_V6,
    EDGE,
    EDGE_V6,
    Server,
    TransparentNet,
)

pytestmark = [pytest.mark.netns, pytest.mark.timeout(120)]

FAR, NEAR, BALANCED, V4_ONLY, LOOPBACK, DIRECT = 25, 2525, 2626, 2727, 2828, 10_025
PATIENCE_S = 20.0
LOCAL_V6 = "::1"


def configuration(directory: Path) -> str:
    """A listener for a backend of another host, of this one, behind a balancer, and with IPv4
    alone."""
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
        toml("[store]", {"url": "memory:"}),
        toml("[limits]", {"drain": 1}),
        toml("[rules]", {"early-talker": "ignore", "reverse-dns": "ignore"}),  # no DNS is here
    ]
    backends = {
        "far": [f"{BEHIND}:{DIRECT}", f"[{BEHIND_V6}]:{DIRECT}"],
        "near": [f"{EDGE}:{DIRECT}", f"[{LOCAL_V6}]:{DIRECT}"],
        "loop": [f"127.0.0.1:{DIRECT}"],
        "old": [f"{BEHIND}:{DIRECT}"],
    }
    for name, addresses in backends.items():
        parts.append(toml(f"[backend.{name}]", {"address": addresses, "announce": "transparent"}))
    served = {FAR: "far", NEAR: "near", BALANCED: "far", V4_ONLY: "old", LOOPBACK: "loop"}
    for port, backend in served.items():
        values: dict[str, TomlValue] = {
            "name": f"mx{port}",
            "protocol": "smtp",
            "bind": [f"{EDGE}:{port}", f"[{EDGE_V6}]:{port}"],
            "tls": "none",
            "backend": backend,
            "proxy_protocol_from": [BALANCER] if port == BALANCED else [],
        }
        parts.append(toml("[[listener]]", values))
    return "".join(parts)


@dataclass(frozen=True, slots=True)
class Site:
    """A running guard and its backends."""

    net: TransparentNet
    directory: Path
    process: subprocess.Popen[bytes]
    far: Server
    far_v6: Server
    near: Server
    near_v6: Server
    loop: Server

    def clients(self, server: Server) -> list[tuple[str, int]]:
        """The clients that came since the last question: no trial, nor this host itself."""
        found = [each for each in server.callers if each[0] in {CLIENT, CLIENT_V6, BALANCER}]
        server.callers.clear()
        return found

    def greeting(self, source: tuple[str, int], port: int, before: bytes = b"") -> bytes:
        """The first line a client hears that comes from `source` and says `before`."""
        target = EDGE_V6 if ":" in source[0] else EDGE
        on = self.net.edge if source[0] in {EDGE, EDGE_V6} else self.net.world
        with on.run(
            socket.create_connection, (target, port), timeout=PATIENCE_S, source_address=source
        ) as sock:
            sock.sendall(before)
            with sock.makefile("rb") as lines:
                line = lines.readline()
                if line.startswith(b"220"):
                    sock.sendall(b"QUIT\r\n")
                    lines.read()
        return line

    def command(self, *words: str) -> str:
        """What a command of the operator prints on the edge; its exit code is not looked at."""
        return self.net.edge.command("sh", "-c", '"$@" 2>&1; true', "sh", str(COMMAND), *words)

    def check(self) -> str:
        """What `gatekeeper check` finds."""
        return self.command("check", "-c", str(self.directory / "gatekeeper.toml"))


@contextlib.contextmanager
def running(net: TransparentNet, directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A guard on the edge."""
    before = left(net)
    file, log = directory / "gatekeeper.toml", directory / "log"
    file.write_text(configuration(directory))
    process = net.edge.run(start, [COMMAND, "run", "-c", file], log)
    try:
        wait_ready(process, lambda: STARTED in log.read_text(), log)
        yield process
    finally:
        status = stop(process)
    assert status == 0, log.read_text()
    assert left(net).replace("table inet gatekeeper\n", "") == before
    assert "Traceback" not in log.read_text()


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(public_directory("transparent"))
        net = stack.enter_context(TransparentNet())
        servers = [
            stack.enter_context(net.server(address, DIRECT))
            for address in (BEHIND, BEHIND_V6, EDGE, LOCAL_V6, "127.0.0.1")
        ]
        process = stack.enter_context(running(net, directory))
        yield Site(net, directory, process, *servers)


def left(net: TransparentNet) -> str:
    """What of transparent mode is in the edge's kernel; its bans stay."""
    return (
        net.edge.ip("rule") + net.edge.ip("-6", "rule") + net.edge.command("nft", "list", "tables")
    )


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_backend_of_another_host_sees_the_client(site: Site) -> None:
    for source, server in (((CLIENT, 40_100), site.far), ((CLIENT_V6, 40_101), site.far_v6)):
        assert site.greeting(source, FAR).startswith(b"220 ")
        assert site.clients(server) == [source]


def test_a_backend_of_this_host_sees_the_client(site: Site) -> None:
    for source, server in (((CLIENT, 40_200), site.near), ((CLIENT_V6, 40_201), site.near_v6)):
        assert site.greeting(source, NEAR).startswith(b"220 ")
        assert site.clients(server) == [source]
    assert site.greeting((CLIENT, 40_202), LOOPBACK).startswith(b"220 ")
    assert site.clients(site.loop) == [(CLIENT, 40_202)]


def test_a_client_of_a_balancer_is_whom_the_header_names(site: Site) -> None:
    header = f"PROXY TCP4 {CLIENT} {EDGE} 40300 25\r\n".encode()
    assert site.greeting((BALANCER, 0), BALANCED, header).startswith(b"220 ")
    assert site.clients(site.far) == [(CLIENT, 40_300)]


def test_a_client_over_ipv6_of_a_balancer_over_ipv4_is_shown_too(site: Site) -> None:
    header = f"PROXY TCP6 {CLIENT_V6} {EDGE_V6} 40301 25\r\n".encode()
    assert site.greeting((BALANCER, 0), BALANCED, header).startswith(b"220 ")
    assert site.clients(site.far_v6) == [(CLIENT_V6, 40_301)]


def test_a_client_of_this_host_comes_as_the_guard(site: Site) -> None:
    assert site.greeting((EDGE, 0), FAR).startswith(b"220 ")
    assert site.far.callers[-1][0] == "10.2.0.1"


def test_a_client_whose_family_the_backend_has_not_is_put_off(site: Site) -> None:
    assert site.greeting((CLIENT_V6, 40_400), V4_ONLY).startswith(b"421 ")
    assert site.clients(site.far) == site.clients(site.far_v6) == []
    until(lambda: "it has no IPv6 address" in (site.directory / "log").read_text())
    text = "IPv6 clients are refused: transparent backend old has no IPv6 address"
    assert f"warning: listener mx{V4_ONLY}: {text}" in site.check()


def test_others_reach_the_backends_port_of_this_host_as_ever(site: Site) -> None:
    """Only replies to dialled connections are kept on this host."""
    assert site.greeting((CLIENT, 40_500), DIRECT).startswith(b"220 ")
    assert site.clients(site.near) == [(CLIENT, 40_500)]


def test_check_finds_nothing_wrong_and_transparent_off_does_nothing(site: Site) -> None:
    assert "transparent:" not in site.check()
    assert "a guard is using them" in site.command("transparent", "off")
    assert site.greeting((CLIENT, 40_600), FAR).startswith(b"220 ")


def test_the_relay_test_comes_as_a_stranger(site: Site) -> None:
    site.check()
    for server, stranger in ((site.far, "203.0.113.77"), (site.far_v6, "2001:db8:203:113::77")):
        assert (stranger, 40_077) in server.callers
        server.callers.clear()


def test_other_backends_take_a_restart(site: Site) -> None:
    file = site.directory / "gatekeeper.toml"
    before = file.read_text()
    file.write_text(before.replace(f"[{BEHIND_V6}]:{DIRECT}", f"[{BEHIND_V6}]:{DIRECT + 1}"))
    site.process.send_signal(signal.SIGHUP)
    until(lambda: "that takes a restart" in (site.directory / "log").read_text())
    file.write_text(before)
    assert site.greeting((CLIENT_V6, 40_700), FAR).startswith(b"220 ")
    assert site.clients(site.far_v6) == [(CLIENT_V6, 40_700)]


def test_a_killed_guard_leaves_nothing_but_bans() -> None:
    with public_directory("transparent") as directory, TransparentNet() as net:
        before = left(net)
        file, log = directory / "gatekeeper.toml", directory / "log"
        file.write_text(configuration(directory))
        process = net.edge.run(start, [COMMAND, "run", "-c", file], log)
        wait_ready(process, lambda: STARTED in log.read_text(), log)
        assert "gatekeeper_transparent" in left(net)
        process.kill()
        process.wait()
        until(lambda: left(net).replace("table inet gatekeeper\n", "") == before)
