"""Opinions: what the Rules say of one Event, those that only watch told apart, and the strongest.

Beside the built-in Rules' there may be given ones, of the operator's hooks (`gatekeeper.hooks`).
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from gatekeeper.events import Client, JudgedEvent
from gatekeeper.policy.facts import Facts
from gatekeeper.policy.rules import BuiltIn, treatment
from gatekeeper.settings import Settings, Treatment
from gatekeeper.verdict import PASS, Reason, Verdict, strongest

OnVerdict = Callable[[Client, JudgedEvent, Verdict, bool], None]


class Opinions:
    """All Rules of one guard. `on_verdict` hears what is only watched, as `Guard` tells it."""

    def __init__(self, settings: Settings, rules: Sequence[BuiltIn], on_verdict: OnVerdict) -> None:
        self.would_have: Counter[Reason] = Counter()  # verdicts not carried out, by reason
        self.suspended = False  # see `suspend`
        self._settings = settings
        self._rules = tuple(rules)
        self._observed = frozenset(rule.name for rule in rules if rule.observed)
        self._on_verdict = on_verdict
        self._by_kind: dict[tuple[type, bool], tuple[tuple[BuiltIn, bool], ...]] = {}
        self._unjudged: dict[type, bool] = {}

    def reconfigure(self, settings: Settings) -> None:
        """Go by other settings from the next Event on."""
        self._settings = settings
        self._by_kind.clear()
        self._unjudged.clear()

    def suspend(self, on: bool) -> None:
        """Only watch, whatever the settings say, or go by them again. What the operator has locked
        stays locked."""
        self.suspended = on
        self._by_kind.clear()
        self._unjudged.clear()

    def treatment(self, rule: Reason) -> Treatment:
        """What is done now about the Rules of this name."""
        found = treatment(rule, self._settings, self._observed)
        if self.suspended and found is Treatment.ENFORCE and rule is not Reason.ACCOUNT_LOCKED:
            return Treatment.OBSERVE
        return found

    def unjudged(self, kind: type) -> bool:
        """Whether no Rule but that on bans looks at this kind of Event."""
        found = self._unjudged.get(kind)
        if found is None:
            rules = self._rules_for(kind, at_home=False)
            found = self._unjudged[kind] = all(rule.name is Reason.BANNED for rule, _ in rules)
        return found

    def strongest(
        self,
        event: JudgedEvent,
        client: Client,
        facts: Facts,
        *,
        before: Facts | None = None,
        given: Sequence[Verdict] = (),
    ) -> Verdict:
        """The strongest opinion that is carried out, `given` ones of hooks among them; what is only
        watched is counted, but for what the same Rule said of the Event with the Facts `before`."""
        opinions = []
        login = facts.login
        at_home = login is not None and login.at_home
        for built_in, observed in self._rules_for(type(event), at_home=at_home):
            opinion = built_in.rule(event, facts)
            if opinion is None:
                continue
            learning = built_in.needs_learning and login is not None and not login.learned
            if not (observed or learning or opinion.watched):
                opinions.append(opinion)
            elif before is None or built_in.rule(event, before) != opinion:
                self.would_have[opinion.reason] += 1
                if observed or opinion.watched:
                    self._on_verdict(client, event, opinion, False)
        if given:
            opinions += self._of_hooks(event, client, given)
        return strongest(opinions) if opinions else PASS

    def _of_hooks(
        self, event: JudgedEvent, client: Client, given: Sequence[Verdict]
    ) -> Iterator[Verdict]:
        """Those of hooks' opinions that are carried out; the others are told and counted."""
        done = self.treatment(Reason.HOOK)
        for opinion in given:
            if done is Treatment.ENFORCE and not opinion.watched:
                yield opinion
            elif done is not Treatment.IGNORE:
                self.watched(event, client, opinion)

    def watched(self, event: JudgedEvent, client: Client, opinion: Verdict) -> None:
        """Tell and count what is not carried out."""
        self.would_have[opinion.reason] += 1
        self._on_verdict(client, event, opinion, False)

    def _rules_for(self, kind: type, *, at_home: bool) -> tuple[tuple[BuiltIn, bool], ...]:
        """The Rules on a kind of Event that are not ignored, each with whether it only watches."""
        found = self._by_kind.get((kind, at_home))
        if found is None:
            found = tuple(
                (rule, done is Treatment.OBSERVE)
                for rule in self._rules
                if (not rule.events or kind in rule.events)
                and not (at_home and rule.strangers)
                and (done := self.treatment(rule.name)) is not Treatment.IGNORE
            )
            self._by_kind[kind, at_home] = found
        return found
