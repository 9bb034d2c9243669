"""How long the next ban lasts: doubling, capped, and forgotten after good conduct."""

from typing import Final

from gatekeeper.ban import Ban
from gatekeeper.settings import PolicySettings

MAX_DOUBLINGS: Final = 64  # 2 ** 64 times anything is past every cap, and still a float


def ban_seconds(level: int, settings: PolicySettings, first_s: float | None = None) -> float:
    """Seconds of a ban of `level` (from 1; 0 is one that does not count): `first_s`, by default the
    settings' `ban_first_s`, doubled per level, up to `ban_max_s`."""
    doublings = min(max(0, level - 1), MAX_DOUBLINGS)
    first_s = settings.ban_first_s if first_s is None else first_s
    return float(min(settings.ban_max_s, first_s * 2.0**doublings))


def next_level(previous: Ban | None, now: float, settings: PolicySettings) -> int:
    """The level of a ban made at Unix time `now` after `previous` of the same prefix and scope.

    `ban_memory_s` without a ban in force makes the next one a first one.
    """
    if previous is None or now >= previous.until + settings.ban_memory_s:
        return 1
    return previous.level + 1
