"""Opinions: those of the Rules and given ones, the strongest of them, and those that only watch."""

from dataclasses import replace

import pytest
from facts import facts
from guard_bench import SETTINGS, client

from gatekeeper.events import ConnectionOpened, JudgedEvent
from gatekeeper.opinions import Opinions
from gatekeeper.policy.facts import Facts
from gatekeeper.policy.rules import BuiltIn
from gatekeeper.settings import Mode, Treatment
from gatekeeper.verdict import PASS, Action, Reason, Verdict

EVENT = ConnectionOpened()
DELAY = Verdict(Action.DELAY, Reason.TARPIT, 2.0)
GIVEN = Verdict(Action.REJECT, Reason.HOOK, text="no", source="hooks.py:rcpt")
Heard = list[tuple[Verdict, bool]]


def delays(event: JudgedEvent, facts: Facts) -> Verdict | None:
    return DELAY


def opinions(heard: Heard, **changes: object) -> Opinions:
    settings = replace(SETTINGS, **changes)  # type: ignore[arg-type]
    rules = (BuiltIn(Reason.TARPIT, delays),)
    return Opinions(settings, rules, lambda _client, _event, *told: heard.append(told))


def test_the_strongest_keeps_its_words_and_the_longest_delay() -> None:
    verdict = opinions([]).strongest(EVENT, client(), facts(), given=[GIVEN])
    assert verdict == replace(GIVEN, delay_s=2.0)


def test_nothing_given_is_what_the_rules_say() -> None:
    assert opinions([]).strongest(EVENT, client(), facts()) == DELAY


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"rules": {Reason.HOOK: Treatment.OBSERVE}}, [(GIVEN, False)]),
        ({"rules": {Reason.HOOK: Treatment.IGNORE}}, []),
    ],
)
def test_what_is_given_is_treated_as_the_rule_of_hooks(
    changes: dict[str, object], told: Heard
) -> None:
    heard: Heard = []
    assert opinions(heard, **changes).strongest(EVENT, client(), facts(), given=[GIVEN]) == DELAY
    assert heard == told


def test_all_only_watch_while_suspended_or_where_nothing_else_is_said() -> None:
    heard: Heard = []
    paused = opinions(heard)
    paused.suspend(True)
    for each in (paused, opinions(heard, mode=Mode.OBSERVE)):
        assert each.strongest(EVENT, client(), facts(), given=[GIVEN]) is PASS
        assert each.would_have == {Reason.TARPIT: 1, Reason.HOOK: 1}
    assert heard == [(DELAY, False), (GIVEN, False)] * 2


def test_what_was_said_of_the_facts_before_is_not_told_twice() -> None:
    heard: Heard = []
    watching = opinions(heard, mode=Mode.OBSERVE)
    watching.strongest(EVENT, client(), facts(), before=facts())
    assert heard == []
