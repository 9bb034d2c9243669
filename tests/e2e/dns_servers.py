"""rbldnsd with lists of every kind, and unbound as the resolver before it.

Facts behind the settings: rbldnsd has no TCP, so an answer that does not fit a datagram is
unbound's own data; it refuses zones it does not have, which unbound makes a SERVFAIL; unbound asks
nobody on loopback unless told to. All else goes to rbldnsd too, so that nothing leaves the host.
"""

import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from .processes import free_ports, start, stop, wait_ready

SOA = "$SOA 3600 ns.rbl.example root.rbl.example 1 3600 600 86400 120\n$NS 3600 ns.rbl.example\n"
ALL = "127.0.0.0/24\n203.0.113.0/24\n"  # all that tests ask about: /0 is none to it
TEST_ENTRY = "127.0.0.2 :127.0.0.2:Entry for tests\n"

# Name, type of the data, and the data: what rbldnsd(8) has for addresses.
ZONES = {
    "bl.rbl.example": ("ip4set", f"{TEST_ENTRY}203.0.113.2 :127.0.0.2:\n203.0.113.9 :127.0.0.9:\n"),
    "v6.rbl.example": ("ip6trie", ":127.0.0.4:\n2001:db8:0:1::/64\n"),
    "wl.rbl.example": ("ip4set", f"{TEST_ENTRY}203.0.113.9 :127.0.5.3:\n"),
    "everybody.rbl.example": ("ip4set", f":127.0.0.2:\n{ALL}"),
    "mistyped.rbl.example": ("ip4set", f":127.255.255.252:\n{ALL}"),
    "refused.rbl.example": ("ip4set", f":127.255.255.254:\n{ALL}"),
    "flooded.rbl.example": ("ip4set", f":127.255.255.255:\n{ALL}"),
    "uribl.rbl.example": ("ip4set", f":127.0.0.1:\n{ALL}"),
    "rewritten.rbl.example": ("ip4set", f":192.0.2.80:\n{ALL}"),
}
SILENT, FAILING, LONG = "silent.rbl.example", "failing.rbl.example", "long.rbl.example"
LONG_ANSWER = 200  # records of 16 octets, in datagrams of 1232
# What addresses are called, and which names have which address; others are not there at all.
NAMED, NAMED_V6, LYING = "203.0.113.20", "2001:db8:0:3::20", "203.0.113.21"
NAME_FAILS, NAME_SILENT = "203.0.113.22", "203.0.113.23"
NAMES = {
    NAMED: "mx.names.test",
    NAMED_V6: "mx6.names.test",
    LYING: "mx.names.test",
    NAME_FAILS: f"mx.{FAILING}",
    NAME_SILENT: f"mx.{SILENT}",
}
ADDRESSES = {"mx.names.test": NAMED, "mx6.names.test": NAMED_V6}

UNBOUND = """\
server:
    interface: 127.0.0.1@{port}
    do-daemonize: no
    use-syslog: no
    username: ""
    chroot: ""
    directory: "{base}"
    pidfile: ""
    module-config: "iterator"
    do-not-query-localhost: no
    do-ip6: no
    access-control: 127.0.0.0/8 allow
    local-zone: "{long}." static
    local-zone: "names.test." static
{data}
remote-control:
    control-enable: no
forward-zone:
    name: "."
    forward-addr: 127.0.0.1@{lists}
{stubs}
"""


@dataclass(frozen=True, slots=True)
class Dns:
    """Running servers: the resolver's port, and one that takes questions and never answers."""

    resolver: int
    black_hole: int


@contextmanager
def dns(base: Path, records: Iterable[str] = ()) -> Iterator[Dns]:
    """Run both below `base`, with further `records` of the resolver's own: in the zone `names.test`
    all others do not exist."""
    base.mkdir()
    base.chmod(0o755)
    lists, resolver = free_ports(2)
    with socket.socket(type=socket.SOCK_DGRAM) as hole:
        hole.bind(("127.0.0.1", 0))
        black_hole = hole.getsockname()[1]
        with _rbldnsd(base, lists), _unbound(base, resolver, lists, black_hole, records):
            yield Dns(resolver, black_hole)


@contextmanager
def _rbldnsd(base: Path, port: int) -> Iterator[None]:
    arguments: list[str | Path] = ["/usr/sbin/rbldnsd", "-n", "-u", "nobody", "-w", base]
    arguments += ["-b", f"127.0.0.1/{port}"]
    for zone, (kind, data) in ZONES.items():
        (base / zone).write_text(SOA + data)
        arguments.append(f"{zone}:{kind}:{zone}")
    log = base / "rbldnsd.log"
    process = start(arguments, log)
    try:
        wait_ready(process, lambda: "started" in log.read_text(), log)
        yield
    finally:
        stop(process)


@contextmanager
def _unbound(
    base: Path, port: int, lists: int, black_hole: int, records: Iterable[str]
) -> Iterator[None]:
    stubs = dict.fromkeys((*ZONES, FAILING), lists) | {SILENT: black_hole}
    text = "".join(
        f"stub-zone:\n    name: {zone}\n    stub-addr: 127.0.0.1@{at}\n"
        for zone, at in stubs.items()
    )
    data = "\n".join(
        f'    local-data: "{name}.{LONG}. 60 IN A 127.0.{number}.2"'
        for name in ("2.113.0.203", "2.0.0.127")
        for number in range(LONG_ANSWER)
    )
    data += "".join(
        f'\n    local-data: "{ip_address(address).reverse_pointer}. 60 IN PTR {name}."'
        for address, name in NAMES.items()
    )
    data += "".join(
        f'\n    local-data: "{name}. 60 IN {"AAAA" if ":" in address else "A"} {address}"'
        for name, address in ADDRESSES.items()
    )
    data += "".join(f"\n    local-data: '{record}'" for record in records)
    file = base / "unbound.conf"
    file.write_text(
        UNBOUND.format(port=port, base=base, lists=lists, long=LONG, data=data, stubs=text)
    )
    log = base / "unbound.log"
    process = start(["/usr/sbin/unbound", "-d", "-c", file], log)
    try:
        wait_ready(process, lambda: "start of service" in log.read_text(), log)
        yield
    finally:
        stop(process)
