"""The seams: what the shell needs of the world, as Protocols.

Each has an in-memory form and a real one that pass the same contract suite (`tests/contracts/`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from gatekeeper.ban import Ban, Scope
from gatekeeper.events import Client, JudgedEvent
from gatekeeper.prefix import Prefix
from gatekeeper.remembered import Memory
from gatekeeper.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Lift:
    """A ban taken back before its time. Where it is not to `forget`, it counts as one that ended
    then: escalation goes by it."""

    prefix: Prefix
    scope: Scope
    forget: bool = True


BanChange = Ban | Lift


@dataclass(frozen=True, slots=True)
class HeldBan:
    """A ban as the enforcer holds it, with its own countdown."""

    prefix: Prefix
    scope: Scope
    remaining_s: float


class Enforcer(Protocol):
    """Applies bans below the application. A ban ends by itself: nobody calls for its end."""

    async def apply(self, changes: Sequence[BanChange], now: float) -> None:
        """Apply `changes` in order, all or none; the last change of a prefix and scope wins.

        `now` is Unix time: each ban is held for `until - now` seconds from here. Putting a held
        ban replaces its time; lifting what is not held is no error.
        Returns when the change is in force. Raises `EnforcerError`; then nothing was applied.
        """
        ...

    async def held(self) -> list[HeldBan]:
        """Every ban in force. Raises `EnforcerError`."""
        ...

    async def remaining_s(self, prefix: Prefix, scope: Scope) -> float | None:
        """Seconds left of one ban, None where it is not held; its cost does not grow with the
        number held. Raises `EnforcerError`."""
        ...

    async def dropped(self) -> dict[str, int]:
        """Packets dropped so far, by counter name. Raises `EnforcerError`."""
        ...

    async def aclose(self) -> None:
        """Let go of the enforcer. Bans in the kernel stay and run out by themselves."""
        ...


class Store(Protocol):
    """Durable bans and their history. Losing it never stops a verdict."""

    async def load(self, now: float) -> list[Ban]:
        """The latest ban of every prefix and scope still of interest: those in force at Unix time
        `now`, and ended ones young enough for escalation to count. Raises `StoreError`."""
        ...

    async def record(self, changes: Sequence[BanChange], now: float) -> None:
        """Write `changes` durably, in order, all or none. Raises `StoreError`."""
        ...

    async def recall(self, now: float) -> list[Memory]:
        """What `remember` was told and is still of interest at Unix time `now`: no `Unlocked`, no
        lock that has ended, no familiar pair or score older than the Store keeps them. In the order
        pairs, scores, locks, `Learned`; pairs and scores oldest first. Raises `StoreError`."""
        ...

    async def remember(self, memories: Sequence[Memory], now: float) -> None:
        """Write `memories` durably, in order, all or none; each replaces the one of its key.
        Raises `StoreError`."""
        ...

    async def aclose(self) -> None:
        """Flush and let go."""
        ...


class Judge(Protocol):
    """The one seam between sessions and policy; it may be local or, later, over a socket."""

    async def judge(self, event: JudgedEvent, client: Client) -> Verdict:
        """The strongest opinion of all Rules on `event`.

        Its side effects (counters, a ban) have happened when it returns. Never raises on what a
        client sent. A local judge does not yield to the scheduler.
        """
        ...
