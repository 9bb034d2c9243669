"""From a Rule's wish to a ban: never-banned hosts are slowed, and the breaker may be open.

When the breaker opens because people are met, what Rules banned within its window is taken back: at
once what a moment allows, the rest by whoever calls `lift_some`.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

from gatekeeper.abc import BanChange, Lift
from gatekeeper.ban import Origin, Scope
from gatekeeper.ledger import Ledger
from gatekeeper.policy.breaker import WINDOW_S, Breaker, Cause, Key, Trip
from gatekeeper.policy.evidence import Evidence
from gatekeeper.policy.facts import Facts
from gatekeeper.policy.keys import place
from gatekeeper.policy.thresholds import tarpit_s
from gatekeeper.prefix import Prefix
from gatekeeper.settings import PolicySettings
from gatekeeper.verdict import Action, Reason, Verdict

LIFTED_AT_ONCE: Final = 500  # about 10 ms of the loop


def _ignore(_trip: Trip) -> None:
    """Nobody listens."""


class Banning:
    """The Rules' way to the Ledger. `on_trip`, the owner's to set, hears of the breaker's opening
    before anything is lifted; it must be quick and must not raise."""

    def __init__(self, settings: PolicySettings, ledger: Ledger, evidence: Evidence) -> None:
        self.breaker = Breaker(settings)
        self.on_trip: Callable[[Trip], None] = _ignore
        self._settings = settings
        self._ledger = ledger
        self._evidence = evidence
        self._to_lift: deque[Key] = deque()  # of the last trip
        self._lift_since = 0.0  # bans older than this, by the Ledger's clock, stay
        ledger.subscribe(self._forget_lifted)

    def reconfigure(self, settings: PolicySettings) -> None:
        """Go by other numbers from now on."""
        self._settings = self.breaker.settings = settings

    def ban(self, entity: Prefix, verdict: Verdict, facts: Facts, now: float) -> Verdict:
        """Ban `entity` for `verdict`, which says so; what is done in the end.

        Where the breaker is open that is `BREAKER_OPEN`: the client is told to come again.
        """
        scope, where = facts.scope, place(entity)
        if self._ledger.exempt(entity):
            # A host that is never banned, such as a webmail beside the guard, is slowed.
            return Verdict(verdict.action, verdict.reason, self._settings.tarpit_max_s)
        if not self.admits(entity, scope, now):
            return Verdict(Action.DEFER, Reason.BREAKER_OPEN, tarpit_s(facts))
        self._ledger.ban(entity, scope, verdict.reason, first_s=verdict.ban_first_s)
        self._evidence.start_anew(scope, where.source, facts.ban_score, now)
        return verdict

    def admits(self, entity: Prefix, scope: Scope, now: float) -> bool:
        """Count a ban the guard wants to make by itself; whether it may. `now` is the guard's
        clock."""
        breaker = self.breaker
        was_open = breaker.trip(now) is not None
        people = self._evidence.logins.neighbourhood.people(place(entity), now)
        if breaker.admits((entity, scope), people, now):
            return True
        trip = breaker.trip(now)
        if not was_open and trip is not None:
            self._tripped(trip)
        return False

    def lift_some(self, limit: int = LIFTED_AT_ONCE) -> bool:
        """Take back up to `limit` bans the last trip condemned; whether some are left."""
        for _ in range(min(limit, len(self._to_lift))):
            prefix, scope = self._to_lift.popleft()
            ban = self._ledger.latest(prefix, scope)
            # What an operator has banned meanwhile is his.
            if ban is not None and ban.origin is Origin.RULE and ban.since >= self._lift_since:
                self._ledger.lift(prefix, scope)
        return bool(self._to_lift)

    def report(self, now: float) -> dict[str, object]:
        """The breaker in a few words and numbers, for `status`."""
        trip = self.breaker.trip(now)
        if trip is None:
            return {"breaker": "closed", "bans_withheld": self.breaker.withheld}
        return {
            "breaker": f"open, {trip.cause.value}: {told(trip)}",
            "breaker_for_s": round(trip.until - now, 1),
            "bans_withheld": self.breaker.withheld,
        }

    def _tripped(self, trip: Trip) -> None:
        self.on_trip(trip)
        self._to_lift.clear()
        if trip.cause is Cause.PEOPLE:
            self._lift_since = self._ledger.now - WINDOW_S
            self._to_lift.extend(self.breaker.recent())
            self.lift_some()

    def _forget_lifted(self, change: BanChange) -> None:
        """Whoever is unbanned starts anew."""
        if isinstance(change, Lift) and change.prefix.length in {32, 64}:
            self._evidence.forget(change.scope, place(change.prefix).source)


def told(trip: Trip) -> str:
    """The figures of a trip in a few words."""
    figures = trip.figures
    if trip.cause is Cause.RATE:
        return f"{figures.minute} bans wanted within a minute"
    return (
        f"of {figures.bans} bans wanted within {WINDOW_S / 60:g} minutes {figures.met} met people,"
        f" {figures.around} their networks"
    )
