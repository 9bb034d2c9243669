"""What the guard that runs says of itself: what its start could not show."""

from collections.abc import Iterator, Mapping
from typing import Final

from gatekeeper.check.finding import Finding, warning

_PARTS: Final = {
    "enforcer_health": "bans hold in the guard; it refuses, the kernel does not drop the new ones",
    "store_health": "the guard goes on from memory; what changes now is lost at its end",
}


def check_running(status: Mapping[str, object]) -> Iterator[Finding]:
    """The parts of a running guard that are not well, by its `status`."""
    for part, meanwhile in _PARTS.items():
        health = status.get(part, "ok")
        if health != "ok":
            yield warning(
                "the running guard", f"{part.removesuffix('_health')}: {health}; {meanwhile}"
            )
