"""Somebody who remembers what an Enforcer told unasked."""

import trio

from gatekeeper.abc import HeldBan
from gatekeeper.ban import Scope
from gatekeeper.prefix import Prefix


class Told:
    """Implements `gatekeeper.abc.EnforcerNews`."""

    def __init__(self) -> None:
        self.times_rebuilt = 0
        self.times_doubtful = 0
        self.refusals: list[tuple[str, Scope]] = []
        self.lifts: list[tuple[str, Scope]] = []
        self.additions: list[HeldBan] = []
        self.floods: list[str] = []
        self._something = trio.Event()

    def rebuilt(self) -> None:
        """One more time."""
        self.times_rebuilt += 1
        self._heard()

    def doubtful(self) -> None:
        """One more time."""
        self.times_doubtful += 1
        self._heard()

    def refused(self, prefix: Prefix, scope: Scope) -> None:
        """One more."""
        self.refusals.append((str(prefix), scope))
        self._heard()

    def lifted(self, prefix: Prefix, scope: Scope) -> None:
        """One more."""
        self.lifts.append((str(prefix), scope))
        self._heard()

    def added(self, held: HeldBan) -> None:
        """One more."""
        self.additions.append(held)
        self._heard()

    def flooding(self, prefix: Prefix) -> None:
        """One more."""
        self.floods.append(str(prefix))
        self._heard()

    async def something(self, within_s: float = 10.0) -> None:
        """Wait for the next news."""
        with trio.fail_after(within_s):
            await self._something.wait()

    def _heard(self) -> None:
        self._something.set()
        self._something = trio.Event()
