"""Events no Rule looks at cost next to nothing, and lose nothing by it."""

from dataclasses import replace

import pytest
from guard_bench import BANNED, SETTINGS, Bench, client

from gatekeeper.ban import Scope
from gatekeeper.events import (
    Client,
    ConnectionClosed,
    HelloAttempt,
    JudgedEvent,
    MailAttempt,
    MailProtocol,
    MessageEnd,
)
from gatekeeper.policy.rules import BUILT_IN, BuiltIn
from gatekeeper.settings import Treatment
from gatekeeper.verdict import PASS, Action, Reason, Verdict

CLIENT = client(protocol=MailProtocol.SMTP)
END = MessageEnd("a@b.example", 1, 100)
REFUSAL = Verdict(Action.REJECT, Reason.HOOK)


def unlooked(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> list[JudgedEvent]:
    """Has it fail when it looks what is known of a client; the Events it was heard to judge."""
    heard: list[JudgedEvent] = []

    def on_judged(_client: Client, event: JudgedEvent, _verdict: Verdict) -> None:
        heard.append(event)

    def looks(*_: object) -> None:
        raise AssertionError("it looked")

    bench.guard.on_judged = on_judged
    monkeypatch.setattr(bench.guard.evidence, "anything", looks)
    return heard


@pytest.mark.parametrize("event", [END, ConnectionClosed("", 1.0)], ids=["end", "closed"])
def test_they_pass_and_are_heard_of(event: JudgedEvent, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    heard = unlooked(bench, monkeypatch)
    assert bench.guard.decide(event, CLIENT) is PASS
    assert heard == [event]
    assert bench.heard == []


def test_rules_that_are_ignored_do_not_look(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = dict.fromkeys((Reason.HELLO, Reason.SENDER_DOMAIN, Reason.SPF_FAIL), Treatment.IGNORE)
    bench = Bench(replace(SETTINGS, rules=rules))
    heard = unlooked(bench, monkeypatch)
    events = (HelloAttempt("localhost", extended=True), MailAttempt("a@b.example"))
    assert [bench.guard.decide(event, CLIENT) for event in events] == [PASS, PASS]
    assert heard == list(events)
    bench.guard.reconfigure(SETTINGS)
    with pytest.raises(AssertionError, match="it looked"):
        bench.guard.decide(events[0], CLIENT)


def test_a_ban_closes_on_them() -> None:
    bench = Bench()
    bench.ledger.ban(CLIENT.entity, Scope.MX, Reason.OPERATOR)
    assert bench.guard.decide(END, CLIENT) == replace(BANNED, ticket=_ticket(bench))


def _ticket(bench: Bench) -> str:
    [entry] = bench.guard.journal.of(lambda _: True)
    return entry.verdict.ticket


def test_what_a_hook_says_of_them_is_carried_out() -> None:
    bench = Bench()
    verdict = bench.guard.decide(END, CLIENT, [REFUSAL])
    assert (verdict.action, verdict.reason) == (Action.REJECT, Reason.HOOK)


def test_a_rule_on_everything_is_asked() -> None:
    everything = BuiltIn(Reason.HOOK, lambda _event, _facts: REFUSAL)
    bench = Bench(rules=(*BUILT_IN, everything))
    assert bench.guard.decide(END, CLIENT).action is Action.REJECT
