"""XDP on real interfaces: what is dropped, and what is said where it cannot be."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from gatekeeper.kernel import bpf_map, libbpf, xdp_layout
from gatekeeper.kernel.element import network
from gatekeeper.kernel.xdp import Mode, State, Xdp, XdpError, XdpFull, remove_stale_pins

from .hosts import DROPPED_S, WELCOME_S, Hosts
from .namespace import Ns
from .xdp_net import AUTH, LONG_S, MX, ONE, OTHER, TWO, Net, ban, program_ids
from .xdp_rig import join_mounts, until

pytestmark = pytest.mark.netns

ONE_V6, NEIGHBOUR_V6, SAME_48, OTHER_48 = (
    Hosts.WORLD[2][:-3],
    *(address[:-3] for address in Hosts.WORLD[3:]),
)
_WITHOUT_RIGHTS = """
import ctypes, struct, sys
from pathlib import Path
from gatekeeper.kernel.element import element, network
from gatekeeper.kernel.xdp import Mode, Xdp
interface, pins = sys.argv[1:]
xdp = Xdp.open([interface], [993], [25], [], Path(pins))
nothing = struct.pack("=IIIIII", 0, 0, 0, 0, 0, 0)
libc = ctypes.CDLL(None)
assert libc.capset(struct.pack("=Ii", 0x20080522, 0), nothing) == 0
status = Path("/proc/self/status").read_text()
assert "CapEff:\\t0000000000000000" in status
one = element("10.77.0.2", 32, "auth")
xdp.change({one: 60, element("10.77.0.0", 24, "auth"): 60})
assert xdp.remaining_ms(one) > 0
xdp.set_allow([network("10.77.0.9")])
xdp.set_allow([])
xdp.change({}, [one])
assert [len(page) for page in xdp.held()] == [0, 1, 0, 0, 0, 0, 0, 0]
assert xdp.counters() and xdp.states()[interface].mode is Mode.NATIVE
xdp.sweep()
xdp.flush()
xdp.close(detach=True)
assert not Path(pins).exists()
"""


# -- what is dropped -------------------------------------------------------------------------------


def test_a_banned_address_is_dropped_in_the_driver_until_it_is_lifted(net: Net) -> None:
    xdp, hosts = net.open(), net.hosts
    assert xdp.states() == {net.interface: State(Mode.NATIVE)}
    assert hosts.welcome(ONE, AUTH)
    xdp.change({ban(ONE): LONG_S})
    assert hosts.dropped(ONE, AUTH)
    assert xdp.counters()["xdp_dropped4_auth"][0] >= 1
    for source, port in ((ONE, OTHER), (ONE, MX), (TWO, AUTH)):
        assert hosts.welcome(source, port)
    xdp.change({ban(TWO, scope="mx"): LONG_S}, [ban(ONE)])
    assert hosts.welcome(ONE, AUTH)
    assert hosts.dropped(TWO, MX)


def test_prefixes_are_dropped_whole_and_the_allowed_spared(net: Net) -> None:
    xdp, hosts = net.open(allow=(network(TWO),)), net.hosts
    xdp.change({ban("10.77.0.0", 24): LONG_S, ban("2001:db8:77:1::", 64): LONG_S})
    assert hosts.dropped(ONE, AUTH)
    assert hosts.welcome(TWO, AUTH)
    assert xdp.counters()["xdp_spared"][0] >= 1
    assert hosts.dropped(ONE_V6, AUTH)
    assert hosts.dropped(NEIGHBOUR_V6, AUTH)
    assert hosts.welcome(SAME_48, AUTH)
    xdp.change({ban("2001:db8:77::", 48): LONG_S})
    assert hosts.dropped(SAME_48, AUTH)
    assert hosts.welcome(OTHER_48, AUTH)


def test_an_interface_without_native_mode_is_served_in_the_generic_one(net: Net) -> None:
    xdp = net.open("lo")
    assert xdp.states()["lo"].mode is Mode.GENERIC
    assert "no native mode" in xdp.states()["lo"].why
    xdp.change({ban("127.0.0.5"): LONG_S})
    with pytest.raises(TimeoutError):
        _connect_inside(net.hosts.guard, "127.0.0.5", DROPPED_S)
    _connect_inside(net.hosts.guard, "127.0.0.6", WELCOME_S).close()
    assert xdp.counters()["xdp_dropped4_auth"][0] >= 1


def test_jumbo_frames_are_no_reason_to_leave_the_driver(net: Net) -> None:
    net.hosts.world.ip("link", "set", "dev", _far_end(net), "mtu", "9000")
    net.hosts.guard.ip("link", "set", "dev", net.interface, "mtu", "9000")
    xdp = net.open()
    assert xdp.states()[net.interface].mode is Mode.NATIVE
    xdp.change({ban(ONE): LONG_S})
    assert net.hosts.dropped(ONE, AUTH)


# -- what cannot be --------------------------------------------------------------------------------


def test_another_program_is_named_and_left_alone(net: Net) -> None:
    other = net.hosts.guard.run(
        Xdp.open, [net.interface], [AUTH], [], [], net.pins.parent / "other"
    )
    xdp = net.open(net.interface, "lo")
    state = xdp.states()[net.interface]
    (number,) = net.hosts.guard.run(program_ids, net.interface)
    assert state.mode is Mode.ABSENT
    assert state.why == f'another XDP program is attached: "gatekeeper_xdp" (id {number})'
    assert xdp.states()["lo"].mode is Mode.GENERIC
    net.hosts.guard.run(other.close, True)
    net.hosts.guard.run(xdp.retry)
    assert xdp.states()[net.interface].mode is Mode.NATIVE


def test_pins_of_another_namespace_are_left_alone(net: Net) -> None:
    net.close(net.open())
    join_mounts(net.hosts.world, net.mounts)
    for attempt in (lambda: Xdp.open(["lo"], [AUTH], [], [], net.pins), _remove(net.pins)):
        with pytest.raises(XdpError, match="another network namespace"):
            net.hosts.world.run(attempt)
    assert net.hosts.guard.run(program_ids, net.interface)


def test_an_interface_that_is_gone_is_told_and_taken_back(net: Net) -> None:
    xdp = net.open(net.interface, "absent0")
    assert xdp.states()["absent0"] == State(Mode.ABSENT, "there is no such interface")
    net.hosts.guard.ip("link", "delete", net.interface)
    assert xdp.states()[net.interface] == State(Mode.ABSENT, "the interface is gone")
    xdp.change({ban(ONE): LONG_S})
    net.hosts.guard.run(xdp.retry)
    assert xdp.states()[net.interface].why == "there is no such interface"
    net.hosts.guard.ip("link", "add", "absent0", "type", "veth", "peer", "name", net.interface)
    net.hosts.guard.run(xdp.retry)
    assert [state.mode for state in xdp.states().values()] == [Mode.NATIVE, Mode.NATIVE]
    net.hosts.guard.ip("link", "delete", net.interface)
    net.close(xdp)
    assert len(net.open("lo").replaced) == len(xdp_layout.MAPS)  # nothing of it was protected


def test_an_interface_without_ethernet_is_refused(net: Net) -> None:
    net.hosts.guard.ip("tuntap", "add", "tun0", "mode", "tun")
    assert net.open("tun0").states()["tun0"] == State(
        Mode.ABSENT, "its frames have no Ethernet header"
    )


def test_without_an_object_or_a_bpffs_it_says_so(net: Net, tmp_path: Path) -> None:
    run = net.hosts.guard.run
    with pytest.raises(XdpError, match=r"^XDP object was not built \(clang\)$"):
        run(Xdp.open, [net.interface], [AUTH], [], [], net.pins, tmp_path / "absent.bpf.o")
    with pytest.raises(XdpError, match="no bpffs is mounted at"):
        run(Xdp.open, [net.interface], [AUTH], [], [], tmp_path / "pins")


def test_a_full_map_changes_nothing_and_is_named(net: Net) -> None:
    xdp = net.open()
    nets = [ban(f"{10 + n // 65536}.{n // 256 % 256}.{n % 256}.0", 24) for n in range(65_538)]
    xdp.change(dict.fromkeys(nets[:65_536], 0))  # all run out at once
    xdp.change(dict.fromkeys(nets[:65_535], LONG_S))
    xdp.change({nets[65_536]: LONG_S})  # which makes it full, having swept
    other = ban(ONE)
    with pytest.raises(XdpFull, match=r"ban4n_auth is full \(65536\): no room for 1 more"):
        xdp.change({nets[65_537]: LONG_S, nets[0]: LONG_S, other: LONG_S}, [nets[1]])
    assert xdp.remaining_ms(other) is None
    assert xdp.remaining_ms(nets[65_537]) is None
    assert xdp.remaining_ms(nets[1]) is not None
    xdp.change({nets[0]: 2 * LONG_S})  # what is held can be renewed
    left_ms = xdp.remaining_ms(nets[0])
    assert left_ms is not None
    assert left_ms > LONG_S * 1000
    assert sum(map(len, xdp.held())) == 65_536
    xdp.flush()
    xdp.change(dict.fromkeys(nets[1:65_537], LONG_S))
    assert sum(map(len, xdp.held())) == 65_536


def test_sweeping_by_pieces_frees_what_ran_out(net: Net) -> None:
    xdp = net.open()
    gone = [ban(f"10.1.{n // 256}.{n % 256}") for n in range(40_000)]
    xdp.change(dict.fromkeys(gone, 0))
    xdp.change({ban(ONE): LONG_S})
    raw = net.hosts.guard.run(libbpf.get, net.pins / "ban4_auth")
    try:
        until(lambda: _swept(xdp, raw) == 1)
    finally:
        os.close(raw)
    assert xdp.remaining_ms(ban(ONE)) is not None


def test_once_opened_it_needs_no_capability(net: Net) -> None:
    process = net.start(_WITHOUT_RIGHTS)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")


def _connect_inside(host: Ns, source: str, within_s: float) -> socket.socket:
    return host.run(
        socket.create_connection,
        ("127.0.0.1", AUTH),
        timeout=within_s,
        source_address=(source, 0),
    )


def _far_end(net: Net) -> str:
    return net.interface.removesuffix("a") + "b"


def _remove(pins: Path) -> Callable[[], object]:
    return lambda: remove_stale_pins(pins)


def _swept(xdp: Xdp, fd: int) -> int:
    """How many entries are left after one more piece."""
    xdp.sweep()
    return sum(1 for _ in bpf_map.keys(fd, 4))
