"""What each verb does. One `Service` for the process, one `Peer` for each guard that asks."""

import errno
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, assert_never

from gatekeeper.kernel import nft, protocol, sockets
from gatekeeper.kernel.element import Element, network
from gatekeeper.kernel.nfnetlink import Dump, KernelRefused, Nfnetlink, TableGone
from gatekeeper.kernel.options import Options

# Never banned whatever anybody says: loopback, and link-local, where a /64 is the whole link.
_NEVER_ALWAYS: Final = tuple(map(network, ("127.0.0.0/8", "::1", "fe80::/10")))

Answer = dict[str, object]


@dataclass(slots=True)
class Peer:
    """What is kept of one connection between its requests."""

    generation: int  # the table it was last told of
    dump: Dump | None = None

    def end_dump(self) -> None:
        """Give up a listing, if one is under way."""
        if self.dump is not None:
            self.dump.close()
            self.dump = None


class Service:
    """Answers requests from the kernel's tables, and keeps the tables there.

    Construction loads the table; bans it holds from an earlier life stay. Raises `nft.NftError`
    and `KernelRefused`.
    """

    def __init__(self, options: Options) -> None:
        self._config = options
        self._allow = options.allow
        self._never = _NEVER_ALWAYS + options.never
        self._link = Nfnetlink()
        self._generation = 0  # counts tables: a peer that knows another has to apply its bans anew
        self._load()

    def peer(self) -> Peer:
        """The state of a new connection."""
        return Peer(self._generation)

    def answer(self, packet: bytes, peer: Peer) -> bytes:
        """The one answer to one packet. Never raises on what a peer sent or the kernel said."""
        ident, request = protocol.parse(packet)
        answer: Answer
        if isinstance(request, protocol.Invalid):
            answer = {"error": request.text}
        else:
            answer = self._attempt(request, peer)
        if peer.generation != self._generation:
            peer.generation = self._generation
            answer["rebuilt"] = True
        return protocol.encode({"id": ident} | answer)

    def _attempt(self, request: protocol.Request, peer: Peer) -> Answer:
        try:
            return self._do(request, peer)
        except KernelRefused as refused:
            if refused.errno == errno.ENFILE:
                return {"error": "set is full"}
            return {"error": f"kernel: {refused}"}
        except nft.NftError as error:
            return {"error": f"nft: {error}"}

    def _do(self, request: protocol.Request, peer: Peer) -> Answer:
        match request:
            case protocol.Ban():
                return self._ban(request)
            case protocol.Get():
                return {"remaining_ms": self._link.remaining_ms(request.element)}
            case protocol.List():
                return _list(request, peer)
            case protocol.Counters():
                return {"counters": self._link.counters()}
            case protocol.Kill():
                return self._kill(request.element)
            case protocol.Hello():
                self._whole(self._link.check)
                return {"version": protocol.VERSION}
            case protocol.Reload():
                return self._reload(request)
            case _:
                assert_never(request)

    def _ban(self, request: protocol.Ban) -> Answer:
        refused = [element for element in request.seconds if self._is_never(element)]
        seconds = dict(request.seconds)
        for element in refused:
            del seconds[element]
        self._whole(lambda: self._link.change(seconds, request.lifts))
        if not refused:
            return {}
        return {"refused": [[each.network, each.length, each.scope] for each in refused]}

    def _kill(self, element: Element) -> Answer:
        if self._is_never(element):
            return {"killed": 0}
        config = self._config
        ports = config.ports_mx if element.scope == "mx" else config.ports_auth
        return {"killed": sockets.kill(element, ports)}

    def _reload(self, request: protocol.Reload) -> Answer:
        existed = self._table_exists()
        nft.load(self._config.ports_auth, self._config.ports_mx, request.allow)
        self._allow = request.allow
        if not existed:
            self._generation += 1
        return {}

    def _is_never(self, element: Element) -> bool:
        return any(never.overlaps(element.packed, element.length) for never in self._never)

    def _whole(self, action: Callable[[], None]) -> None:
        """Do `action`, and once more where the table had to be brought back for it."""
        try:
            action()
        except TableGone:
            _say("the table was removed by somebody; loading it again")
            self._load()
            self._generation += 1
            action()

    def _load(self) -> None:
        ports_auth, ports_mx = self._config.ports_auth, self._config.ports_mx
        try:
            nft.load(ports_auth, ports_mx, self._allow)
        except nft.NftError as error:
            if not self._table_exists():
                raise
            # Another version's sets may differ from ours. Its bans go; the guard has them too.
            _say(f"replacing a table that is not ours: {error}")
            nft.run("delete table inet gatekeeper\n")
            nft.load(ports_auth, ports_mx, self._allow)
            self._generation += 1

    def _table_exists(self) -> bool:
        try:
            self._link.check()
        except TableGone:
            return False
        return True


def _list(request: protocol.List, peer: Peer) -> Answer:
    if request.start:
        peer.end_dump()
        peer.dump = Dump()
    elif peer.dump is None:
        return {"error": "no list was started"}
    assert peer.dump is not None
    try:
        page = peer.dump.page()
    except TableGone:
        page = None  # nothing is held in a table that is gone
    except KernelRefused:
        peer.end_dump()
        raise
    if page is None:
        peer.end_dump()
        return {"entries": [], "more": False}
    entries = [[each.network, each.length, each.scope, left_ms] for each, left_ms in page]
    return {"entries": entries, "more": True}


def _say(text: str) -> None:
    sys.stderr.write(f"gatekeeper.kernel: {text}\n")
