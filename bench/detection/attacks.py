"""Kinds of attacks, and the actors that make one."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import cycle
from random import Random
from typing import Final, assert_never

from bench.detection import addresses, guesses
from bench.detection.accounts import DOMAIN, Account, is_weak
from bench.detection.actors import Actor
from bench.detection.addresses import DAY_S, Fixed, Place
from bench.detection.campaigns import Burst, Campaign, Dictionary, OwnMailbox
from bench.detection.guesses import Guess
from bench.detection.population import Population
from bench.detection.scoring import Score
from bench.detection.sources import Botnet, Hopper


class Kind(Enum):
    """What is done; the value is the name in the tables."""

    BRUTE_FAST = "one address, fast"
    BRUTE_SLOW = "one address, slow"
    SPRAY = "spray"
    BOTNET = "slow botnet"
    STUFFING = "stuffing"
    TARGETED = "targeted"
    HOP_64 = "IPv6 /64 hopping"
    HOP_48 = "IPv6 /48 hopping"
    OWN_MAILBOX = "own mailbox"
    FAMILIAR_NAT = "behind people's NAT"
    WEBMAIL = "through the webmail host"
    LOCK_OUT = "lock-out denial"
    RECIPIENTS_FAST = "recipients, 1 a second"
    RECIPIENTS_SLOW = "recipients, 1 an hour"
    BURST = "stolen account, logins"


BURST_RECIPIENTS: Final = "stolen account, recipients"
PAIRS: Final = frozenset(Kind) - {Kind.RECIPIENTS_FAST, Kind.RECIPIENTS_SLOW, Kind.BURST}


@dataclass(frozen=True, slots=True)
class Attack:
    """`guesses` by `sources` addresses (or networks); `hits` is the share of stolen pairs that are
    right; `targets` how many accounts where only some are meant. `gap_s` is fixed for attacks that
    have a speed, and otherwise what fills the time."""

    kind: Kind
    guesses: int
    sources: int
    hits: float = 0.0
    targets: int = 0
    gap_s: float | None = None
    per_day: tuple[int, int] = (1, 3)
    residential: float = 0.05  # of a botnet: machines of people who have mailboxes here


@dataclass(frozen=True, slots=True)
class Adaptation:
    """What attackers have learnt: to retry what was put off, to leave popular passwords alone, to
    have no two machines in one /24."""

    retry: bool = False
    avoid_popular: bool = False
    spread: bool = False


@dataclass(slots=True)
class Assault:
    """Makes the actors of attacks that last from `start` to `end` (seconds)."""

    population: Population
    score: Score
    adaptation: Adaptation
    seed: str
    start: float
    end: float

    def actors(self, attack: Attack) -> list[tuple[float, Actor]]:
        """Each with its first moment."""
        rng = Random(f"{self.seed}/{attack.kind.name}")
        match attack.kind:
            case Kind.BRUTE_FAST | Kind.BRUTE_SLOW | Kind.SPRAY | Kind.FAMILIAR_NAT | Kind.WEBMAIL:
                return list(self._lone(attack, rng))
            case Kind.OWN_MAILBOX:
                return list(self._own_mailboxes(attack, rng))
            case Kind.BOTNET | Kind.STUFFING | Kind.TARGETED | Kind.LOCK_OUT:
                return [self._botnet(attack, rng)]
            case Kind.HOP_64 | Kind.HOP_48:
                return list(self._hoppers(attack, rng))
            case Kind.RECIPIENTS_FAST | Kind.RECIPIENTS_SLOW:
                return list(self._dictionaries(attack, rng))
            case Kind.BURST:
                return list(self._bursts(attack, rng))
            case never:
                assert_never(never)

    # ---- who ----

    def _lone(self, attack: Attack, rng: Random) -> Iterator[tuple[float, Actor]]:
        """Machines that keep their address; sprayers share one list, the others have their own."""
        order, places = guesses.mixed, list(self._among_people(attack, rng))
        if attack.kind in {Kind.BRUTE_FAST, Kind.BRUTE_SLOW, Kind.SPRAY}:
            order = guesses.sprayed if attack.kind is Kind.SPRAY else guesses.one_by_one
            places = self._machines(rng, attack.sources)
        shared = self._stream(rng, order)
        for place in places:
            stream = shared if attack.kind is Kind.SPRAY else self._stream(rng, order)
            yield self._alone(attack, rng, place, stream)

    def _alone(
        self, attack: Attack, rng: Random, place: Place, stream: Iterator[Guess]
    ) -> tuple[float, Campaign]:
        """One machine with its share of the guesses, at its own pace."""
        left = max(1, attack.guesses // attack.sources)
        gap_s = attack.gap_s or (self.end - self.start) / left
        campaign = self._campaign(attack, rng, place, stream, gap_s, left)
        spare = max(0.0, self.end - self.start - gap_s * left)
        return self.start + rng.uniform(0, spare or gap_s), campaign

    def _botnet(self, attack: Attack, rng: Random) -> tuple[float, Actor]:
        """Many machines under one command."""
        nets = Botnet(Random(rng.getrandbits(64)), self._bots(attack, rng), attack.per_day)
        gap_s = (self.end - self.start) / attack.guesses
        stream = self._many_guesses(attack, rng)
        return self.start, self._campaign(attack, rng, nets, stream, gap_s, attack.guesses)

    def _hoppers(self, attack: Attack, rng: Random) -> Iterator[tuple[float, Actor]]:
        """Each guess from a network that was not used before: a /64 of one /48, a /48 of a /32."""
        left = attack.guesses // attack.sources
        for _ in range(attack.sources):
            one_site = attack.kind is Kind.HOP_64
            source = Hopper(Random(rng.getrandbits(64)), addresses.elsewhere_v6(rng), one_site)
            stream = self._stream(rng, guesses.mixed)
            gap_s = (self.end - self.start) / left
            yield self.start, self._campaign(attack, rng, source, stream, gap_s, left)

    def _own_mailboxes(self, attack: Attack, rng: Random) -> Iterator[tuple[float, Actor]]:
        for index, place in enumerate(self._machines(rng, attack.sources)):
            own = Account(f"customer{index}@{DOMAIN}", f"own-{rng.getrandbits(64):x}")
            self.population.backend.add(own)
            first, campaign = self._alone(attack, rng, place, self._stream(rng, guesses.mixed))

            yield first, OwnMailbox(campaign, self.population.backend, own, place)

    def _dictionaries(self, attack: Attack, rng: Random) -> Iterator[tuple[float, Actor]]:
        left = attack.guesses // attack.sources
        gap_s = attack.gap_s or (self.end - self.start) / left
        for place in self._machines(rng, attack.sources):
            tally = self.score.attack(attack.kind.value)
            spare = max(0.0, self.end - self.start - gap_s * left)
            first = self.start + rng.uniform(0, spare or gap_s)
            yield (
                first,
                Dictionary(tally, Random(rng.getrandbits(64)), place, gap_s, left, real_share=0.03),
            )

    def _bursts(self, attack: Attack, rng: Random) -> Iterator[tuple[float, Actor]]:
        for person in rng.sample(self.population.persons, attack.targets):
            sources = [addresses.elsewhere_v4(rng) for _ in range(attack.sources)]
            logins = self.score.attack(attack.kind.value)
            recipients = self.score.attack(BURST_RECIPIENTS)
            burst = Burst(logins, recipients, self.population.backend, rng, person.account, sources)
            yield rng.uniform(self.start, self.end - DAY_S / 2), burst

    def _campaign(
        self,
        attack: Attack,
        rng: Random,
        source: Place,
        stream: Iterator[Guess],
        gap_s: float,
        left: int,
    ) -> Campaign:
        tally = self.score.attack(attack.kind.value)
        dice = Random(rng.getrandbits(64))
        campaign = Campaign(tally, self.population.backend, dice, source, stream, gap_s, left)
        campaign.adaptive = self.adaptation.retry
        return campaign

    # ---- from where ----

    def _machines(self, rng: Random, count: int) -> list[Place]:
        return [Fixed(addresses.elsewhere_v4(rng)) for _ in range(count)]

    def _bots(self, attack: Attack, rng: Random) -> list[Place]:
        """Infected machines: a few in the homes of people, some neighbours of each other."""
        persons, places, nets = self.population.persons, list[Place](), set[str]()
        while len(places) < attack.sources:
            if rng.random() < attack.residential:
                places.append(rng.choice(persons).home)
                continue
            ip = addresses.elsewhere_v4(rng)
            net = ip.rpartition(".")[0]
            if not self.adaptation.spread and rng.random() < 0.1:
                places += [Fixed(f"{net}.{rng.getrandbits(8)}") for _ in range(3)]
            elif net not in nets:
                places.append(Fixed(ip))
            nets.add(net)
        return places

    def _among_people(self, attack: Attack, rng: Random) -> Iterator[Place]:
        population = self.population
        if attack.kind is Kind.WEBMAIL:
            yield from [population.webmail] * attack.sources
            return
        for index, which in zip(range(attack.sources), cycle("onch"), strict=False):
            if which in "on" and population.office_places:
                yield population.office_places[index % len(population.office_places)]
            elif which == "c" and population.pools:
                yield population.cgnat_line(rng, rng.choice(population.pools))
            else:
                yield rng.choice(population.persons).home

    # ---- what ----

    def _names(self, rng: Random) -> list[str]:
        return guesses.names(rng, [one.account.name for one in self.population.persons])

    def _stream(
        self, rng: Random, order: Callable[[Random, Sequence[str]], Iterator[Guess]]
    ) -> Iterator[Guess]:
        if self.adaptation.avoid_popular:
            order = guesses.unpopular
        return order(Random(rng.getrandbits(64)), self._names(rng))

    def _many_guesses(self, attack: Attack, rng: Random) -> Iterator[Guess]:
        persons = self.population.persons
        match attack.kind:
            case Kind.STUFFING:
                owners = [one.account for one in persons if not is_weak(one.account)]
                hits = rng.sample(owners, min(len(owners), round(attack.guesses * attack.hits)))
                known = [(one.name, one.first_password) for one in hits]
                return iter(guesses.stuffed(rng, known, attack.guesses, self._names(rng)))
            case Kind.TARGETED:
                names = [one.account.name for one in rng.sample(persons, attack.targets)]
                return guesses.exhaustive(rng, names)
            case Kind.LOCK_OUT:
                victims = rng.sample(persons, attack.targets)
                return guesses.nonsense(rng, [one.account.name for one in victims])
            case _:
                return self._stream(rng, guesses.mixed)
