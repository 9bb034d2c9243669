"""Bans as commands for `nft -f`, into the sets of the guard's own table. Pure.

The names are those of `gatekeeper.nft`; a test holds them against the privileged process's own.
"""

import math
from collections.abc import Iterable, Iterator
from typing import Final

from gatekeeper.ban import End, Scope
from gatekeeper.enforce.shape import HELD_MAX_S, enforceable
from gatekeeper.prefix import Prefix

ELEMENTS_PER_COMMAND: Final = 500  # about 16 KiB a line, which editors still open
_STEMS: Final = {(4, 32): "ban4", (4, 24): "ban4n", (6, 64): "ban6", (6, 48): "ban6n"}


def set_name(prefix: Prefix, scope: Scope) -> str:
    """The nft set that holds a prefix of an enforceable length."""
    return f"{_STEMS[prefix.version, prefix.length]}_{scope.value}"


def add_commands(ends: Iterable[End], now: float) -> Iterator[str]:
    """`add element` commands, a line each, for bans with their ends in Unix time; elements last
    from when the script is loaded what is left at `now`. What has ended, and what no set holds, is
    left out. Needs memory for some thousand bans, whatever their number."""
    waiting: dict[str, list[str]] = {}
    for prefix, scope, until in ends:
        if until <= now or not enforceable(prefix):
            continue
        name = set_name(prefix, scope)
        left_s = math.ceil(min(until - now, HELD_MAX_S))
        elements = waiting.setdefault(name, [])
        elements.append(f"{prefix.network} timeout {left_s}s")
        if len(elements) == ELEMENTS_PER_COMMAND:
            yield _command(name, elements)
            elements.clear()
    for name, elements in waiting.items():
        if elements:
            yield _command(name, elements)


def _command(name: str, elements: list[str]) -> str:
    return f"add element inet gatekeeper {name} {{ {', '.join(elements)} }}"
