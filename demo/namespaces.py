"""Two network namespaces without names, joined by a veth pair: the guard's, and the world's.

Nothing of this is visible outside: namespaces, addresses and rulesets end with the last process in
them. Without root the same is had in a user namespace, where the kernel lets an ordinary user make
one. The calling thread ends up in the world; `Namespaces.guard_side` is for what runs beside the
guard. Sockets stay in the namespace they were made in (network_namespaces(7), setns(2)).
"""

import contextlib
import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from gatekeeper.enforce.spawn import spawn_kernel
from gatekeeper.errors import GatekeeperError
from gatekeeper.kernel.options import Options

_CLONE_NEWNET: Final = 0x40000000
_PROBE_S: Final = 20.0
_INSIDE: Final = "GATEKEEPER_DEMO_USER_NAMESPACE"  # set for the program started anew

# Addresses set aside for documentation (RFC 5737, RFC 3849).
GUARD: Final = "192.0.2.25"
PERSON: Final = "198.51.100.10"
STRANGER: Final = "198.51.100.20"
ATTACKER: Final = "203.0.113.66"
GUARD_V6: Final = "2001:db8:25::25"
PERSON_V6: Final = "2001:db8:10::10"
ATTACKER_V6: Final = "2001:db8:66::66"

_GUARD_SIDE: Final = f"""\
link set lo up
addr add {GUARD}/32 dev world
link set world up
route add 198.51.100.0/24 dev world src {GUARD}
route add 203.0.113.0/24 dev world src {GUARD}
"""
_GUARD_SIDE_V6: Final = f"""\
addr add {GUARD_V6}/128 dev world nodad
route add 2001:db8:10::/48 dev world src {GUARD_V6}
route add 2001:db8:66::/48 dev world src {GUARD_V6}
"""
_WORLD_SIDE: Final = f"""\
link set lo up
addr add {PERSON}/32 dev guard
addr add {STRANGER}/32 dev guard
addr add {ATTACKER}/32 dev guard
link set guard up
route add {GUARD}/32 dev guard src {PERSON}
"""
_WORLD_SIDE_V6: Final = f"""\
addr add {PERSON_V6}/128 dev guard nodad
addr add {ATTACKER_V6}/128 dev guard nodad
route add {GUARD_V6}/128 dev guard src {PERSON_V6}
"""


class NoNamespaceError(Exception):
    """The namespaces cannot be had here; the text says why."""


@dataclass(frozen=True, slots=True)
class Namespaces:
    """Both namespaces, as descriptors; `ipv6` tells whether the link between them has it."""

    guard: int
    world: int
    ipv6: bool

    @contextlib.contextmanager
    def guard_side(self) -> Iterator[None]:
        """What this thread does in the block happens in the guard's namespace."""
        _enter(self.guard)
        try:
            yield
        finally:
            _enter(self.world)


def make() -> Namespaces:
    """Make both, and leave the calling thread in the world's. Raises `NoNamespaceError`.

    There is no way back for a process without root, so ask `why_not` first.
    """
    guard = _unshare()
    world = _unshare()
    # `ip` gets the descriptor and finds it under its own /proc/self.
    peer = f"link add guard type veth peer name world netns /proc/self/fd/{guard}\n"
    _ip(peer + _WORLD_SIDE, guard)
    _enter(guard)
    _ip(_GUARD_SIDE)
    _run("nft", "list", "ruleset")
    with contextlib.suppress(NoNamespaceError):
        _ip(_GUARD_SIDE_V6)
        _enter(world)
        _ip(_WORLD_SIDE_V6)
        return Namespaces(guard, world, ipv6=True)
    _enter(world)
    return Namespaces(guard, world, ipv6=False)


def why_not() -> str:
    """Why `make` would fail (after `enter_user_namespace`, without root); empty if it would not.

    Tried in a process of its own, so that nothing is left of it.
    """
    command = [*_prefix(), sys.executable, "-m", "demo.namespaces"]
    try:
        probe = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=_PROBE_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    said = "; ".join(probe.stderr.split("\n")).strip("; ") or "no reason given"
    return "" if probe.returncode == 0 else said


def enter_user_namespace(arguments: list[str]) -> None:
    """As an ordinary user: start this program anew with the rights of a user namespace.

    Does nothing as root or where that was done, and returns only then. Rights reach child
    processes as ambient capabilities; they are good inside the namespace and nowhere else.
    """
    if prefix := _prefix():
        os.environ[_INSIDE] = "yes"
        sys.stdout.flush()
        os.execvp(prefix[0], [*prefix, sys.executable, "-m", "demo", *arguments])


def in_user_namespace() -> bool:
    """Whether this is the program that `enter_user_namespace` started."""
    return _INSIDE in os.environ


def _prefix() -> list[str]:
    if os.geteuid() == 0 or in_user_namespace():
        return []
    return ["unshare", "--user", "--map-current-user", "--keep-caps", "--"]


def _unshare() -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) != 0:
        raise NoNamespaceError(f"unshare: {os.strerror(ctypes.get_errno())}")
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _enter(namespace: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, _CLONE_NEWNET) != 0:
        raise NoNamespaceError(f"setns: {os.strerror(ctypes.get_errno())}")


def _ip(batch: str, *descriptors: int) -> None:
    _run("ip", "-batch", "-", stdin=batch, descriptors=descriptors)


def _run(tool: str, *words: str, stdin: str = "", descriptors: tuple[int, ...] = ()) -> None:
    if shutil.which(tool) is None:
        raise NoNamespaceError(f"{tool} is not installed")
    done = subprocess.run(
        [tool, *words],
        check=False,
        input=stdin,
        capture_output=True,
        text=True,
        pass_fds=descriptors,
    )
    if done.returncode != 0:
        raise NoNamespaceError(f"{tool}: {(done.stderr.strip() or 'failed').splitlines()[0]}")


def _try() -> None:
    """Make both and have the guard's privileged process load its table there."""
    with make().guard_side():
        link, process = spawn_kernel(Options(ports_auth=(993,), ports_mx=(25,)))
        link.close()
        process.wait(_PROBE_S)


if __name__ == "__main__":
    try:
        _try()
    except (NoNamespaceError, GatekeeperError) as error:
        sys.exit(str(error))
