"""Whom the guard tells what happens: the log, its counts, and the operator at once."""

import time
from collections.abc import Callable

import trio

from gatekeeper.certificate_watch import CertificateWatch
from gatekeeper.chronicle import Chronicle
from gatekeeper.log import stderr_log
from gatekeeper.notify import Herald
from gatekeeper.startup import Services
from gatekeeper.tally import Tally


class Telling:
    """What is told goes through `chronicle`; `services` are those in use."""

    def __init__(self, services: Callable[[], Services]) -> None:
        self.log = stderr_log()
        self.tally = Tally()
        first = services()
        self.herald = Herald(first.messengers, first.settings.hostname, self.log)
        self.chronicle = Chronicle(self.log, self.tally, self.herald.tell)
        self._certificates = CertificateWatch(
            lambda: services().certificate_ends, time.time, self.chronicle.certificate
        )

    def reconfigure(self, services: Services) -> None:
        """Tell whom these settings name."""
        self.herald.reconfigure(services.messengers, services.settings.hostname)

    async def run(self) -> None:
        """Look and tell until cancelled. The log has a task of its own: it outlives all others."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.herald.run)
            nursery.start_soon(self._certificates.run)
