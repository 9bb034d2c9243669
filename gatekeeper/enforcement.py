"""The Enforcer of this run, and what keeps it true: the feed of changes, comparisons, resets.

Without a kernel process bans are held in memory, and the guard alone refuses.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

import trio

from gatekeeper.abc import Dialler, Enforcer
from gatekeeper.ban import End, Scope
from gatekeeper.chronicle import Chronicle
from gatekeeper.enforce.kernel_client import KernelClient
from gatekeeper.enforce.memory import MemoryEnforcer
from gatekeeper.enforce.transparent import KernelDialler, targets
from gatekeeper.errors import EnforcerError
from gatekeeper.guard import Guard
from gatekeeper.health import Health
from gatekeeper.ledger import Ledger
from gatekeeper.policy.keys import place
from gatekeeper.prefix import Prefix
from gatekeeper.propagation import enforcer_feed
from gatekeeper.reconciling import Hooks, Reconciler, Repair
from gatekeeper.resets import Resets
from gatekeeper.settings import Mode, Settings
from gatekeeper.startup import Prepared, never_banned, transparent_endpoints
from gatekeeper.verdict import Reason

_PAGES_WAITING: Final = 8  # of 5,000 bans: reading goes on while the kernel takes them
PRUNE_S: Final = 60.0
FLOOD_BAN_S: Final = 600.0  # the kernel's own lasts a minute; this one is listed and explained


class Enforcement:
    """One for the process. `clock` gives Unix time.

    `pages` takes the ends of the Store's bans as they are read, and is closed behind them; then
    `restored` is to be set, for what the kernel holds besides is looked at only then. `filled` is
    set when the kernel has all these bans, or does not take them.
    """

    def __init__(
        self,
        settings: Settings,
        prepared: Prepared,
        ledger: Ledger,
        guard: Guard,
        chronicle: Chronicle,
        health: Health,
        clock: Callable[[], float],
    ) -> None:
        self.restored = trio.Event()
        self.filled = trio.Event()
        self.pages, self._pages = trio.open_memory_channel[list[End]](_PAGES_WAITING)
        self._settings = settings
        self._ledger = ledger
        self._guard = guard
        self._chronicle = chronicle
        self._lists_told = True
        self._xdp: Mapping[str, str] = {}  # interfaces and how they are served, at the last look
        self._client: KernelClient | None = None
        self._resets: Resets | None = None
        self.dialler: Dialler | None = None
        if prepared.kernel is not None:
            at = prepared.kernel[0] if isinstance(prepared.kernel, tuple) else prepared.kernel
            self._client = KernelClient(at, health.of("enforcer"))
            known = targets(transparent_endpoints(settings))
            self.dialler = KernelDialler(self._client.dial, known)
            self._resets = Resets(ledger, self._client.kill, chronicle.reset_elsewhere)
        self.enforcer: Enforcer = self._client or MemoryEnforcer(clock)
        self._feed = enforcer_feed(
            ledger, self.enforcer.apply, clock=clock, on_health=health.of("enforcer")
        )
        hooks = Hooks(
            prepare=self._prepare,
            on_repair=chronicle.repaired,
            on_lifted=chronicle.lifted_by_hand,
            on_refused=chronicle.refused,
            on_flood=self._on_flood,
        )
        self.reconciler = Reconciler(ledger, self.enforcer, self._feed, clock=clock, hooks=hooks)

    async def run(self) -> None:
        """Keep kernel and Ledger in step until cancelled."""
        async with trio.open_nursery() as nursery:
            if self._client is not None:
                nursery.start_soon(self._client.run, self.reconciler)
            if self._resets is not None:
                nursery.start_soon(self._resets.run)
            nursery.start_soon(self._feed.run)
            nursery.start_soon(self._prune_forever)
            await self._take_pages()
            await self.restored.wait()
            await self.reconciler.run()

    async def _prune_forever(self) -> None:
        """Ended bans leave the Ledger's table in force even when nobody asks for them."""
        while True:
            await trio.sleep(PRUNE_S)
            self._ledger.prune()

    async def _take_pages(self) -> None:
        """Put the Store's bans into the kernel while they are read, where it has none: after a
        boot. Where it kept them, or fails, the comparison sees to the rest.

        The Ledger does not know all of them yet; the kernel process has its own never list."""
        client = self._client
        takes = client is not None
        sure = False
        async for page in self._pages:
            if client is not None and takes and page:
                takes = sure = await self._put_in(client, page, sure)
            if not takes:
                self.filled.set()
        self.filled.set()

    async def _put_in(self, client: KernelClient, page: list[End], sure: bool) -> bool:
        """Have the kernel hold a page, unless it holds the bans already; whether it takes them.
        `sure`: it was found to hold none."""
        try:
            if not sure:
                prefix, scope, _ = page[-1]
                if await client.remaining_s(prefix, scope) is not None:
                    return False
            await self.reconciler.fill(page)
        except EnforcerError:
            return False
        return True

    def reconfigure(self, settings: Settings) -> None:
        """Go on with new settings; the kernel hears of their lists soon."""
        self._settings = settings
        self._lists_told = False
        self.reconciler.compare()

    @property
    def waiting(self) -> int:
        """Changes of the Ledger that the Enforcer has not applied yet."""
        return len(self._feed)

    async def aclose(self) -> None:
        """Apply what still waits and let go. Bans in the kernel stay."""
        await self._feed.flush()
        await self.enforcer.aclose()

    def report(self) -> Mapping[str, object]:
        """For `status`: what was different between Ledger and kernel so far, and how XDP is."""
        repaired: Counter[Repair] = self.reconciler.repaired
        return {
            "enforcer": type(self.enforcer).__name__,
            "repaired": {repair.value: count for repair, count in repaired.items()},
            "xdp": self._xdp,
        }

    async def _prepare(self, anew: bool) -> None:
        """Tell the kernel process what it was not started with, and have it look at its table."""
        if self._client is None:
            return
        if anew or not self._lists_told:
            # New balancers and backends too: its never list is the one of the start.
            settings = self._settings
            await self._client.reload(sorted(never_banned(settings)), settings.block)
            self._lists_told = settings is self._settings  # or there are newer ones
        self._xdp = await self._client.hello()

    def _on_flood(self, prefix: Prefix) -> None:
        """The kernel drops this address for a minute. A SYN can be forged, so nobody is banned from
        where people logged in lately, and no later ban is longer for this one."""
        now = self._guard.now
        self._chronicle.flood(prefix)
        spared = self._guard.evidence.logins.neighbourhood.spared(place(prefix), now)
        if spared or self._settings.mode is Mode.OBSERVE or self._guard.suspended:
            return
        for scope in Scope:
            if self._guard.banning.admits(prefix, scope, now):
                self._ledger.ban(
                    prefix, scope, Reason.SYN_FLOOD, seconds=FLOOD_BAN_S, escalate=False
                )
