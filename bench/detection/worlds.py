"""The worlds by name: who lives there, who attacks, what breaks.

Worlds and seeds for choosing parameters are apart from those for reporting. `held-out` worlds have
other numbers in every place and are never looked at while choosing.
"""

from dataclasses import dataclass, replace
from typing import Final

from bench.detection.addresses import DAY_S
from bench.detection.attacks import Adaptation, Attack, Kind
from bench.detection.population import People

TUNING_SEEDS: Final = (1, 2, 3)
REPORTING_SEEDS: Final = tuple(range(101, 111))
OUTAGE_S: Final = 600.0
_PEOPLE: Final = People()
_UNADAPTED: Final = Adaptation()


@dataclass(frozen=True, slots=True)
class World:
    """`warm_up_days` of peace first, which are not measured."""

    name: str
    people: People = _PEOPLE
    attacks: tuple[Attack, ...] = ()
    adaptation: Adaptation = _UNADAPTED
    days: float = 10.0
    warm_up_days: float = 3.0
    unavailable_at: float | None = None  # the backend says so, for ten minutes
    lying_at: float | None = None  # the backend says that every password is wrong
    restart_at: float | None = None
    restarts_cold: bool = False  # its Store is lost

    def quick(self) -> "World":
        """The same in small: a fifth of the people, four days, an attack of two."""
        people = replace(
            self.people,
            accounts=max(100, self.people.accounts // 5),
            offices=max(1, self.people.offices // 4),
            cgnat_pools=tuple((bits, max(8, n // 4)) for bits, n in self.people.cgnat_pools),
            hotspots=max(4, self.people.hotspots // 4),
            inbound_servers=8,
        )
        return replace(
            self,
            people=people,
            attacks=tuple(_smaller(attack) for attack in self.attacks),
            days=4.0,
            warm_up_days=2.0,
            unavailable_at=None if self.unavailable_at is None else 2.5 * DAY_S,
            lying_at=None if self.lying_at is None else 2.5 * DAY_S,
            restart_at=None if self.restart_at is None else 3.0 * DAY_S,
        )


def _smaller(attack: Attack) -> Attack:
    """A tenth of the guesses from a tenth of the machines, a few at least."""
    return replace(
        attack,
        guesses=attack.guesses // 10,
        sources=max(attack.sources // 10, min(attack.sources, 2)),
        targets=max(attack.targets // 3, min(attack.targets, 1)),
    )


_MIXED: Final = (
    Attack(Kind.BRUTE_FAST, 60_000, 10, gap_s=2.0),
    Attack(Kind.BRUTE_SLOW, 100_000, 30),
    Attack(Kind.SPRAY, 60_000, 20, gap_s=20.0),
    Attack(Kind.BOTNET, 100_000, 12_000),
    Attack(Kind.STUFFING, 20_000, 2000, hits=0.001),
    Attack(Kind.TARGETED, 40_000, 3000, targets=10),
    Attack(Kind.HOP_64, 50_000, 3),
    Attack(Kind.HOP_48, 20_000, 1),
    Attack(Kind.OWN_MAILBOX, 15_000, 3),
    Attack(Kind.FAMILIAR_NAT, 20_000, 10),
    Attack(Kind.LOCK_OUT, 10_000, 800, targets=5),
)
_BY_KIND: Final = {attack.kind: attack for attack in _MIXED}
_ADAPTED: Final = Adaptation(retry=True, avoid_popular=True, spread=True)
_NOON: Final = 4.5 * DAY_S  # Friday

PEACE: Final = World("peace")
TIDY: Final = World(
    "peace-tidy", people=replace(_PEOPLE, password_changes=0.01, drawer_phones=0.0, scanners=0)
)
MIXED: Final = World("mixed", attacks=_MIXED)
_ALONE: Final = tuple(
    World(name, attacks=(_BY_KIND[kind],))
    for name, kind in (
        ("brute-fast", Kind.BRUTE_FAST),
        ("brute-slow", Kind.BRUTE_SLOW),
        ("spray", Kind.SPRAY),
        ("botnet", Kind.BOTNET),
        ("stuffing-0.1", Kind.STUFFING),
        ("targeted", Kind.TARGETED),
        ("hop-64", Kind.HOP_64),
        ("hop-48", Kind.HOP_48),
        ("own-mailbox", Kind.OWN_MAILBOX),
        ("familiar-nat", Kind.FAMILIAR_NAT),
        ("lock-out", Kind.LOCK_OUT),
    )
)
_OTHERS: Final = (
    World("adaptive-retry", attacks=_MIXED, adaptation=Adaptation(retry=True)),
    World("adaptive", attacks=_MIXED, adaptation=_ADAPTED),
    World("stuffing-1", attacks=(replace(_BY_KIND[Kind.STUFFING], guesses=5000, hits=0.01),)),
    World("stuffing-2", attacks=(replace(_BY_KIND[Kind.STUFFING], guesses=5000, hits=0.02),)),
    World(
        "recipients",
        attacks=(
            Attack(Kind.RECIPIENTS_FAST, 60_000, 3, gap_s=1.0),
            Attack(Kind.RECIPIENTS_SLOW, 80_000, 500),
        ),
    ),
    World("stolen-account", attacks=(Attack(Kind.BURST, 0, 342, targets=3),)),
    World("outage", attacks=_MIXED, unavailable_at=_NOON),
    World("outage-lying", lying_at=_NOON),
    World("outage-lying-attack", attacks=_MIXED, lying_at=_NOON),
    World("restart", attacks=_MIXED, restart_at=6 * DAY_S),
    World("restart-cold", attacks=_MIXED, restart_at=6 * DAY_S, restarts_cold=True),
)

_CITY: Final = People(
    accounts=1500,
    offices=5,
    office_users=(40, 90),
    cgnat_pools=((24, 4), (21, 24), (20, 400)),
    cgnat_homes=0.45,
    v6_homes=0.25,
    v4_from_v6_home=0.3,
    daily_leases=0.5,
    mobile_v6=0.7,
    hotspots=6,
    roaming=0.15,
    provider_changes=0.05,
    weak_passwords=0.05,
    password_changes=0.2,
    drawer_phones=0.05,
    new_accounts=0.06,
    webmail_users=0.3,
    phone_logins=20.0,
    laptop_logins=10.0,
    typed_logins=2.0,
)
_VILLAGE: Final = People(
    accounts=120,
    offices=2,
    office_users=(8, 20),
    cgnat_pools=((24, 3),),
    cgnat_homes=0.5,
    v6_homes=0.3,
    hotspots=5,
    roaming=0.2,
    weak_passwords=0.08,
    password_changes=0.15,
    shared_mailboxes=2,
    inbound_servers=10,
    big_senders=1,
)
HELD_OUT: Final = (
    World("held-out-city-peace", people=_CITY),
    World(
        "held-out-city",
        people=_CITY,
        attacks=(
            Attack(Kind.BRUTE_FAST, 20_000, 25, gap_s=7.0),
            Attack(Kind.BRUTE_SLOW, 30_000, 60),
            Attack(Kind.SPRAY, 40_000, 80, gap_s=45.0),
            Attack(Kind.BOTNET, 150_000, 9000, per_day=(1, 6), residential=0.15),
            Attack(Kind.STUFFING, 30_000, 6000, hits=0.002, per_day=(1, 2), residential=0.1),
            Attack(Kind.TARGETED, 20_000, 1200, targets=30),
            Attack(Kind.HOP_64, 20_000, 10),
            Attack(Kind.HOP_48, 40_000, 2),
            Attack(Kind.OWN_MAILBOX, 30_000, 12),
            Attack(Kind.FAMILIAR_NAT, 40_000, 24),
            Attack(Kind.WEBMAIL, 5000, 1),
            Attack(Kind.LOCK_OUT, 30_000, 2000, targets=3),
        ),
    ),
    World(
        "held-out-village",
        people=_VILLAGE,
        attacks=(
            Attack(Kind.BRUTE_SLOW, 20_000, 5),
            Attack(Kind.SPRAY, 30_000, 10, gap_s=60.0),
            Attack(Kind.BOTNET, 80_000, 8000, residential=0.01),
            Attack(Kind.STUFFING, 3000, 1000, hits=0.003),
            Attack(Kind.HOP_64, 10_000, 1),
            Attack(Kind.FAMILIAR_NAT, 5000, 3),
        ),
        days=7.0,
        warm_up_days=1.0,
    ),
)

WORLDS: Final = {world.name: world for world in (PEACE, TIDY, MIXED, *_ALONE, *_OTHERS, *HELD_OUT)}
