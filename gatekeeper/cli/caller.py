"""Where the operator's own login comes from, so that a ban does not lock him out."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from gatekeeper.prefix import ENTITY_V6_BITS, Prefix

_VARIABLES: Final = ("SSH_CONNECTION", "SSH_CLIENT")  # both start with the client's address
_MOST_ANCESTORS: Final = 32  # a bound on the walk; a login is a few processes away


def caller_covered_by(network: str, proc: Path = Path("/proc")) -> str:
    """The address this login comes from, where a ban of `network` would cover it, else empty.

    An IPv6 address is covered by a ban of any address in its /64, for that is what is banned.
    """
    banned = Prefix.parse(network)
    if banned.version == 6:
        banned = banned.widen(ENTITY_V6_BITS)
    for environ in _environments(proc):
        for variable in _VARIABLES:
            address = environ.get(variable, "").partition(" ")[0]
            try:
                if banned.covers(Prefix.parse(address)):
                    return address
            except ValueError:
                continue  # absent, or with a zone: link-local is no mail client's
    return ""


def _environments(proc: Path) -> Iterator[Mapping[str, str]]:
    """Our own environment, then our ancestors': sudo takes the variables out of ours."""
    yield os.environ
    pid = os.getpid()
    for _ in range(_MOST_ANCESTORS):
        try:
            status = (proc / str(pid) / "stat").read_text(errors="replace")
            pid = int(status.rpartition(")")[2].split()[1])  # proc(5): the name may hold anything
            octets = (proc / str(pid) / "environ").read_bytes()
        except (OSError, ValueError, IndexError):
            return  # the end of the line, or not ours to read
        pairs = (entry.partition("=") for entry in octets.decode("utf-8", "replace").split("\0"))
        yield {name: value for name, _, value in pairs}
