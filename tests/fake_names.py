"""Names of clients as a test wants them, in place of DNS."""

from dataclasses import dataclass, field

import trio

from gatekeeper.events import ReverseDns


@dataclass
class FakeNames:
    """Implements `gatekeeper.abc.Names`: says the same of everybody, after a while."""

    says: ReverseDns | None = None
    delay_s: float | None = 0.0  # None: it is known without asking
    asked: list[str] = field(default_factory=list)

    def known(self, address: str) -> ReverseDns | None:
        """See `gatekeeper.abc.Names`."""
        del address
        return self.says if self.delay_s is None else None

    async def lookup(self, address: str) -> ReverseDns | None:
        """See `gatekeeper.abc.Names`."""
        self.asked.append(address)
        await trio.sleep(self.delay_s or 0.0)
        return self.says
