"""Stories of attackers, who are to be stopped before the backend sees their guesses."""

import pytest
from scenarios import POLICY, RETRY_S, Campaign, World, addresses, attack

from gatekeeper.policy import allowances

ATTACKER = "203.0.113.66"
PEOPLE = 40
FIRST_DOZEN = 15  # what an attack may get through before it is known to be one, roughly


@pytest.fixture
def world() -> World:
    world = World()
    world.learn()
    return world


def forwarded_early(campaign: Campaign) -> int:
    """Until which guess the backend saw half of those it saw."""
    seen = [number for number, answer in enumerate(campaign.answers) if answer.forwarded]
    return seen[len(seen) // 2] if seen else 0


# -- from one address ------------------------------------------------------------------------------


def test_guesser_of_one_account_is_stopped_and_banned(world: World) -> None:
    campaign = attack(world, (("user0", ATTACKER, f"guess {n}") for n in range(200)))
    assert campaign.forwarded < FIRST_DOZEN
    assert world.bans == [ATTACKER]
    assert campaign.answers[-1].action == "drop"


def test_sprayer_of_one_password_is_banned_within_a_few_accounts(world: World) -> None:
    guesses = ((f"user{n % PEOPLE}", ATTACKER, "Summer2026!") for n in range(PEOPLE))
    campaign = attack(world, guesses)
    assert campaign.forwarded < 6
    assert world.bans == [ATTACKER]


def test_guesser_of_names_that_do_not_exist_is_banned_within_a_few(world: World) -> None:
    campaign = attack(world, ((f"info{n}", ATTACKER, f"guess {n}") for n in range(50)))
    assert campaign.forwarded < 6
    assert ATTACKER in world.bans


def test_slow_guesser_is_stopped_as_well(world: World) -> None:
    """Three an hour, for two weeks."""
    guesses = ((f"user{n % PEOPLE}", ATTACKER, f"guess {n}") for n in range(3 * 24 * 14))
    campaign = attack(world, guesses, every_s=1200.0)
    assert campaign.share < 0.05


# -- from many -------------------------------------------------------------------------------------


def test_slow_botnet_of_one_try_an_address_is_stopped_after_the_first_dozen(world: World) -> None:
    """Every minute a fresh address tries one fresh guess at one of the accounts."""
    guesses = [(f"user{n % PEOPLE}", ip, f"guess {n}") for n, ip in enumerate(addresses(1500))]
    campaign = attack(world, guesses, every_s=60.0)
    assert campaign.forwarded <= FIRST_DOZEN
    assert not any(answer.forwarded for answer in campaign.answers[2 * FIRST_DOZEN :])
    assert world.bans == [], "nobody made more than one guess"


def test_very_slow_botnet_is_stopped_before_long(world: World) -> None:
    """One guess each quarter of an hour, for a fortnight."""
    guesses = [
        (f"user{n % PEOPLE}", ip, f"guess {n}") for n, ip in enumerate(addresses(4 * 24 * 14))
    ]
    campaign = attack(world, guesses, every_s=900.0)
    assert campaign.share < 0.15


def test_spraying_botnet_is_stopped_by_its_password(world: World) -> None:
    """So slow that no alarm of the whole rises: a password tried on a few accounts is known."""
    botnet = enumerate(addresses(40))
    guesses = [(f"user{n % PEOPLE}", ip, "Winter2026!") for n, ip in botnet]
    campaign = attack(world, guesses, every_s=3000.0)
    assert "sprayed-password" in campaign.reasons
    assert campaign.forwarded <= POLICY.sprayed_accounts + 2


def test_botnet_at_one_account_is_stopped_by_what_is_tried_there(world: World) -> None:
    guesses = [("user0", ip, f"guess {n}") for n, ip in enumerate(addresses(200))]
    campaign = attack(world, guesses, every_s=3600.0)
    assert campaign.forwarded < 60
    assert {"account-attacked"} & campaign.reasons


@pytest.mark.parametrize(
    ("name", "ip"),
    [
        ("/64 after /64 of one customer", "2001:db8:7:{:x}::1"),
        ("/64s of one provider's /48s", "2001:db8:{:x}:1::1"),
        ("address after address of a /24", "203.0.113.{}"),
    ],
)
def test_hopping_gains_nothing(world: World, name: str, ip: str) -> None:
    guesses = [(f"user{n % PEOPLE}", ip.format(1 + n % 250), f"guess {n}") for n in range(1000)]
    campaign = attack(world, guesses, every_s=10.0)
    assert campaign.share < 0.02, name


def test_hopping_is_stopped_before_a_calm_guard_has_learnt_anything() -> None:
    """The scores of the networks need no familiarity."""
    world = World()
    guesses = [(f"name{n}", f"2001:db8:7:{n:x}::1", f"guess {n}") for n in range(1000)]
    campaign = attack(world, guesses, every_s=10.0)
    assert campaign.forwarded <= POLICY.network_suspect_score
    assert campaign.reasons == {"suspect-network"}


# -- the attacker who has an account ---------------------------------------------------------------


def test_own_account_washes_no_guesses_away(world: World) -> None:
    """He logs in as himself between his guesses."""
    world.passwords["mallory"] = "his own"
    answers = []
    for guess in range(300):
        world.login("mallory", ATTACKER, "his own")
        answers.append(world.login(f"user{guess % PEOPLE}", ATTACKER, f"guess {guess}"))
        world.wait(30)
    assert Campaign(answers).forwarded < 2 * FIRST_DOZEN
    assert not any(answer.forwarded for answer in answers[-200:])


def test_own_account_does_not_make_a_botnet_at_home(world: World) -> None:
    """Each of his addresses logs in as himself first, then guesses at others."""
    world.passwords["mallory"] = "his own"
    answers = []
    for number, ip in enumerate(addresses(300)):
        world.login("mallory", ip, "his own")
        answers.append(world.login(f"user{number % PEOPLE}", ip, f"guess {number}"))
        world.wait(60)
    assert Campaign(answers).share < 0.15


def test_own_logins_do_not_put_the_alarm_out_of_reach(world: World) -> None:
    """Between two guesses he logs in as himself from three more networks."""
    world.passwords["mallory"] = "his own"
    botnet, answers = iter(addresses(1600)), []
    for guess in range(400):
        for _ in range(3):
            world.login("mallory", next(botnet), "his own")
        answers.append(world.login(f"user{guess % PEOPLE}", next(botnet), f"guess {guess}"))
        world.wait(60)
    assert Campaign(answers).share < 0.15


def test_own_account_from_everywhere_does_not_unlearn_who_is_at_home(world: World) -> None:
    """What is rare among logins is learnt from accounts, not from one that is everywhere."""
    world.passwords["mallory"] = "his own"
    for ip in addresses(200):
        world.login("mallory", ip, "his own")
        world.wait(10)
    familiarity = world.guard.evidence.logins.familiarity
    assert familiarity.learned, "one account is not everybody"


# -- the attacker who has the password -----------------------------------------------------------


def test_stuffers_right_pair_is_put_off_and_only_a_patient_retry_gets_in(world: World) -> None:
    list_of_others = [
        (f"user{n % PEOPLE}", ip, f"leaked {n}") for n, ip in enumerate(addresses(60))
    ]
    attack(world, list_of_others)
    right = world.passwords["user1"]
    assert world.login("user1", ATTACKER, right).put_off
    world.wait(RETRY_S / 2)
    assert world.login("user1", ATTACKER, right).put_off, "too soon"
    world.wait(RETRY_S / 2)
    assert world.login("user1", ATTACKER, right).got_in


def test_stuffers_wrong_pairs_get_no_further_than_the_allowance_though_he_retries(
    world: World,
) -> None:
    """He knows of greylisting: each pair comes again from its address, once it may."""
    answers = []
    for number, ip in enumerate(addresses(400)):
        guess = (f"user{number % PEOPLE}", ip, f"leaked {number}")
        answers.append(world.login(*guess))
        world.wait(RETRY_S)
        answers.append(world.login(*guess))
    proofs = allowances.ALL_PROOFS[allowances.Pool.GUESSED]
    allowance = proofs.burst + 400 * RETRY_S / proofs.period_s
    assert Campaign(answers).forwarded < FIRST_DOZEN + allowance
    unseen = {answer.action for answer in answers if not answer.forwarded}
    assert unseen <= {"defer", "reject"}, "nothing tells him which was near"


def test_guess_hidden_among_temporary_failures_is_told_nothing(world: World) -> None:
    """A stranger under attack hears the same for a right password as for a wrong one."""
    attack(world, [(f"user{n % PEOPLE}", ip, f"g{n}") for n, ip in enumerate(addresses(60))])
    right = world.login("user1", "203.0.113.1", world.passwords["user1"])
    wrong = world.login("user1", "203.0.113.2", "a guess")
    assert (right.action, right.reason) == (wrong.action, wrong.reason)


# -- after the attack ----------------------------------------------------------------------------


def test_calm_returns_within_a_day(world: World) -> None:
    attack(world, [(f"user{n % PEOPLE}", ip, f"g{n}") for n, ip in enumerate(addresses(500))])
    world.wait(hours=36)
    world.passwords["newcomer"] = "right"
    assert world.login("newcomer", "192.0.2.1", "right").action == "pass"
