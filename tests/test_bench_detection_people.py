"""The people of the detection bench: what they do with each answer, and where they are."""

from collections.abc import Iterator
from math import inf
from random import Random

import pytest

from bench.detection.accounts import Account, Backend, popular, popular_rank
from bench.detection.actors import Answer, answer
from bench.detection.addresses import DAY_S, DualStack, Fixed, Leased, Replaced, pool_v4
from bench.detection.devices import Device
from bench.detection.people import Person, Trip, hour_of, next_awake
from bench.detection.population import People, Population
from bench.detection.scoring import Score
from bench.detection.seam import Decision, Event, decided
from bench.detection.typists import Typist

HOME, OFFICE, TRAIN, HOTEL = (Fixed(f"81.0.0.{n}") for n in range(4))
NOON = DAY_S / 2


def _person(**changes: float) -> tuple[Person, Backend]:
    backend = Backend()
    account = backend.add(Account("a@example.org", "first", "second"))
    account.changed_at = changes.get("changed_at", inf)
    return Person(account, "home", HOME, OFFICE, TRAIN), backend


def _device(person: Person, backend: Backend, seed: int = 1) -> Device:
    meter = Score(0.0).person("home", person.account.name)
    return Device(person, backend, Random(seed), meter, 30.0, phone=False)


def _typist(person: Person, backend: Backend, seed: int) -> Typist:
    meter = Score(0.0).person("home", person.account.name)
    return Typist(person, backend, Random(seed), meter, 2.0, None)


def _spoken(actor: Device | Typist, now: float) -> Event:
    event = actor.speak(now)
    assert event is not None
    return event


def _refused(event: Event) -> Decision:
    return decided(event, "pass", "fail")


# ---- what is heard ----


@pytest.mark.parametrize(
    ("action", "outcome", "heard"),
    [
        ("pass", "ok", Answer.OK),
        ("delay", "ok", Answer.OK),
        ("pass", "fail", Answer.REFUSED),
        ("decoy", None, Answer.REFUSED),
        ("reject", None, Answer.REFUSED),
        ("pass", "unavailable", Answer.BUSY),
        ("defer", None, Answer.BUSY),
        ("drop", None, Answer.GONE),
    ],
)
def test_a_client_hears_no_more_than_the_protocol_says(
    action: str, outcome: str | None, heard: Answer
) -> None:
    assert answer({"action": action, "outcome": outcome}) is heard


# ---- mail programs ----


@pytest.mark.parametrize("action", ["defer", "drop"])
def test_a_mail_program_retries_the_same_password_in_one_to_ten_minutes(action: str) -> None:
    device = _device(*_person())
    for _ in range(50):
        event = _spoken(device, NOON)
        assert event["password"] == "first"
        assert 60 <= device.hear(NOON, decided(event, action)) - NOON <= 600


def test_a_right_password_called_wrong_is_retyped_twice_and_then_left_for_minutes() -> None:
    device = _device(*_person())
    gaps = [device.hear(NOON, decided(_spoken(device, NOON), "decoy")) - NOON for _ in range(6)]
    assert all(20 <= gaps[i] <= 90 for i in (0, 1, 3, 4))
    assert all(300 <= gaps[i] <= 1200 for i in (2, 5))


def test_a_device_with_an_old_password_goes_on_until_it_is_told_the_new_one() -> None:
    person, backend = _person(changed_at=NOON)
    device = _device(person, backend, seed=4)
    now = NOON
    passwords: list[str] = []
    while now < NOON + 20 * DAY_S and (not passwords or passwords[-1] == "first"):
        event = _spoken(device, now)
        passwords.append(event["password"])
        assert event["valid"] is (event["password"] == "second")
        later = device.hear(now, _refused(event))
        assert 15 <= later - now <= 1100
        now = later
    assert passwords[-1] == "second"
    assert len(passwords) > 5


def test_a_lying_backend_refuses_what_is_right() -> None:
    person, backend = _person()
    backend.lies = True
    assert _spoken(_device(person, backend), NOON)["valid"] is False


# ---- people at a keyboard ----


def test_about_one_login_in_twenty_five_is_mistyped_or_mixed_up() -> None:
    typist = _typist(*_person(), seed=7)
    wrong = 0
    for _ in range(4000):
        event = _spoken(typist, NOON)
        wrong += event["password"] != "first"
        while event["password"] != "first":
            typist.hear(NOON, _refused(event))
            event = _spoken(typist, NOON)
        typist.hear(NOON, decided(event, "pass", "ok"))
    assert 0.03 < wrong / 4000 < 0.05


def test_a_typo_is_repeated_more_often_than_not() -> None:
    typist = _typist(*_person(), seed=8)
    again = total = 0
    for _ in range(6000):
        event = _spoken(typist, NOON)
        if event["password"].startswith("typo"):
            total += 1
            typist.hear(NOON, _refused(event))
            after = _spoken(typist, NOON)
            again += after["password"] == event["password"]
            event = after
        while event["password"] != "first":
            typist.hear(NOON, _refused(event))
            event = _spoken(typist, NOON)
        typist.hear(NOON, decided(event, "pass", "ok"))
    assert total > 60
    assert 0.5 < again / total < 0.8


def test_a_person_who_is_put_off_comes_back_within_a_minute_and_a_half() -> None:
    typist = _typist(*_person(), seed=9)
    gap_s = typist.hear(NOON, decided(_spoken(typist, NOON), "defer")) - NOON
    assert 20 <= gap_s <= 90


# ---- places ----


def test_a_person_is_at_work_by_day_and_at_home_in_the_evening_and_on_saturday() -> None:
    person, _ = _person()
    assert person.sits(10 * 3600) is OFFICE
    assert person.sits(20 * 3600) is HOME
    assert person.sits(5 * DAY_S + 10 * 3600) is HOME
    assert person.carries(12 * 3600) is TRAIN


def test_a_trip_is_where_the_person_is_while_it_lasts() -> None:
    person, _ = _person()
    person.trips.append(Trip(DAY_S, 2 * DAY_S, HOTEL))
    assert person.sits(DAY_S + 10 * 3600) is HOTEL
    assert person.sits(2 * DAY_S + 10 * 3600) is OFFICE


def test_nobody_is_up_before_seven() -> None:
    times = [next_awake(hour * 3600.0) for hour in range(24)]
    assert min(hour_of(t) for t in times) == 7
    assert times[:7] == sorted(times[:7])


def test_a_privacy_address_stays_in_its_net_and_changes_every_day() -> None:
    prefix = Leased(Random(1), lambda: "2003:c0:1:200", 1e12)
    home = DualStack(Random(1), prefix, HOME, 0.0)
    monday = {home.address(hour * 3600.0, 5) for hour in range(24)}
    tuesday = home.address(DAY_S, 5)
    assert len(monday) == 1
    assert tuesday not in monday
    assert tuesday.startswith("2003:c0:1:200:")
    assert home.address(0.0, 6) not in monday


def test_a_lease_ends_and_a_provider_can_be_changed() -> None:
    numbers: Iterator[int] = iter(range(1000))
    line = Leased(Random(2), lambda: f"78.40.0.{next(numbers)}", DAY_S)
    seen = {line.address(hour * 3600.0, 0) for hour in range(240)}
    assert 4 < len(seen) < 30
    moved = Replaced(HOME, OFFICE, NOON)
    assert moved.address(NOON - 1, 0) == HOME.address(0, 0)
    assert moved.address(NOON, 0) == OFFICE.address(0, 0)


@pytest.mark.parametrize("bits", [20, 22, 24])
def test_a_pool_is_inside_its_prefix(bits: int) -> None:
    pool = pool_v4(Random(bits), bits, 16)
    thirds = {int(ip.split(".")[2]) for ip in pool}
    assert len(set(pool)) == 16
    assert max(thirds) - min(thirds) < 1 << (24 - bits) if bits < 24 else len(thirds) == 1


# ---- all of them ----


def test_popular_passwords_are_popular() -> None:
    rng = Random(3)
    ranks = [popular_rank(rng) for _ in range(5000)]
    assert (min(ranks), max(ranks) < 1000) == (0, True)
    assert ranks.count(0) > 5 * ranks.count(20)
    assert popular(7) == "popular-007"


def test_a_population_is_the_same_for_the_same_seed_and_has_every_kind() -> None:
    def made(seed: str) -> Population:
        return Population(People(accounts=300, offices=2), seed, 10, Score(0.0).person)

    one, same, other = made("a"), made("a"), made("b")
    assert [first for first, _ in one.actors] == [first for first, _ in same.actors]
    assert [first for first, _ in one.actors] != [first for first, _ in other.actors]
    labels = {person.label for person in one.persons}
    assert labels == {"office", "home-v4", "home-v6", "cgnat", "roaming", "changed", "new"}
