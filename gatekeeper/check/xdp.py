"""Whether bans can be dropped in XDP; where not, nftables does it alone.

The privileged process finds the same at its start. It is apart from the guard, so this looks for
itself, and asks libbpf rather than guess.
"""

import ctypes
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import gatekeeper
from gatekeeper.check.finding import Finding, warning
from gatekeeper.settings import Settings

_LIBRARY: Final = "libbpf.so.1"
_OBJECT: Final = Path(gatekeeper.__file__).parent / "kernel" / "gatekeeper_xdp.bpf.o"
_PROGRAM_TYPE_XDP: Final = 6  # enum bpf_prog_type
_INSTEAD: Final = "nftables drops what is banned alone"


def check_xdp(
    settings: Settings, program: Path = _OBJECT, mounts: Path = Path("/proc/mounts")
) -> Iterator[Finding]:
    """What keeps `[enforce] xdp` from working. Nothing is loaded that stays."""
    if not settings.enforce.xdp:
        return
    known = {name for _, name in socket.if_nameindex()}
    for interface in settings.enforce.xdp:
        if interface not in known:
            yield warning("[enforce] xdp", f'there is no interface "{interface}"; {_INSTEAD} there')
    if trouble := _trouble(program, mounts):
        yield warning("[enforce] xdp", f"{trouble}; {_INSTEAD}")


def _trouble(program: Path, mounts: Path) -> str:
    if not program.is_file():
        return "XDP object was not built (clang)"
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError:
        return f"{_LIBRARY} is not installed (libbpf1)"
    library.libbpf_set_print(None)  # its words would stand between ours
    if library.libbpf_probe_bpf_prog_type(_PROGRAM_TYPE_XDP, None) != 1:
        return "bpf(2) is not permitted here (root, or CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN)"
    if not _bpffs_is_mounted(mounts):
        return "no bpffs is mounted at /sys/fs/bpf"
    return ""


def _bpffs_is_mounted(mounts: Path) -> bool:
    fields = (line.split() for line in mounts.read_text(errors="replace").splitlines())
    return any(each[1:3] == ["/sys/fs/bpf", "bpf"] for each in fields)
