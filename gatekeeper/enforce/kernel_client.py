"""The Enforcer that asks the privileged process (`gatekeeper.kernel`) over its socket.

Theory of operation. One question is under way at a time; `run` reads the socket and hands each
answer to its asker, and what the process tells unasked to `news`. Every question carries a number
and its answer the same one, so a question whose asker gave up, by its deadline or by cancellation,
does no harm: its late answer is recognised and thrown away. A process that was killed and started
anew says so first; then the question under way has failed.

A process that is a unit of its own listens at a path. There `run` connects, and connects again
after growing pauses whenever it is gone; meanwhile every question fails at once. A new connection
begins with `started`, as a new process does, so whoever hears `news` tells it all and compares.
"""

import contextlib
import json
import socket
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import trio

from gatekeeper.abc import BanChange, EnforcerNews, HeldBan
from gatekeeper.ban import End, Scope
from gatekeeper.enforce.packets import entry, held, page, receive, understood
from gatekeeper.enforce.questions import bulk, single
from gatekeeper.enforce.shape import Key, enforceable, final_seconds, seconds_left
from gatekeeper.errors import EnforcerError, EnforcerFull
from gatekeeper.kernel.protocol import (
    ENTRIES_MAX,
    SET_IS_FULL,
    encode,
)
from gatekeeper.prefix import Prefix, pack_address

# A transaction takes milliseconds, or most of a second behind somebody else's large one.
ROUND_TRIP_S: Final = 5.0
_DROP_COUNTERS: Final = ("dropped", "flooded", "blocked", "xdp_dropped")  # as they begin
_BULK_FROM: Final = 64  # changes; fewer go in one packet whatever their sets
FIRST_PAUSE_S: Final = 0.1  # before the next try to connect
MAX_PAUSE_S: Final = 5.0
START_S: Final = 15.0  # for its first word: its start, behind a socket of the service manager
_GONE: Final = "the kernel process is gone"


def _mute(_error: EnforcerError | None) -> None:
    """Nobody asked to be told."""


class KernelClient:
    """Implements `gatekeeper.abc.Enforcer`. `where` is what `spawn_kernel` returned, or the path a
    kernel process listens at.

    `run` has to be running for anything to be answered. All or none holds for each packet, not
    across packets: a longer list that fails is in force up to the failure. After a missed deadline
    it is not known whether the change is in force; applying it once more is harmless.

    `news` hears what the process tells unasked; it must not call back in here. `on_health` hears
    an error when the process is found to be gone, and None when it is there.
    """

    def __init__(
        self, where: socket.socket | Path, on_health: Callable[[EnforcerError | None], None] = _mute
    ) -> None:
        self.news: EnforcerNews | None = None
        self._path: Path | None = None
        self._socket: trio.socket.SocketType | None = None  # of a process that answers
        self._known = trio.Event()  # whether there is one
        if isinstance(where, Path):
            self._path = where
        else:
            where.setblocking(False)
            self._socket = trio.socket.from_stdlib_socket(where)
            self._known.set()
        self._on_health = on_health
        self._lock = trio.Lock()
        self._listing = trio.Lock()
        self._last_id = 0
        self._arrived = trio.Event()  # the answer to the last question, or its failure
        self._answer: dict[str, Any] | EnforcerError | None = None
        self._passed: socket.socket | None = None  # came with the answer
        self._closed = False

    async def run(self, news: EnforcerNews) -> None:
        """Read until `aclose`, or until a process without a path is gone: every question fails from
        then on. One with a path is looked for again."""
        self.news = news
        pause_s = FIRST_PAUSE_S
        while not self._closed:
            if (sock := self._socket or await self._connect()) is not None:
                served = await self._read(sock, news)
                pause_s = FIRST_PAUSE_S if served else pause_s
            if self._path is None:
                return
            await trio.sleep(pause_s)
            pause_s = min(2 * pause_s, MAX_PAUSE_S)

    async def _connect(self) -> trio.socket.SocketType | None:
        sock = trio.socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            await sock.connect(str(self._path))
        except OSError as error:
            sock.close()
            self._lose(f"{self._path}: {error.strerror}")
            return None
        return sock

    async def _read(self, sock: trio.socket.SocketType, news: EnforcerNews) -> bool:
        """Read until the process is gone; whether it had said a word. Of one at a path the first
        word is that it has started: what was asked before it would fail."""
        with sock, contextlib.suppress(OSError, trio.ClosedResourceError):
            received = await self._first(sock) if self._socket is None else await receive(sock)
            while received[0]:
                self._find(sock)
                self._take(*received, news)
                received = await receive(sock)
        served = self._socket is not None
        self._socket = None
        self._lose(_GONE if served else f"{self._path}: it hangs up, or does not answer")
        return served

    async def _first(self, sock: trio.socket.SocketType) -> tuple[bytes, socket.socket | None]:
        with trio.move_on_after(START_S):
            return await receive(sock)
        return b"", None

    def _find(self, sock: trio.socket.SocketType) -> None:
        if self._socket is None:
            self._socket = sock
            self._known.set()
            self._on_health(None)

    def _lose(self, why: str) -> None:
        self._known.set()
        self._arrive(EnforcerError(_GONE))
        if not self._closed:
            self._on_health(EnforcerError(why))

    async def hello(self) -> dict[str, str]:
        """Have the process see that its table is there; how XDP serves each interface. Raises
        `EnforcerError`."""
        answer = await self._ask({"verb": "hello"})
        with understood():
            return dict(answer.get("xdp", {}))

    async def apply(self, changes: Sequence[BanChange], now: float) -> None:
        """See `Enforcer.apply`, and above for long lists."""
        final = final_seconds(changes, now)
        asked = single(final, ENTRIES_MAX) if len(final) < _BULK_FROM else bulk(final, replace=True)
        for question in asked:
            await self._change(question)

    async def fill(self, ends: Iterable[End], now: float) -> None:
        """See `Enforcer.fill`."""
        for question in bulk(seconds_left(ends, now), replace=False):
            await self._change(question)

    async def held(self) -> list[HeldBan]:
        """See `Enforcer.held`. Bans made meanwhile may be in it or not; they do not wait for it."""
        found: dict[Key, HeldBan] = {}
        await self.walk(lambda page: found.update({(it.prefix, it.scope): it for it in page}))
        return list(found.values())

    async def walk(self, take: Callable[[Sequence[HeldBan]], None]) -> None:
        """See `Enforcer.walk`. Changes do not wait for it."""
        async with self._listing:
            answer = await self._ask({"verb": "list", "start": True})
            while answer.get("more"):
                with understood():
                    one = page(answer)
                take(one)
                answer = await self._ask({"verb": "list", "start": False})

    async def remaining_s(self, prefix: Prefix, scope: Scope) -> float | None:
        """See `Enforcer.remaining_s`."""
        if not enforceable(prefix):
            return None
        answer = await self._ask({"verb": "get", "entry": entry(prefix, scope)})
        with understood():
            left_ms = answer["remaining_ms"]
            return None if left_ms is None else float(left_ms) / 1000

    async def dropped(self) -> dict[str, int]:
        """See `Enforcer.dropped`."""
        answer = await self._ask({"verb": "counters"})
        with understood():
            counters: dict[str, list[int]] = answer["counters"]
            return {
                name: packets
                for name, (packets, _octets) in counters.items()
                if name.startswith(_DROP_COUNTERS)
            }

    async def suspend(self, *, on: bool) -> None:
        """See `Enforcer.suspend`."""
        await self._ask({"verb": "suspend", "on": on})

    async def kill(self, keys: Sequence[Key]) -> int:
        """Reset every open connection of these prefixes to their scopes' ports; how many there
        were. At most `ENTRIES_MAX`.

        Meant for sockets of other processes: the caller's own end with `ECONNABORTED`.
        Raises `EnforcerError`.
        """
        entries = [entry(prefix, scope) for prefix, scope in keys if enforceable(prefix)]
        answer = await self._ask({"verb": "kill", "entries": entries})
        with understood():
            return int(answer["killed"])

    async def dial(self, target: int, source: str, port: int) -> socket.socket:
        """A non-blocking socket that is being connected to a backend of the command line from a
        client's address and port. Raises `EnforcerError`."""
        await self._ask({"verb": "dial", "target": target, "source": source, "port": port})
        passed, self._passed = self._passed, None
        if passed is None:
            raise EnforcerError("the kernel process makes no sense")
        return passed

    async def reload(self, allow: Iterable[Prefix], block: Iterable[Prefix]) -> None:
        """Load the rules again with these lists; bans stay. Raises `EnforcerError`."""
        lists = {"allow": list(map(str, allow)), "block": list(map(str, block))}
        await self._ask({"verb": "reload", **lists})

    async def aclose(self) -> None:
        """Close the socket: a kernel process started for it ends, its bans stay."""
        self._closed = True
        self._forget_passed()
        if self._socket is not None:
            self._socket.close()
        await trio.lowlevel.checkpoint()

    # -- questions and answers ----------------------------------------------------------------

    async def _change(self, question: dict[str, object]) -> None:
        answer = await self._ask(question)
        with understood():
            for network, length, scope in answer.get("refused", ()):
                prefix = Prefix(pack_address(network), length)
                if self.news is not None:
                    self.news.refused(prefix, Scope(scope))

    async def _ask(self, question: dict[str, object]) -> dict[str, Any]:
        """The answer to one question. Raises `EnforcerError`."""
        async with self._lock:
            try:
                with trio.fail_after(ROUND_TRIP_S):
                    await self._known.wait()
                    if self._socket is None:
                        raise EnforcerError(_GONE)
                    self._last_id += 1
                    self._answer, self._arrived = None, trio.Event()
                    self._forget_passed()
                    await self._socket.send(encode({"id": self._last_id} | question))
                    await self._arrived.wait()
            except trio.TooSlowError as error:
                raise EnforcerError("the kernel process does not answer") from error
            except (OSError, trio.ClosedResourceError) as error:
                raise EnforcerError(f"{_GONE}: {error}") from error
            return self._arrived_answer()

    def _arrived_answer(self) -> dict[str, Any]:
        assert self._answer is not None, "what arrived is there"
        if isinstance(self._answer, EnforcerError):
            raise self._answer
        if "error" in self._answer:
            kind = EnforcerFull if self._answer["error"] == SET_IS_FULL else EnforcerError
            raise kind(f"kernel process: {self._answer['error']}")
        return self._answer

    def _take(self, packet: bytes, passed: socket.socket | None, news: EnforcerNews) -> None:
        """Hand one packet to whom it is for."""
        try:
            fields = json.loads(packet)
            if "event" in fields:
                self._hear(fields, news)
            elif fields["id"] == self._last_id and not self._arrived.is_set():
                passed, self._passed = None, passed
                self._arrive(fields)
        except (ValueError, KeyError, TypeError, AttributeError):
            self._arrive(EnforcerError("the kernel process makes no sense"))
        finally:
            if passed is not None:
                passed.close()

    def _forget_passed(self) -> None:
        """Close what came with an answer whose asker had gone."""
        if self._passed is not None:
            self._passed.close()
            self._passed = None

    def _arrive(self, answer: dict[str, Any] | EnforcerError) -> None:
        if not self._arrived.is_set():
            self._answer = answer
            self._arrived.set()

    def _hear(self, fields: dict[str, Any], news: EnforcerNews) -> None:
        match fields["event"]:
            case "started":
                self._arrive(EnforcerError("the kernel process was started anew"))
                news.doubtful()
            case "missed":
                news.doubtful()
            case "rebuilt":
                news.rebuilt()
            case "lifted":
                for network, length, scope in fields["entries"]:
                    news.lifted(Prefix(pack_address(network), length), Scope(scope))
            case "added":
                for ban in map(held, fields["entries"]):
                    news.added(ban)
            case "flood":
                for address in fields["sources"]:
                    news.flooding(Prefix.parse(address))
            case _:
                raise ValueError("unknown event")
