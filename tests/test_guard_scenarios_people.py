"""Stories of people, who are to be left alone."""

import pytest
from scenarios import POLICY, RETRY_S, SETTINGS, Person, World, addresses, attack

from gatekeeper.policy.login_rules import DOUBT_SHARE
from gatekeeper.verdict import Reason

OFFICE = "198.51.100.7"
AIRPORT = "192.0.2.44"
COLLEAGUES = 44
GUESSERS = 60  # guesses from as many networks: enough for any alarm


@pytest.fixture
def world() -> World:
    world = World()
    world.learn()
    return world


def office(world: World) -> list[Person]:
    return [world.person(f"colleague{number}", OFFICE) for number in range(COLLEAGUES)]


def besieged(world: World, account: str) -> None:
    """Strangers all over the world guess at one account, until its lane is locked."""
    guesses = ((account, ip, f"guess from {ip}") for ip in addresses(GUESSERS))
    attack(world, guesses)


# -- the office ------------------------------------------------------------------------------------


def test_office_with_one_dead_phone_works_on(world: World) -> None:
    """The phone repeats one wrong password each minute for a day. Nobody is kept out, and the
    backend sees of the phone what the repeat rule lets through."""
    people = office(world)
    phone = people[0]
    before = world.seen[phone.account]
    hours = 24
    for minute in range(60 * hours):
        assert not phone.tries("a password of another mailbox").put_off
        assert people[1 + minute % (COLLEAGUES - 1)].logs_in().action == "pass"
        world.wait(minutes=1)
    an_hour = (world.seen[phone.account] - before) / hours
    assert an_hour == pytest.approx(3600 / POLICY.refused_for_s, abs=1)
    assert world.bans == []


def test_dead_phone_does_not_hinder_its_owner(world: World) -> None:
    people = office(world)
    for _ in range(600):
        people[0].tries("a password of another mailbox")
        assert people[0].logs_in().action == "pass"
        world.wait(minutes=1)


def test_office_with_a_stale_phone_and_a_bot_works_on(world: World) -> None:
    """The bot guesses at everybody behind the same address, at colleagues and at names it made up;
    it is stopped, and they are not."""
    people = office(world)
    guesses = []
    for minute in range(600):
        person = people[minute % COLLEAGUES]
        people[0].tries("a password of another mailbox")
        guesses.append(person.tries(f"guess {minute}"))
        guesses.append(world.login(f"made-up{minute}", OFFICE, "123456"))
        assert person.logs_in().action == "pass"
        world.wait(minutes=1)
    assert world.bans == []
    assert sum(answer.forwarded for answer in guesses[-200:]) < 60


def test_mistypes_of_a_morning_are_nobodys_attack(world: World) -> None:
    people = office(world)
    for number, person in enumerate(people):
        mistyped = person.tries(f"tpyo {number}")
        assert mistyped.outcome == "fail" or mistyped.put_off
        world.wait(20)
        assert person.logs_in().action == "pass"
    assert world.bans == []


# -- on the road -----------------------------------------------------------------------------------


def test_traveller_gets_in_at_once_in_peace(world: World) -> None:
    ann = world.person("ann", "203.0.113.9")
    world.wait(hours=1)
    assert ann.logs_in(AIRPORT).action == "pass"


def test_traveller_whose_account_is_attacked_is_put_off_once(world: World) -> None:
    ann = world.person("ann", "203.0.113.9")
    besieged(world, "ann")
    assert ann.logs_in(AIRPORT).put_off
    world.wait(RETRY_S)
    assert ann.logs_in(AIRPORT).got_in
    assert ann.logs_in(AIRPORT).action == "pass", "and is at home there from now on"


def test_whose_account_is_attacked_notices_nothing_at_home(world: World) -> None:
    ann = world.person("ann", "203.0.113.9")
    besieged(world, "ann")
    assert ann.logs_in().action == "pass"
    assert ann.logs_in("203.0.113.77").action == "pass", "another address of his network"
    assert ann.logs_in("203.0.200.1").action == "pass", "another of his provider"


def test_lock_out_by_strangers_does_not_lock_the_owner(world: World) -> None:
    """Strangers go on for days to keep the account's lane locked."""
    ann = world.person("ann", "203.0.113.9")
    for day in range(3):
        guesses = [("ann", ip, f"guess {day} from {ip}") for ip in addresses(100)]
        attack(world, guesses, every_s=600.0)
        assert ann.logs_in().action == "pass"
        waited_s = ann.gets_in(f"{50 + day}.0.0.1")
        assert waited_s is not None
        assert waited_s <= RETRY_S


def test_privacy_addresses_of_one_home_are_one_home(world: World) -> None:
    ann = world.person("ann", "2001:db8:1:2::1")
    besieged(world, "ann")
    for host in range(1, 30):
        assert ann.logs_in(f"2001:db8:1:2:{host:x}::{host:x}").action == "pass"


def test_new_provider_is_one_wait_at_most(world: World) -> None:
    people = [world.person(f"mover{number}", f"20.{number}.0.1") for number in range(10)]
    besieged(world, "somebody else")
    for number, person in enumerate(people):
        waited_s = person.gets_in(f"30.{number}.0.1")
        assert waited_s is not None
        assert waited_s <= RETRY_S


# -- passwords -------------------------------------------------------------------------------------


def test_changed_password_is_learnt_and_the_old_phone_is_answered_here(world: World) -> None:
    ann = world.person("ann", "203.0.113.9")
    old = ann.changes_password()
    assert ann.logs_in().got_in
    assert ann.tries(old).outcome == "fail"
    world.wait(1)
    repeated = ann.tries(old)
    assert (repeated.action, repeated.reason) == ("reject", "repeated-password")
    assert ann.logs_in().action == "pass"
    assert world.bans == []


def test_old_phone_is_answered_here_as_long_as_any_other_wrong_password(world: World) -> None:
    """The account has another password that is right, so there is no doubt."""
    ann = world.person("ann", "203.0.113.9")
    old = ann.changes_password()
    assert ann.logs_in().got_in
    seen = 0
    for _ in range(360):
        seen += ann.tries(old).forwarded
        world.wait(10)
    assert seen == pytest.approx(3600 / POLICY.refused_for_s, abs=1)
    assert ann.logs_in().action == "pass"


def test_password_that_fails_while_no_other_is_known_is_asked_again_sooner(world: World) -> None:
    """The backend may have been wrong for a moment."""
    ann = world.person("ann", "203.0.113.9")
    world.refuses_everybody = True
    assert ann.logs_in().outcome == "fail"
    world.refuses_everybody = False
    world.wait(POLICY.refused_for_s * DOUBT_SHARE)
    assert ann.logs_in().got_in


def test_owner_of_a_password_that_is_sprayed_is_put_off_and_gets_in(world: World) -> None:
    """At a hotel from which somebody guessed before him."""
    ann = world.person("ann", "203.0.113.9")
    common = world.passwords["ann"] = "Summer2026!"
    assert ann.logs_in().got_in
    attack(world, [(f"user{n}", ip, common) for n, ip in enumerate(addresses(10))])
    world.login("user20", AIRPORT, "a guess")
    answer = ann.logs_in(AIRPORT)
    assert (answer.action, answer.reason) == ("defer", "sprayed-password")
    wrong = world.login("user21", AIRPORT, common)
    assert (wrong.action, wrong.reason) == (answer.action, answer.reason), "no oracle"
    world.wait(RETRY_S)
    assert ann.logs_in(AIRPORT).got_in


def test_old_phone_goes_on_for_a_week_and_costs_nobody_anything(world: World) -> None:
    people = office(world)
    old = people[0].changes_password()
    for _ in range(7 * 24 * 6):
        people[0].tries(old)
        world.wait(minutes=10)
    assert people[0].logs_in().action == "pass"
    assert people[1].logs_in().action == "pass"
    assert world.bans == []


def test_password_corrected_at_the_backend_is_soon_heard(world: World) -> None:
    """Its owner resets the account to what the phone has."""
    ann = world.person("ann", "203.0.113.9")
    assert ann.tries("what the phone has").refused
    world.passwords["ann"] = "what the phone has"
    world.wait(POLICY.refused_for_s)
    assert ann.logs_in().got_in


def test_changed_password_is_learnt_on_the_road_during_an_attack(world: World) -> None:
    """Nothing tells the new password from a guess but that it comes again, and is right."""
    ann = world.person("ann", "203.0.113.9")
    besieged(world, "somebody else")
    ann.changes_password()
    waited_s = ann.gets_in(AIRPORT)
    assert waited_s is not None
    assert waited_s <= RETRY_S


# -- the first day ---------------------------------------------------------------------------------


def test_cold_start_only_watches_strangers() -> None:
    """A server of which little is known is attacked: everybody is a stranger still, and no
    newcomer is put off; what would have been is counted."""
    world = World()
    for number in range(10):
        world.person(f"first{number}", f"10.{number}.0.1")
    guesses = ((f"first{n % 10}", ip, f"guess {n}") for n, ip in enumerate(addresses(60)))
    assert "attack-level" in attack(world, guesses).reasons, "what is surely wrong is refused"
    for number in range(50):
        world.passwords[f"newcomer{number}"] = "right"
        assert world.login(f"newcomer{number}", f"20.{number}.0.1", "right").action == "pass"
    assert world.guard.would_have[Reason.ATTACK_LEVEL] >= 50


def test_office_that_starts_on_the_same_day_is_let_in() -> None:
    world = World(SETTINGS)
    people = office(world)
    for number, person in enumerate(people):
        if number % 5 == 0:
            person.tries(f"tpyo {number}")
        assert person.logs_in().got_in
        world.wait(30)
    assert world.bans == []
