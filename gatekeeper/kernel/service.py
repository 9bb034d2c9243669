"""What each verb does, and what is told unasked. One `Service` for the process, one `Peer` for each
guard that asks."""

import errno
import socket
import sys
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple, assert_never

from gatekeeper.kernel import nft, parsing, protocol, sockets
from gatekeeper.kernel.dial import Dialling
from gatekeeper.kernel.element import Element, set_name
from gatekeeper.kernel.mirror import Mirror
from gatekeeper.kernel.never import NeverList
from gatekeeper.kernel.nfnetlink import Dump, KernelRefused, Nfnetlink, TableGone
from gatekeeper.kernel.options import Options
from gatekeeper.kernel.table import Table
from gatekeeper.kernel.watch import ChangeWatch, FloodWatch

MAX_SAID: Final = 256  # packets waiting to be told; the loop empties it after every step
_ENTRIES_A_PACKET: Final = 800  # of 70 octets at most

Answer = dict[str, object]


@dataclass(slots=True)
class Peer:
    """What is kept of one connection between its requests."""

    dump: Dump | None = None
    missed: bool = False  # it could not be told something

    def end_dump(self) -> None:
        """Give up a listing, if one is under way."""
        if self.dump is not None:
            self.dump.close()
            self.dump = None


class Reply(NamedTuple):
    """A packet for the asker, and a descriptor that goes with it."""

    packet: bytes
    passed: socket.socket | None = None


class Service:
    """Answers requests from the kernel's tables, and keeps the tables there.

    Construction loads the table; bans it holds from an earlier life stay. Raises `nft.NftError`
    and `KernelRefused`. `said` has what every peer is to be told; `readers` the sockets to be read
    when they are readable, each with what reads it. Neither raises.
    """

    def __init__(self, options: Options) -> None:
        self.said: deque[Answer] = deque(maxlen=MAX_SAID)
        self._options = options
        self._never = NeverList(options.never)
        self._dialling = Dialling(options)
        self._link = Nfnetlink()
        changes = ChangeWatch(self._link.port)
        self._table = Table(options, self._never, self._link)
        self._generation = self._table.generation
        self.mirror = Mirror(options, self._table.allow)
        self.readers: dict[socket.socket, Callable[[], None]] = {
            changes.socket: lambda: self._hear(changes)
        }
        if options.syn_rate:
            self._listen_for_floods()

    def answer(self, packet: bytes, peer: Peer) -> Reply:
        """The one answer to one packet. Never raises on what a peer sent or the kernel said."""
        ident, request = parsing.parse(packet)
        answer: Answer
        passed = None
        match request:
            case protocol.Invalid():
                answer = {"error": request.text}
            case protocol.Dial():
                answer, passed = self._dial(request)
            case _:
                answer = self._attempt(lambda: self._do(request, peer))
        return Reply(protocol.encode({"id": ident} | answer), passed)

    def resume(self) -> None:
        """Nobody is there any more who could end a suspension. Never raises."""
        self._attempt(lambda: self._suspend(on=False))

    # -- verbs --------------------------------------------------------------------------------

    def _attempt(self, action: Callable[[], Answer]) -> Answer:
        try:
            return action()
        except KernelRefused as refused:
            if refused.errno == errno.ENFILE:
                return {"error": protocol.SET_IS_FULL}
            return {"error": f"kernel: {refused}"}
        except nft.NftError as error:
            return {"error": f"nft: {error}"}
        finally:
            self._tell_rebuilt()

    def _do(self, request: protocol.TableRequest, peer: Peer) -> Answer:
        answer: Answer
        match request:
            case protocol.Ban():
                answer = self._ban(request)
            case protocol.Put():
                answer = self._put(request)
            case protocol.Get():
                answer = {"remaining_ms": self._link.remaining_ms(request.element)}
            case protocol.List():
                answer = _list(request, peer)
            case protocol.Counters():
                answer = {"counters": self._link.counters() | self.mirror.counters()}
            case protocol.Kill():
                answer = self._kill(request)
            case protocol.Hello():
                self._table.mend()
                answer = {"version": protocol.VERSION, "xdp": self.mirror.states()}
            case protocol.Reload():
                self._table.configure(request.allow, request.block)
                self.mirror.set_allow(self._table.allow)
                answer = {}
            case protocol.Suspend():
                answer = self._suspend(on=request.on)
            case _:
                assert_never(request)
        return answer

    def _ban(self, request: protocol.Ban) -> Answer:
        refused = [
            each for each in request.seconds if self._never.touches(each.packed, each.length)
        ]
        seconds = dict(request.seconds)
        for element in refused:
            del seconds[element]
        self._whole(lambda: self._link.change(seconds, request.lifts))
        self.mirror.change(seconds, request.lifts)
        return _refused((each.network, each.length, each.scope) for each in refused)

    def _put(self, request: protocol.Put) -> Answer:
        scope, length = request.scope, request.length
        touches = self._never.touches
        records = [each for each in request.records if not touches(each[0], length)]
        name = set_name(scope, length)
        self._whole(lambda: self._link.put(name, records, replace=request.replace))
        self.mirror.put(name, records)
        if len(records) == len(request.records):
            return {}
        refused = (
            Element(scope, key, length) for key, _ in request.records if touches(key, length)
        )
        return _refused((each.network, length, scope) for each in refused)

    def _kill(self, request: protocol.Kill) -> Answer:
        ports = {"auth": self._options.ports_auth, "mx": self._options.ports_mx}
        never = self._never.touches
        return {
            "killed": sockets.kill(
                [each for each in request.elements if not never(each.packed, each.length)], ports
            )
        }

    def _suspend(self, *, on: bool) -> Answer:
        self._table.suspend(on)
        self.mirror.suspend(on=on)
        return {}

    def _dial(self, request: protocol.Dial) -> tuple[Answer, socket.socket | None]:
        try:
            return {}, self._dialling.dial(request.target, request.source, request.port)
        except ValueError as refused:
            return {"error": str(refused)}, None
        except KernelRefused as refused:
            return {"error": f"kernel: {refused}"}, None

    def _whole(self, action: Callable[[], None]) -> None:
        """Do `action`, and once more where the table had to be brought back for it."""
        try:
            action()
        except TableGone:
            self._table.mend()
            action()

    # -- unasked ------------------------------------------------------------------------------

    def _listen_for_floods(self) -> None:
        try:
            floods = FloodWatch()
        except KernelRefused as refused:
            _say(f"floods are dropped but not reported: NFLOG: {refused}")
            return
        self.readers[floods.socket] = lambda: self._hear_of_floods(floods)

    def _hear(self, watch: ChangeWatch) -> None:
        changes = watch.read()
        if changes.table or changes.missed:
            told = self._attempt(lambda: {"mended": self._table.mend()})
            if "error" in told:
                _say(f"the table cannot be mended: {told['error']}")
        if changes.missed:
            self.said.append({"event": "missed"})
        added = {each: -(-left_ms // 1000) for each, left_ms in changes.added}
        self.mirror.change(added, changes.lifted)
        self._tell("lifted", ([it.network, it.length, it.scope] for it in changes.lifted))
        self._tell(
            "added", ([it.network, it.length, it.scope, left_ms] for it, left_ms in changes.added)
        )

    def _hear_of_floods(self, watch: FloodWatch) -> None:
        sources = watch.read()
        if sources:
            self.said.append({"event": "flood", "sources": [_address(each) for each in sources]})

    def _tell(self, event: str, entries: Iterable[list[object]]) -> None:
        waiting = list(entries)
        for at in range(0, len(waiting), _ENTRIES_A_PACKET):
            page = waiting[at : at + _ENTRIES_A_PACKET]
            if len(self.said) == MAX_SAID:
                self.said[-1] = {"event": "missed"}
                return
            self.said.append({"event": event, "entries": page})

    def _tell_rebuilt(self) -> None:
        if self._generation != self._table.generation:
            self._generation = self._table.generation
            self.said.append({"event": "rebuilt"})


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
        return {"more": False}
    shape = protocol.RECORDS[page.length]
    octets = shape.size - 4
    packed = [shape.pack(key[:octets], left_ms) for key, left_ms in page.records]
    records = b"".join(packed).hex()
    return {"scope": page.scope, "length": page.length, "records": records, "more": True}


def _refused(entries: Iterable[tuple[str, int, str]]) -> Answer:
    refused = list(map(list, entries))
    return {"refused": refused} if refused else {}


def _address(packed: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


def _say(text: str) -> None:
    sys.stderr.write(f"gatekeeper.kernel: {text}\n")
