"""What a simulation comes to: decisions by reason, bans, and who would have been hit."""

from collections import Counter
from typing import Any

from gatekeeper.events import Client, JudgedEvent
from gatekeeper.prefix import entity
from gatekeeper.verdict import Reason, Verdict


class Totals:
    """Counts of one stream. They grow with the addresses that are banned or log in, not with the
    events."""

    def __init__(self) -> None:
        self.events = 0
        self.forwarded = 0
        self.bans = 0
        self._decisions: Counter[tuple[str, str]] = Counter()  # by reason and action
        self._banned: set[str] = set()  # prefixes
        self._would_ban: set[str] = set()  # by rules that are only observed
        self._succeeded: set[str] = set()  # addresses with a successful login

    def note(self, event: dict[str, Any], decision: dict[str, Any]) -> None:
        """One more decision."""
        self.events += 1
        self._decisions[decision["reason"], decision["action"]] += 1
        if decision["forwarded"]:
            self.forwarded += 1
            if decision["outcome"] == "ok" and event["kind"] == "auth":
                self._succeeded.add(event["ip"])
        if decision["ban"] is not None:
            self.bans += 1
            self._banned.add(decision["ban"]["prefix"])

    def note_verdict(
        self, client: Client, event: JudgedEvent, verdict: Verdict, enforced: bool
    ) -> None:
        """What the guard tells of verdicts; here only bans that are not carried out matter."""
        del event
        if verdict.ban and not enforced:
            self._would_ban.add(str(client.entity))

    def record(self, would_have: Counter[Reason]) -> dict[str, Any]:
        """All of it, fit for JSON. `would_have` are verdicts not carried out, by reason."""
        by_reason: dict[str, dict[str, int]] = {}
        for (reason, action), count in sorted(self._decisions.items()):
            by_reason.setdefault(reason, {})[action] = count
        at_home = self._at_home()
        return {
            "events": self.events,
            "by_reason": by_reason,
            "forwarded": self.forwarded,
            "bans": self.bans,
            "banned_addresses": len(self._banned),
            "banned_with_success": len(self._banned & at_home),
            "would_have": dict(sorted((why.value, count) for why, count in would_have.items())),
            "would_ban_addresses": len(self._would_ban),
            "would_ban_with_success": len(self._would_ban & at_home),
        }

    def sentence(self) -> str:
        """`would ban 412 addresses, 3 had a successful login`."""
        hit = self._banned | self._would_ban
        addresses = "address" if len(hit) == 1 else "addresses"
        people = len(hit & self._at_home())
        return f"would ban {len(hit)} {addresses}, {people} had a successful login"

    def _at_home(self) -> set[str]:
        """What a ban would be made for, of each address with a successful login."""
        return {str(entity(address)) for address in self._succeeded}
