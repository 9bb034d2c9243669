"""What is done before the first byte from the network is read: certificates are loaded, sockets
bound, the kernel process started. It may be root's work; `app.run` drops the rights after it.
"""

import contextlib
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from random import SystemRandom

from gatekeeper import host, listening, systemd
from gatekeeper.abc import Dialler, Judge, Screen
from gatekeeper.config.checking import loops_between
from gatekeeper.enforce.spawn import Options, networks, spawn_kernel
from gatekeeper.enforce.transparent import spawn_keeper, targets
from gatekeeper.errors import ConfigError, EnforcerError, PermissionMissing
from gatekeeper.events import MailProtocol
from gatekeeper.messengers import messengers
from gatekeeper.prefix import Prefix
from gatekeeper.readiness import Readiness
from gatekeeper.relay import Relay
from gatekeeper.session import imap, smtp
from gatekeeper.session.dialogue import Service
from gatekeeper.session.entrance import Entrance
from gatekeeper.session.likeness import Likeness
from gatekeeper.settings import (
    Announce,
    BackendSettings,
    Endpoint,
    ListenerSettings,
    Settings,
)
from gatekeeper.status_page.lifting import read_token
from gatekeeper.tls import Certificates, ends_at
from gatekeeper.unix_sockets import CONTROL_NAME, answers
from gatekeeper.upstream import Backend, OnOpen


@dataclass(frozen=True, slots=True)
class Prepared:
    """What needed rights, done."""

    sockets: listening.Named
    # Ours, or where the one that is a unit listens.
    kernel: tuple[socket.socket, subprocess.Popen[bytes]] | Path | None
    without_kernel: str  # why bans stay in the guard, if they do
    keeper: subprocess.Popen[bytes] | None = None  # takes transparent mode's rules away at our end
    doubts: tuple[str, ...] = ()  # what the operator should look at


def prepare(settings: Settings) -> Prepared:
    """Do all that may need rights. Raises `ConfigError`, `PermissionMissing` or, for transparent
    backends, `EnforcerError`."""
    if answers(settings.run_dir / CONTROL_NAME):  # and its table in the kernel would become ours
        raise ConfigError(f"{settings.run_dir}: another guard runs with this run_dir")
    host.raise_descriptor_limit(settings.limits.sessions)
    host.own_directory(settings.run_dir, settings.user)
    if settings.store.path is not None:
        for path in (settings.store.path.parent, settings.state_dir):
            # The Store will say so, and do without.
            with contextlib.suppress(PermissionMissing, ConfigError):
                host.own_directory(path, settings.user)
    passed = systemd.inherited()
    sockets = (
        listening.recognised(settings.listeners, passed)
        if passed
        else listening.bound(settings.listeners)
    )
    kernel, without_kernel = _kernel(settings)
    return _with_keeper(settings, Prepared(sockets, kernel, without_kernel))


def _kernel(
    settings: Settings,
) -> tuple[tuple[socket.socket, subprocess.Popen[bytes]] | Path | None, str]:
    """The kernel process, or why there is none."""
    if not settings.enforce.nft:
        return None, "switched off by [enforce] nft = false"
    if settings.enforce.kernel_socket is not None:
        return settings.enforce.kernel_socket, ""
    try:
        return spawn_kernel(kernel_options(settings)), ""
    except (EnforcerError, PermissionMissing) as error:
        return None, str(error)


def _with_keeper(settings: Settings, prepared: Prepared) -> Prepared:
    """`prepared` with what transparent backends need. Without it their mail does not flow at all,
    so that the guard does not start. Raises `EnforcerError` or `PermissionMissing`."""
    endpoints = transparent_endpoints(settings)
    if not endpoints:
        return prepared
    if not isinstance(prepared.kernel, tuple):
        raise EnforcerError(f"transparent: there is no kernel process: {prepared.without_kernel}")
    try:
        keeper, doubts = spawn_keeper(targets(endpoints))
    except BaseException:
        prepared.kernel[0].close()
        raise
    return replace(prepared, keeper=keeper, doubts=tuple(doubts))


def kernel_options(settings: Settings) -> Options:
    """What the privileged process is told once and for all."""
    auth, mx = ports_by_scope(settings)
    return Options(
        ports_auth=tuple(auth),
        ports_mx=tuple(mx),
        never=networks(sorted(never_banned(settings))),
        allow=networks(settings.allow),
        block=networks(settings.block),
        syn_rate=settings.enforce.syn_rate,
        syn_burst=settings.enforce.syn_burst,
        xdp=settings.enforce.xdp,
        dial=targets(transparent_endpoints(settings)),
    )


def ports_by_scope(settings: Settings) -> tuple[list[int], list[int]]:
    """The guarded ports: those of scope auth, those of scope mx."""
    auth: set[int] = set()
    mx: set[int] = set()
    for listener in settings.listeners:
        ports = mx if listener.protocol is MailProtocol.SMTP else auth
        ports.update(endpoint.port for endpoint in listener.bind)
    return sorted(auth), sorted(mx)


def never_banned(settings: Settings) -> set[Prefix]:
    """Loopback, this host, its backends and balancers, and whom the operator allows."""
    return {*near(settings), *settings.allow}


def near(settings: Settings) -> set[Prefix]:
    """Loopback, this host, its backends and balancers: no backend sees a client with such an
    address come from it."""
    found = {*host.LOOPBACK, *host.own_addresses()}
    for backend in settings.backends.values():
        for endpoint in backend.address:
            try:
                found.add(Prefix.parse(endpoint.host))
            except ValueError:
                continue  # a name: its addresses may change, and backends do not call us
    for listener in settings.listeners:
        found.update(listener.proxy_protocol_from)
    return found


def transparent_endpoints(settings: Settings) -> list[Endpoint]:
    """Where connections come from clients' own addresses: numeric, as `config` sees to."""
    return [
        endpoint
        for backend in settings.backends.values()
        if backend.announce is Announce.TRANSPARENT
        for endpoint in backend.address
    ]


def loops(settings: Settings) -> Iterator[str]:
    """A line for each backend that is the guard's own listener: a session there makes another."""
    own = {prefix.packed for prefix in host.own_addresses()}
    for backend in settings.backends.values():
        for listener in settings.listeners:
            for text in loops_between(backend, listener, own):
                yield f"[backend.{backend.name}] address: {text}"


@contextlib.contextmanager
def _noting(problems: list[str]) -> Iterator[None]:
    try:
        yield
    except ConfigError as error:
        problems += str(error).splitlines()


class Services:
    """The parts a reload replaces: certificates and backends, built and verified as a whole."""

    def __init__(self, settings: Settings, earlier: "Services | None" = None) -> None:
        """What was learnt of a backend's refusals is taken over from `earlier`, for a backend whose
        settings are the same. Raises `ConfigError`, a line for each thing that cannot be used; then
        nothing has changed."""
        self.settings = settings
        problems = list(loops(settings))
        with _noting(problems):
            self._certificates = {
                MailProtocol.IMAP: Certificates(settings.tls, imap.ALPN.decode()),
                MailProtocol.SUBMISSION: Certificates(settings.tls, smtp.ALPN.decode()),
            }
            self._certificates[MailProtocol.SMTP] = self._certificates[MailProtocol.SUBMISSION]
            pairs = [*settings.tls.pairs, *(pair for sni in settings.tls.sni for pair in sni.pairs)]
            # Of those in use: the files may be newer.
            self.certificate_ends = {pair.certificate: ends_at(pair.certificate) for pair in pairs}
        with _noting(problems):
            self.messengers = messengers(settings.notify)
        with _noting(problems):
            self.page_token = read_token(settings.http.token_file)
        self._backends: dict[str, Backend] = {}
        around = near(settings)
        for name, each in settings.backends.items():
            with _noting(problems):
                self._backends[name] = Backend(each, around)
        if problems:
            raise ConfigError("\n".join(problems))
        known = {} if earlier is None else earlier.likenesses
        keys = {(settings.backends[it.backend], it.protocol) for it in settings.listeners}
        self.likenesses: dict[tuple[BackendSettings, MailProtocol], Likeness] = {
            key: known.get(key) or Likeness(SystemRandom()) for key in keys
        }

    def watch(self, on_open: OnOpen) -> None:
        """Have `on_open` hear how each connection to a backend went; see `Backend`."""
        for backend in self._backends.values():
            backend.on_open = on_open

    def service(
        self,
        listener: ListenerSettings,
        judge: Judge,
        readiness: Readiness,
        relay: Relay,
        dialler: Dialler | None = None,
        screen: Screen | None = None,
        entrance: Entrance | None = None,
    ) -> Service:
        """What the sessions of `listener` need; `dialler` where a backend is transparent."""
        backend = self._backends[listener.backend]
        backend.dialler = dialler
        return Service(
            listener=listener,
            settings=self.settings,
            judge=judge,
            backend=backend,
            likeness=self.likenesses[self.settings.backends[listener.backend], listener.protocol],
            certificates=self._certificates[listener.protocol],
            readiness=readiness,
            relay=relay,
            screen=screen,
            entrance=entrance,
        )
