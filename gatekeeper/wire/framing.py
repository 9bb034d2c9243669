"""Segments: the unit in which a peer's bytes are judged and passed on."""

from dataclasses import dataclass, field

from gatekeeper.events import ObservedEvent


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of raw bytes and the Event it completes.

    For every stream, the `raw` of all Segments joined is a prefix of the input, whatever its
    chunking. `pieces` is `raw` cut where the guard must await the backend's `+` before it goes on
    (synchronising IMAP literals); for all else it is the one element `raw`.
    """

    raw: bytes = field(repr=False)  # it may hold a password
    event: ObservedEvent
    pieces: tuple[bytes, ...] = field(default=(), repr=False)

    def sendable(self) -> tuple[bytes, ...]:
        """What to send, in order, one backend continuation awaited between two pieces."""
        return self.pieces or (self.raw,)
