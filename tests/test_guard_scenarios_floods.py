"""Stories of floods: what attackers can fill is apart from what people need. Small tables, so that
a flood is a matter of a moment; the tables are the guard's own."""

from collections.abc import Iterator

import pytest
from scenarios import RETRY_S, World

from gatekeeper.ban import Scope
from gatekeeper.policy.accounts import Accounts
from gatekeeper.policy.counters import ScoreTable
from gatekeeper.policy.pairs import Askings, BadPairs
from gatekeeper.policy.places import Places
from gatekeeper.policy.recipients import Harvest
from gatekeeper.policy.scores import SourceScores
from gatekeeper.prefix import Prefix
from gatekeeper.verdict import Reason

SMALL = 64
FLOOD = 3000
ATTACKER = "203.0.113.66"
AIRPORT = "192.0.2.44"


def small(world: World) -> World:
    """Every table that takes a capacity has a small one."""
    logins, policy = world.guard.evidence.logins, world.simulation.settings.policy
    logins.accounts = Accounts(SMALL)
    logins.neighbourhood.sources, logins.neighbourhood.nets = Places(SMALL), Places(SMALL)
    logins.neighbourhood.scores = scores(policy.auth_half_life_s)
    logins.bad_pairs = BadPairs(policy.repeat_window_s, SMALL)
    logins.askings = Askings(SMALL)
    world.guard.evidence.harvest = Harvest(SMALL)
    return world


def scores(half_life_s: float) -> SourceScores:
    made = SourceScores(half_life_s)
    made.sources = ScoreTable(half_life_s, SMALL)
    made.networks = ScoreTable(half_life_s, SMALL)
    return made


@pytest.fixture
def world() -> World:
    world = small(World())
    world.learn()
    return world


def strange(count: int) -> Iterator[str]:
    """Addresses of IPv6, each in a /32 of its own as far as they last."""
    for number in range(count):
        yield f"2a{number % 256:02x}:{number // 256:x}::1"


def flood(world: World) -> None:
    """Guesses with a new address, account and password each."""
    for number, ip in enumerate(strange(FLOOD)):
        world.login(f"made-up{number}", ip, f"guess {number}")
        world.wait(0.1)


def sizes(world: World) -> list[int]:
    logins = world.guard.evidence.logins
    tables = (
        logins.accounts,
        logins.neighbourhood.sources,
        logins.neighbourhood.nets,
        logins.neighbourhood.scores.sources,
        logins.neighbourhood.scores.networks,
        logins.bad_pairs,
        world.guard.evidence.harvest,
    )
    return [len(table) for table in tables]


def test_flood_of_guesses_pushes_out_nobody_who_is_at_home(world: World) -> None:
    ann = world.person("ann", "203.0.113.9")
    flood(world)
    assert ann.logs_in().action == "pass"
    for number in range(40):
        known = world.login(f"user{number}", f"10.{number}.0.1", world.passwords[f"user{number}"])
        assert known.action == "pass"


def test_flood_of_guesses_lifts_no_ban(world: World) -> None:
    world.simulation.ledger.ban(Prefix.parse(ATTACKER), Scope.AUTH, Reason.OPERATOR, seconds=1e6)
    flood(world)
    assert ATTACKER in world.bans


def test_flood_of_guesses_does_not_wash_a_guesser(world: World) -> None:
    """He is close to a ban, floods the table from elsewhere, and guesses on."""
    ledger = world.simulation.ledger
    for number in range(5):
        world.login("user0", ATTACKER, f"guess {number}")
    before = world.guard.score(Prefix.parse(ATTACKER), Scope.AUTH)
    assert before > 2.0
    flood(world)
    after = world.guard.score(Prefix.parse(ATTACKER), Scope.AUTH)
    assert after == pytest.approx(before, rel=0.1)
    assert ledger.find(Prefix.parse(ATTACKER), Scope.AUTH) is None


def test_tables_stay_within_their_bounds(world: World) -> None:
    flood(world)
    for number, ip in enumerate(strange(FLOOD)):
        world.rcpt(ip, f"name{number}", exists=False)
    assert max(sizes(world)) <= SMALL
    logins = world.guard.evidence.logins
    assert len(logins.askings) <= 4 * SMALL


def test_traveller_who_was_put_off_gets_in_though_guessers_are_put_off_by_the_thousand(
    world: World,
) -> None:
    ann = world.person("ann", "203.0.113.9")
    flood(world)
    world.login("user0", AIRPORT, "a guess")  # else nothing speaks against the place itself
    assert ann.logs_in(AIRPORT).put_off
    flood(world)
    world.wait(RETRY_S)
    assert ann.logs_in(AIRPORT).got_in


def test_one_valid_mailbox_pushes_out_nobody(world: World) -> None:
    """It logs in from everywhere: its places are few a day, its nets few at all."""
    ann = world.person("ann", "203.0.113.9")
    world.passwords["mallory"] = "his own"
    for ip in strange(FLOOD):
        world.login("mallory", ip, "his own")
        world.wait(0.1)
    assert ann.logs_in().action == "pass"
    assert max(sizes(world)) <= SMALL


def test_flood_of_accounts_of_64_kib_costs_their_keys_only(world: World) -> None:
    for number, ip in enumerate(strange(50)):
        world.login(f"{number}" + "x" * 65_536, ip, "y" * 65_536)
    assert max(sizes(world)) <= SMALL
    names = [entry.name for entry in world.guard.journal.of(lambda _: True)]
    assert max(map(len, names)) <= 80
