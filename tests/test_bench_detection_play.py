"""The detection bench plays: attackers, the score, the engine, and what is made of the numbers."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from math import inf
from random import Random

import pytest

from bench.detection import report, results, worlds
from bench.detection.__main__ import main
from bench.detection.accounts import Account, Backend
from bench.detection.addresses import DAY_S, Fixed
from bench.detection.attacks import Adaptation, Attack, Kind
from bench.detection.campaigns import Burst, Campaign, Dictionary, OwnMailbox
from bench.detection.engine import Stage, Switch, play
from bench.detection.guesses import Guess, mixed, names, sprayed, stuffed, unpopular
from bench.detection.intervals import Estimate, estimate, words
from bench.detection.policies import GUARD, NO_GUARD, PIPED, POLICIES, Guarded
from bench.detection.population import People
from bench.detection.run import Numbers, Task, run
from bench.detection.scoring import AttackTally, BanBook, Score
from bench.detection.seam import Decision, Event, decided
from bench.detection.sources import Botnet, Hopper
from bench.detection.worlds import HELD_OUT, WORLDS, World

SMALL = World(
    "small",
    people=People(accounts=60, offices=1, office_users=(10, 10), inbound_servers=2),
    attacks=(
        Attack(Kind.BRUTE_SLOW, 400, 2),
        Attack(Kind.BOTNET, 300, 40),
        Attack(Kind.STUFFING, 100, 20, hits=0.03),
    ),
    days=2.0,
    warm_up_days=1.0,
)


class Always:
    """A policy with one answer, which it never gives before it has let somebody in first."""

    def __init__(self, action: str = "pass") -> None:
        self.action = action
        self.events: list[Event] = []

    def feed(self, event: Event, /) -> Decision:
        self.events.append(event)
        if self.action != "pass":
            return decided(event, self.action)
        return decided(event, "pass", "ok" if event.get("valid") else "fail")


def _auth(t: float, ip: str = "81.2.3.4", *, valid: bool = True) -> Event:
    event: Event = {"t": t, "kind": "auth", "ip": ip, "account": "a@example.org"}
    return event | {"password": "p", "protocol": "imap", "valid": valid}


# ---- attackers ----


def _campaign(guesses: Iterator[Guess], left: int) -> tuple[Campaign, AttackTally]:
    tally = AttackTally()
    place = Fixed("11.1.1.1")
    return Campaign(tally, Backend(), Random(1), place, guesses, 60.0, left), tally


def _many() -> Iterator[Guess]:
    return ((f"u{n}", f"p{n}") for n in range(1000))


def test_a_campaign_goes_through_its_list_whatever_it_hears() -> None:
    campaign, tally = _campaign(_many(), 5)
    policy, score = Always("defer"), Score(0.0)
    play([(0.0, campaign)], Stage(lambda: policy), score, 1e9)
    assert [event["account"] for event in policy.events] == ["u0", "u1", "u2", "u3", "u4"]
    assert (tally.guesses, tally.attempts, tally.forwarded) == (5, 5, 0)


def test_one_that_adapts_tries_a_deferred_guess_again_after_a_minute_or_two() -> None:
    campaign, tally = _campaign(_many(), 3)
    campaign.adaptive = True
    policy = Always("defer")
    play([(0.0, campaign)], Stage(lambda: policy), Score(0.0), 1000.0)
    times = [event["t"] for event in policy.events if event["account"] == "u0"]
    gaps = [after - before for before, after in pairwise(times)]
    assert len(gaps) > 5
    assert all(60 <= gap <= 120 for gap in gaps)
    assert (tally.guesses, tally.attempts) == (3, len(policy.events))


def test_an_own_mailbox_is_used_before_every_tenth_guess_and_is_no_guess() -> None:
    campaign, tally = _campaign(_many(), 90)
    backend = Backend()
    own = backend.add(Account("mine@example.org", "own"))
    policy = Always()
    actor = OwnMailbox(campaign, backend, own, Fixed("11.1.1.1"))
    play([(0.0, actor)], Stage(lambda: policy), Score(0.0), 1e9)
    mine = [event for event in policy.events if event["account"] == own.name]
    assert {event["valid"] for event in mine} == {True}
    assert (tally.guesses, len(mine), tally.lost) == (90, 9, {})


def test_a_burst_sends_only_in_sessions_that_it_was_let_into() -> None:
    backend = Backend()
    account = backend.add(Account("a@example.org", "p"))
    for action, sent in (("pass", 10), ("defer", 0)):
        logins, recipients = AttackTally(), AttackTally()
        burst = Burst(logins, recipients, backend, Random(1), account, ["11.1.1.1"])
        policy = Always(action)
        play([(0.0, burst)], Stage(lambda policy=policy: policy), Score(0.0), 100.0)  # type: ignore[misc]  # a default binds the loop's policy
        assert logins.guesses > 5
        assert recipients.guesses in range(sent * (logins.guesses - 1), sent * logins.guesses + 1)


def test_a_dictionary_finds_a_few_names() -> None:
    tally = AttackTally()
    actor = Dictionary(tally, Random(2), Fixed("11.1.1.1"), 1.0, 1000, 0.03)
    policy = Always()
    play([(0.0, actor)], Stage(lambda: policy), Score(0.0), 1e9)
    assert tally.guesses == 1000
    assert 10 < sum(event["exists"] for event in policy.events) < 60


def test_a_bot_is_used_one_to_three_times_a_day() -> None:
    net = Botnet(Random(3), [Fixed(f"11.0.0.{n}") for n in range(50)])
    used = [net.address(0.0, 0) for _ in range(50)]
    assert max(used.count(ip) for ip in used) <= 3
    assert len(set(used)) > 20


@pytest.mark.parametrize(("one_site", "sites"), [(True, 1), (False, 100)])
def test_a_hopper_is_in_another_net_each_time(one_site: bool, sites: int) -> None:
    hopper = Hopper(Random(4), "2a0e:1234", one_site)
    seen = [hopper.address(0.0, 0).split(":") for _ in range(100)]
    assert len({":".join(groups[:4]) for groups in seen}) == 100
    assert abs(len({":".join(groups[:3]) for groups in seen}) - sites) <= 1


def test_lists_of_attackers() -> None:
    rng, real = Random(5), [f"u{n}@example.org" for n in range(100)]
    known = names(rng, real)
    assert 0.55 < len(set(known) & set(real)) / len(known) < 0.65
    stream = sprayed(rng, known)
    first = [next(stream) for _ in known]
    assert {password for _, password in first} == {"popular-000"}
    assert {name for name, _ in first} == set(known)
    pairs = stuffed(rng, [("u1@example.org", "right")], 50, known)
    assert (len(pairs), pairs.count(("u1@example.org", "right"))) == (50, 1)
    frequent = [password for _, password in zip(range(2000), (p for _, p in mixed(rng, known)))]  # noqa: B905  # the second has no end
    rare = [password for _, password in zip(range(2000), (p for _, p in unpopular(rng, known)))]  # noqa: B905  # the same
    assert frequent.count("popular-000") > 100 > rare.count("popular-000") == 0


# ---- the score ----


def test_keep_out_lasts_from_the_first_refusal_to_the_next_login_that_works() -> None:
    score = Score(0.0)
    meter = score.person("home", "a")
    for t, action in ((10.0, "defer"), (100.0, "drop"), (4000.0, "pass"), (5000.0, "pass")):
        event = _auth(t)
        meter.count(t, event, decided(event, action, "ok" if action == "pass" else None))
    tally = score.people["home"]
    assert (tally.good, dict(tally.refused)) == (4, {"defer": 1, "drop": 1})
    assert tally.keep_outs_s == [3990.0]
    assert score.kept_out_long == {"a": [(4000.0, 3990.0)]}
    assert dict(tally.reasons) == {"defer: none": 1, "drop: none": 1}


def test_who_is_still_kept_out_at_the_end_was_so_until_then() -> None:
    score = Score(0.0)
    event = _auth(10.0)
    score.person("home", "a").count(10.0, event, decided(event, "decoy"))
    score.finish(110.0)
    assert score.people["home"].keep_outs_s == [100.0]


def test_a_wrong_password_and_the_warm_up_are_no_good_logins() -> None:
    score = Score(50.0)
    meter = score.person("home", "a")
    for t, valid in ((10.0, True), (60.0, False), (70.0, True)):
        event = _auth(t, valid=valid)
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
        event = _auth(t, "2003:c0:1:200::1", valid=False)
        tally.count(t, event, decided(event, action, "fail" if action == "pass" else None))
    assert tally.before_refusal == {"2003:c0:1:200": 2}
    assert (tally.attempts, tally.forwarded) == (5, 3)


# ---- the engine ----


def test_events_come_in_the_order_of_their_time_and_deeds_in_between() -> None:
    policy, told = Always(), []

    def deed(now: float) -> Event | None:
        told.append(now)
        return {"t": now, "kind": "outage", "on": True}

    campaigns = [_campaign(_many(), 20)[0] for _ in range(3)]
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
        guard.feed(_auth(t, "78.40.1.2"))
    guessed = [_auth(4000 + t, "11.0.0.1", valid=False) | {"password": f"p{t}"} for t in range(90)]
    decisions = [guard.feed(event) for event in guessed]
    assert decisions[-1]["action"] == "drop"
    guard.restart()
    assert guard.feed(_auth(4100, "11.0.0.1"))["action"] == "drop"
    assert guard.feed(_auth(4101, "78.40.1.2"))["outcome"] == "ok"


def test_the_guard_decides_the_same_behind_a_pipe() -> None:
    stages = [Stage(POLICIES[name]) for name in (GUARD, PIPED)]
    events = [_auth(t, f"11.0.0.{t % 3}", valid=t % 4 == 0) | {"seat": t} for t in range(60)]
    try:
        inside, piped = ([stage.policy.feed(event) for event in events] for stage in stages)
    finally:
        for stage in stages:
            stage.close()
    assert inside == piped
    assert {one["action"] for one in inside} > {"pass"}


# ---- runs ----


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setitem(WORLDS, SMALL.name, SMALL)
    return SMALL


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


# ---- numbers ----


def test_the_interval_is_students() -> None:
    assert estimate([]) is None
    assert estimate([3.0]) == Estimate(3.0, None, 1)
    found = estimate([float(n) for n in range(1, 11)])
    assert found is not None
    assert found.half is not None
    assert (found.mean, round(found.half, 3)) == (5.5, 2.166)


@pytest.mark.parametrize(
    ("one", "scale", "text"),
    [
        (None, 1, "-"),
        (Estimate(0.0, 0.0, 3), 1, "0"),
        (Estimate(0.0123, 0.001, 3), 100, "1.23 ± 0.10"),
        (Estimate(12_345.6, None, 1), 1, "12,346"),
    ],
)
def test_words_of_an_estimate(one: Estimate | None, scale: float, text: str) -> None:
    assert words(one, scale) == text


def test_tables_are_written_between_their_marks_and_nowhere_else() -> None:
    numbers = {**run(Task(replace(SMALL, name="mixed"), 101, "fail2ban")), "fingerprint": "abc"}
    found = results.Results((numbers,))
    document = "before\n<!-- results: mixed -->\nfrom before\n<!-- /results -->\nafter\n"
    written = report.rendered(document, found)
    assert written.startswith("before\n<!-- results: mixed -->\n| ")
    assert written.endswith("\n<!-- /results -->\nafter\n")
    assert "| fail2ban |" in written
    assert "from before" not in written
    assert report.rendered(written, found) == written


def test_goals_are_judged_by_the_mean_and_against_the_best_other() -> None:
    def lost(seed: int, policy: str, count: int, forwarded: int) -> Numbers:
        total = {"lost": count, "guesses": 1000, "forwarded": forwarded, "good": 1_000_000}
        total |= {"deferred": 1500, "told_wrong": 0, "banned": 0, "keep_out_max_s": 3000}
        numbers: Numbers = {"world": "mixed", "seed": seed, "policy": policy, "total": total}
        return numbers | {"ban_hits": 0}

    runs = [lost(101, "fail2ban", 20, 900), lost(101, "mailcow", 10, 900)]
    runs += [lost(101, "gatekeeper", 1, 5), lost(102, "gatekeeper", 6, 15)]
    runs += [lost(102, "fail2ban", 20, 900)]
    table = report.rendered(
        "<!-- results: goals -->\n<!-- /results -->", results.Results(tuple(runs))
    )
    assert "| guesses at the backend, mixed attack | ≤ 2 % | 1.00 ± 6.35 | reached |" in table
    assert "mixed attack | ≤ 0.1 | 0.20 ± 1.27 | **missed** |" in table
    assert "| good logins deferred, mixed | ≤ 1000 per million | 1,500 ± 0 | **missed** |" in table
    assert "| longest that anybody was kept out, mixed | ≤ 1 h | 0.83 | reached |" in table
    assert "| slow botnet alone | ≤ 15 % | - | not measured |" in table


def test_what_was_not_measured_is_said_to_be_so() -> None:
    document = "<!-- results: peace -->\n<!-- /results -->"
    assert "Not measured yet." in report.rendered(document, results.Results(()))


def test_the_document_has_every_table() -> None:
    document = (results._ROOT / "docs" / "detection.md").read_text()
    assert set(report._MARK.findall(document)) != set()
    assert {match[1] for match in report._MARK.findall(document)} == set(report._TABLES)


def test_a_run_at_hand_is_not_played_again(
    small: World, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "OUT", tmp_path_factory.mktemp("out"))
    task = Task(small, 1, "none")
    mark = results.fingerprint("none")
    assert not results.is_current(task, mark)
    results.write(task, {**run(task), "fingerprint": mark})
    assert results.is_current(task, mark)
    assert not results.is_current(task, "other sources")
    assert len(results.Results.read(seeds=[1]).of("small", "none")) == 1
    assert results.Results.read(seeds=[2]).runs == ()


@pytest.mark.parametrize("words", [["--worlds", "nowhere"], ["--policies", "prayer"]])
def test_an_unknown_name_is_refused(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["detection", *words])
    with pytest.raises(SystemExit, match="is none of"):
        main()


def test_every_policy_has_a_title_and_can_be_made() -> None:
    assert set(report.TITLES) <= set(POLICIES)
