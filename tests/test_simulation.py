"""The guard in virtual time: events in, decisions out."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.events import Client, JudgedEvent
from gatekeeper.policy.logins import PACE
from gatekeeper.prefix import Prefix
from gatekeeper.settings import Mode, PolicySettings, Settings, TlsSettings
from gatekeeper.simulation import BadEvent, Simulation
from gatekeeper.verdict import Verdict

POLICY = PolicySettings(auth_suspect_share=1.0)
SETTINGS = Settings("mail.example.org", TlsSettings(), (), {}, policy=POLICY)
IP = "203.0.113.9"
KEYS = {"t", "action", "forwarded", "outcome", "reason", "delay_s", "ban"}
ACTIONS = {"pass", "delay", "defer", "reject", "decoy", "drop"}


def auth(t: float = 0.0, *, valid: bool = False, **changes: Any) -> dict[str, Any]:  # noqa: ANN401  JSON
    event = {"t": t, "kind": "auth", "ip": IP, "account": "ann", "password": "secret"}
    return {**event, "protocol": "imap", "valid": valid, **changes}


def rcpt(t: float = 0.0, *, exists: bool = True, **changes: Any) -> dict[str, Any]:  # noqa: ANN401  JSON
    event = {"t": t, "kind": "rcpt", "ip": IP, "account": None, "recipient": "x@example.org"}
    return {**event, "exists": exists, **changes}


@pytest.fixture
def simulation() -> Simulation:
    return Simulation(SETTINGS)


# -- decisions -----------------------------------------------------------------------------------


def test_right_password_passes(simulation: Simulation) -> None:
    assert simulation.feed(auth(1.5, valid=True)) == {
        "t": 1.5,
        "action": "pass",
        "forwarded": True,
        "outcome": "ok",
        "reason": "none",
        "delay_s": 0.0,
        "ban": None,
    }


def test_wrong_password_is_the_backends_to_refuse(simulation: Simulation) -> None:
    decision = simulation.feed(auth())
    assert (decision["forwarded"], decision["outcome"]) == (True, "fail")
    assert decision["action"] == "pass"


def test_repeated_password_is_rejected_unforwarded(simulation: Simulation) -> None:
    simulation.feed(auth())
    decision = simulation.feed(auth(1.0))
    assert (decision["action"], decision["reason"]) == ("reject", "repeated-password")
    assert (decision["forwarded"], decision["outcome"]) == (False, None)


def test_what_the_backend_would_say_is_unseen_unless_it_is_asked(simulation: Simulation) -> None:
    simulation.feed(auth())
    decision = simulation.feed(auth(1.0, valid=True))
    assert (decision["action"], decision["outcome"]) == ("reject", None)
    soon = simulation.feed(auth(POLICY.refused_for_s + 1.0, valid=True))
    assert soon["outcome"] == "ok"


def guess_until_banned(simulation: Simulation) -> tuple[int, dict[str, Any]]:
    for number in range(100):
        decision = simulation.feed(auth(float(number), password=f"guess {number}"))
        if decision["ban"]:
            return number, decision
    raise AssertionError("nobody was banned")


def test_ban_is_told_with_the_decision_that_made_it_and_then_drops(simulation: Simulation) -> None:
    number, decision = guess_until_banned(simulation)
    assert decision["ban"] == {"prefix": IP, "seconds": POLICY.ban_first_s}
    assert decision["outcome"] == "fail"
    later = simulation.feed(auth(number + 1.0, valid=True))
    assert (later["action"], later["forwarded"], later["ban"]) == ("drop", False, None)
    connection = {"t": number + 2.0, "kind": "connect", "ip": IP}
    assert simulation.feed(connection)["action"] == "drop"
    ended = simulation.feed(auth(number + 2.0 + POLICY.ban_first_s, valid=True))
    assert ended["outcome"] == "ok"


def test_ban_holds_for_both_login_protocols_and_not_for_port_25(simulation: Simulation) -> None:
    number, _ = guess_until_banned(simulation)
    later = number + 1.0
    assert simulation.feed(auth(later, protocol="submission", valid=True))["action"] == "drop"
    assert simulation.feed(rcpt(later, account="ann"))["action"] == "drop"
    assert simulation.feed(rcpt(later))["outcome"] == "ok"


def test_delay_is_told(simulation: Simulation) -> None:
    decisions = [simulation.feed(auth(float(n), password=f"guess {n}")) for n in range(6)]
    delayed = [each for each in decisions if each["action"] == "delay"]
    assert delayed
    assert all(each["delay_s"] > 0 for each in delayed)


def test_unavailable_backend_is_nobodys_failure(simulation: Simulation) -> None:
    switched = simulation.feed({"t": 0.0, "kind": "outage", "on": True})
    assert (switched["action"], switched["forwarded"]) == ("pass", False)
    decisions = [simulation.feed(auth(1.0, password=f"guess {n}")) for n in range(50)]
    assert {each["outcome"] for each in decisions} == {"unavailable"}
    assert {each["ban"] is None for each in decisions} == {True}
    assert simulation.feed(rcpt(1.0))["outcome"] == "unavailable"
    simulation.feed({"t": 2.0, "kind": "outage", "on": False})
    assert simulation.feed(auth(3.0, valid=True))["outcome"] == "ok"


def test_recipients_pass_or_fail(simulation: Simulation) -> None:
    assert simulation.feed(rcpt())["outcome"] == "ok"
    assert simulation.feed(rcpt(exists=False))["outcome"] == "fail"
    assert simulation.feed(rcpt(account="ann"))["outcome"] == "ok"


def test_other_keys_are_carried_through_and_cannot_forge_a_decision(
    simulation: Simulation,
) -> None:
    event = auth(valid=True, actor="phone 7", action="drop", nested={"a": [1]})
    decision = simulation.feed(event)
    assert (decision["actor"], decision["nested"]) == ("phone 7", {"a": [1]})
    assert decision["action"] == "pass"
    assert not {"password", "valid", "ip", "account", "kind", "protocol"} & set(decision)


def test_same_events_give_the_same_decisions() -> None:
    events = [
        auth(float(n), ip=f"203.0.113.{n % 40}", account=f"user{n % 30}", password=f"p{n % 7}")
        for n in range(500)
    ]
    one, other = Simulation(SETTINGS), Simulation(SETTINGS)
    assert [one.feed(event) for event in events] == [other.feed(event) for event in events]


def test_settings_are_those_of_the_guard() -> None:
    observing = Simulation(replace(SETTINGS, mode=Mode.OBSERVE))
    decisions = [observing.feed(auth(float(n), password=f"guess {n}")) for n in range(100)]
    assert {(each["action"], each["ban"]) for each in decisions} == {("pass", None)}
    allowed = Simulation(replace(SETTINGS, allow=(Prefix.parse(IP),)))
    decisions = [allowed.feed(auth(float(n), password=f"guess {n}")) for n in range(100)]
    assert {(each["action"], each["ban"]) for each in decisions} == {("pass", None)}


def test_listener_hears_what_is_only_watched() -> None:
    heard: list[bool] = []

    def listen(client: Client, event: JudgedEvent, verdict: Verdict, enforced: bool) -> None:
        heard.append(enforced)

    simulation = Simulation(replace(SETTINGS, mode=Mode.OBSERVE), listen)
    simulation.feed(auth())
    simulation.feed(auth(1.0))
    assert heard == [False]


# -- events that cannot be read ------------------------------------------------------------------


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"t": 0.0, "kind": "teleport"},
        {"t": 0.0, "kind": ["auth"]},
        {"t": 0.0, "kind": None},
        {"kind": "connect", "ip": IP},
        {"t": "0", "kind": "connect", "ip": IP},
        {"t": True, "kind": "connect", "ip": IP},
        {"t": float("nan"), "kind": "connect", "ip": IP},
        {"t": float("inf"), "kind": "connect", "ip": IP},
        {"t": 10**400, "kind": "connect", "ip": IP},
        {"t": 0.0, "kind": "connect"},
        {"t": 0.0, "kind": "connect", "ip": "mail.example.org"},
        {"t": 0.0, "kind": "connect", "ip": "203.0.113.9\n"},
        {"t": 0.0, "kind": "connect", "ip": 7},
        {"t": 0.0, "kind": "outage"},
        {"t": 0.0, "kind": "outage", "on": 1},
        auth(account=None),
        auth(account=""),
        auth(password=None),
        auth(valid="yes"),  # type: ignore[arg-type]  # the point of the test
        auth(protocol="pop3"),
        auth(protocol="smtp"),
        rcpt(account=7),
        rcpt(recipient=None),
        rcpt(exists=None),  # type: ignore[arg-type]  # the point of the test
    ],
)
def test_bad_event_is_refused_and_changes_nothing(event: dict[str, Any]) -> None:
    simulation, untouched = Simulation(SETTINGS), Simulation(SETTINGS)
    for number in range(5):
        simulation.feed(auth(-9.0 + number, password=f"guess {number}"))
        untouched.feed(auth(-9.0 + number, password=f"guess {number}"))
    with pytest.raises(BadEvent):
        simulation.feed(event)
    rest = [auth(-3.0 + number, password=f"more {number}") for number in range(20)]
    assert [simulation.feed(each) for each in rest] == [untouched.feed(each) for each in rest]


def test_time_does_not_go_back(simulation: Simulation) -> None:
    simulation.feed(auth(100.0))
    with pytest.raises(BadEvent, match="goes back"):
        simulation.feed(auth(99.9))
    assert simulation.feed(auth(100.0, valid=True, account="bob"))["outcome"] == "ok"


@given(
    st.text(st.characters(), min_size=1, max_size=40),
    st.text(st.characters(), max_size=40),
    st.booleans(),
)
def test_any_text_is_an_account_and_a_password(account: str, password: str, valid: bool) -> None:
    decision = Simulation(SETTINGS).feed(auth(account=account, password=password, valid=valid))
    assert set(decision) == KEYS
    assert decision["action"] in ACTIONS


@pytest.mark.parametrize("name", ["x" * 65_536, "\r\nann", "\ud800\udcff", "\0"])
def test_odd_names_are_judged_as_others(simulation: Simulation, name: str) -> None:
    assert simulation.feed(auth(account=name, password=name))["outcome"] == "fail"
    assert simulation.feed(auth(account=name, password=name))["action"] == "reject"
    assert simulation.feed(rcpt(recipient=name, exists=False))["outcome"] == "fail"
    assert simulation.feed(rcpt(account=name))["outcome"] == "ok"


def guesses(gap_s: float, count: int = 200) -> list[dict[str, Any]]:
    """What `count` wrong passwords for as many accounts from one address come to."""
    simulation = Simulation()
    return [
        simulation.feed(
            {
                "t": number * gap_s,
                "kind": "auth",
                "ip": "203.0.113.66",
                "account": f"user{number}",
                "password": f"guess {number}",
                "protocol": "imap",
                "valid": False,
            }
        )
        for number in range(count)
    ]


def test_fast_guesser_is_banned_within_half_a_minute() -> None:
    first = next(number for number, one in enumerate(guesses(2.0)) if one["ban"])
    assert first * 2.0 < 30.0


def test_slow_guesser_is_refused_and_never_banned() -> None:
    """A ban would outlast him and meet the next guest of the hotel he guesses from."""
    decisions = guesses(2 * PACE.period_s)
    assert not any(one["ban"] for one in decisions)
    assert sum(one["forwarded"] for one in decisions) < len(decisions) / 10
