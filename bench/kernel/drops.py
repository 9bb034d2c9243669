"""What a packet costs that is dropped, at each place where it can be, and one that is let in.

Each place has a pair of namespaces of its own, all made before, and they take turns.
"""

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from bench.kernel.frames import (
    Generator,
    compiled_xdp,
    hardware_address,
    receive_frames,
    run_program,
    syn,
)
from bench.kernel.results import Figures
from bench.kernel.rows import PLACES
from bench.kernel.stage import GUARDED, Pair, command, private_bpffs
from demo.namespaces import GUARD, PERSON
from gatekeeper.kernel import libbpf, nft
from gatekeeper.kernel.element import Element, Network, pack
from gatekeeper.kernel.nfnetlink import Nfnetlink
from gatekeeper.kernel.xdp import Xdp
from gatekeeper.kernel.xdp_interface import Mode, index_of

_INTERFACE: Final = "world"  # of the guard's side, which leads there
_PEER: Final = "guard"
_FIRST: Final = "10.0.0.0"
_SOURCES: Final = 50_000
_CLEAN: Final = "11.0.0.0"  # nobody of these is held anywhere
_PACKETS: Final = 200_000
_QUICK_PACKETS: Final = 50_000
_WARM: Final = 10_000
_TURNS: Final = 3  # in one round; the least counts, for the rest is other work
_TEST_RUNS: Final = 1_000_000
_SECONDS: Final = 3600
_BATCH: Final = 5_000
_PRIORITY: Final = 10
_LOST_MAX: Final = 0.01  # of the packets; neighbours are asked for now and then, too


class Place:
    """A pair of namespaces with one way to drop; `count` tells how many packets were."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.pair = Pair()
        self.xdp: Xdp | None = None
        first = _CLEAN if name in {"clean", "bare"} else _FIRST
        self.pair.run(receive_frames, _PEER)
        self.pair.inside(receive_frames, _INTERFACE)
        for network in (_FIRST, _CLEAN):
            # By a gateway, or each address would have to be asked for its hardware's.
            self.pair.inside(command, "ip", "route", "add", f"{network}/16", "via", PERSON)
        self._hardware = self.pair.inside(hardware_address, _INTERFACE)
        self._generator = self.pair.run(Generator, _PEER, first, _SOURCES)
        self._frame = syn(first, GUARD, GUARDED, self._hardware)
        self.pair.inside(self._prepare)
        self.pair.run(_alone_on_a_core)

    def time(self, packets: int) -> float:
        """Nanoseconds a packet. Raises `RuntimeError` where some were not seen."""
        before = self.pair.inside(self._count)
        taken_s = self.pair.run(self._send, packets)
        seen = self.pair.inside(self._count) - before
        if abs(seen - packets) > packets * _LOST_MAX:
            raise RuntimeError(f"{self.name}: {seen} of {packets} packets were seen")
        return taken_s / packets * 1e9

    def close(self) -> None:
        """Nothing is left."""
        if self.xdp is not None:
            self.pair.inside(self.xdp.close, True)
        self.pair.close()

    def _send(self, packets: int) -> float:
        begun = time.perf_counter()
        self._generator.send(self._frame, packets)
        return time.perf_counter() - begun

    def _prepare(self) -> None:
        held = {Element("auth", packed, 32): _SECONDS for packed in _sources()}
        match self.name:
            case "floor":
                mode = libbpf.NATIVE
                libbpf.link_create(self._generator.drop_fd, index_of(_INTERFACE), mode)
            case "native" | "generic":
                self._open_xdp(held)
            case "bare":
                pass
            case _:
                self._load_table(held)

    def _open_xdp(self, held: dict[Element, int]) -> None:
        native = self.name == "native"
        pins = Path("/sys/fs/bpf") / self.name
        allow = [Network(pack("127.0.0.0"), 8)]
        self.xdp = Xdp.open([_INTERFACE] if native else [], [GUARDED], [25], allow, pins)
        self.xdp.change(held)
        if not native:  # the guard itself takes it only where there is nothing better
            libbpf.link_create(self.xdp.program_fd, index_of(_INTERFACE), libbpf.GENERIC)
        elif self.xdp.states()[_INTERFACE].mode is not Mode.NATIVE:
            raise RuntimeError(f"XDP is {self.xdp.states()}")

    def _load_table(self, held: dict[Element, int]) -> None:
        blocked = [Network(pack(_FIRST), 16)] if self.name == "block" else []
        # A rate of one a second, none at once: every source is over it with its second packet.
        rate = (1, 1) if self.name == "flood" else (25, 100)
        allow = [Network(pack("127.0.0.0"), 8)]
        nft.load(nft.Contents((GUARDED,), (25,), allow, blocked, *rate))
        if self.name == "ban":
            link = Nfnetlink()
            waiting = list(held)
            for start in range(0, len(waiting), _BATCH):
                link.change(dict.fromkeys(waiting[start : start + _BATCH], _SECONDS))
            link.close()

    def _count(self) -> int:
        return _COUNTS[self.name](self)


def _of_table(*names: str) -> Callable[[Place], int]:
    def count(_place: Place) -> int:
        link = Nfnetlink()
        counters = link.counters()
        link.close()
        return sum(counters[name][0] for name in names)

    return count


def _of_xdp(place: Place) -> int:
    assert place.xdp is not None
    return place.xdp.counters()["xdp_dropped4_auth"][0]


def _received(_place: Place) -> int:
    """What the interface took in."""
    for line in Path("/proc/thread-self/net/dev").read_text().splitlines():
        name, _, numbers = line.partition(":")
        if name.strip() == _INTERFACE:
            return int(numbers.split()[1])
    raise RuntimeError(f"{_INTERFACE} is gone")


_COUNTS: Final[dict[str, Callable[[Place], int]]] = {
    "floor": _received,
    "native": _of_xdp,
    "generic": _of_xdp,
    "ban": _of_table("dropped4_auth"),
    "flood": _of_table("flooded4"),
    "block": _of_table("blocked"),
    "clean": _received,
    "bare": _received,
}


def measure(turn: int, *, quick: bool) -> Figures:
    """One round."""
    private_bpffs()
    compiled_xdp()
    packets = _QUICK_PACKETS if quick else _PACKETS
    figures: Figures = {}
    with ExitStack() as stack:
        places = []
        for name in PLACES:
            place = Place(name)
            stack.callback(place.close)
            place.time(_WARM) if name != "flood" else place.pair.run(place._send, 10 * _SOURCES)
            places.append(place)
        for start in range(_TURNS):
            for each in range(len(places)):
                place = places[(start + turn + each) % len(places)]
                name = f"drops.{place.name}"
                figures[name] = min(place.time(packets), figures.get(name, float("inf")))
        native = places[list(PLACES).index("native")]
        figures |= native.pair.run(_test_runs, native)
    return figures


def _test_runs(place: Place) -> Figures:
    assert place.xdp is not None
    program = place.xdp.program_fd
    figures: Figures = {}
    for name, source in (("banned", _FIRST), ("clean", _CLEAN)):
        frame = syn(source, GUARD, GUARDED, place._hardware)
        figures[f"drops.test_{name}"] = float(run_program(program, frame, _TEST_RUNS, 0))
    return figures


def _alone_on_a_core() -> None:
    """This thread before all others, on the last core."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_PRIORITY))


def _sources() -> list[bytes]:
    first = int.from_bytes(pack(_FIRST), "big")
    return [(first + number).to_bytes(4, "big") for number in range(_SOURCES)]
