"""Ports, directories and rights of this host."""

import ctypes
import errno
import os
import pwd
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gatekeeper.check.as_user import as_user
from gatekeeper.check.finding import Finding, error, warning
from gatekeeper.check.manager import held_by_manager
from gatekeeper.check.nftables import nf_tables_trouble
from gatekeeper.settings import Endpoint, Settings

_CAP_NET_ADMIN: Final = 12  # capabilities(7)
_LIBRARY: Final = "libnftables.so.1"
_UNSERVED: Final = "nothing is served there"
_WITHOUT: Final = "bans then hold in the guard alone: it refuses, the kernel does not drop"


def check_ports(settings: Settings, running: bool) -> Iterator[Finding]:
    """Whether every address can be bound; with a guard `running` those in use are taken for its,
    and those of the service manager for what it will pass."""
    for listener in settings.listeners:
        for endpoint in listener.bind:
            failure = _bind_failure(endpoint)
            if failure is None:
                continue
            if failure.errno == errno.EADDRINUSE and (running or held_by_manager(endpoint)):
                continue
            advice = ""
            if failure.errno in {errno.EACCES, errno.EPERM}:
                advice = ": start as root, or the socket units"
            yield error(f"listener {listener.name}", f"{endpoint}: {failure.strerror}{advice}")


def _bind_failure(endpoint: Endpoint) -> OSError | None:
    family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((endpoint.host, endpoint.port))
    except OSError as failure:
        return failure
    return None


def check_web(settings: Settings, running: bool) -> Iterator[Finding]:
    """Whether `[http] bind` can be had; mail is served without. With a guard `running` a port in
    use is taken for its."""
    bind = settings.http.bind
    if isinstance(bind, Endpoint):
        failure = _bind_failure(bind)
        if failure is not None and not (failure.errno == errno.EADDRINUSE and running):
            yield warning("[http] bind", f"{bind}: {failure.strerror}; {_UNSERVED}")
    elif bind is not None and (why := _unfit(bind, settings)):
        yield warning("[http] bind", f"{bind}: {why}; {_UNSERVED}")


def _unfit(path: Path, settings: Settings) -> str:
    """Why the guard's user cannot make a socket at `path`."""
    if path.parent == settings.run_dir:
        return ""  # `run` makes it and hands it to the user
    with as_user(settings.user):
        try:
            if path.exists() and not path.is_socket():
                return "it is there, and no socket"
            may = os.access(path.parent, os.W_OK | os.X_OK, effective_ids=True)
            return "" if may else "it cannot be made there by the guard's user"
        except OSError as failure:
            return failure.strerror or str(failure)


def check_directories(settings: Settings) -> Iterator[Finding]:
    """Whether the guard's user may write where it must. As root absent directories are made."""
    as_root = os.geteuid() == 0
    if as_root and not _account_exists(settings.user):
        yield error("user", f'there is no account "{settings.user}" on this host')
        return
    if as_root and pwd.getpwnam(settings.user).pw_uid == 0:
        yield warning("user", "the guard keeps all of root's rights: name an account of its own")
    directories = {"run_dir": settings.run_dir}
    if settings.store.path is not None:
        directories["[store] url"] = settings.store.path.parent
    for key, path in directories.items():
        if path.exists() and not path.is_dir():
            yield error(key, f"{path} is no directory")
        elif as_root:
            continue  # `run` as root makes it and hands it to the user
        elif path.exists() and not os.access(path, os.W_OK | os.X_OK):
            yield error(key, f"{path} may not be written by this user")
        elif not path.exists() and not _can_be_made(path):
            yield warning(key, f"{path} is not there; systemd makes it when the service starts")


def _can_be_made(path: Path) -> bool:
    parent = next(parent for parent in path.absolute().parents if parent.exists())
    return parent.is_dir() and os.access(parent, os.W_OK | os.X_OK)


def _account_exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


def check_kernel(settings: Settings, status: Path = Path("/proc/self/status")) -> Iterator[Finding]:
    """Whether bans can go to nftables; else what still protects."""
    if not settings.enforce.nft:
        yield warning("[enforce]", f"nft = false; {_WITHOUT}")
    elif settings.enforce.kernel_socket is not None:
        if not settings.enforce.kernel_socket.is_socket():
            path = settings.enforce.kernel_socket
            text = f"{path} is no socket: start gatekeeper-kernel.socket; {_WITHOUT}"
            yield warning("[enforce] kernel_socket", text)
    elif not _library_is_there(_LIBRARY):
        yield warning("nftables", f"{_LIBRARY} is not installed (libnftables1); {_WITHOUT}")
    elif not _may_administer_network(status):
        yield warning("nftables", f"neither root nor CAP_NET_ADMIN here; {_WITHOUT}")
    elif trouble := nf_tables_trouble():
        yield warning("nftables", f"{trouble}; {_WITHOUT}")


def _library_is_there(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def _may_administer_network(status: Path) -> bool:
    try:
        for line in status.read_text().splitlines():
            key, _, value = line.partition(":")
            if key == "CapEff":
                return bool(int(value, 16) >> _CAP_NET_ADMIN & 1)
    except (OSError, ValueError):
        return False
    return False
