"""What the HTTP server serves, put together: the table of its paths.

A new page is a part of its own that makes Routes; it is merged in `site`.
"""

from functools import partial

from gatekeeper.console import Console
from gatekeeper.log import Log, where
from gatekeeper.probes import Probes
from gatekeeper.web import Routes, Site


def site(console: Console, probes: Probes, log: Log) -> Site:
    """All pages of one guard."""
    routes: Routes = {**probes.routes()}
    return Site(routes, partial(_tell_fault, log))


def _tell_fault(log: Log, path: str, error: Exception) -> None:
    """A fault of this program cost somebody an answer."""
    log.error("http-fault", path=path, error=type(error).__name__, at=where(error))
