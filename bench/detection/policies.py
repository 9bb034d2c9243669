"""The policies by name."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Final

from bench.detection.baselines.crowdsec import CrowdSec
from bench.detection.baselines.fail2ban import Fail2ban
from bench.detection.baselines.mailcow import Mailcow
from bench.detection.baselines.none import Nobody
from bench.detection.baselines.stalwart import Stalwart
from bench.detection.baselines.weakforced import Weakforced
from bench.detection.seam import Decision, Event, Policy

GUARD: Final = "gatekeeper"
PIPED: Final = "gatekeeper-piped"
NO_GUARD: Final = "none"
_BATCH: Final = 1000
_COMMAND: Final = "from gatekeeper.cli import main; main()"


class Piped:
    """The guard in a process of its own: `gatekeeper simulate -`, a line out for each line in."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            (sys.executable, "-c", _COMMAND, "simulate", "-"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def feed(self, event: Event, /) -> Decision:
        """See `seam.Policy`. Raises BrokenPipeError or ValueError when the other end is gone."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(event) + "\n")
        self._process.stdin.flush()
        decision = json.loads(self._process.stdout.readline())
        assert isinstance(decision, dict)
        return decision

    def close(self) -> None:
        """End the other process and wait for it."""
        self._process.communicate()


class Guarded:
    """The guard in this process, which can be ended and started again with what its Store keeps."""

    def __init__(self) -> None:
        from gatekeeper.simulation import Simulation

        self._simulation = Simulation()

    def feed(self, event: Event, /) -> Decision:
        """See `seam.Policy`."""
        return self._simulation.feed(event)

    def restart(self) -> None:
        """A new guard that gets the bans and the memories of the old one, and nothing else."""
        from gatekeeper.policy.recollection import drain, recall
        from gatekeeper.simulation import Simulation

        old, new = self._simulation, Simulation()
        new.now = old.now
        new.ledger.restore(old.ledger.bans())
        while memories := drain(old.guard.evidence, _BATCH, old.now):
            recall(new.guard.evidence, memories, old.now)
        self._simulation = new


POLICIES: Final[Mapping[str, Callable[[], Policy]]] = {
    NO_GUARD: Nobody,
    "fail2ban": Fail2ban,
    "fail2ban-recidive": lambda: Fail2ban(increment=True),
    "crowdsec": CrowdSec,
    "weakforced": Weakforced,
    "stalwart": Stalwart,
    "mailcow": Mailcow,
    GUARD: Guarded,
    PIPED: Piped,
}
