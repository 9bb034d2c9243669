"""The nftables table that brings backends' replies home, and the numbers that go with it.

It is a table of its own: `nft delete table inet gatekeeper` in an emergency ends all bans and must
not cut the mail off. It does nothing without the routing rule and route of `enforce.routing`, which
deliver here what has the mark, and drops nothing.
"""

import socket
from collections.abc import Iterable
from typing import Final

from gatekeeper.kernel.nft import NftError, run
from gatekeeper.kernel.options import Target

__all__ = ["MARK", "NAME", "NftError", "load", "loaded", "remove", "text"]

NAME: Final = "gatekeeper_transparent"
# Firewalls, VPNs and container networks mark in the upper bits of 32, and by masks: these are low.
MARK: Final = 0x67

_HEAD: Final = f"""\
table inet {NAME} {{
  comment "gatekeeper: replies of transparent backends to clients are for sockets of this host"
  chain prerouting {{
    type filter hook prerouting priority mangle; policy accept;
"""


def load(targets: Iterable[Target]) -> None:
    """Make or replace the table for these backends. Raises `NftError`; then nothing changed."""
    run(f"table inet {NAME}\ndelete table inet {NAME}\n{text(targets)}")


def remove() -> None:
    """Take the table away where it is. Raises `NftError`."""
    run(f"table inet {NAME}\ndelete table inet {NAME}\n")


def loaded() -> bool:
    """Whether the table is there. Raises `PermissionError` where that may not be asked."""
    try:
        run(f"list chain inet {NAME} prerouting")
    except NftError as error:
        if "not permitted" in str(error):
            raise PermissionError(str(error)) from error
        return False
    return True


def text(targets: Iterable[Target]) -> str:
    """The table in nft's language. Pure."""
    return _HEAD + "".join(map(_rule, targets)) + "  }\n}\n"


def _rule(target: Target) -> str:
    family, word = (socket.AF_INET, "ip") if len(target.packed) == 4 else (socket.AF_INET6, "ip6")
    address = socket.inet_ntop(family, target.packed)
    return (
        f"    {word} saddr {address} tcp sport {target.port} socket transparent 1"
        f" socket wildcard 0 meta mark set {MARK:#x} counter accept\n"
    )
