"""The detection bench plays worlds: the score, the engine, and whole runs."""

from dataclasses import replace
from math import inf

import pytest
from detection_worlds import SMALL, Always, auth, campaign, many

from bench.detection import worlds
from bench.detection.addresses import DAY_S
from bench.detection.attacks import Adaptation, Attack, Kind
from bench.detection.engine import Stage, Switch, play
from bench.detection.policies import GUARD, NO_GUARD, PIPED, POLICIES, Guarded
from bench.detection.run import Numbers, Task, run
from bench.detection.scoring import AttackTally, BanBook, Score
from bench.detection.seam import Event, decided
from bench.detection.worlds import HELD_OUT, WORLDS

# ---- the score ----


def test_keep_out_lasts_from_the_first_refusal_to_the_next_login_that_works() -> None:
    score = Score(0.0)
    meter = score.person("home", "a")
    for t, action in ((10.0, "defer"), (100.0, "drop"), (4000.0, "pass"), (5000.0, "pass")):
        event = auth(t)
        meter.count(t, event, decided(event, action, "ok" if action == "pass" else None))
    tally = score.people["home"]
    assert (tally.good, dict(tally.refused)) == (4, {"defer": 1, "drop": 1})
    assert tally.keep_outs_s == [3990.0]
    assert score.kept_out_long == {"a": [(4000.0, 3990.0)]}
    assert dict(tally.reasons) == {"defer: none": 1, "drop: none": 1}


def test_who_is_still_kept_out_at_the_end_was_so_until_then() -> None:
    score = Score(0.0)
    event = auth(10.0)
    score.person("home", "a").count(10.0, event, decided(event, "decoy"))
    score.finish(110.0)
    assert score.people["home"].keep_outs_s == [100.0]


def test_a_wrong_password_and_the_warm_up_are_no_good_logins() -> None:
    score = Score(50.0)
    meter = score.person("home", "a")
    for t, valid in ((10.0, True), (60.0, False), (70.0, True)):
        event = auth(t, valid=valid)
        meter.count(t, event, decided(event, "pass", "ok" if valid else "fail"))
    tally = score.people["home"]
    assert (tally.good, tally.wrong, tally.wrong_forwarded) == (1, 1, 1)


@pytest.mark.parametrize(
    ("prefix", "ip", "hits"),
    [
        ("81.2.3.4", "81.2.3.4", 1),
        ("81.2.3.0/24", "81.2.3.9", 1),
        ("2003:c0:1:200::/64", "2003:c0:1:200:1:2:3:4", 1),
        ("81.2.3.4/32", "81.2.3.5", 0),
    ],
)
def test_a_ban_that_drops_a_good_login_counts_once(prefix: str, ip: str, hits: int) -> None:
    book = BanBook()
    book.note(0.0, {"prefix": prefix, "seconds": 600.0}, outage=False)
    for t in (10.0, 20.0, 700.0):
        book.hit(t, ip)
    assert (book.made, book.hits) == (1, hits)


def test_a_source_counts_its_guesses_until_the_first_refusal() -> None:
    tally = AttackTally()
    for t, action in enumerate(("pass", "pass", "defer", "pass", "drop")):
        event = auth(t, "2003:c0:1:200::1", valid=False)
        tally.count(t, event, decided(event, action, "fail" if action == "pass" else None))
    assert tally.before_refusal == {"2003:c0:1:200": 2}
    assert (tally.attempts, tally.forwarded) == (5, 3)


# ---- the engine ----


def test_events_come_in_the_order_of_their_time_and_deeds_in_between() -> None:
    policy, told = Always(), []

    def deed(now: float) -> Event | None:
        told.append(now)
        return {"t": now, "kind": "outage", "on": True}

    campaigns = [campaign(many(), 20)[0] for _ in range(3)]
    actors = [(float(n), one) for n, one in enumerate(campaigns)]
    played = play([*actors, (300.0, Switch(deed))], Stage(lambda: policy), Score(0.0), inf)
    times = [event["t"] for event in policy.events]
    assert times == sorted(times)
    assert (told, played.events) == ([300.0], 61)


def test_a_restart_is_cold_or_as_the_policy_does_it() -> None:
    class Lasting(Always):
        restarted = 0

        def restart(self) -> None:
            self.restarted += 1

    stage = Stage(Always)
    before = stage.policy
    stage.restart(cold=False)
    assert stage.policy is before
    stage.restart(cold=True)
    assert stage.policy is not before
    lasting = Lasting()
    stage = Stage(lambda: lasting)
    stage.restart(cold=False)
    assert (stage.policy, lasting.restarted) == (lasting, 1)


def test_the_guard_keeps_its_bans_over_a_restart() -> None:
    guard = POLICIES[GUARD]()
    assert isinstance(guard, Guarded)
    for t in range(0, 3600, 60):
        guard.feed(auth(t, "78.40.1.2"))
    guessed = [auth(4000 + t, "11.0.0.1", valid=False) | {"password": f"p{t}"} for t in range(90)]
    decisions = [guard.feed(event) for event in guessed]
    assert decisions[-1]["action"] == "drop"
    guard.restart()
    assert guard.feed(auth(4100, "11.0.0.1"))["action"] == "drop"
    assert guard.feed(auth(4101, "78.40.1.2"))["outcome"] == "ok"


def test_the_guard_decides_the_same_behind_a_pipe() -> None:
    stages = [Stage(POLICIES[name]) for name in (GUARD, PIPED)]
    events = [auth(t, f"11.0.0.{t % 3}", valid=t % 4 == 0) | {"seat": t} for t in range(60)]
    try:
        inside, piped = ([stage.policy.feed(event) for event in events] for stage in stages)
    finally:
        for stage in stages:
            stage.close()
    assert inside == piped
    assert {one["action"] for one in inside} > {"pass"}


# ---- runs ----


def _essence(numbers: Numbers) -> Numbers:
    return {key: value for key, value in numbers.items() if not key.endswith("_s")}


@pytest.mark.parametrize("policy", [NO_GUARD, "fail2ban", "crowdsec"])
def test_a_run_is_the_same_each_time(policy: str) -> None:
    task = Task(SMALL, 7, policy)
    assert _essence(run(task)) == _essence(run(task))
    assert _essence(run(task)) != _essence(run(replace(task, seed=8)))


def test_without_a_guard_every_guess_arrives_and_every_right_pair_is_lost() -> None:
    numbers = run(Task(SMALL, 7, NO_GUARD))
    total = numbers["total"]
    assert total["guesses"] == total["forwarded"] > 780
    assert numbers["attacks"][Kind.STUFFING.value]["lost"] == 3
    assert (total["deferred"], total["banned"], numbers["bans"]) == (0, 0, 0)
    assert total["good"] > 60 * 20


def test_a_lying_outage_makes_a_log_reader_ban_people() -> None:
    peace = replace(SMALL, attacks=(), lying_at=1.5 * DAY_S)
    numbers = run(Task(peace, 7, "crowdsec"))
    honest = replace(SMALL, attacks=(), unavailable_at=1.5 * DAY_S)
    assert numbers["bans_in_outage"] > 0
    assert run(Task(honest, 7, "crowdsec"))["bans_in_outage"] == 0


def test_attackers_who_adapt_try_again_what_was_put_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(POLICIES, "put off", lambda: Always("defer"))
    few = replace(SMALL, attacks=(Attack(Kind.BOTNET, 20, 10),))
    adapted = replace(few, adaptation=Adaptation(retry=True))
    plain, retried = (
        run(Task(world, 7, "put off"))["attacks"][Kind.BOTNET.value] for world in (few, adapted)
    )
    assert plain["attempts"] == plain["guesses"]
    assert retried["attempts"] > 5 * retried["guesses"]


@pytest.mark.parametrize("name", sorted(WORLDS))
def test_every_world_can_be_made_small_and_played(name: str) -> None:
    quick = WORLDS[name].quick()
    tiny = replace(quick, people=replace(quick.people, accounts=40), days=quick.warm_up_days + 0.1)
    numbers = run(Task(replace(tiny, attacks=tuple(_few(one) for one in tiny.attacks)), 1, "none"))
    assert numbers["events"] > 1000
    assert bool(numbers["attacks"]) is bool(WORLDS[name].attacks)


def _few(attack: Attack) -> Attack:
    return replace(attack, guesses=min(attack.guesses, 60), sources=min(attack.sources, 20))


def test_seeds_and_worlds_for_tuning_are_apart_from_those_for_reporting() -> None:
    assert not set(worlds.TUNING_SEEDS) & set(worlds.REPORTING_SEEDS)
    assert len(worlds.REPORTING_SEEDS) == 10
    assert all(world.name.startswith("held-out") for world in HELD_OUT)
