"""Dialling from clients' addresses without the kernel process, for who has its rights: `check`."""

import socket
from collections.abc import Sequence

from gatekeeper.enforce.transparent import targets
from gatekeeper.errors import EnforcerError
from gatekeeper.kernel.dial import Dialling, KernelRefused
from gatekeeper.kernel.options import Options, Target
from gatekeeper.settings import Endpoint


class DirectDialler:
    """Implements `gatekeeper.abc.Dialler`. The table, rules and routes of transparent mode have to
    be there, as they are while the guard runs."""

    def __init__(self, known: Sequence[Target]) -> None:
        self._known = tuple(known)
        self._dialling = Dialling(Options(dial=self._known))

    async def dial(self, target: Endpoint, source: str, port: int) -> socket.socket:
        """See `Dialler.dial`."""
        version = socket.AF_INET6 if ":" in source else socket.AF_INET
        (wanted,) = targets((target,))
        try:
            number = self._known.index(wanted)
            return self._dialling.dial(number, socket.inet_pton(version, source), port)
        except (ValueError, KernelRefused) as refused:
            raise EnforcerError(str(refused)) from refused
