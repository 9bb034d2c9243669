"""The guard without listeners: Ledger, Enforcement and a kernel process, driven by a bench."""

import contextlib
import gc
import time
from collections.abc import AsyncIterator, Iterator
from itertools import islice
from typing import Final

import trio

from bench.kernel.stage import GUARDED, address
from bench.proxies import process_tree
from demo.namespaces import make
from gatekeeper.app import GC_THRESHOLD
from gatekeeper.ban import Ban, Origin, Scope
from gatekeeper.chronicle import Chronicle
from gatekeeper.enforce.spawn import Options, spawn_kernel
from gatekeeper.enforcement import Enforcement
from gatekeeper.guard import Guard
from gatekeeper.health import Health
from gatekeeper.kernel import messages
from gatekeeper.kernel.element import SETS, Element
from gatekeeper.kernel.nfnetlink import Nfnetlink
from gatekeeper.ledger import Ledger
from gatekeeper.log import Log
from gatekeeper.prefix import Prefix
from gatekeeper.settings import Settings, TlsSettings
from gatekeeper.startup import Prepared
from gatekeeper.verdict import Reason

_SETTINGS: Final = Settings("guard.example", TlsSettings(), (), {})
_PAGE: Final = 10_000
_READY_S: Final = 120.0
_SET_COUNT: Final = 20  # enum nft_set_attributes
_FAMILY_OCTETS: Final = 4  # struct nfgenmsg, before the attributes
BAN_S: Final = 3 * 3600.0


class Desk:
    """Made by `opened`; the calling thread is in the world's namespace from then on."""

    def __init__(self) -> None:
        self.namespaces = make()
        self.ledger = Ledger(_SETTINGS.policy, (), time.time)
        guard = Guard(
            _SETTINGS, self.ledger, clock=time.time, account_secret=b"a", password_secret=b"p" * 16
        )
        with self.namespaces.guard_side():
            prepared = spawn_kernel(Options((GUARDED,), (25,)))
            self.kernel = Nfnetlink()
        self._process = prepared[1]
        self.enforcement = Enforcement(
            _SETTINGS,
            Prepared((), prepared, ""),
            self.ledger,
            guard,
            Chronicle(Log(lambda _lines: None)),
            Health(lambda _part, _error: None),
            clock=time.time,
        )
        gc.freeze()  # as the guard does
        gc.set_threshold(GC_THRESHOLD, 20, 20)

    async def restore(self, first: int, last: int) -> None:
        """Take in the bans `first` to `last` as a start does: Ledger and, page by page, kernel."""
        bans = _bans(first, last)
        enforcement = self.enforcement
        while page := list(islice(bans, _PAGE)):
            self.ledger.restore(page)
            await enforcement.enforcer.fill(
                [(it.prefix, it.scope, it.until) for it in page], time.time()
            )
        held = self.held()
        if held != len(self.ledger):
            raise RuntimeError(f"the kernel holds {held} bans of {len(self.ledger)}")

    def ban(self, prefix: Prefix) -> None:
        """As a Rule does, of one kind."""
        self.ledger.ban(prefix, Scope.AUTH, Reason.OPERATOR, seconds=BAN_S, origin=Origin.OPERATOR)

    async def applied(self) -> None:
        """Wait until the kernel has acknowledged all that was banned."""
        await self.enforcement._feed.applied()

    def in_force(self, prefix: Prefix) -> bool:
        """What the kernel itself says."""
        return self.kernel.remaining_ms(Element("auth", prefix.packed, 32)) is not None

    def held(self) -> int:
        """How many bans the kernel itself has."""
        return counted(self.kernel)

    @property
    def kernel_pids(self) -> list[int]:
        """The kernel process and who keeps it alive."""
        return process_tree(self._process.pid)

    def close(self) -> None:
        """Let the kernel process end."""
        self.kernel.close()
        self._process.wait(_READY_S)


@contextlib.asynccontextmanager
async def opened() -> AsyncIterator[Desk]:
    """A desk at work."""
    desk = Desk()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.enforcement.run)
        with trio.fail_after(_READY_S):
            await desk.enforcement.reconciler.once()
        yield desk
        await desk.enforcement.aclose()
        nursery.cancel_scope.cancel()
    desk.close()


def counted(kernel: Nfnetlink) -> int:
    """How many bans the kernel has, by its own count (`NFTA_SET_COUNT`, since Linux 6.16): to read
    a million takes the better part of a minute. Raises `RuntimeError` where it does not count."""
    sequence = kernel._next()
    kernel._send(messages.sets(sequence))
    total = 0
    for answer in kernel._answers(sequence):
        if answer.type == messages.NEW_SET and messages.read_name(answer.body) in SETS:
            attributes = messages.read_attributes(answer.body[_FAMILY_OCTETS:])
            if _SET_COUNT not in attributes:
                raise RuntimeError("this kernel does not say how many bans it holds")
            total += int.from_bytes(attributes[_SET_COUNT], "big")
    return total


def _bans(first: int, last: int) -> Iterator[Ban]:
    now = time.time()
    for number in range(first, last):
        until = now + BAN_S + number % 500_000
        yield Ban(address(number), Scope.AUTH, Reason.AUTH_FAILURES, 1, now - 60, until)
