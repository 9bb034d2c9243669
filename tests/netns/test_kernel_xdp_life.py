"""XDP outlives its process, is taken over without a gap, and is removed without a trace."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gatekeeper.kernel import libbpf
from gatekeeper.kernel.xdp import Mode, Xdp, XdpError, remove_stale_pins

from .xdp_net import AUTH, LONG_S, ONE, OTHER, TWO, Net, ban, program_ids
from .xdp_rig import until

pytestmark = pytest.mark.netns

_ALIVE = """
import os, sys, time
from pathlib import Path
from gatekeeper.kernel.element import element
from gatekeeper.kernel.xdp import Xdp
interface, pins, seconds = sys.argv[1:]
xdp = Xdp.open([interface], [993], [25], [], Path(pins))
xdp.change({element("10.77.0.2", 32, "auth"): int(seconds)})
print("ready", flush=True)
time.sleep(600)
"""
# Counts what XDP lets through.
_BEHIND = """
table inet behind {
    chain counted {
        type filter hook prerouting priority raw; policy accept;
        ip saddr 10.77.0.2 tcp dport 993 counter
    }
}
"""
_KNOCKING = """
import socket, sys
print("ready", flush=True)
while True:
    with socket.socket() as one:
        one.bind((sys.argv[1], 0))
        one.setblocking(False)
        one.connect_ex(("10.77.0.1", 993))
"""


# -- life and death --------------------------------------------------------------------------------


def test_a_killed_process_goes_on_dropping_and_its_bans_run_out(net: Net) -> None:
    process = net.start(_ALIVE, "3")
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGKILL)
    assert net.hosts.dropped(ONE, AUTH)
    until(lambda: net.hosts.welcome(ONE, AUTH))


def test_a_successor_takes_over_bans_and_swaps_the_program(net: Net) -> None:
    process = net.start(_ALIVE, str(LONG_S))
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGKILL)
    before = net.hosts.guard.run(program_ids, net.interface)
    xdp = net.open(ports=(AUTH, OTHER))
    assert xdp.replaced == ()
    assert net.hosts.guard.run(program_ids, net.interface).isdisjoint(before)
    assert xdp.states()[net.interface].mode is Mode.NATIVE
    left_ms = xdp.remaining_ms(ban(ONE))
    assert left_ms is not None
    assert LONG_S * 1000 - 120_000 < left_ms < LONG_S * 1000
    assert net.hosts.dropped(ONE, AUTH)
    assert net.hosts.dropped(ONE, OTHER)  # guarded since the swap
    ((held, held_ms),) = [each for page in xdp.held() for each in page]
    assert held == ban(ONE)
    assert left_ms - 60_000 < held_ms <= left_ms


def test_no_packet_slips_through_while_programs_are_swapped(net: Net) -> None:
    xdp = net.open()
    xdp.change({ban(ONE): LONG_S})
    net.hosts.guard.command("nft", "-f", "-", stdin=_BEHIND)
    command = [sys.executable, "-c", _KNOCKING, ONE]
    with net.hosts.world.run(subprocess.Popen, command, stdout=subprocess.PIPE) as knocking:
        assert knocking.stdout is not None
        knocking.stdout.readline()
        for _ in range(20):
            dropped = xdp.counters()["xdp_dropped4_auth"][0]
            until(lambda: xdp.counters()["xdp_dropped4_auth"][0] > dropped + 20)  # noqa: B023
            net.close(xdp)
            xdp = net.open()
        knocking.kill()
    assert "counter packets 0 bytes 0" in net.hosts.guard.command("nft", "list", "ruleset")


def test_a_map_of_another_shape_is_replaced_and_named(net: Net) -> None:
    xdp = net.open()
    xdp.change({ban(ONE): LONG_S, ban(TWO, scope="mx"): LONG_S})
    net.hosts.guard.run(_pin_other_shape, net.pins / "ban4_auth")
    net.hosts.guard.run(_pin_other_shape, net.pins / "ban5_auth")
    net.close(xdp)
    xdp = net.open()
    assert xdp.replaced == ("ban4_auth",)
    assert xdp.remaining_ms(ban(ONE)) is None
    assert xdp.remaining_ms(ban(TWO, scope="mx")) is not None
    assert "ban5_auth" not in net.pinned()
    net.close(xdp)
    assert net.open().replaced == ()


def test_interfaces_no_longer_named_are_let_go(net: Net) -> None:
    net.close(net.open(net.interface, "lo"))
    assert len([name for name in net.pinned() if name.startswith("link_")]) == 2
    xdp = net.open("lo")
    assert [name for name in net.pinned() if name.startswith("link_")] == ["link_1"]
    assert net.hosts.guard.run(program_ids, net.interface) == frozenset()
    assert set(xdp.states()) == {"lo"}


def test_a_refused_start_leaves_what_was_there(net: Net, tmp_path: Path) -> None:
    xdp = net.open()
    xdp.change({ban(ONE): LONG_S})
    net.close(xdp)
    broken = tmp_path / "broken.bpf.o"
    broken.write_bytes(b"\x7fELF no more")
    with pytest.raises(XdpError, match="broken"):
        net.hosts.guard.run(Xdp.open, [net.interface], [AUTH], [], [], net.pins, broken)
    assert net.hosts.dropped(ONE, AUTH)


# -- removing --------------------------------------------------------------------------------------


def test_removing_the_directory_removes_everything(net: Net) -> None:
    xdp = net.open()
    xdp.change({ban(ONE): LONG_S})
    net.close(xdp)
    assert net.hosts.dropped(ONE, AUTH)
    net.hosts.guard.command("rm", "-r", str(net.pins))
    until(lambda: not net.hosts.guard.run(program_ids, net.interface))
    assert net.hosts.welcome(ONE, AUTH)


def test_switched_off_it_removes_what_an_earlier_start_left(net: Net) -> None:
    assert not net.hosts.guard.run(remove_stale_pins, net.pins)
    xdp = net.open()
    xdp.change({ban(ONE): LONG_S})
    net.close(xdp)
    assert net.hosts.guard.run(remove_stale_pins, net.pins)
    assert net.hosts.welcome(ONE, AUTH)
    assert not net.hosts.guard.run(net.pins.exists)


def test_detaching_removes_all_at_once(net: Net) -> None:
    xdp = net.open()
    xdp.change({ban(ONE): LONG_S})
    net.close(xdp, detach=True)
    assert net.hosts.welcome(ONE, AUTH)
    assert not net.hosts.guard.run(net.pins.exists)


def _pin_other_shape(path: Path) -> None:
    """A hash of four entries where another is pinned."""
    path.unlink(missing_ok=True)
    fd = libbpf.call("map", "bpf_map_create", 1, b"other", 4, 8, 4, None)
    libbpf.pin(fd, path)
    os.close(fd)
