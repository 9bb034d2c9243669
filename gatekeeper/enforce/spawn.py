"""Starting the privileged process, while this one still has the rights to."""

import socket
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import gatekeeper
from gatekeeper.errors import EnforcerError, PermissionMissing
from gatekeeper.kernel.options import Network, Options, arguments
from gatekeeper.kernel.protocol import PACKET_MAX_OCTETS, encode
from gatekeeper.prefix import Prefix

__all__ = ["KERNEL", "Options", "environment", "networks", "spawn_kernel"]

# Of Python's arguments those that keep everything but its standard library and the package out.
KERNEL: Final = ("-I", "-S", "-B", str(Path(gatekeeper.__file__).parent / "kernel" / "entry.py"))
START_TIMEOUT_S: Final = 15.0  # two imports and one nft load, on a host busy with its own start
_EX_NOPERM: Final = 77


def spawn_kernel(options: Options) -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """Start `gatekeeper.kernel` on one end of a socket pair and wait until its table is loaded.

    Called before rights are dropped; it blocks, and works without Trio. The process lives until
    the returned socket is closed, and leaves its bans in the kernel. Its errors go to our stderr.
    Raises `PermissionMissing` or `EnforcerError`; then nothing is left running.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, *KERNEL, "--fd", str(theirs.fileno()), *arguments(options)]
    with theirs:
        try:
            process = subprocess.Popen(  # noqa: S603  # our own interpreter and module
                command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, cwd="/", env={}
            )
        except OSError as error:
            ours.close()
            raise EnforcerError(f"cannot start the kernel process: {error}") from error
    try:
        _await_hello(ours, process)
    except BaseException:
        ours.close()
        process.kill()
        process.wait()
        raise
    return ours, process


def environment(options: Options, peer_uid: int) -> str:
    """The same as `spawn_kernel` starts, for a unit: an EnvironmentFile (systemd.exec(5)) with the
    program and its options, none of which holds a blank or a quote. `peer_uid` may connect."""
    told = " ".join([f"--peer-uid={peer_uid}", *arguments(options)])
    return f"GATEKEEPER_KERNEL_ENTRY={KERNEL[-1]}\nGATEKEEPER_KERNEL_OPTIONS={told}\n"


def networks(prefixes: Iterable[Prefix]) -> tuple[Network, ...]:
    """Prefixes as `Options` has them."""
    return tuple(Network(prefix.packed, prefix.length) for prefix in prefixes)


def _await_hello(ours: socket.socket, process: subprocess.Popen[bytes]) -> None:
    ours.settimeout(START_TIMEOUT_S)
    try:
        ours.send(encode({"verb": "hello", "id": 0}))
        packet = ours.recv(PACKET_MAX_OCTETS)
        while b'"event"' in packet:  # it says that it has started, and perhaps more
            packet = ours.recv(PACKET_MAX_OCTETS)
    except OSError as error:  # TimeoutError is one
        raise _why(process, error) from error
    if not packet:
        raise _why(process, None)
    if b'"version"' not in packet:
        raise EnforcerError(f"the kernel process did not start: {packet.decode(errors='replace')}")
    ours.settimeout(None)


def _why(process: subprocess.Popen[bytes], error: OSError | None) -> Exception:
    """What to raise for a process that did not say hello."""
    if not isinstance(error, TimeoutError) and process.wait(START_TIMEOUT_S) == _EX_NOPERM:
        return PermissionMissing("the kernel process needs CAP_NET_ADMIN")
    return EnforcerError(f"the kernel process did not start: {error or 'see its message'}")
