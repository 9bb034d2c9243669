"""Bans in XDP: the program of nft/gatekeeper_xdp.bpf.c on the interfaces the operator names.

Theory of operation
-------------------
nftables is the rule, XDP is the short cut: every ban is in both, and what XDP cannot do (an
interface without it, a full map, a packet it cannot read) nftables does. So nothing here is worth
ending the process for: `XdpError` is said in one line and the guard goes on.

The program asks maps, one for each scope and prefix length; a ban's value is when it ends. Maps,
and a link for each interface, are pinned in a bpffs. So all of it goes on when this process dies,
and bans run out. The next start finds the pins: it has the kernel verify its own program, with the
pinned maps where their shapes are the same, fills the allow list, and swaps the program of each
link, which is atomic: every packet is judged by the old one or the new. Only then are new maps
pinned in place of those that were not taken over. A crash between leaves the old pins, and the
next start finds them unlike its own again. Where no link of ours is alive nothing was protected,
and all maps are made anew: an interface index, or a namespace's number, may have been used again.

Descriptors are opened once. After that only bpf(2) is called, on them, which needs no capability
(since Linux 5.19; before, CAP_BPF where unprivileged BPF is off); only `retry` attaches anew.
"""

import contextlib
import errno
import itertools
import sys
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Self

from gatekeeper.kernel import bpf_map, libbpf, xdp_interface, xdp_layout, xdp_pins
from gatekeeper.kernel.bpf_map import BanMap, MapFull
from gatekeeper.kernel.element import SETS, Element, Network
from gatekeeper.kernel.libbpf import BpfError
from gatekeeper.kernel.xdp_interface import Attachment, Mode, State
from gatekeeper.kernel.xdp_pins import PINS, PinError, remove_stale

__all__ = ["OBJECT", "PINS", "Mode", "State", "Xdp", "XdpError", "XdpFull", "remove_stale_pins"]

OBJECT: Final = Path(__file__).parent / "gatekeeper_xdp.bpf.o"  # where hatch_build.py puts it

_NOT_PERMITTED: Final = "bpf(2) is not permitted: CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN are needed"


class XdpError(Exception):
    """XDP does not work, or did not do this; one line. nftables holds the ban all the same."""


class XdpFull(XdpError):
    """A map has no room for the new bans of a change; nothing was changed."""


class Xdp:
    """The program, loaded; made by `open`. Belongs to the network namespace it was opened in.

    `replaced` names the maps that were made anew and hold no bans: the caller applies his.
    """

    def __init__(
        self, loaded: libbpf.Object, directory: Path, ports: bytes, interfaces: Iterable[str]
    ) -> None:
        self.replaced: tuple[str, ...] = ()
        self._object = loaded
        self._directory = directory
        self._ports = ports
        self._attached = {name: Attachment(State(Mode.ABSENT)) for name in interfaces}
        self._bans: dict[str, BanMap] = {}
        self._cpus = libbpf.call("CPUs", "libbpf_num_possible_cpus")  # from a file, so now
        self._sweeps: Iterator[BanMap] = iter(())

    @classmethod
    def open(
        cls,
        interfaces: Collection[str],
        ports_auth: Collection[int],
        ports_mx: Collection[int],
        allow: Collection[Network],
        pins: Path = PINS,
        path: Path = OBJECT,
    ) -> Self:
        """Load the program and run it on these interfaces, and on no others; see the theory.

        What is wrong with one interface is in `states`. Needs CAP_NET_ADMIN, CAP_BPF and
        CAP_PERFMON. Raises `XdpError`; then what was attached before goes on as it was.
        """
        if not path.is_file():
            raise XdpError("XDP object was not built (clang)")
        ports = xdp_layout.port_table(ports_auth, ports_mx)
        try:
            xdp_pins.prepare(pins)
            links = xdp_pins.our_links(pins)
            made = cls(libbpf.Object(path), pins, ports, interfaces)
            try:
                made._load(any(link.ifindex for link in links))
                made.set_allow(allow)
                made.retry()
                made._pin(links)
            except BaseException:
                made.close()
                raise
        except PinError as error:
            raise XdpError(f"XDP: {error}") from error
        except BpfError as error:
            # libbpf's own words for it are about RLIMIT_MEMLOCK.
            told = _NOT_PERMITTED if error.errno == errno.EPERM else str(error)
            raise XdpError(f"XDP: {told}") from error
        except OSError as error:
            raise XdpError(f"XDP: {pins}: {error.strerror}") from error
        return made

    @property
    def program_fd(self) -> int:
        """The loaded program, as BPF_PROG_TEST_RUN wants it."""
        return self._object.program_fd(xdp_layout.PROGRAM)

    def change(self, seconds: Mapping[Element, int], lifts: Iterable[Element] = ()) -> None:
        """Hold the elements of `seconds` for so long from now and let go of `lifts`.

        Replaces the time of what is held; lifting what is not held is no error. Raises `XdpFull`,
        and then nothing was changed, and `XdpError`.
        """
        now_ns = time.monotonic_ns()
        holds = xdp_layout.by_map(seconds)
        with _errors():
            keys = {name: [xdp_layout.ban_key(it) for it in each] for name, each in holds.items()}
            for name, wanted in keys.items():
                self._bans[name].make_room(wanted, now_ns)
            for name, gone in xdp_layout.by_map(lifts).items():
                self._bans[name].release([xdp_layout.ban_key(each) for each in gone])
            for name, wanted in keys.items():
                ends = xdp_layout.expiries((seconds[each] for each in holds[name]), now_ns)
                self._bans[name].hold(wanted, ends)

    def remaining_ms(self, element: Element) -> int | None:
        """Milliseconds left of one element, None where it is not held. Raises `XdpError`."""
        held = self._bans[element.set_name]
        with _errors():
            left_ns = held.remaining_ns(xdp_layout.ban_key(element), time.monotonic_ns())
        return None if left_ns is None else left_ns // 1_000_000

    def held(self) -> Iterator[list[tuple[Element, int]]]:
        """All that is held, with milliseconds left, thousands at a time. Raises `XdpError`.

        Bans may go on between two pages; what changes meanwhile may be seen or not.
        """
        now_ns = time.monotonic_ns()
        for name, bans in self._bans.items():
            with _errors():
                for piece in bans.held():
                    yield [
                        (xdp_layout.element_of(name, key), (end_ns - now_ns) // 1_000_000)
                        for key, end_ns in piece
                        if end_ns > now_ns
                    ]

    def sweep(self) -> None:
        """Free what ran out, of a piece of one map: some 10 ms. To be called now and then, once a
        second at most; a full map is swept without. Raises `XdpError`."""
        bans = next(self._sweeps, None)
        if bans is None:
            self._sweeps = iter(self._bans.values())
            bans = next(self._sweeps)
        with _errors():
            if not bans.sweep(time.monotonic_ns()):
                self._sweeps = itertools.chain((bans,), self._sweeps)

    def flush(self) -> None:
        """Let go of all bans. Raises `XdpError`."""
        with _errors():
            for bans in self._bans.values():
                bans.flush()

    def set_allow(self, networks: Iterable[Network]) -> None:
        """Replace the allow list: what is in the old and the new one is allowed throughout.

        Raises `XdpError`; then more may be allowed than was asked for, never less than before.
        """
        wanted: dict[int, set[bytes]] = {octets: set() for octets in xdp_layout.ALLOWED}
        for network in networks:
            wanted[len(network.packed)].add(xdp_layout.allow_key(network))
        with _errors():
            for octets, name in xdp_layout.ALLOWED.items():
                fd = self._object.map_fd(name)
                before = set(bpf_map.keys(fd, octets + 4))
                for key in wanted[octets] - before:
                    bpf_map.write(fd, key, b"\x01")
                for key in before - wanted[octets]:
                    bpf_map.erase(fd, key)

    def counters(self) -> dict[str, tuple[int, int]]:
        """Packets and octets since the maps were made, by name. Raises `XdpError`."""
        fd = self._object.map_fd(xdp_layout.COUNTERS)
        found = {}
        with _errors():
            for number, name in enumerate(xdp_layout.COUNTER_NAMES):
                key = number.to_bytes(4, sys.byteorder)
                per_cpu = bpf_map.read(fd, key, self._cpus * xdp_layout.COUNT_OCTETS) or b""
                found[name] = xdp_layout.counter_sum(per_cpu)
        return found

    def states(self) -> dict[str, State]:
        """How each interface is served now."""
        return {name: attachment.now() for name, attachment in self._attached.items()}

    def retry(self) -> None:
        """Attach where an interface was absent and may be there by now. Needs CAP_NET_ADMIN."""
        for name, attachment in self._attached.items():
            if attachment.now().mode is Mode.ABSENT:
                attachment.close()
                self._attached[name] = xdp_interface.attach(name, self.program_fd, self._directory)

    def close(self, detach: bool = False) -> None:
        """Let go. What is attached goes on dropping, unless it is to be detached and removed.

        Raises `XdpError` where the pins cannot be removed.
        """
        try:
            if detach:
                xdp_pins.remove(self._directory)
        except OSError as error:
            raise XdpError(f"XDP: {self._directory}: {error.strerror}") from error
        finally:
            for attachment in self._attached.values():
                attachment.close()
            self._attached.clear()
            self._object.close()

    def _load(self, take_over: bool) -> None:
        """Load the program, with pinned maps of the same shape where they are to be taken over."""
        self._object.set_constants(self._ports)
        taken = {name for name in xdp_layout.MAPS if take_over and self._take(name)}
        self._object.load()
        self.replaced = tuple(name for name in xdp_layout.MAPS if name not in taken)
        for name in SETS:
            shape = self._object.shape(name)
            fd = self._object.map_fd(name)
            self._bans[name] = BanMap(name, fd, shape.key_octets, shape.entries_max)
            if name in taken:
                self._bans[name].sweep_all(time.monotonic_ns())

    def _take(self, name: str) -> bool:
        """Use the pinned map of this name; False where there is none of this shape."""
        try:
            with libbpf.opened(self._directory / name) as fd:
                if libbpf.map_shape(fd) != self._object.shape(name):
                    return False
                self._object.reuse(name, fd)
        except BpfError:
            return False
        return True

    def _pin(self, links: Sequence[xdp_pins.Link]) -> None:
        """Pin the maps made anew, and let go of the links and maps that are no more ours."""
        for name in self.replaced:
            xdp_pins.repin(self._object.map_fd(name), self._directory / name)
        for path in self._directory.iterdir():
            if path.name not in xdp_layout.MAPS and not path.name.startswith(xdp_pins.LINK):
                path.unlink()  # another version's
        ours = {xdp_interface.index_of(name) for name in self._attached} - {0}
        for link in links:
            if link.ifindex not in ours:
                xdp_pins.detach(link.path)


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except MapFull as error:
        raise XdpFull(str(error)) from error
    except BpfError as error:
        raise XdpError(f"XDP: {error}") from error


def remove_stale_pins(directory: Path = PINS) -> bool:
    """As `xdp_pins.remove_stale`, for a start without XDP. Raises `XdpError`."""
    try:
        return remove_stale(directory)
    except (PinError, BpfError) as error:
        raise XdpError(f"XDP: {error}") from error
