"""XDP as the second place of every ban: what nftables holds is held there too, and nothing here can
fail a request.

Theory of operation. nftables is the truth. Every change that it took is made in XDP as well. At the
start and after a suspension XDP is emptied, and what nftables holds is copied from there a page at
a time, between requests, by `tick`; meanwhile nftables drops. A change that XDP refuses is said
once and nftables alone drops that client: dearer, and not different.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from gatekeeper.kernel.element import SETS, Element, Network
from gatekeeper.kernel.nfnetlink import Dump, KernelRefused
from gatekeeper.kernel.options import Options
from gatekeeper.kernel.xdp import Mode, Xdp, XdpError, remove_stale_pins

TICK_S: Final = 1.0
_RETRY_TICKS: Final = 10  # an interface that was absent may be there by now


class Mirror:
    """Construction attaches the program, or takes away what an earlier start left attached."""

    def __init__(self, options: Options, allow: Iterable[Network]) -> None:
        self._xdp: Xdp | None = None
        self._copy: Dump | None = None
        self._suspended = False
        self._ticks = 0
        self._failing = ""
        try:
            if options.xdp:
                self._open(options, tuple(allow))
            elif remove_stale_pins():
                _say("XDP is switched off: the program was taken off")
        except XdpError as error:
            _say(f"{error}; nftables alone drops")

    @property
    def tick_s(self) -> float | None:
        """How often `tick` wants to be called: 0 for as soon as nobody asks, None for never."""
        if self._copy is not None:
            return 0.0
        return None if self._xdp is None else TICK_S

    def change(self, seconds: Mapping[Element, int], lifts: Iterable[Element] = ()) -> None:
        """Hold and let go, as nftables has just done."""
        if self._xdp is None or self._suspended:
            return
        try:
            self._xdp.change(seconds, lifts)
            self._failing = ""
        except XdpError as error:
            self._complain(error)

    def put(self, name: str, records: Sequence[tuple[bytes, int]]) -> None:
        """`change` for many of the set `name`."""
        if self._xdp is not None:
            scope, length = SETS[name]
            self.change({Element(scope, key, length): seconds for key, seconds in records})

    def set_allow(self, networks: Iterable[Network]) -> None:
        """Who is never dropped from now on."""
        if self._xdp is not None:
            try:
                self._xdp.set_allow(networks)
            except XdpError as error:
                self._complain(error)

    def suspend(self, *, on: bool) -> None:
        """Drop nobody, or all again that nftables holds."""
        if self._xdp is None or on == self._suspended:
            return
        self._suspended = on
        self._end_copy()
        if not on:
            self._copy = Dump()
            return
        try:
            self._xdp.flush()
        except XdpError as error:
            self._complain(error)

    def counters(self) -> dict[str, tuple[int, int]]:
        """Packets and octets by name; empty without XDP."""
        try:
            return {} if self._xdp is None else self._xdp.counters()
        except XdpError as error:
            self._complain(error)
            return {}

    def states(self) -> dict[str, str]:
        """How each interface is served, in words."""
        states = {} if self._xdp is None else self._xdp.states()
        return {
            name: f"{state.mode.value}: {state.why}" if state.why else state.mode.value
            for name, state in states.items()
        }

    def tick(self) -> None:
        """Some of what is done when nobody asks; some 10 ms at most."""
        if self._xdp is None:
            return
        try:
            if self._copy is not None:
                self._copy_page(self._copy)
                return
            self._xdp.sweep()
            self._ticks += 1
            if self._ticks % _RETRY_TICKS == 0:
                self._xdp.retry()
        except (XdpError, KernelRefused) as error:
            self._end_copy()
            self._complain(error)

    def _open(self, options: Options, allow: Iterable[Network]) -> None:
        self._xdp = xdp = Xdp.open(options.xdp, options.ports_auth, options.ports_mx, tuple(allow))
        xdp.flush()  # a ban lifted while no process was there would live on in it
        self._copy = Dump()
        for name, state in xdp.states().items():
            if state.mode is not Mode.NATIVE:
                _say(f"XDP on {name}: {state.mode.value}: {state.why}")

    def _copy_page(self, source: Dump) -> None:
        page = source.page()
        if page is None:
            self._end_copy()
        else:
            scope, length, records = page
            self.change(
                {Element(scope, key, length): -(-left_ms // 1000) for key, left_ms in records}
            )

    def _end_copy(self) -> None:
        if self._copy is not None:
            self._copy.close()
            self._copy = None

    def _complain(self, error: Exception) -> None:
        if str(error) != self._failing:
            self._failing = str(error)
            _say(f"{error}; nftables goes on")


def _say(text: str) -> None:
    sys.stderr.write(f"gatekeeper.kernel: {text}\n")
