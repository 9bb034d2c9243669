"""Where the values come from: the parts of a running guard, read when a scraper asks.

What takes long is bounded: the kernel process has a deadline, and the walk over all bans is made in
slices, and no more often than its length allows.
"""

import contextlib
import platform
import ssl
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, TypeVar

import trio

from gatekeeper import __version__
from gatekeeper.ban import Origin, Scope
from gatekeeper.console import Console
from gatekeeper.domains_tree import DomainsFollower
from gatekeeper.errors import EnforcerError
from gatekeeper.events import MailProtocol
from gatekeeper.health import Health
from gatekeeper.hooking import Hooking
from gatekeeper.hooks.health import Fault, State
from gatekeeper.idling import Idlers
from gatekeeper.inquiries import Dns
from gatekeeper.ledger import Ledger
from gatekeeper.log import Log
from gatekeeper.metrics import families as f
from gatekeeper.metrics.exposition import Reading, Source
from gatekeeper.probes import Stage
from gatekeeper.reconciling import Repair
from gatekeeper.server import Server
from gatekeeper.sessions import Phase
from gatekeeper.settings import Mode
from gatekeeper.startup import Services
from gatekeeper.tally import LoginResult, RecipientResult, Reloads, Tally

R = TypeVar("R", LoginResult, RecipientResult)

KERNEL_DEADLINE_S: Final = 2.0  # scrapers give up after ten
SLICE: Final = 1_000  # bans counted before others have their turn, some 0.3 ms
REST: Final = 100  # times as long as a count of all bans took until the next one is made


@dataclass(frozen=True, slots=True)
class Parts:
    """What metrics and probes are read from. `store_waiting` tells how many changes the Store has
    not written."""

    console: Console
    tally: Tally
    health: Health
    dns: Dns
    domains: DomainsFollower
    idlers: Idlers
    hooks: Hooking
    log: Log
    stage: Callable[[], Stage]
    server: Server
    services: Callable[[], Services]
    store_waiting: Callable[[], int]
    without_kernel: str  # why there is no kernel process; empty where there is


def sources(parts: Parts) -> list[Source]:
    """All there is to be read of a guard."""
    bans = BanCensus(parts.console.ledger)
    plain = (_process, _configuration, _sessions, _judged, _policy, _backends, _hooks, _questions)

    async def of_parts() -> Iterable[Reading]:
        await trio.lowlevel.checkpoint()
        return [one for read in plain for one in read(parts)]

    async def of_kernel() -> Iterable[Reading]:
        return await _kernel(parts)

    return [of_parts, bans.read, of_kernel]


# -- this process ------------------------------------------------------------------------------


def _process(parts: Parts) -> Iterator[Reading]:
    openssl = ssl.OPENSSL_VERSION.split()[1]
    yield Reading(f.BUILD_INFO, 1, (__version__, platform.python_version(), openssl))
    yield Reading(f.START_TIME, parts.console.started_at)
    yield Reading(f.SERVING, parts.stage() is Stage.SERVING)
    yield Reading(f.PAUSED, parts.console.pause.active)
    yield Reading(f.LOG_LOST, parts.log.lost)


def _configuration(parts: Parts) -> Iterator[Reading]:
    mode = parts.console.settings().mode
    for one in Mode:
        yield Reading(f.MODE, one is mode, (one.value,))
    for path, not_after in parts.services().certificate_ends.items():
        yield Reading(f.CERT_NOT_AFTER, not_after, (str(path),))
    yield from _reloads(parts.tally.reloads)


def _reloads(reloads: Reloads) -> Iterator[Reading]:
    for result, count, at in (
        ("done", reloads.done, reloads.done_at),
        ("failed", reloads.failed, reloads.failed_at),
    ):
        yield Reading(f.RELOADS, count, (result,))
        yield Reading(f.RELOAD_TIME, at, (result,))
    yield Reading(f.RELOAD_OK, reloads.ok)


# -- sessions and verdicts ---------------------------------------------------------------------


def _sessions(parts: Parts) -> Iterator[Reading]:
    tally = parts.tally
    census = parts.console.table.census()
    for listener in parts.console.settings().listeners:
        name = listener.name
        for phase in Phase:
            yield Reading(f.CONNECTIONS, census[name, phase], (name, phase.value))
        yield Reading(f.BEGUN, tally.begun[name], (name,))
    for (name, end), count in tally.ends.items():
        yield Reading(f.ENDS, count, (name, end.value))
    yield Reading(f.CONNECTIONS_LIMIT, parts.console.settings().limits.sessions)
    yield Reading(f.REFUSED_AT_ACCEPT, parts.server.refused_banned)
    yield Reading(f.IDLING, len(parts.idlers))


def _judged(parts: Parts) -> Iterator[Reading]:
    tally = parts.tally
    for (protocol, name, login), count in _from_zero(
        parts, tally.logins, LoginResult, MailProtocol.SMTP
    ):
        yield Reading(f.LOGINS, count, (protocol.value, name, login.value))
    for (protocol, name, result), count in _from_zero(
        parts, tally.recipients, RecipientResult, MailProtocol.IMAP
    ):
        yield Reading(f.RECIPIENTS, count, (protocol.value, name, result.value))
    for (name, kind), count in tally.violations.items():
        yield Reading(f.VIOLATIONS, count, (name, kind.value))
    for (reason, action, enforced), count in tally.verdicts.items():
        labels = reason.value, action.name.lower(), str(enforced).lower()
        yield Reading(f.VERDICTS, count, labels)
    yield Reading(f.DELAY, tally.delays)


def _from_zero(
    parts: Parts,
    counted: Counter[tuple[MailProtocol, str, R]],
    results: type[R],
    never: MailProtocol,
) -> Iterable[tuple[tuple[MailProtocol, str, R], int]]:
    """What was counted, and noughts for what may come: the first one is a rise, too."""
    noughts = {
        (listener.protocol, listener.name, result): 0
        for listener in parts.console.settings().listeners
        if listener.protocol is not never
        for result in results
    }
    return {**noughts, **counted}.items()


def _policy(parts: Parts) -> Iterator[Reading]:
    guard, tally = parts.console.guard, parts.tally
    logins, breaker = guard.evidence.logins, guard.banning.breaker
    yield Reading(f.ATTACK_LEVEL, logins.level.high(guard.now))
    yield Reading(f.OUTAGE, logins.outages.outage(guard.now))
    yield Reading(f.ACCOUNTS, len(logins.accounts))
    yield Reading(f.BREAKER_OPEN, breaker.trip(guard.now) is not None)
    yield Reading(f.WITHHELD, breaker.withheld)
    for (reason, scope), count in tally.bans.items():
        yield Reading(f.BANS, count, (reason.value, scope.value))
    for scope in Scope:
        yield Reading(f.LIFTS, tally.lifts[scope], (scope.value,))


# -- what the guard needs ----------------------------------------------------------------------


def _backends(parts: Parts) -> Iterator[Reading]:
    for name in parts.console.settings().backends:
        tally = parts.tally.backend_of(name)
        if tally.tried:
            yield Reading(f.BACKEND_UP, not tally.why, (name,))
        yield Reading(f.CONNECT, tally.connects, (name,))
        yield Reading(f.CONNECT_FAILURES, tally.failures, (name,))
    yield Reading(f.STORE_UP, parts.health.state("store") == "ok")
    yield Reading(f.WAITING, parts.store_waiting(), ("store",))


def _hooks(parts: Parts) -> Iterator[Reading]:
    for label, health in parts.hooks.healths.items():
        yield Reading(f.HOOK_UP, health.state is State.OK, (label,))
        yield Reading(f.HOOK_CALLS, health.calls, (label,))
        for fault in Fault:
            yield Reading(f.HOOK_FAULTS, health.faults[fault], (label, fault.value))


def _questions(parts: Parts) -> Iterator[Reading]:
    blocklists, questions = parts.dns.blocklists, parts.dns.questions()
    for zone, up in blocklists.zones().items():
        yield Reading(f.ZONE_UP, up, (zone,))
    for (zone, lookup), count in blocklists.lookups.items():
        yield Reading(f.LOOKUPS, count, (zone, lookup.value))
    yield Reading(f.QUESTIONS, questions["asked"])
    yield Reading(f.UNDER_WAY, questions["under_way"])
    if parts.domains.count is not None:
        yield Reading(f.DOMAINS, parts.domains.count)
        yield Reading(f.DOMAIN_TROUBLES, parts.domains.troubles)


async def _kernel(parts: Parts) -> Iterable[Reading]:
    enforcement = parts.console.enforcement
    if not parts.console.settings().enforce.nft:
        await trio.lowlevel.checkpoint()
        return []
    dropped: dict[str, int] | None = None
    with trio.move_on_after(KERNEL_DEADLINE_S), contextlib.suppress(EnforcerError):
        dropped = await enforcement.enforcer.dropped()
    up = dropped is not None and not parts.without_kernel and _well(parts)
    return [
        Reading(f.KERNEL_UP, up),
        Reading(f.WAITING, enforcement.waiting, ("kernel",)),
        *(Reading(f.DROPPED, count, (name,)) for name, count in (dropped or {}).items()),
        *(
            Reading(f.REPAIRS, enforcement.reconciler.repaired[repair], (repair.value,))
            for repair in Repair
        ),
    ]


def _well(parts: Parts) -> bool:
    return parts.health.state("enforcer") == "ok"


class BanCensus:
    """How many bans are in force, of which kind. A walk over them all, so its figures are as old as
    `REST` times what the last one took: a moment for ten thousand, a minute for a million."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._kinds: Counter[tuple[Origin, int, Scope]] = Counter()
        self._next_at = 0.0  # by Trio's clock

    async def read(self) -> Iterable[Reading]:
        """The counts of every kind, noughts too."""
        if trio.current_time() >= self._next_at:
            await self._count()
        return [
            Reading(
                f.BANS_ACTIVE,
                self._kinds[origin, version, scope],
                (origin.value, f"ipv{version}", scope.value),
            )
            for origin in Origin
            for version in (4, 6)
            for scope in Scope
        ]

    async def _count(self) -> None:
        begun = trio.current_time()
        kinds: Counter[tuple[Origin, int, Scope]] = Counter()
        for some in self._ledger.census(SLICE):
            kinds.update(some)
            await trio.lowlevel.checkpoint()
        self._kinds = kinds
        ended = trio.current_time()
        self._next_at = ended + REST * (ended - begun)
