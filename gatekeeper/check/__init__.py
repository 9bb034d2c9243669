"""What the text of a configuration cannot show: whether it works on this host.

Nothing is changed and nothing is kept: pairs are loaded into contexts of their own, ports are bound
and let go, backends are called, asked whether they relay, and left.
"""

import contextlib
import socket
import time
from collections.abc import Mapping
from pathlib import Path

from gatekeeper.check.backends import (
    check_loops,
    check_openness,
    check_reach,
    check_secrecy,
    check_trust,
)
from gatekeeper.check.certificates import check_certificates
from gatekeeper.check.dns import check_dns
from gatekeeper.check.domains import check_domains
from gatekeeper.check.finding import Finding, Severity
from gatekeeper.check.hooks import check_hooks
from gatekeeper.check.host import check_directories, check_kernel, check_ports, check_web
from gatekeeper.check.notify import check_notify, check_token
from gatekeeper.check.relay import check_relay
from gatekeeper.check.running import check_running
from gatekeeper.check.transparent import check_families, check_transparent, dialler
from gatekeeper.check.xdp import check_xdp
from gatekeeper.cli.client import SOCKET_NAME, exchange
from gatekeeper.errors import GatekeeperError
from gatekeeper.settings import Settings

__all__ = ["Finding", "Severity", "check"]


def check(settings: Settings, *, with_dns: bool = False, relay_test: bool = True) -> list[Finding]:
    """Everything found, errors first. Takes 3 seconds at most where backends do not answer, 3 more
    where transparent ones do not answer a client, 20 more for the `relay_test` where backends are
    slow, and `with_dns` 10 more where lists are.

    Runs Trio for itself: not to be called inside a Trio task.
    """
    running = _guard_answers(settings.run_dir / SOCKET_NAME)
    unreached = check_reach(settings)
    trust = list(check_trust(settings))
    told = {f"{each.subject}: {each.text}" for each in trust}
    relay = check_relay(settings, unreached, dialler(settings)) if relay_test else []
    findings = [
        *check_certificates(settings.tls, settings.hostname, time.time()),
        *check_ports(settings, running=running),
        *check_web(settings, running),
        *check_directories(settings),
        *check_domains(settings),
        *check_hooks(settings),
        *check_notify(settings),
        *check_token(settings),
        *check_loops(settings),
        *check_openness(settings),
        *check_secrecy(settings),
        *unreached,
        *trust,
        *(each for each in relay if each.text not in told),
        *check_kernel(settings),
        *check_xdp(settings),
        *check_families(settings),
        *check_transparent(settings, running),
        *(check_dns(settings) if with_dns else ()),
        *check_running(_status(settings.run_dir / SOCKET_NAME) if running else {}),
    ]
    return sorted(findings, key=lambda finding: finding.severity is not Severity.ERROR)


def _status(path: Path) -> Mapping[str, object]:
    """What the guard behind `path` says of itself; empty where it does not answer in time."""
    with contextlib.suppress(GatekeeperError):
        reply = exchange(path, {"verb": "status"})
        status = reply.get("status")
        if isinstance(status, dict):
            return status
    return {}


def _guard_answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, contextlib.suppress(OSError):
        probe.connect(str(path))
        return True
    return False
