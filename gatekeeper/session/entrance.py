"""What the sessions of port 25 share before their greetings."""

from collections.abc import Callable
from typing import Final

import trio

from gatekeeper.abc import Names
from gatekeeper.events import Client
from gatekeeper.policy.keys import place
from gatekeeper.policy.passed import Passed
from gatekeeper.policy.rules import treatment
from gatekeeper.prefix import Prefix
from gatekeeper.settings import Settings, Treatment
from gatekeeper.verdict import Reason

CROWDED: Final = 0.25  # of all sessions: when so many wait, each waits for a shorter time
CROWDED_WAIT_S: Final = 2.0  # as postscreen does under stress; most early talkers talk at once


class Entrance:
    """Kept over reloads; who passed is forgotten at the end of the process, for it costs a client
    one short wait to pass again."""

    def __init__(self, names: Names, *, exempt: Callable[[Prefix], bool]) -> None:
        """Nothing is asked about clients that are `exempt`, nor do they wait."""
        self.names = names
        self.exempt = exempt
        self.waiting = 0  # sessions that wait for their greeting
        self._passed = Passed()

    def wait_s(self, client: Client, settings: Settings) -> float:
        """How long to wait for `client` to speak too early; 0: not at all."""
        policy = settings.policy
        if policy.greet_wait_s == 0 or ignored(Reason.EARLY_TALKER, settings):
            return 0.0
        key = place(client.entity).source
        if self._passed.holds(key, trio.current_time(), policy.greet_passed_s):
            return 0.0
        if self.waiting >= CROWDED * settings.limits.sessions:
            return min(policy.greet_wait_s, CROWDED_WAIT_S)
        return policy.greet_wait_s

    def has_waited(self, client: Client, settings: Settings) -> None:
        """`client` was silent until its greeting."""
        key, lasts_s = place(client.entity).source, settings.policy.greet_passed_s
        if lasts_s > 0:
            self._passed.note(key, trio.current_time(), lasts_s)

    def report(self) -> dict[str, int]:
        """What `status` tells."""
        return {"waiting": self.waiting, "passed": len(self._passed)}


def ignored(rule: Reason, settings: Settings) -> bool:
    """Whether nothing is to be found out for the Rule of this name."""
    return treatment(rule, settings) is Treatment.IGNORE
