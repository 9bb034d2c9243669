"""The attackers of the detection bench: what they try, from where, what they do when refused."""

from itertools import pairwise
from random import Random

import pytest
from detection_worlds import Always, campaign, many

from bench.detection.accounts import Account, Backend
from bench.detection.addresses import Fixed
from bench.detection.campaigns import Burst, Dictionary, OwnMailbox
from bench.detection.engine import Stage, play
from bench.detection.guesses import mixed, names, sprayed, stuffed, unpopular
from bench.detection.scoring import AttackTally, Score
from bench.detection.sources import Botnet, Hopper


def test_a_campaign_goes_through_its_list_whatever_it_hears() -> None:
    attack, tally = campaign(many(), 5)
    policy, score = Always("defer"), Score(0.0)
    play([(0.0, attack)], Stage(lambda: policy), score, 1e9)
    assert [event["account"] for event in policy.events] == ["u0", "u1", "u2", "u3", "u4"]
    assert (tally.guesses, tally.attempts, tally.forwarded) == (5, 5, 0)


def test_one_that_adapts_tries_a_deferred_guess_again_after_a_minute_or_two() -> None:
    attack, tally = campaign(many(), 3)
    attack.adaptive = True
    policy = Always("defer")
    play([(0.0, attack)], Stage(lambda: policy), Score(0.0), 1000.0)
    times = [event["t"] for event in policy.events if event["account"] == "u0"]
    gaps = [after - before for before, after in pairwise(times)]
    assert len(gaps) > 5
    assert all(60 <= gap <= 120 for gap in gaps)
    assert (tally.guesses, tally.attempts) == (3, len(policy.events))


def test_an_own_mailbox_is_used_before_every_tenth_guess_and_is_no_guess() -> None:
    attack, tally = campaign(many(), 90)
    backend = Backend()
    own = backend.add(Account("mine@example.org", "own"))
    policy = Always()
    actor = OwnMailbox(attack, backend, own, Fixed("11.1.1.1"))
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
