"""What every Enforcer makes of a list of changes before it applies them. Pure."""

import math
from collections.abc import Iterable, Sequence
from typing import Final

from gatekeeper.abc import BanChange
from gatekeeper.ban import Ban, End, Scope
from gatekeeper.errors import EnforcerError
from gatekeeper.prefix import Prefix

# (IP version, length): one address, one customer, and the two networks around them.
ENFORCEABLE: Final = frozenset({(4, 32), (4, 24), (6, 64), (6, 48)})
HELD_MAX_S: Final = 8 * 86_400  # the kernel process takes no longer ban; all bans end

Key = tuple[Prefix, Scope]


def final_seconds(changes: Sequence[BanChange], now: float) -> dict[Key, int | None]:
    """What is to be done with each prefix and scope: whole seconds to hold it, or None to lift it.

    The last change of a key wins. A ban that has run out at `now` is a lift; seconds are rounded
    up, and none is held longer than `HELD_MAX_S`.
    A lift of a length that cannot be held is nothing to do; a ban of one raises `EnforcerError`.
    """
    final: dict[Key, int | None] = {}
    for change in changes:
        prefix = change.prefix
        if not enforceable(prefix):
            if isinstance(change, Ban):
                raise EnforcerError(f"no enforcer holds a prefix of this length: {prefix}")
            continue
        seconds = None
        if isinstance(change, Ban) and change.until > now:
            seconds = math.ceil(min(change.until - now, HELD_MAX_S))
        final[prefix, change.scope] = seconds
    return final


def seconds_left(ends: Iterable[End], now: float) -> dict[Key, int | None]:
    """As `final_seconds`, of bans by the Unix time they end; those that have ended are left out."""
    return {
        (prefix, scope): math.ceil(min(until - now, HELD_MAX_S))
        for prefix, scope, until in ends
        if until > now
    }


def enforceable(prefix: Prefix) -> bool:
    """Whether a prefix is of a length that can be held."""
    return (prefix.version, prefix.length) in ENFORCEABLE
