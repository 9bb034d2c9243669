"""What the privileged process is started with, which no request can change.

The guard writes it as arguments (`arguments`), the process reads them (`add_to`, `read`): one
module for both, so that they cannot drift apart. Ports, the never list and where may be dialled are
here and not in a request: a guard that was taken over must not be able to widen them.
"""

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final, NamedTuple

from gatekeeper.kernel.element import Network, network, pack

__all__ = ["Network", "Options", "Target", "add_to", "arguments", "read"]

_INTERFACE: Final = re.compile(r"[^\s/,:]{1,15}")  # dev_valid_name() of net/core/dev.c; no comma


class Target(NamedTuple):
    """A backend that is dialled for the guard: its address, 4 or 16 octets, and its port."""

    packed: bytes
    port: int


@dataclass(frozen=True, slots=True)
class Options:
    """`syn_rate` is new connections a second of one address, on average, `syn_burst` at once; 0 for
    no such meter."""

    ports_auth: tuple[int, ...] = ()
    ports_mx: tuple[int, ...] = ()
    never: tuple[Network, ...] = ()
    allow: tuple[Network, ...] = ()
    block: tuple[Network, ...] = ()
    syn_rate: int = 0
    syn_burst: int = 100
    xdp: tuple[str, ...] = ()
    dial: tuple[Target, ...] = ()


def arguments(options: Options) -> list[str]:
    """The arguments that `read` makes these options of."""
    return [
        f"--{each.name.replace('_', '-')}={_text(options, each.name)}" for each in fields(Options)
    ]


def add_to(parser: argparse.ArgumentParser) -> None:
    """Let `parser` take them."""
    parser.add_argument("--ports-auth", type=_ports, default=(), metavar="PORT,…")
    parser.add_argument("--ports-mx", type=_ports, default=(), metavar="PORT,…")
    for name in ("--never", "--allow", "--block"):
        parser.add_argument(name, type=_networks, default=(), metavar="CIDR,…")
    parser.add_argument("--syn-rate", type=_count, default=0, metavar="PER_SECOND")
    parser.add_argument("--syn-burst", type=_count, default=100, metavar="COUNT")
    parser.add_argument("--xdp", type=_interfaces, default=(), metavar="INTERFACE,…")
    parser.add_argument("--dial", type=_targets, default=(), metavar="ADDRESS@PORT,…")


def read(parsed: argparse.Namespace) -> Options:
    """The options among what was parsed. Raises `ValueError` where they contradict each other."""
    if set(parsed.ports_auth) & set(parsed.ports_mx):
        raise ValueError("a port belongs to one scope")
    return Options(**{each.name: getattr(parsed, each.name) for each in fields(Options)})


def _text(options: Options, name: str) -> str:
    value = getattr(options, name)
    if name == "dial":
        return ",".join(f"{Network(*_whole(it.packed)).address}@{it.port}" for it in options.dial)
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _whole(packed: bytes) -> tuple[bytes, int]:
    return packed, len(packed) * 8


# Readers of argparse: what they raise ValueError for is a usage error.


def _parts(text: str) -> Sequence[str]:
    return [part for part in text.split(",") if part]


def _ports(text: str) -> tuple[int, ...]:
    return tuple(map(_port, _parts(text)))


def _port(text: str) -> int:
    if not 0 < int(text) < 65536:
        raise ValueError("port out of range")
    return int(text)


def _count(text: str) -> int:
    if not 0 <= int(text) <= 1_000_000:
        raise ValueError("out of range")
    return int(text)


def _networks(text: str) -> tuple[Network, ...]:
    return tuple(map(network, _parts(text)))


def _interfaces(text: str) -> tuple[str, ...]:
    names = tuple(_parts(text))
    if not all(_INTERFACE.fullmatch(name) and name not in {".", ".."} for name in names):
        raise ValueError("no name of an interface")
    return names


def _targets(text: str) -> tuple[Target, ...]:
    pairs = (part.rpartition("@") for part in _parts(text))
    return tuple(Target(pack(address), _port(port)) for address, _, port in pairs)
