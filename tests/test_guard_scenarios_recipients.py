"""Stories of recipients: harvesters, big senders, stolen accounts."""

from dataclasses import replace

import pytest
from scenarios import DAY_S, POLICY, SETTINGS, Answer, Person, World

from gatekeeper.ban import Scope
from gatekeeper.policy.recipients import NEW_NET_RECIPIENTS
from gatekeeper.prefix import Prefix
from gatekeeper.settings import AccountSettings, PolicySettings

HARVESTER = "203.0.113.66"
SENDER = "198.51.100.25"
HOME = "203.0.113.9"


@pytest.fixture
def world() -> World:
    return World()


def harvests(world: World, names: int, first: int = 0, every_s: float = 5.0) -> list[Answer]:
    answers = []
    for number in range(first, first + names):
        answers.append(world.rcpt(HARVESTER, f"name{number}", exists=False))
        world.wait(every_s)
    return answers


def sends(person: Person, names: int, every_s: float = 0.1, ip: str | None = None) -> list[Answer]:
    world, answers = person.world, []
    for number in range(names):
        address = ip or person.home
        answers.append(world.rcpt(address, f"friend{number}", exists=True, account=person.account))
        world.wait(every_s)
    return answers


# -- port 25 ---------------------------------------------------------------------------------------


def test_harvester_is_put_off_then_banned(world: World) -> None:
    answers = harvests(world, 2 * POLICY.harvest_ban)
    forwarded = sum(answer.forwarded for answer in answers)
    assert forwarded < 1.2 * POLICY.harvest_defer
    first_put_off = next(n for n, answer in enumerate(answers) if answer.put_off)
    banned_at = next(n for n, answer in enumerate(answers) if answer.banned)
    assert first_put_off == pytest.approx(POLICY.harvest_defer, rel=0.2)
    assert banned_at == pytest.approx(POLICY.harvest_ban, rel=0.2)
    assert world.bans == [HARVESTER]
    assert answers[-1].action == "drop"


def test_slow_harvester_is_stopped_as_well(world: World) -> None:
    """One name each two minutes, for two days: beyond the counters' half-lives."""
    answers = harvests(world, 2 * 24 * 30, every_s=120.0)
    assert sum(answer.forwarded for answer in answers) < len(answers) / 2
    assert any(answer.banned for answer in answers)


def test_sender_to_many_with_a_stale_list_is_left_alone(world: World) -> None:
    """A tenth of its recipients are gone, a thousand in a day."""
    for number in range(5000):
        unknown = number % 10 == 3
        answer = world.rcpt(SENDER, f"reader{number}", exists=not unknown)
        assert answer.forwarded
        world.wait(DAY_S / 10_000)
    assert world.bans == []


def test_honest_server_that_repeats_one_message_is_left_alone(world: World) -> None:
    """It asks for the same two who are gone, each ten minutes, for days."""
    for _ in range(500):
        for name in ("gone", "gone-too"):
            assert world.rcpt(SENDER, name, exists=False).forwarded
        world.wait(minutes=10)
    assert world.bans == []


def test_harvester_that_mends_is_heard_again(world: World) -> None:
    """Put off, it is asked now and then whether it has a recipient that exists."""
    harvests(world, POLICY.harvest_defer + 20)
    accepted = 0
    for number in range(24 * 60):
        accepted += world.rcpt(HARVESTER, f"real{number % 3}", exists=True).got_in
        world.wait(minutes=1)
    assert accepted > 24 * 60 / 10
    assert world.rcpt(HARVESTER, "real0", exists=True).got_in
    assert world.bans == []


def test_harvester_does_not_hinder_his_neighbours_logins(world: World) -> None:
    ann = world.person("ann", HARVESTER)
    harvests(world, 2 * POLICY.harvest_ban)
    assert world.bans == [HARVESTER]
    assert ann.logs_in().action == "pass"


def test_address_has_so_many_recipients_a_day() -> None:
    policy = PolicySettings(recipients_per_address_day=100)
    world = World(replace(SETTINGS, policy=policy))
    answers = [world.rcpt(SENDER, f"reader{n}", exists=True) for n in range(150)]
    assert [answer.got_in for answer in answers] == [True] * 100 + [False] * 50
    assert {(answer.action, answer.reason) for answer in answers[100:]} == {
        ("defer", "recipient-rate")
    }
    assert world.rcpt("198.51.100.26", "reader", exists=True).got_in
    world.wait(2 * DAY_S)
    assert world.rcpt(SENDER, "reader", exists=True).got_in


def test_big_sender_over_its_day_with_one_stale_recipient_is_not_banned() -> None:
    """What it is put off for is its number, not whom it asks for."""
    policy = PolicySettings(recipients_per_address_day=100)
    world = World(replace(SETTINGS, policy=policy))
    for number in range(99):
        assert world.rcpt(SENDER, f"reader{number}", exists=True).got_in
    assert world.rcpt(SENDER, "gone", exists=False).forwarded
    for number in range(3 * POLICY.harvest_ban):
        answer = world.rcpt(SENDER, f"more{number}", exists=True)
        assert answer.got_in or answer.reason == "recipient-rate"
    assert world.bans == []


def test_harvester_whose_ban_is_lifted_is_heard_again(world: World) -> None:
    harvests(world, 2 * POLICY.harvest_ban)
    assert world.simulation.ledger.lift(Prefix.parse(HARVESTER), Scope.MX)
    assert world.rcpt(HARVESTER, "real", exists=True).got_in
    answer = world.rcpt(HARVESTER, "gone", exists=False)
    assert (answer.action, answer.banned) == ("pass", None)


def test_harvest_ban_that_ran_out_is_not_renewed_by_the_next_stale_recipient(
    world: World,
) -> None:
    harvests(world, 2 * POLICY.harvest_ban)
    assert world.bans == [HARVESTER]
    world.wait(POLICY.harvest_ban_first_s)
    answer = world.rcpt(HARVESTER, "gone", exists=False)
    assert (answer.forwarded, answer.banned) == (True, None)
    more = harvests(world, 2 * POLICY.harvest_ban, first=10_000)
    assert any(each.banned for each in more), "who harvests on is banned again"
    assert sum(each.forwarded for each in more) < 1.2 * POLICY.harvest_defer


# -- accounts --------------------------------------------------------------------------------------


def test_account_has_a_burst_then_a_rate(world: World) -> None:
    ann = world.person("ann", HOME)
    world.wait(hours=1)
    answers = sends(ann, POLICY.recipients_burst + 100, every_s=0.0)
    assert sum(answer.got_in for answer in answers) == POLICY.recipients_burst
    assert {answer.reason for answer in answers if answer.put_off} == {"recipient-rate"}
    world.wait(minutes=10)
    more = sends(ann, 2 * POLICY.recipients_10m, every_s=0.0)
    assert sum(answer.got_in for answer in more) == pytest.approx(POLICY.recipients_10m, abs=2)


def test_newsletter_has_numbers_of_its_own() -> None:
    own = AccountSettings(recipients_burst=2000, recipients_day=5000)
    world = World(replace(SETTINGS, accounts={"news": own}))
    news, ann = world.person("news", HOME), world.person("ann", HOME)
    world.wait(hours=1)
    assert all(answer.got_in for answer in sends(news, 1500))
    assert not all(answer.got_in for answer in sends(ann, 1500))


def test_stolen_account_that_sends_at_once_from_a_new_network_is_held(world: World) -> None:
    world.learn()
    ann = world.person("ann", HOME)
    thief = "192.0.2.44"
    assert ann.logs_in(thief).got_in
    answers = sends(ann, 2 * NEW_NET_RECIPIENTS, ip=thief)
    assert sum(answer.got_in for answer in answers) <= NEW_NET_RECIPIENTS + 1
    assert (answers[-1].action, answers[-1].reason) == ("defer", "account-held")
    assert sends(ann, 1)[0].reason == "account-held", "wherever it sends from"
    assert ann.logs_in().action == "pass", "it is kept from sending, not from its mail"
    world.wait(POLICY.account_hold_s)
    assert sends(ann, 1)[0].got_in


def test_account_that_moves_and_sends_on_the_first_day_is_not_held(world: World) -> None:
    """At a cold start every network is a new one."""
    ann = world.person("ann", HOME)
    new_office = "192.0.2.44"
    assert ann.logs_in(new_office).got_in
    assert all(answer.got_in for answer in sends(ann, 2 * NEW_NET_RECIPIENTS, ip=new_office))


def test_stolen_account_that_comes_from_many_new_networks_is_held(world: World) -> None:
    world.learn()
    ann = world.person("ann", HOME)
    world.wait(hours=1)
    for number in range(POLICY.new_nets_hour):
        assert sends(ann, 1)[0].got_in
        ann.logs_in(f"{50 + number}.0.0.1")
        world.wait(minutes=2)
    assert sends(ann, 1)[0].reason == "account-held"


def test_commuter_between_known_networks_is_not_held(world: World) -> None:
    world.learn()
    ann = world.person("ann", HOME)
    networks = [f"{50 + number}.0.0.1" for number in range(8)]
    for network in networks:
        ann.logs_in(network)
        world.wait(hours=2)
    for _ in range(5):
        for network in networks:
            assert ann.logs_in(network).got_in
            world.wait(minutes=1)
    assert sends(ann, 1)[0].got_in
