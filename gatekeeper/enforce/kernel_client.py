"""The Enforcer that asks the privileged process (`gatekeeper.kernel`) over its socket.

One question is under way at a time. Every question carries a number and its answer the same one,
so a question whose asker gave up, by its deadline or by cancellation, does no harm: its late answer
is recognised and thrown away.
"""

import contextlib
import json
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

import trio

from gatekeeper.abc import BanChange, HeldBan
from gatekeeper.ban import Scope
from gatekeeper.enforce.shape import Key, enforceable, final_seconds
from gatekeeper.errors import EnforcerError
from gatekeeper.kernel.protocol import ENTRIES_MAX, PACKET_MAX_OCTETS, encode
from gatekeeper.prefix import Prefix, pack_address

# A transaction takes milliseconds, or most of a second behind somebody else's large one.
ROUND_TRIP_S: Final = 5.0
_DROP_COUNTERS: Final = "dropped"  # as their names begin in gatekeeper.nft


class KernelClient:
    """Implements `gatekeeper.abc.Enforcer`; `sock` is what `spawn_kernel` returned.

    All or none holds for each packet of `ENTRIES_MAX` changes, not across packets: a longer list
    that fails is in force up to the failure. After a missed deadline it is not known whether the
    change is in force; applying it once more is harmless.

    `on_rebuilt()` is called, before the operation returns, when the kernel process found its table
    removed and made a new one: all bans but this operation's are gone, and it is up to the owner to
    apply them again. `on_refused(prefix, scope)` is called for a ban the process will never hold,
    because its own never list covers an address of it; that is no error of `apply`, and the ban is
    not in force in the kernel. Neither may call back in here.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = trio.socket.from_stdlib_socket(sock)
        self._lock = trio.Lock()
        self._listing = trio.Lock()
        self._last_id = 0
        self.on_rebuilt: Callable[[], None] = _ignore
        self.on_refused: Callable[[Prefix, Scope], None] = _ignore

    async def hello(self) -> None:
        """Have the kernel process see that its table is there (`on_rebuilt` where it was not).

        Raises `EnforcerError`.
        """
        await self._ask({"verb": "hello"})

    async def apply(self, changes: Sequence[BanChange], now: float) -> None:
        """See `Enforcer.apply`, and above for lists longer than `ENTRIES_MAX`."""
        for question in _questions(final_seconds(changes, now)):
            answer = await self._ask(question)
            with _understood():
                for network, length, scope in answer.get("refused", ()):
                    self.on_refused(Prefix(pack_address(network), length), Scope(scope))

    async def held(self) -> list[HeldBan]:
        """See `Enforcer.held`. Bans made meanwhile may be in it or not; they do not wait for it."""
        found: dict[Key, float] = {}
        async with self._listing:
            answer = await self._ask({"verb": "list", "start": True})
            while answer.get("more"):
                with _understood():
                    for network, length, scope, left_ms in answer["entries"]:
                        key = Prefix(pack_address(network), length), Scope(scope)
                        found[key] = left_ms / 1000
                answer = await self._ask({"verb": "list", "start": False})
        return [HeldBan(*key, remaining_s=left) for key, left in found.items()]

    async def remaining_s(self, prefix: Prefix, scope: Scope) -> float | None:
        """See `Enforcer.remaining_s`."""
        if not enforceable(prefix):
            return None
        entry = [prefix.network, prefix.length, scope.value]
        answer = await self._ask({"verb": "get", "entry": entry})
        with _understood():
            left_ms = answer["remaining_ms"]
            return None if left_ms is None else float(left_ms) / 1000

    async def dropped(self) -> dict[str, int]:
        """See `Enforcer.dropped`."""
        answer = await self._ask({"verb": "counters"})
        with _understood():
            counters: dict[str, list[int]] = answer["counters"]
            return {
                name: packets
                for name, (packets, _octets) in counters.items()
                if name.startswith(_DROP_COUNTERS)
            }

    async def kill(self, prefix: Prefix, scope: Scope) -> int:
        """Reset every open connection of `prefix` to the scope's ports; how many there were.

        Meant for sockets of other processes: the caller's own end with `ECONNABORTED`.
        Raises `EnforcerError`.
        """
        entry = [prefix.network, prefix.length, scope.value]
        answer = await self._ask({"verb": "kill", "entry": entry})
        with _understood():
            return int(answer["killed"])

    async def reload(self, allow: Iterable[Prefix]) -> None:
        """Load the rules again with this allow list; bans stay. Raises `EnforcerError`."""
        await self._ask({"verb": "reload", "allow": [str(prefix) for prefix in allow]})

    async def aclose(self) -> None:
        """Close the socket: a kernel process started for it ends, its bans stay."""
        self._socket.close()
        await trio.lowlevel.checkpoint()

    async def _ask(self, question: dict[str, object]) -> dict[str, Any]:
        """The answer to one question. Raises `EnforcerError`."""
        async with self._lock:
            self._last_id += 1
            try:
                with trio.fail_after(ROUND_TRIP_S):
                    await self._socket.send(encode({"id": self._last_id} | question))
                    answer = await self._answer(self._last_id)
            except trio.TooSlowError as error:
                raise EnforcerError("the kernel process does not answer") from error
            except (OSError, trio.ClosedResourceError) as error:
                raise EnforcerError(f"the kernel process is gone: {error}") from error
        if answer.get("rebuilt"):
            self.on_rebuilt()
        if "error" in answer:
            raise EnforcerError(f"kernel process: {answer['error']}")
        return answer

    async def _answer(self, ident: int) -> dict[str, Any]:
        while True:
            packet = await self._socket.recv(PACKET_MAX_OCTETS)
            if not packet:
                raise EnforcerError("the kernel process ended")
            with _understood():
                answer: dict[str, Any] = json.loads(packet)
                if answer["id"] == ident:
                    return answer


@contextlib.contextmanager
def _understood() -> Iterator[None]:
    """Turns what a broken kernel process says into `EnforcerError`."""
    try:
        yield
    except (ValueError, KeyError, TypeError) as error:
        raise EnforcerError("the kernel process makes no sense") from error


def _questions(final: dict[Key, int | None]) -> Iterator[dict[str, object]]:
    """`ban` questions of at most `ENTRIES_MAX` changes each."""
    changes = list(final.items())
    for start in range(0, len(changes), ENTRIES_MAX):
        entries: list[list[object]] = []
        lift: list[list[object]] = []
        for (prefix, scope), seconds in changes[start : start + ENTRIES_MAX]:
            entry: list[object] = [prefix.network, prefix.length, scope.value]
            if seconds is None:
                lift.append(entry)
            else:
                entries.append([*entry, seconds])
        yield {"verb": "ban", "entries": entries, "lift": lift}


def _ignore(*_: object) -> None:
    """Nobody asked to be told."""
