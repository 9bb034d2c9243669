"""The people of a world, their homes and their machines, made from numbers and a seed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf
from random import Random
from typing import Final

from bench.detection import addresses
from bench.detection.accounts import DOMAIN, Account, Backend, make_accounts
from bench.detection.actors import Actor, Meter
from bench.detection.addresses import DAY_S, DualStack, Fixed, Leased, Place, Replaced
from bench.detection.devices import Device, MailServer, Robot
from bench.detection.people import Person, Trip
from bench.detection.typists import Typist

_CGNAT_MAPPING_S: Final = 4 * 3600.0
_MOBILE_ATTACH_S: Final = 3 * 3600.0


@dataclass(frozen=True, slots=True)
class People:
    """How many there are and how they live; shares are of the accounts."""

    accounts: int = 1000
    offices: int = 8
    office_users: tuple[int, int] = (20, 60)
    cgnat_pools: tuple[tuple[int, int], ...] = ((24, 16), (22, 64), (20, 128))  # bits, addresses
    cgnat_homes: float = 0.25
    v6_homes: float = 0.40
    v4_from_v6_home: float = 0.1
    daily_leases: float = 0.2  # lines whose address changes each day
    mobile_v6: float = 0.4
    hotspots: int = 20
    roaming: float = 0.08
    provider_changes: float = 0.02
    weak_passwords: float = 0.03
    password_changes: float = 0.08
    drawer_phones: float = 0.02  # with the password from before, for ever
    new_accounts: float = 0.03
    webmail_users: float = 0.15
    scanners: int = 4  # in offices, with an old password
    shared_mailboxes: int = 5
    phone_logins: float = 32.0  # a day
    laptop_logins: float = 18.0
    typed_logins: float = 1.5
    inbound_servers: int = 30
    big_senders: int = 3  # with one recipient in ten gone


Metered = Callable[[str, str], Meter]
"""A meter for a label of people and an account's name."""


class Population:
    """Who lives here. `actors` pairs each with its first moment."""

    def __init__(self, people: People, seed: str, days: float, metered: Metered) -> None:
        self._people = people
        self._rng = Random(f"{seed}/people")
        self._seed = seed
        self._days = days
        self._metered = metered
        self.backend = Backend()
        self.actors: list[tuple[float, Actor]] = []
        self.office_places: list[Place] = [
            Fixed(addresses.office_v4(self._rng)) for _ in range(people.offices)
        ]
        self.pools = [addresses.pool_v4(self._rng, *shape) for shape in people.cgnat_pools]
        self.webmail = Fixed(addresses.WEBMAIL_HOST)
        self._mobile_pool = addresses.pool_v4(self._rng, 20, 200)
        self._hotspots = [Fixed(addresses.hotspot_v4(self._rng)) for _ in range(people.hotspots)]
        self.persons = self._make_persons()
        for index, person in enumerate(self.persons):
            self._equip(person, Random(f"{seed}/person/{index}"))
        self._machines()

    def cgnat_line(self, rng: Random, pool: list[str]) -> Place:
        """One subscriber's share of a pool: another address of it every few hours."""
        own = Random(rng.getrandbits(64))
        return Leased(own, lambda: own.choice(pool), _CGNAT_MAPPING_S)

    def _make_persons(self) -> list[Person]:
        people, rng = self._people, self._rng
        accounts = make_accounts(rng, people.accounts, people.weak_passwords)
        workplaces = self._workplaces(len(accounts))
        persons = []
        for account in accounts:
            self.backend.add(account)
            label, home = self._home(rng)
            workplace = next(workplaces)
            person = Person(account, label, home, workplace or home, self._mobile(rng))
            if workplace is not None:
                person.label = "office"
            self._fate(person, rng)
            persons.append(person)
        return persons

    def _workplaces(self, count: int) -> Iterator[Place | None]:
        """Offices fill up one after the other; who is left works at home."""
        for office in self.office_places:
            for _ in range(self._rng.randint(*self._people.office_users)):
                yield office
        while True:
            yield None

    def _home(self, rng: Random) -> tuple[str, Place]:
        people, dice = self._people, rng.random()
        lease_s = DAY_S if rng.random() < people.daily_leases else 20 * DAY_S
        if dice < people.cgnat_homes:
            return "cgnat", self.cgnat_line(rng, rng.choice(self.pools))
        own = Random(rng.getrandbits(64))
        region = addresses.region_v4(own)
        v4 = Leased(own, lambda: addresses.line_v4(own, region), lease_s)
        if dice < people.cgnat_homes + people.v6_homes:
            provider = addresses.provider_v6(rng)
            prefix = Leased(own, lambda: addresses.home_prefix_v6(own, provider), lease_s)
            return "home-v6", DualStack(own, prefix, v4, people.v4_from_v6_home)
        return "home-v4", v4

    def _mobile(self, rng: Random) -> Place:
        own, pool = Random(rng.getrandbits(64)), self._mobile_pool
        if rng.random() < self._people.mobile_v6:
            carrier = addresses.carrier_v6(own)
            return Leased(own, lambda: addresses.mobile_v6(own, carrier), _MOBILE_ATTACH_S)
        return Leased(own, lambda: own.choice(pool), _MOBILE_ATTACH_S)

    def _fate(self, person: Person, rng: Random) -> None:
        """What happens to this person in the time of the world; at most one label tells of it."""
        people, end = self._people, self._days * DAY_S
        if rng.random() < people.password_changes * self._days / 10:
            person.account.changed_at = rng.uniform(0, end)
            person.account.second_password = f"new-{rng.getrandbits(64):x}"
            person.label = "changed"
        if rng.random() < people.provider_changes:
            _, after = self._home(rng)
            person.home = Replaced(person.home, after, rng.uniform(0, end))
        if rng.random() < people.roaming:
            person.trips = list(self._trips(rng))
            person.label = "roaming"
        if rng.random() < people.new_accounts:
            person.starts_at = rng.uniform(0.2, 0.9) * end
            person.account.changed_at = inf
            person.label = "new"

    def _trips(self, rng: Random) -> Iterator[Trip]:
        start = rng.uniform(0, 3) * DAY_S
        while start < self._days * DAY_S:
            end = start + rng.uniform(0.2, 3) * DAY_S
            shared = rng.random() < 0.7
            place = rng.choice(self._hotspots) if shared else Fixed(addresses.hotspot_v4(rng))
            yield Trip(start, end, place)
            start = end + rng.uniform(0.5, 4) * DAY_S

    def _equip(self, person: Person, rng: Random) -> None:
        people, backend = self._people, self.backend
        name = person.account.name

        def own(label: str = person.label) -> tuple[Meter, Random]:
            return self._metered(label, name), Random(rng.getrandbits(64))

        if rng.random() < 0.9:
            meter, dice = own()
            phone = Device(person, backend, dice, meter, people.phone_logins, phone=True)
            self.actors.append((phone.first(), phone))
        if rng.random() < 0.75:
            meter, dice = own()
            laptop = Device(person, backend, dice, meter, people.laptop_logins, phone=False)
            self.actors.append((laptop.first(), laptop))
        host = self.webmail if rng.random() < people.webmail_users else None
        meter, dice = own("webmail" if host else person.label)
        typist = Typist(person, backend, dice, meter, people.typed_logins, host)
        self.actors.append((typist.first(), typist))
        if rng.random() < people.drawer_phones:
            self._robot(person.account, "from-before", person.home, "stale", (60.0, 900.0), rng)

    def _machines(self) -> None:
        """The probe, the scanners, the shared mailboxes and the servers that send mail here."""
        rng = Random(f"{self._seed}/machines")
        probe = self._add("monitor")
        password = probe.first_password
        place = Fixed(addresses.PROBE_HOST)
        self._robot(probe, password, place, "probe", (59.0, 61.0), rng)
        for index, office in enumerate(self.office_places[: self._people.scanners]):
            scanner = self._add(f"scanner{index}")
            robot = self._robot(scanner, "from-before", office, "scanner", (300.0, 900.0), rng)
            robot.protocol = "submission"
        for index in range(self._people.shared_mailboxes):
            self._shared(self._add(f"team{index}"), rng)
        count = self._people.inbound_servers + self._people.big_senders
        for index in range(count):
            big = index >= self._people.inbound_servers
            unknown, mean_s = (0.1, 60.0) if big else (0.01, 900.0)
            server = MailServer(addresses.elsewhere_v4(rng), unknown, mean_s, rng)
            server.meter = self._metered("mail server", "")
            self.actors.append((rng.uniform(0, mean_s), server))

    def _shared(self, account: Account, rng: Random) -> None:
        """A mailbox that many people read, each from the places of his own."""
        for reader in rng.sample(self.persons, min(12, len(self.persons))):
            seat = Person(account, "shared", reader.home, reader.workplace, reader.mobile)
            meter = self._metered("shared", account.name)
            device = Device(
                seat, self.backend, Random(rng.getrandbits(64)), meter, 12.0, phone=False
            )
            self.actors.append((device.first(), device))

    def _add(self, name: str) -> Account:
        password = f"own-{self._rng.getrandbits(64):x}"
        return self.backend.add(Account(f"{name}@{DOMAIN}", password))

    def _robot(
        self,
        account: Account,
        password: str,
        place: Place,
        label: str,
        interval_s: tuple[float, float],
        rng: Random,
    ) -> Robot:
        robot = Robot(account, password, place, self.backend, Random(rng.getrandbits(64)))
        robot.interval_s = interval_s
        robot.meter = self._metered(label, account.name)
        self.actors.append((rng.uniform(0, interval_s[1]), robot))
        return robot
