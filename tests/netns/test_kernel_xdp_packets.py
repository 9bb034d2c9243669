"""The XDP program itself, packet by packet: the kernel runs it, no interface is needed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import hatch_build
from gatekeeper.kernel.element import element, network
from gatekeeper.kernel.xdp import Xdp, XdpError

from .namespace import Ns
from .xdp_rig import (
    authentication,
    ethernet,
    extension,
    fragment6,
    ipv4,
    ipv6,
    mount_bpffs,
    run_program,
    tagged,
    tcp,
)

pytestmark = pytest.mark.netns

IPV4, IPV6, ARP, VLAN, QINQ = 0x0800, 0x86DD, 0x0806, 0x8100, 0x88A8
TCP, UDP, ICMPV6, HOP, ROUTING, FRAGMENT, AH, OPTIONS = 6, 17, 58, 0, 43, 44, 51, 60
BANNED, EXPIRED, ALLOWED, CLEAN = "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.9"
BANNED_MX, IN_24, IN_24_MX = "192.0.2.4", "198.51.100.77", "203.0.113.5"
BANNED6, IN_48, ALLOWED6, CLEAN6 = (
    "2001:db8:1:2::99",
    "2001:db8:5:77::1",
    "2001:db8:6::7",
    "2001::1",
)
BANNED6_MX, IN_48_MX = "2001:db8:9:1::4", "2001:db8:a:fff::1"
AUTH, MX, OTHER = 993, 25, 22


@pytest.fixture(scope="module")
def xdp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Xdp]:
    """The program with some bans, attached nowhere."""
    if trouble := hatch_build.compile_xdp():
        pytest.skip(trouble)
    directory: Path = tmp_path_factory.mktemp("bpffs")
    with Ns() as host:
        mount_bpffs(host, directory)
        allow = [network("192.0.2.3"), network("2001:db8:6::/64")]
        try:
            made = host.run(Xdp.open, [], [AUTH, 465], [MX], allow, directory / "pins")
        except XdpError as error:
            if "not permitted" in str(error):
                pytest.skip(str(error))
            raise
        bans = [(BANNED, 32), (ALLOWED, 32), ("198.51.100.0", 24), ("2001:db8:1:2::", 64)]
        bans += [("2001:db8:5::", 48), ("2001:db8:6::", 64), ("fe80::", 64), ("febf::", 64)]
        bans += [("fec0::", 64)]
        seconds = {element(address, length, "auth"): 600 for address, length in bans}
        mx = [(BANNED_MX, 32), ("203.0.113.0", 24), ("2001:db8:9:1::", 64), ("2001:db8:a::", 48)]
        seconds |= {element(address, length, "mx"): 600 for address, length in mx}
        made.change(seconds | {element(EXPIRED, 32, "auth"): 0})
        yield made
        made.close()


def v4(source: str, port: int = AUTH) -> bytes:
    return ethernet(IPV4, ipv4(source, tcp(port)))


def v6(source: str, port: int = AUTH) -> bytes:
    return ethernet(IPV6, ipv6(source, tcp(port)))


BEHIND_ALL = extension(
    ROUTING, extension(OPTIONS, extension(AH, authentication(TCP, tcp(AUTH)), 2)), 1
)


def six(headers: int) -> bytes:
    """TCP behind so many extension headers."""
    payload = tcp(AUTH)
    for number in range(headers):
        payload = extension(OPTIONS if number else TCP, payload)
    return ethernet(IPV6, ipv6(BANNED6, payload, OPTIONS))


# Name, frame, verdict, the counter that counts it.
CASES = [
    ("a clean address", v4(CLEAN), "pass", ""),
    ("a banned address", v4(BANNED), "drop", "dropped4_auth"),
    ("the scope's other port", v4(BANNED, 465), "drop", "dropped4_auth"),
    ("the other scope's port", v4(BANNED, MX), "pass", ""),
    ("an unguarded port", v4(BANNED, OTHER), "pass", ""),
    ("port 0", v4(BANNED, 0), "pass", ""),
    ("the highest port", v4(BANNED, 65_535), "pass", ""),
    ("a neighbour of a guarded port", v4(BANNED, AUTH + 1), "pass", ""),
    ("a ban that ran out", v4(EXPIRED), "pass", ""),
    ("an allowed address that is banned", v4(ALLOWED), "pass", "spared"),
    ("a banned /24", v4(IN_24), "drop", "dropped4_auth"),
    ("a /24 of the other scope", v4(IN_24, MX), "pass", ""),
    ("banned in scope mx", v4(BANNED_MX, MX), "drop", "dropped4_mx"),
    ("a /24 in scope mx", v4(IN_24_MX, MX), "drop", "dropped4_mx"),
    ("mx bans are not auth's", v4(BANNED_MX), "pass", ""),
    ("UDP", ethernet(IPV4, ipv4(BANNED, tcp(AUTH), UDP)), "pass", ""),
    ("ICMP", ethernet(IPV4, ipv4(BANNED, tcp(AUTH), 1)), "pass", ""),
    ("options", ethernet(IPV4, ipv4(BANNED, tcp(AUTH), options=bytes(8))), "drop", "dropped4_auth"),
    (
        "all the options there may be",
        ethernet(IPV4, ipv4(BANNED, tcp(AUTH), options=bytes(40))),
        "drop",
        "dropped4_auth",
    ),
    (
        "a first fragment",
        ethernet(IPV4, ipv4(BANNED, tcp(AUTH), fragment=0x2000)),
        "drop",
        "dropped4_auth",
    ),
    ("a later fragment", ethernet(IPV4, ipv4(BANNED, tcp(AUTH), fragment=0x2001)), "pass", ""),
    ("the last fragment", ethernet(IPV4, ipv4(BANNED, tcp(AUTH), fragment=0x00B9)), "pass", ""),
    ("VLAN", tagged(VLAN, IPV4, ipv4(BANNED, tcp(AUTH))), "drop", "dropped4_auth"),
    (
        "QinQ",
        tagged(QINQ, VLAN, tagged(VLAN, IPV4, ipv4(BANNED, tcp(AUTH)))[14:]),
        "drop",
        "dropped4_auth",
    ),
    (
        "three tags",
        tagged(
            QINQ, QINQ, tagged(QINQ, VLAN, tagged(VLAN, IPV4, ipv4(BANNED, tcp(AUTH)))[14:])[14:]
        ),
        "pass",
        "unreadable",
    ),
    ("ARP", ethernet(ARP, bytes(28)), "pass", ""),
    ("ARP in a VLAN", tagged(VLAN, ARP, bytes(28)), "pass", ""),
    ("an unknown type", ethernet(0x8863, v4(BANNED)), "pass", ""),
    ("an empty frame", ethernet(IPV4, b""), "pass", "unreadable"),
    ("half an IPv4 header", v4(BANNED)[:24], "pass", "unreadable"),
    ("no TCP header", v4(BANNED)[:34], "pass", "unreadable"),
    ("half a port", v4(BANNED)[:37], "pass", "unreadable"),
    ("both ports and no more", v4(BANNED)[:38], "drop", "dropped4_auth"),
    (
        "options that are not there",
        ethernet(IPV4, b"\x4f" + ipv4(BANNED, tcp(AUTH))[1:38]),
        "pass",
        "unreadable",
    ),
    (
        "a header too short",
        ethernet(IPV4, b"\x44" + ipv4(BANNED, tcp(AUTH))[1:]),
        "pass",
        "unreadable",
    ),
    ("IPv6 by IPv4's type", ethernet(IPV4, ipv6(BANNED6, tcp(AUTH))), "pass", "unreadable"),
    ("half a VLAN tag", tagged(VLAN, IPV4, b"")[:16], "pass", "unreadable"),
    ("IPv6, clean", v6(CLEAN6), "pass", ""),
    ("IPv6, in a banned /64", v6(BANNED6), "drop", "dropped6_auth"),
    ("IPv6, the next /64", v6("2001:db8:1:3::99"), "pass", ""),
    ("IPv6, in a banned /48", v6(IN_48), "drop", "dropped6_auth"),
    ("IPv6, scope mx", v6(BANNED6_MX, MX), "drop", "dropped6_mx"),
    ("IPv6, a /48 in scope mx", v6(IN_48_MX, MX), "drop", "dropped6_mx"),
    ("IPv6, the other scope", v6(IN_48_MX), "pass", ""),
    ("IPv6, an unguarded port", v6(BANNED6, OTHER), "pass", ""),
    ("IPv6, allowed", v6(ALLOWED6), "pass", "spared"),
    ("IPv6, link-local though banned", v6("fe80::1"), "pass", ""),
    ("IPv6, the end of link-local", v6("febf::1"), "pass", ""),
    ("IPv6, behind link-local", v6("fec0::1"), "drop", "dropped6_auth"),
    ("ICMPv6", ethernet(IPV6, ipv6(BANNED6, bytes([135]) + bytes(23), ICMPV6)), "pass", ""),
    ("IPv6 in a VLAN", tagged(VLAN, IPV6, ipv6(BANNED6, tcp(AUTH))), "drop", "dropped6_auth"),
    (
        "every extension header",
        ethernet(IPV6, ipv6(BANNED6, BEHIND_ALL, HOP)),
        "drop",
        "dropped6_auth",
    ),
    ("six extension headers", six(6), "drop", "dropped6_auth"),
    ("seven extension headers", six(7), "pass", "unreadable"),
    (
        "ICMPv6 behind options",
        ethernet(IPV6, ipv6(BANNED6, extension(ICMPV6, bytes(24)), OPTIONS)),
        "pass",
        "",
    ),
    (
        "IPv6, a first fragment",
        ethernet(IPV6, ipv6(BANNED6, fragment6(TCP, tcp(AUTH), 0), FRAGMENT)),
        "drop",
        "dropped6_auth",
    ),
    (
        "IPv6, a later fragment",
        ethernet(IPV6, ipv6(BANNED6, fragment6(TCP, tcp(AUTH), 185), FRAGMENT)),
        "pass",
        "",
    ),
    ("half an IPv6 header", v6(BANNED6)[:40], "pass", "unreadable"),
    ("no extension header", ethernet(IPV6, ipv6(BANNED6, b"", OPTIONS)), "pass", "unreadable"),
    (
        "an extension header longer than the packet",
        ethernet(IPV6, ipv6(BANNED6, b"\x06\xff" + tcp(AUTH), OPTIONS)),
        "pass",
        "unreadable",
    ),
    (
        "IPv4 by IPv6's type",
        ethernet(IPV6, ipv4(BANNED, tcp(AUTH)) + bytes(40)),
        "pass",
        "unreadable",
    ),
]


@pytest.mark.parametrize(
    ("frame", "verdict", "counter"), [pytest.param(*case[1:], id=case[0]) for case in CASES]
)
def test_packet(xdp: Xdp, frame: bytes, verdict: str, counter: str) -> None:
    before = xdp.counters()
    assert run_program(xdp.program_fd, frame).verdict == verdict
    grown = {name for name, counts in xdp.counters().items() if counts != before[name]}
    assert grown == ({f"xdp_{counter}"} if counter else set())


def test_octets_are_counted_as_nftables_counts_them(xdp: Xdp) -> None:
    before = xdp.counters()
    padded = ethernet(IPV4, ipv4(BANNED, tcp(AUTH))) + bytes(6)  # to Ethernet's least length
    run_program(xdp.program_fd, padded, repeat=3)
    run_program(xdp.program_fd, v6(BANNED6, AUTH))
    after = xdp.counters()
    for name, packets, octets in (("xdp_dropped4_auth", 3, 40), ("xdp_dropped6_auth", 1, 60)):
        assert after[name][0] - before[name][0] == packets
        assert after[name][1] - before[name][1] == packets * octets


def test_no_frame_however_cut_is_more_than_passed_or_dropped(xdp: Xdp) -> None:
    for whole in (v4(BANNED), six(6), tagged(VLAN, IPV6, ipv6(BANNED6, BEHIND_ALL, HOP))):
        verdicts = [
            run_program(xdp.program_fd, whole[:end]).verdict for end in range(14, len(whole))
        ]
        assert verdicts == sorted(
            verdicts, reverse=True
        )  # passed up to a length, dropped from there
        assert set(verdicts) == {"pass", "drop"}


def test_lifting_and_allowing_work_at_once(xdp: Xdp) -> None:
    one = element("192.0.2.200", 32, "auth")
    xdp.change({one: 600})
    assert run_program(xdp.program_fd, v4("192.0.2.200")).verdict == "drop"
    allow = [network("192.0.2.3"), network("2001:db8:6::/64")]
    xdp.set_allow([*allow, network("192.0.2.128/25")])
    assert run_program(xdp.program_fd, v4("192.0.2.200")).verdict == "pass"
    xdp.set_allow(allow)
    assert run_program(xdp.program_fd, v4("192.0.2.200")).verdict == "drop"
    xdp.change({}, [one, one, element("192.0.2.201", 32, "auth")])
    assert run_program(xdp.program_fd, v4("192.0.2.200")).verdict == "pass"
