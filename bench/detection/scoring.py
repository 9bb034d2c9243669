"""What a policy did to people and to attackers, counted while a world is played."""

from collections import Counter
from dataclasses import dataclass, field
from ipaddress import ip_network
from math import inf
from typing import Any, Final

from bench.detection.seam import Decision, Event

_PASSED: Final = frozenset({"pass", "delay"})
_CANDIDATES: Final = {4: (32, 24), 6: (128, 64, 56, 48)}
LONG_S: Final = 3600.0


@dataclass(slots=True)
class PeopleTally:
    """Good logins (the right password for the account, at that moment) of one kind of people."""

    good: int = 0
    wrong: int = 0  # logins with a wrong password: typos, old devices
    wrong_forwarded: int = 0
    refused: Counter[str] = field(default_factory=Counter)  # good ones, by action
    reasons: Counter[str] = field(default_factory=Counter)  # of those, as the policy names them
    recipients: int = 0  # that exist
    recipients_refused: int = 0
    keep_outs_s: list[float] = field(default_factory=list)


class PersonMeter:
    """One device or one person at the keyboard; kept out from the first good login that is
    refused to the next one that works."""

    __slots__ = ("_name", "_score", "_since", "_tally")

    def __init__(self, score: "Score", tally: PeopleTally, name: str) -> None:
        self._score = score
        self._tally = tally
        self._name = name
        self._since: float | None = None

    def count(self, now: float, event: Event, decision: Decision) -> None:
        """See `actors.Meter`."""
        if now < self._score.measured_from:
            return
        if event["kind"] == "rcpt":
            if event["exists"]:
                self._tally.recipients += 1
                self._tally.recipients_refused += decision["action"] not in _PASSED
            return
        if not event["valid"]:
            self._tally.wrong += 1
            self._tally.wrong_forwarded += decision["forwarded"]
            return
        self._tally.good += 1
        if decision["outcome"] == "ok":
            if self._since is not None:
                self.close(now)
        elif decision["action"] not in _PASSED:
            self._refused(now, event, decision["action"], decision["reason"])

    def close(self, now: float) -> None:
        """End a keep-out, if there is one."""
        if self._since is not None:
            seconds, self._since = now - self._since, None
            self._tally.keep_outs_s.append(seconds)
            if seconds > LONG_S:
                self._score.kept_out_long.setdefault(self._name, []).append((now, seconds))

    def _refused(self, now: float, event: Event, action: str, reason: str) -> None:
        self._tally.refused[action] += 1
        self._tally.reasons[f"{action}: {reason}"] += 1
        if self._since is None:
            self._since = now
        if action == "drop":
            self._score.bans.hit(now, event["ip"])


@dataclass(slots=True)
class AttackTally:
    """One kind of attack. `guesses` counts each once, `attempts` also those tried again."""

    guesses: int = 0
    attempts: int = 0
    forwarded: int = 0
    actions: Counter[str] = field(default_factory=Counter)
    lost: dict[str, float] = field(default_factory=dict)  # an account, and when
    before_refusal: dict[str, int] = field(default_factory=dict)  # forwarded, by source
    refused_sources: set[str] = field(default_factory=set)

    def count(self, now: float, event: Event, decision: Decision) -> None:
        """See `actors.Meter`. A source is an address, or a /64 of IPv6."""
        self.attempts += 1
        self.actions[decision["action"]] += 1
        ip: str = event["ip"]
        source = ip if "." in ip else ":".join(ip.split(":", 4)[:4])
        if decision["forwarded"]:
            self.forwarded += 1
            if decision["outcome"] == "ok" and event["kind"] == "auth":
                self.lost.setdefault(event["account"], now)
            if source not in self.refused_sources:
                self.before_refusal[source] = self.before_refusal.get(source, 0) + 1
        elif source not in self.refused_sources:
            self.refused_sources.add(source)
            self.before_refusal.setdefault(source, 0)


@dataclass(slots=True)
class BanBook:
    """Bans as the decisions tell of them, and which of them kept a good login out."""

    made: int = 0
    made_in_outage: int = 0
    hits: int = 0
    _held: dict[str, tuple[float, bool]] = field(default_factory=dict)

    def note(self, now: float, ban: dict[str, Any], outage: bool) -> None:
        """A decision brought a ban."""
        self.made += 1
        self.made_in_outage += outage
        self._held[str(ip_network(ban["prefix"], strict=False))] = (now + ban["seconds"], False)

    def hit(self, now: float, ip: str) -> None:
        """A good login from `ip` was dropped: each ban counts once, at its first."""
        version = 6 if ":" in ip else 4
        for bits in _CANDIDATES[version]:
            prefix = str(ip_network(f"{ip}/{bits}", strict=False))
            until, known = self._held.get(prefix, (-inf, True))
            if until >= now and not known:
                self.hits += 1
                self._held[prefix] = (until, True)


class Score:
    """All there is to say about one run. Nothing before `measured_from` counts for people;
    attackers come later than that."""

    def __init__(self, measured_from: float) -> None:
        self.measured_from = measured_from
        self.outage = False
        self.people: dict[str, PeopleTally] = {}
        self.attacks: dict[str, AttackTally] = {}
        self.kept_out_long: dict[str, list[tuple[float, float]]] = {}  # until, seconds
        self.bans = BanBook()
        self.backend_auths: Counter[int] = Counter()  # by minute
        self._meters: list[PersonMeter] = []

    def person(self, label: str, name: str) -> PersonMeter:
        """A meter for one actor of this label."""
        tally = self.people.setdefault(label, PeopleTally())
        meter = PersonMeter(self, tally, name)
        self._meters.append(meter)
        return meter

    def attack(self, name: str) -> AttackTally:
        """The tally, which is the meter, of this kind of attack."""
        return self.attacks.setdefault(name, AttackTally())

    def seen(self, now: float, event: Event, decision: Decision) -> None:
        """What concerns the server rather than who was there."""
        if decision["forwarded"] and event["kind"] == "auth":
            self.backend_auths[int(now // 60)] += 1
        if decision["ban"] is not None:
            self.bans.note(now, decision["ban"], self.outage)

    def finish(self, now: float) -> None:
        """The world ends: who is still kept out was so until now."""
        for meter in self._meters:
            meter.close(now)
