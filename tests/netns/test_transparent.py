"""Connections from clients' own addresses: the kernel process that makes them, the keeper that
brings their replies home, and the real packets between three hosts."""

import contextlib
import ctypes
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import trio
from contracts.dialler import DiallerContract, Line
from enforcer_news import Told

from gatekeeper.check.transparent import check_transparent
from gatekeeper.enforce import keeper, routing
from gatekeeper.enforce.kernel_client import KernelClient
from gatekeeper.enforce.spawn import spawn_kernel
from gatekeeper.enforce.transparent import KernelDialler, end_keeper, spawn_keeper, targets
from gatekeeper.errors import EnforcerError, PermissionMissing
from gatekeeper.events import MailProtocol
from gatekeeper.kernel.element import network
from gatekeeper.kernel.options import Options, Target
from gatekeeper.settings import (
    Announce,
    BackendSettings,
    Endpoint,
    ListenerSettings,
    Settings,
    TlsMode,
    TlsSettings,
)

from .namespace import Ns
from .transparent_net import BEHIND, BEHIND_V6, CLIENT, CLIENT_V6, EDGE, EDGE_V6, TransparentNet

pytestmark = pytest.mark.netns

PORT, CLOSED = 10_025, 10_026
SOON_S = 20.0  # on a busy host
BACKENDS = [BEHIND, BEHIND_V6, EDGE, EDGE_V6, "127.0.0.1", "::1"]
FAR = targets((Endpoint(BEHIND, PORT), Endpoint(BEHIND_V6, PORT)))
_PR_CAPBSET_DROP, _CAP_NET_ADMIN = 24, 12
_libc = ctypes.CDLL(None)


@pytest.fixture
def net() -> Iterator[TransparentNet]:
    with TransparentNet() as made:
        yield made


Keep = Callable[..., list[str]]


@pytest.fixture
def keep(net: TransparentNet) -> Iterator[Keep]:
    """Starts a keeper on the edge; its doubts."""
    with contextlib.ExitStack() as stack:

        def start(*of: Target) -> list[str]:
            process, doubts = net.edge.run(spawn_keeper, of)
            stack.callback(end_keeper, process)
            return doubts

        yield start


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SOON_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def left(host: Ns) -> str:
    """What of transparent mode is in the kernel of a host."""
    rules = [host.ip(family, "rule", "show", "table", "25993") for family in ("-4", "-6")]
    routes = [
        line
        for family in ("-4", "-6")
        for line in host.ip(family, "route", "show", "table", "all").splitlines()
        if "25993" in line
    ]
    return host.command("nft", "list", "ruleset") + "".join(rules) + "\n".join(routes)


class TestKernelDialler(DiallerContract):
    """Through the kernel process, to backends of another host and of this one."""

    @pytest.fixture(params=BACKENDS)
    def line(self, net: TransparentNet, request: pytest.FixtureRequest) -> Iterator[Line]:
        address = str(request.param)
        host = net.behind if address in {BEHIND, BEHIND_V6} else net.edge
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with host.run(socket.create_server, (address, PORT), family=family) as listener:
            source = CLIENT_V6 if ":" in address else CLIENT
            yield Line(listener, Endpoint(address, CLOSED), source)

    @pytest.fixture
    async def dialler(
        self, net: TransparentNet, keep: Keep, line: Line, nursery: trio.Nursery
    ) -> AsyncIterator[KernelDialler]:
        known = targets((line.target, line.refusing))
        assert keep(*known) == []
        for _ in range(2):  # its trial, in its own name and in another
            line.caller()
        options = Options(ports_auth=(993,), dial=known, never=(network("198.51.100.0/24"),))
        sock, process = net.edge.run(spawn_kernel, options)
        client = KernelClient(sock)
        nursery.start_soon(client.run, Told())
        yield KernelDialler(client.dial, known)
        await client.aclose()
        process.wait(SOON_S)

    async def test_what_is_no_clients_address_is_refused(
        self, dialler: KernelDialler, line: Line
    ) -> None:
        own = {EDGE_V6, "::1"} if ":" in line.source else {EDGE, "127.0.0.5", "198.51.100.7"}
        for source in (*own, line.target.host):
            with pytest.raises(EnforcerError, match="not a client's address"):
                await dialler.dial(line.target, source, 4000)

    async def test_a_privileged_port_of_a_client_is_kept_or_replaced(
        self, dialler: KernelDialler, line: Line
    ) -> None:
        """It takes a right of its own to bind it, which the process may not have."""
        with await dialler.dial(line.target, line.source, 993):
            assert line.caller()[0] == line.source


# -- the keeper ------------------------------------------------------------------------------------


def test_all_is_gone_at_the_end(net: TransparentNet) -> None:
    before = left(net.edge)
    with net.server(BEHIND), net.server(BEHIND_V6):
        process, doubts = net.edge.run(spawn_keeper, FAR)
        during = left(net.edge)
        end_keeper(process)
    assert doubts == []
    assert process.returncode == 0
    for word in ("gatekeeper_transparent", "fwmark 0x67", "local default dev lo"):
        assert word in during
    assert left(net.edge) == before


def test_the_hosts_settings_are_changed_for_a_backend_on_it_alone_and_back(
    net: TransparentNet,
) -> None:
    names = ("ipv4.tcp_fwmark_accept", "ipv4.fwmark_reflect", "ipv6.fwmark_reflect")

    def values() -> list[str]:
        return [net.edge.command("sysctl", "-n", f"net.{name}").strip() for name in names]

    def during(of: str) -> list[str]:
        process, _ = net.edge.run(spawn_keeper, targets([Endpoint(of, PORT)]))
        found = values()
        end_keeper(process)
        return found

    assert during(BEHIND) == ["0", "0", "0"]
    assert during("127.0.0.1") == ["1", "1", "1"]
    assert values() == ["0", "0", "0"]
    net.edge.command("sysctl", "-qw", "net.ipv4.tcp_fwmark_accept=1")  # the operator's own
    assert during("::1") == ["1", "1", "1"]
    assert values() == ["1", "0", "0"]


def test_the_last_of_two_guards_cleans_up(net: TransparentNet) -> None:
    one, _ = net.edge.run(spawn_keeper, FAR)
    other, _ = net.edge.run(spawn_keeper, FAR)
    with pytest.raises(EnforcerError, match="a guard is using them"):
        net.edge.run(keeper.clear)
    end_keeper(one)
    assert net.edge.run(routing.missing, (4, 6)) == []
    end_keeper(other)
    assert len(net.edge.run(routing.missing, (4, 6))) == 4


def test_what_a_killed_keeper_has_left_is_cleared_by_hand(net: TransparentNet) -> None:
    before = left(net.edge)
    process, _ = net.edge.run(spawn_keeper, FAR)
    process.kill()
    end_keeper(process)
    assert left(net.edge) != before
    assert net.edge.run(keeper.clear)
    assert left(net.edge) == before
    assert not net.edge.run(keeper.clear)


def test_what_others_remove_comes_back(net: TransparentNet, keep: Keep) -> None:
    keep(*FAR)
    net.edge.command("nft", "flush", "ruleset")
    net.edge.ip("-6", "rule", "del", "priority", str(routing.PRIORITY))
    net.edge.ip("-4", "route", "flush", "table", str(routing.TABLE))
    until(lambda: net.edge.run(routing.missing, (4, 6)) == [])
    until(lambda: "gatekeeper_transparent" in net.edge.command("nft", "list", "ruleset"))


def test_replies_that_do_not_come_back_are_told(net: TransparentNet, keep: Keep) -> None:
    with net.server(BEHIND), net.server("127.0.0.1"):
        net.route_astray()
        silent = targets([Endpoint(BEHIND_V6, PORT)])  # it refuses, so its replies do come back
        assert keep(*targets([Endpoint(BEHIND, PORT), Endpoint("127.0.0.1", PORT)])) == [
            f"replies of {BEHIND}:{PORT} do not come back through this host: its default route"
            " must be this host"
        ]
        net.route_home()
        assert keep(*FAR, *silent) == []


def test_a_setting_that_drops_replies_is_named(net: TransparentNet) -> None:
    before = left(net.edge)
    name = f"net.ipv4.conf.{net.edge_link}.src_valid_mark"
    net.edge.command("sysctl", "-qw", f"{name}=1")
    with pytest.raises(
        EnforcerError, match=f"transparent: {name} is 1: replies of {BEHIND}:{PORT}"
    ):
        net.edge.run(spawn_keeper, FAR)
    assert left(net.edge) == before


def test_that_setting_does_drop_them(net: TransparentNet, keep: Keep) -> None:
    with net.server(BEHIND):
        keep(*FAR)
        net.edge.command("sysctl", "-qw", f"net.ipv4.conf.{net.edge_link}.src_valid_mark=1")
        found = [str(each) for each in net.edge.run(_checked, SETTINGS, running=True)]
    assert any("src_valid_mark is 1" in each for each in found)
    assert any(f"replies of {BEHIND}:{PORT} do not come back" in each for each in found)


@pytest.mark.parametrize("rp_filter", [0, 1, 2])
def test_reverse_path_filters_are_no_matter(
    net: TransparentNet, keep: Keep, rp_filter: int
) -> None:
    for name in ("all", net.edge_link):
        net.edge.command("sysctl", "-qw", f"net.ipv4.conf.{name}.rp_filter={rp_filter}")
    with net.server(BEHIND), net.server(BEHIND_V6):
        assert keep(*FAR) == []


def test_without_rights_it_says_so(net: TransparentNet) -> None:
    def refused() -> None:
        assert _libc.prctl(_PR_CAPBSET_DROP, _CAP_NET_ADMIN, 0, 0, 0) == 0  # for what it starts
        spawn_keeper(FAR)

    with pytest.raises(PermissionMissing, match="transparent: CAP_NET_ADMIN is needed"):
        net.edge.run(refused)


# -- check -----------------------------------------------------------------------------------------

BACKEND = BackendSettings(
    "far", (Endpoint(BEHIND, PORT), Endpoint(BEHIND_V6, PORT)), announce=Announce.TRANSPARENT
)
LISTENER = ListenerSettings(
    "mx", MailProtocol.SMTP, (Endpoint(EDGE, 25), Endpoint(EDGE_V6, 25)), TlsMode.NONE, "far"
)
SETTINGS = Settings("guard.example", TlsSettings(), (LISTENER,), {"far": BACKEND})


def _checked(settings: Settings, *, running: bool) -> list[str]:
    return [str(each) for each in check_transparent(settings, running)]


def test_check_finds_rules_that_a_running_guard_has_lost(net: TransparentNet, keep: Keep) -> None:
    with net.server(BEHIND), net.server(BEHIND_V6):
        found = net.edge.run(_checked, SETTINGS, running=True)
        assert len(found) == 5
        assert "error: transparent: not there: nft: table inet gatekeeper_transparent" in found
        assert "error: transparent: not there: ip -4 rule: fwmark 0x67 lookup 25993" in found
        assert net.edge.run(_checked, SETTINGS, running=False) == []
        keep(*FAR)
        assert net.edge.run(_checked, SETTINGS, running=True) == []
        net.route_astray()
        found = net.edge.run(_checked, SETTINGS, running=True)
    assert len(found) == 2
    assert all("its default route must be this host" in each for each in found)


def test_check_without_rights_says_that_no_backend_can_be_dialled(net: TransparentNet) -> None:
    done = net.edge.run(
        subprocess.run,
        [sys.executable, "-c", _CHECK],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: _libc.prctl(_PR_CAPBSET_DROP, _CAP_NET_ADMIN, 0, 0, 0),
        cwd=Path(__file__).parent.parent,
    )
    assert "neither root nor CAP_NET_ADMIN here" in done.stdout, done.stderr


_CHECK = (
    "from netns.test_transparent import SETTINGS, _checked\n"
    "print(_checked(SETTINGS, running=False))\n"
)
