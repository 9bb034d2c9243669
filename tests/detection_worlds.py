"""A small world, a policy with one answer, and an attack, for the tests of the detection bench."""

from collections.abc import Iterator
from random import Random

from bench.detection.accounts import Backend
from bench.detection.addresses import Fixed
from bench.detection.attacks import Attack, Kind
from bench.detection.campaigns import Campaign
from bench.detection.guesses import Guess
from bench.detection.population import People
from bench.detection.scoring import AttackTally
from bench.detection.seam import Decision, Event, decided
from bench.detection.worlds import World

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


def auth(t: float, ip: str = "81.2.3.4", *, valid: bool = True) -> Event:
    event: Event = {"t": t, "kind": "auth", "ip": ip, "account": "a@example.org"}
    return event | {"password": "p", "protocol": "imap", "valid": valid}


def campaign(guesses: Iterator[Guess], left: int) -> tuple[Campaign, AttackTally]:
    tally = AttackTally()
    place = Fixed("11.1.1.1")
    return Campaign(tally, Backend(), Random(1), place, guesses, 60.0, left), tally


def many() -> Iterator[Guess]:
    return ((f"u{n}", f"p{n}") for n in range(1000))
