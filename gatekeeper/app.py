"""The assembly: the only module that builds concrete things and knows how they fit.

`run` is two acts. The first is synchronous and may be root's: certificates are read, sockets bound,
the kernel process started; then the rights are dropped. The second is Trio's, and the first to read
a byte from the network.
"""

import gc
import secrets
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import trio

from gatekeeper import __version__, host
from gatekeeper.abc import BanChange
from gatekeeper.ban import Ban, Scope
from gatekeeper.breaker_watch import BreakerWatch
from gatekeeper.clock_watch import ClockWatch
from gatekeeper.config.placing import placed
from gatekeeper.console import Console
from gatekeeper.control import SOCKET_NAME
from gatekeeper.control import serve as serve_control
from gatekeeper.domains_tree import DomainsFollower
from gatekeeper.durable import Restore, load_account_secret, open_store
from gatekeeper.enforce.transparent import end_keeper
from gatekeeper.enforcement import Enforcement
from gatekeeper.errors import GatekeeperError
from gatekeeper.guard import Guard
from gatekeeper.health import Health
from gatekeeper.hooking import Hooking, end_despite_threads, hook_verbs
from gatekeeper.idling import Idlers
from gatekeeper.inquiries import Dns
from gatekeeper.ledger import Ledger
from gatekeeper.metrics.readings import Parts
from gatekeeper.overview import Overview
from gatekeeper.pausing import Pause
from gatekeeper.policy.domains import Domains
from gatekeeper.policy.mailboxes import canonical_domain
from gatekeeper.prefix import Prefix, entity
from gatekeeper.probes import Stage
from gatekeeper.propagation import ChangeFeed, store_feed
from gatekeeper.readiness import Readiness
from gatekeeper.relay import Relay
from gatekeeper.reloading import reread
from gatekeeper.remembering import PolicyMemory, Remembering
from gatekeeper.server import Server, drain
from gatekeeper.session.dialogue import Service
from gatekeeper.sessions import SessionTable
from gatekeeper.settings import Mode, Settings
from gatekeeper.startup import (
    Prepared,
    Services,
    never_banned,
    prepare,
)
from gatekeeper.stuck import Lookout
from gatekeeper.systemd import Notifier
from gatekeeper.telling import Telling
from gatekeeper.verdict import Reason
from gatekeeper.web import WebServer
from gatekeeper.web_routes import site

DOMAINS_WAIT_S: Final = 10.0  # a larger tree is read on beside the first sessions
BANS_WAIT_S: Final = 10.0  # more than the kernel takes in so long are put in beside them, too
GC_THRESHOLD: Final = 20_000  # new container objects before the youngest are looked at
_GOODBYE_S: Final = 5.0  # what the last writes to store and kernel may take
STOP_S: Final = 3 * _GOODBYE_S  # those, the last lines of the log, and the keeper's end


def run(settings: Settings, path: Path) -> int:
    """Hold the guard until SIGTERM or SIGINT; the exit code.

    `path` is read again at SIGHUP. Raises `ConfigError`, `PermissionMissing` or `EnforcerError` for
    what keeps it from starting.
    """
    services = Services(settings)
    prepared = prepare(settings)
    host.drop_rights(settings.user)
    app = App(settings, path, services, prepared)
    # What lives now lives for ever; sessions make little that is cyclic, so looking for it seldom
    # costs little memory and saves a few per cent of every login.
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 20)
    trio.run(app.main)
    if prepared.keeper is not None:
        end_keeper(prepared.keeper)
    end_despite_threads()
    return 0


class App:
    """The running guard."""

    def __init__(
        self, settings: Settings, path: Path, services: Services, prepared: Prepared
    ) -> None:
        self._settings = settings
        self._path = path
        self._services = services
        self._prepared = prepared
        self._started_at = time.time()
        self._boot_at = self._started_at - time.monotonic()
        self._notifier = Notifier.of()
        self._telling = Telling(lambda: self._services)
        self._log, self._tally = self._telling.log, self._telling.tally
        self._stage = Stage.STARTING
        told = self._chronicle = self._telling.chronicle
        self._health = Health(self._chronicle.health)
        self._table = SessionTable(self._chronicle.session, self._chronicle.fault)
        self._readiness = Readiness()
        self._idlers = Idlers(settings, self._chronicle.would_end)
        self._relay = Relay(
            self._readiness,
            settings.limits.relay_idle_s,
            self._idlers,
            on_end=self._table.remove,
            on_fault=self._table.fault,
        )
        self._ledger = Ledger(
            settings.policy, never_banned(settings), self._steady, block=settings.block
        )
        self._guard = Guard(
            settings,
            self._ledger,
            clock=self._steady,
            account_secret=load_account_secret(settings, self._health.of("store")),
            password_secret=secrets.token_bytes(32),
            on_verdict=self._chronicle.verdict,
            on_lock=self._chronicle.lock,
        )
        self._guard.on_judged = self._tally.judged
        self._breaker = BreakerWatch(
            self._guard.banning, self._steady, told.breaker, told.breaker_closed
        )
        self._ledger.subscribe(self._on_ban)
        self._enforcement = Enforcement(
            settings, prepared, self._ledger, self._guard, told, self._health, clock=self._steady
        )
        self._dns = Dns(settings, exempt=self._exempt, is_ours=self._is_ours, on_zone=told.zone)
        self._domains = DomainsFollower(settings.domains.root, self._take_domains, told.domains)
        self._web = WebServer(settings.http.bind, self._health.of("http"))
        self._hooks = Hooking(settings, self._guard, self._dns.resolver, told.hook)
        self._server = self._make_server()

    # -- life -------------------------------------------------------------------------------

    async def main(self) -> None:
        """Serve until told to stop, then drain."""
        # From here on a signal waits for its reader instead of ending the process.
        received = trio.open_signal_receiver(signal.SIGHUP, signal.SIGTERM, signal.SIGINT)
        async with trio.open_nursery() as outer:
            outer.start_soon(self._log.run)
            outer.start_soon(self._readiness.run)
            outer.start_soon(Lookout().run, self._on_stuck)
            try:
                with received as signals:
                    await self._serve(outer, signals)
            finally:
                with trio.move_on_after(_GOODBYE_S, shield=True):
                    await self._log.aclose()
            outer.cancel_scope.cancel()

    async def _serve(self, outer: trio.Nursery, signals: AsyncIterator[int]) -> None:
        store, restore = await open_store(
            self._settings, self._ledger, self._guard, self._health.of("store")
        )
        store_follows = store_feed(
            self._ledger, store, clock=self._steady, on_health=self._health.of("store")
        )
        remembering = Remembering(
            PolicyMemory(self._guard.evidence, self._steady),
            store,
            clock=self._steady,
            on_health=self._health.of("store"),
        )
        outer.start_soon(self._take_in, restore)
        for follower in (store_follows, remembering, self._enforcement, self._hooks, self._telling):
            outer.start_soon(follower.run)
        pause = Pause(
            self._enforcement.enforcer,
            (self._guard.suspend, self._idlers.suspend),
            clock=time.time,
            on_begin=self._chronicle.paused,
            on_end=self._chronicle.resumed,
        )
        clock = ClockWatch(time.time, self._steady, self._chronicle.clock)
        for watch in (pause, self._breaker, self._dns, self._domains, clock):
            outer.start_soon(watch.run)
        console = self._console(pause)
        parts = self._parts(console, store_follows)
        overview = Overview(parts, self._steady)
        outer.start_soon(overview.run)
        control = console.control({**overview.verbs(), **hook_verbs(self._hooks)})
        outer.start_soon(self._web.run, site(parts, overview, control))
        outer.start_soon(self._notifier.run, console.line)
        with trio.move_on_after(DOMAINS_WAIT_S):
            await self._domains.looked.wait()
        with trio.move_on_after(BANS_WAIT_S):
            await self._enforcement.filled.wait()
        path = self._settings.run_dir / SOCKET_NAME
        await outer.start(serve_control, path, control, self._log)
        async with trio.open_nursery() as sessions:
            await self._accept_until_stopped(sessions, signals)
            await self._drain()
            sessions.cancel_scope.cancel()
        restore.stop()
        with trio.move_on_after(_GOODBYE_S):
            await self._enforcement.aclose()
            await store_follows.flush()
            await remembering.flush()
            await store.aclose()

    def _make_server(self) -> Server:
        return Server(
            self._build_services(),
            self._table,
            self._ledger,
            self._chronicle.overload,
            paused=lambda: self._guard.suspended,
        )

    def _parts(self, console: Console, store_follows: ChangeFeed) -> Parts:
        return Parts(
            console,
            self._tally,
            self._health,
            self._dns,
            self._domains,
            self._idlers,
            self._hooks,
            self._log,
            stage=lambda: self._stage,
            server=self._server,
            services=lambda: self._services,
            store_waiting=lambda: len(store_follows),
            without_kernel=self._prepared.without_kernel,
        )

    def _console(self, pause: Pause) -> Console:
        return Console(
            self._table,
            self._ledger,
            self._guard,
            self._enforcement,
            pause,
            settings=lambda: self._settings,
            live=self._live,
            reload=self._reload,
            started_at=self._started_at,
            herald=self._telling.herald,
        )

    async def _take_in(self, restore: Restore) -> None:
        """Have the Store's bans in the Ledger; only then compare it with the kernel."""
        async with self._enforcement.pages as pages:
            if await restore.run(pages.send):
                self._log.event("restored", bans=len(self._ledger))
        if not restore.stopped:
            self._enforcement.restored.set()

    async def _accept_until_stopped(
        self, sessions: trio.Nursery, signals: AsyncIterator[int]
    ) -> None:
        async with trio.open_nursery() as listeners:
            for name, sock in self._prepared.sockets:
                listeners.start_soon(self._server.accept_forever, sock, name, sessions)
            self._log.event(
                "started",
                version=__version__,
                mode=self._settings.mode.value,
                listeners=len(self._prepared.sockets),
                bans=len(self._ledger),
                kernel=self._prepared.kernel is not None,
                why=self._prepared.without_kernel or None,
            )
            self._stage = Stage.SERVING
            self._notifier.ready()
            for doubt in self._prepared.doubts:
                self._log.warning("transparent", why=doubt)
            async for signum in signals:
                if signum != signal.SIGHUP:
                    break
                await self._reload()
            listeners.cancel_scope.cancel()

    async def _drain(self) -> None:
        self._stage = Stage.DRAINING
        drain_s = self._settings.limits.drain_s
        self._notifier.stopping(drain_s + STOP_S)
        self._log.event("draining", sessions=len(self._table), within_s=drain_s)
        self._log.event("stopped", cut=await drain(self._table, drain_s))

    def _on_stuck(self, address: str) -> None:
        """A client was cut off that held every session up; that is never an accident."""
        self._log.warning("stuck", rip=address)
        if self._settings.mode is Mode.OBSERVE or self._guard.suspended:
            return
        prefix = entity(address.partition("%")[0])
        for scope in Scope:
            if self._guard.banning.admits(prefix, scope, self._guard.now):
                self._ledger.ban(prefix, scope, Reason.PROTOCOL_ABUSE)

    async def _reload(self) -> str:
        """Replace certificates, backends, policy and hooks; or why they stay, a line each."""
        self._notifier.reloading()
        problems = ""
        try:
            async with self._hooks.reloading:
                fresh = reread(self._path, self._settings, self._services)
                await self._hooks.reconfigure(fresh[0])
                self._take_over(*fresh)
        except GatekeeperError as error:
            problems = placed(str(error), self._path)
            for line in problems.splitlines():
                self._log.event("reload-failed", error=line)
        self._notifier.ready()
        self._tally.reloaded(problems)
        return problems

    def _take_over(self, settings: Settings, services: Services) -> None:
        self._settings, self._services = settings, services
        self._guard.reconfigure(settings)
        self._dns.reconfigure(settings)
        self._domains.reconfigure(settings.domains.root)
        self._idlers.reconfigure(settings)
        self._telling.reconfigure(services)
        self._ledger.spare(never_banned(settings))
        self._ledger.block(settings.block)
        self._enforcement.reconfigure(settings)
        self._web.reconfigure(settings.http.bind)
        self._server.services = self._build_services()
        self._log.event("reloaded", files=len(settings.files))

    def _build_services(self) -> dict[str, Service]:
        self._services.watch(self._chronicle.backend)
        return {
            listener.name: self._services.service(
                listener,
                self._hooks,
                self._readiness,
                self._relay,
                self._enforcement.dialler,
                self._dns,
                self._dns.entrance,
            )
            for listener in self._settings.listeners
        }

    # -- adapters ---------------------------------------------------------------------------

    def _take_domains(self, domains: Domains | None) -> None:
        self._guard.domains = domains

    def _exempt(self, client: Prefix) -> bool:
        """Whether no list is asked about a client, whomever it writes to."""
        domains = self._guard.domains
        return self._ledger.exempt(client) or (domains is not None and domains.exempts(client))

    def _is_ours(self, domain: str) -> bool:
        """Whether nobody but us may call himself by `domain`, which is in its one form."""
        domains = self._guard.domains
        own = canonical_domain(self._settings.hostname)
        return domain == own or (domains is not None and domain in domains.by_name)

    def _steady(self) -> float:
        """Unix time as it was at the start, going on evenly whatever is done to the system's clock:
        all that is counted, banned and remembered goes by it. So do the kernel's elements."""
        return self._boot_at + time.monotonic()

    def _on_ban(self, change: BanChange) -> None:
        ended = 0
        if isinstance(change, Ban) and not self._guard.suspended:
            ended = self._table.end_banned(change)
        self._chronicle.ban(change, ended)

    def _live(self) -> dict[str, object]:
        """What the console cannot ask itself."""
        return {
            "relayed": len(self._relay),
            "idling": len(self._idlers),
            **self._dns.report(),
            **self._domains.report(),
            **self._hooks.report(),
            "accepted": self._server.accepted,
            "refused_banned": self._server.refused_banned,
            "enforcer_health": self._prepared.without_kernel or self._health.state("enforcer"),
            "store_health": self._health.state("store"),
        }
