"""What a policy is to this bench: events in, one decision for each.

Both are the JSON objects of `gatekeeper simulate`, so the guard in this process, the guard behind a
pipe and the rules of other programs are played against the same worlds.
"""

from typing import Any, Final, Protocol, TypeAlias

Event: TypeAlias = dict[str, Any]
"""`t` (seconds) and `kind`: `auth` (`ip`, `account`, `password`, `protocol`, `valid`), `rcpt`
(`ip`, `account` or None, `recipient`, `exists`), `connect` (`ip`), `outage` (`on`)."""

Decision: TypeAlias = dict[str, Any]
"""`t`, `action`, `forwarded`, `outcome`, `reason`, `delay_s`, `ban`, and the event's other keys."""

KNOWN_KEYS: Final = frozenset(
    {
        *("t", "kind", "ip", "account", "password", "protocol", "valid"),
        *("recipient", "exists", "on"),
    }
)


class Policy(Protocol):
    """Something that decides. Events come in the order of their time."""

    def feed(self, event: Event, /) -> Decision:
        """The decision on this event; what is decided is done before this returns."""


def decided(
    event: Event,
    action: str,
    outcome: str | None = None,
    *,
    reason: str = "none",
    ban: tuple[str, float] | None = None,
    delay_s: float = 0.0,
) -> Decision:
    """A decision on `event`. `outcome` is the backend's word: None where it was not asked. `ban`
    is a prefix and its seconds."""
    decision: Decision = {
        "t": event["t"],
        "action": action,
        "forwarded": outcome is not None,
        "outcome": outcome,
        "reason": reason,
        "delay_s": delay_s,
        "ban": None if ban is None else {"prefix": ban[0], "seconds": ban[1]},
    }
    for key in event.keys() - KNOWN_KEYS:
        decision[key] = event[key]
    return decision
