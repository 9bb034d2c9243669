"""Stories of outages, traps, locks, and rules that are only watched."""

from dataclasses import replace

import pytest
from scenarios import POLICY, SETTINGS, Person, World, addresses, attack

from gatekeeper.ban import Scope
from gatekeeper.policy.levels import OUTAGE_ACCOUNTS, OUTAGE_WINDOW_S
from gatekeeper.prefix import Prefix
from gatekeeper.remembered import AccountLock, LockKind
from gatekeeper.settings import Mode, Treatment
from gatekeeper.verdict import Reason

ATTACKER = "203.0.113.66"
HOME = "203.0.113.9"
OFFICE = "198.51.100.7"


@pytest.fixture
def world() -> World:
    world = World()
    world.learn()
    return world


def at_work(world: World) -> list[Person]:
    """People of an office and of as many homes, all of whom have logged in just now."""
    people = [world.person(f"colleague{n}", OFFICE) for n in range(20)]
    return [*people, *(world.person(f"remote{n}", f"20.{n}.0.1") for n in range(20))]


# -- outages ---------------------------------------------------------------------------------------


def test_backend_that_does_not_answer_makes_no_ban_and_no_memory(world: World) -> None:
    people = at_work(world)
    world.outage(True)
    for _ in range(10):
        answers = [person.logs_in() for person in people]
        answers += [person.tries("tpyo") for person in people]
        assert {answer.outcome for answer in answers} == {"unavailable"}
        world.wait(minutes=1)
    world.outage(False)
    assert all(person.logs_in().action == "pass" for person in people)
    assert world.bans == []


def test_backend_that_refuses_everybody_makes_no_ban_and_nobody_is_refused_afterwards(
    world: World,
) -> None:
    """Its password database is gone; phones try each minute for a quarter of an hour."""
    people = at_work(world)
    world.refuses_everybody = True
    for _ in range(15):
        for person in people:
            assert person.logs_in().banned is None
        world.wait(minutes=1)
    world.refuses_everybody = False
    assert world.bans == []
    assert [person.logs_in().outcome for person in people] == ["ok"] * len(people)


def test_in_an_outage_the_backend_is_asked_so_that_its_end_is_seen(world: World) -> None:
    people = at_work(world)
    world.refuses_everybody = True
    for person in people:
        person.logs_in()
    assert all(person.logs_in().forwarded for person in people)


def test_small_outage_is_over_for_everybody_within_minutes(world: World) -> None:
    """Too few people are there to tell an outage from changed passwords."""
    people = [world.person(f"one of few{n}", f"20.{n}.0.1") for n in range(OUTAGE_ACCOUNTS - 1)]
    world.refuses_everybody = True
    assert {person.logs_in().outcome for person in people} == {"fail"}
    world.refuses_everybody = False
    world.wait(POLICY.refused_for_s)
    assert {person.logs_in().outcome for person in people} == {"ok"}


def test_attack_after_an_outage_is_stopped_as_ever(world: World) -> None:
    people = at_work(world)
    world.refuses_everybody = True
    for person in people:
        person.logs_in()
    world.refuses_everybody = False
    for person in people:
        person.logs_in()
    world.wait(OUTAGE_WINDOW_S + 1)
    campaign = attack(world, (("user0", ATTACKER, f"guess {n}") for n in range(100)))
    assert world.bans == [ATTACKER]
    assert campaign.forwarded < 15


# -- traps -----------------------------------------------------------------------------------------


def test_trap_account_bans_at_the_first_try_and_the_backend_is_not_asked() -> None:
    world = World(replace(SETTINGS, trap_accounts=("root", "Test@Example.Org")))
    answer = world.login("test@example.org", ATTACKER, "123456")
    assert answer.refused
    assert not answer.forwarded
    assert answer.banned == ATTACKER


def test_trap_account_in_an_office_is_refused_and_bans_nobody() -> None:
    world = World(replace(SETTINGS, trap_accounts=("scanner",)))
    ann = world.person("ann", OFFICE)
    for number in range(50):
        answer = world.login("scanner", OFFICE, f"guess {number}")
        assert (answer.action, answer.forwarded) == ("decoy", False)
        assert ann.logs_in().action == "pass"
        world.wait(30)
    assert world.bans == []


def test_trap_is_one_for_its_own_password_too() -> None:
    """Removed staff: the backend may know them still."""
    world = World(replace(SETTINGS, trap_accounts=("removed",)))
    world.passwords["removed"] = "still right"
    assert not world.login("removed", ATTACKER, "still right").forwarded


# -- locks -----------------------------------------------------------------------------------------


def lock(world: World, account: str, kind: LockKind) -> None:
    logins = world.guard.evidence.logins
    now = world.simulation.now
    logins.locks.put(AccountLock(logins.account_key(account), kind, now, None, "by hand"))


def test_account_locked_by_the_operator_is_shut_until_it_is_unlocked(world: World) -> None:
    ann = world.person("ann", HOME)
    lock(world, "ann", LockKind.OPERATOR)
    for address in (HOME, "192.0.2.44"):
        answer = ann.logs_in(address)
        assert (answer.action, answer.reason) == ("reject", "account-locked")
        assert not answer.forwarded
    logins = world.guard.evidence.logins
    logins.locks.take(logins.account_key("ann"), LockKind.OPERATOR)
    assert ann.logs_in().action == "pass"


def test_phones_of_a_locked_account_ban_no_office(world: World) -> None:
    people = at_work(world)
    lock(world, people[0].account, LockKind.OPERATOR)
    for _ in range(500):
        assert people[0].logs_in().reason == "account-locked"
        assert people[1].logs_in().action == "pass"
        world.wait(minutes=1)
    assert world.bans == []


# -- rules that are only watched -------------------------------------------------------------------


def test_observe_mode_lets_the_whole_attack_through_and_counts_it() -> None:
    world = World(replace(SETTINGS, mode=Mode.OBSERVE))
    world.learn()
    campaign = attack(
        world, [(f"user{n % 40}", ip, f"g{n}") for n, ip in enumerate(addresses(200))]
    )
    campaign_of_one = attack(world, (("user0", ATTACKER, f"guess {n}") for n in range(100)))
    assert campaign.share == campaign_of_one.share == 1.0
    assert world.bans == []
    would_have = world.guard.would_have
    assert would_have[Reason.ATTACK_LEVEL] > 100
    assert would_have[Reason.AUTH_FAILURES] > 0


def test_one_rule_is_watched_and_the_rest_holds() -> None:
    watched = {Reason.ATTACK_LEVEL: Treatment.OBSERVE}
    world = World(replace(SETTINGS, rules=watched))
    world.learn()
    botnet = enumerate(addresses(100))
    campaign = attack(world, [(f"user{n % 40}", ip, f"guess {n}") for n, ip in botnet])
    assert campaign.share == 1.0
    assert world.guard.would_have[Reason.ATTACK_LEVEL] > 50
    attack(world, (("user0", ATTACKER, f"guess {n}") for n in range(100)))
    assert world.bans == [ATTACKER]


@pytest.mark.parametrize("watched", [Reason.SUSPECT_SOURCE, Reason.REPEATED_PASSWORD])
def test_watched_rule_is_named_where_it_would_have_refused(watched: Reason) -> None:
    world = World(replace(SETTINGS, rules={watched: Treatment.OBSERVE}))
    guesses = (("name", ATTACKER, f"guess {n // 2}") for n in range(18))
    campaign = attack(world, guesses)
    assert watched.value not in campaign.reasons
    assert world.guard.would_have[watched] > 0


# -- bans and the operator -------------------------------------------------------------------------


def test_lifted_ban_starts_anew(world: World) -> None:
    attack(world, (("user0", ATTACKER, f"guess {n}") for n in range(100)))
    assert world.bans == [ATTACKER]
    world.simulation.ledger.lift(Prefix.parse(ATTACKER), Scope.AUTH)
    world.wait(hours=1)
    answer = world.login("user1", ATTACKER, "mistyped")
    assert answer.banned is None
    assert world.bans == []


def test_allowed_network_is_never_put_off_nor_banned() -> None:
    world = World(replace(SETTINGS, allow=(Prefix.parse("203.0.113.0/24"),)))
    world.learn()
    campaign = attack(world, ((f"user{n % 40}", ATTACKER, f"guess {n}") for n in range(300)))
    assert campaign.share == 1.0
    assert world.bans == []
