"""Whether transparent backends can be reached from clients' addresses, and whose."""

from collections.abc import Iterator

from gatekeeper.abc import Dialler
from gatekeeper.check.finding import Finding, error, warning
from gatekeeper.enforce.direct import DirectDialler
from gatekeeper.enforce.transparent import endpoint, targets
from gatekeeper.errors import EnforcerError
from gatekeeper.settings import Announce, Endpoint, Settings
from gatekeeper.startup import transparent_endpoints

_WHERE = "transparent"


def check_families(settings: Settings) -> Iterator[Finding]:
    """A warning for each listener whose clients a transparent backend cannot be shown."""
    for listener in settings.listeners:
        backend = settings.backends[listener.backend]
        if backend.announce is not Announce.TRANSPARENT:
            continue
        served = set(map(_version, backend.address))
        for version in sorted(set(map(_version, listener.bind)) - served):
            text = (
                f"IPv{version} clients are refused: transparent backend {backend.name} has no"
                f" IPv{version} address"
            )
            yield warning(f"listener {listener.name}", text)


def check_transparent(settings: Settings, running: bool) -> Iterator[Finding]:
    """What keeps backends' replies from coming back. With a guard `running` its rules have to be
    there, and each backend is tried; takes 3 seconds where one does not answer."""
    dialled = targets(transparent_endpoints(settings))
    if not dialled:
        return
    from gatekeeper.enforce import returning  # loads pyroute2

    try:
        for text in returning.obstacles(dialled):
            yield error(_WHERE, text)
        absent = returning.absent(dialled)
        if running:
            for text in absent:
                yield error(_WHERE, f"not there: {text}")
        if not absent:
            for each in returning.not_returned(dialled):
                yield warning(_WHERE, returning.astray(endpoint(each)))
    except PermissionError:
        yield error(_WHERE, "neither root nor CAP_NET_ADMIN here: no backend can be dialled")
    except EnforcerError as failure:
        yield error(_WHERE, str(failure))


def dialler(settings: Settings) -> Dialler | None:
    """Who calls transparent backends as the guard would; None where there are none, or where the
    rights for it, or the rules of a running guard, are missing."""
    dialled = targets(transparent_endpoints(settings))
    if not dialled:
        return None
    from gatekeeper.enforce import returning  # loads pyroute2

    try:
        return None if returning.absent(dialled) else DirectDialler(dialled)
    except (PermissionError, EnforcerError):  # told by `check_transparent`
        return None


def _version(end: Endpoint) -> int:
    return 6 if ":" in end.host else 4
