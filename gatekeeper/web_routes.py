"""What the HTTP server serves, put together: the table of its paths.

A new page is a part of its own that makes Routes; it is merged in `site`.
"""

from functools import partial

from gatekeeper.control_verbs import Control
from gatekeeper.log import Log, where
from gatekeeper.metrics.exposition import Exposition
from gatekeeper.metrics.readings import Parts, sources
from gatekeeper.overview import Overview
from gatekeeper.probes import Probes
from gatekeeper.status_page.ban_search import BanSearch
from gatekeeper.status_page.lifting import Lifting
from gatekeeper.status_page.pages import StatusPage
from gatekeeper.web import Routes, Site


def site(parts: Parts, overview: Overview, control: Control) -> Site:
    """All pages of one guard."""
    routes: Routes = {
        **Probes(parts.stage, partial(_troubles, parts), partial(_away, parts)).routes(),
        **Exposition(sources(parts)).routes(),
        **_status_page(parts, overview, control).routes(),
    }
    return Site(routes, partial(_tell_fault, parts.log))


def _status_page(parts: Parts, overview: Overview, control: Control) -> StatusPage:
    return StatusPage(
        overview,
        BanSearch(parts.console.ledger),
        control,
        Lifting(control, lambda: parts.services().page_token, parts.log),
        hostname=lambda: parts.console.settings().hostname,
    )


def _troubles(parts: Parts) -> dict[str, str]:
    """The parts that fail, but for what the operator has switched off."""
    states = {"store": parts.health.state("store"), "kernel": parts.health.state("enforcer")}
    if parts.console.settings().enforce.nft and parts.without_kernel:
        states["kernel"] = parts.without_kernel
    ill = {part: state for part, state in states.items() if state != "ok"}
    backends = parts.console.settings().backends
    return ill | {f"backend {name}": why for name in backends if (why := parts.tally.away(name))}


def _away(parts: Parts) -> dict[str, str]:
    """Each listener, with why its backend does not answer; empty where it does."""
    return {
        listener.name: f"backend {listener.backend}: {why}"
        if (why := parts.tally.away(listener.backend))
        else ""
        for listener in parts.console.settings().listeners
    }


def _tell_fault(log: Log, path: str, error: Exception) -> None:
    """A fault of this program cost somebody an answer."""
    log.error("http-fault", path=path, error=type(error).__name__, at=where(error))
