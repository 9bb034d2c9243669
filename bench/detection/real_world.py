"""A small world made for one question: do two programs ban the same addresses at the same time?

Many sources sit just above and just below the thresholds that the rules state. Everything is
drawn from the seed.
"""

import random
from collections.abc import Iterator
from typing import Final

from bench.detection.seam import Event

DAY_S: Final = 86_400.0
LENGTH_S: Final = 2 * DAY_S

# Seconds between two guesses of one source; 5 in 10 minutes is one in 120 s to 150 s, CrowdSec's
# buckets leak one in 360 s and in 10 s.
_IMAP_GAPS_S: Final = (20, 60, 110, 119, 121, 130, 140, 149, 151, 170, 240, 300, 340, 359, 361, 400)
_SUBMISSION_GAPS_S: Final = (2, 5, 8, 9, 9.9, 10.1, 11, 30, 100, 130, 149, 151, 300)
_HARVEST_GAPS_S: Final = (1, 6, 9, 11, 60, 140, 155)


def events(seed: int) -> list[Event]:
    """Some 20,000 events of two days, in order of their time."""
    draw = random.Random(seed)
    made = [
        *_guessers(draw),
        *_bursts(draw),
        *_returners(draw),
        *_stale_devices(draw),
        *_people(draw),
        *_sprayers(draw),
        *_harvesters(draw),
        *_silent(),
        *_outage(),
    ]
    return sorted(made, key=lambda event: float(event["t"]))


def _auth(t: float, ip: str, account: str, protocol: str, *, valid: bool = False) -> Event:
    event = {"t": round(t, 3), "kind": "auth", "ip": ip, "account": account, "password": f"{t}"}
    return event | {"protocol": protocol, "valid": valid}


def _guessers(draw: random.Random) -> Iterator[Event]:
    """One guess in so many seconds, some by the clock and some about so, for half a day."""
    for protocol, gaps in (("imap", _IMAP_GAPS_S), ("submission", _SUBMISSION_GAPS_S)):
        for index, gap in enumerate(gaps):
            for spread in (0.0, 0.4):
                ip = f"11.{1 if protocol == 'imap' else 2}.{index}.{int(spread * 10)}"
                count = min(250, int(DAY_S / 2 / gap))
                t = draw.uniform(0, DAY_S)
                for _ in range(count):
                    yield _auth(t, ip, "info@example.org", protocol)
                    t += gap * draw.uniform(1 - spread, 1 + spread)


def _bursts(draw: random.Random) -> Iterator[Event]:
    """A few hundred guesses in minutes, again after hours, on both services; some over IPv6."""
    for index in range(16):
        ip = f"12.0.{index}.9" if index % 4 else f"2a00:1:{index:x}::9"
        for _ in range(draw.randint(1, 4)):
            t = draw.uniform(0, LENGTH_S - 3000)
            for _ in range(draw.randint(20, 200)):
                protocol = draw.choice(("imap", "submission"))
                yield _auth(t, ip, f"user{draw.randrange(300)}@example.org", protocol)
                t += draw.expovariate(1 / 4)


def _returners(draw: random.Random) -> Iterator[Event]:
    """Six guesses, and six more about when fail2ban's database forgets: after a day and a bit."""
    for index in range(40):
        t = draw.uniform(0, LENGTH_S / 2 - 10_000)
        for start in (t, t + draw.uniform(86_000, 93_000)):
            for count in range(6):
                yield _auth(start + count * 20, f"21.0.{index}.1", "info@example.org", "imap")


def _stale_devices(draw: random.Random) -> Iterator[Event]:
    """An old password, by the clock."""
    for index, gap in enumerate((60, 300, 900)):
        t = draw.uniform(0, gap)
        while t < LENGTH_S:
            yield _auth(t, f"13.0.0.{index}", f"stale{index}@example.org", "imap")
            t += gap + draw.uniform(-1, 1)


def _people(draw: random.Random) -> Iterator[Event]:
    """Homes, and offices with one address for all; one login in forty is mistyped, often twice."""
    for index in range(240):
        ip = f"14.{index}.0.1" if index < 120 else f"15.0.{index % 4}.1"
        for _ in range(draw.randint(10, 30)):
            t = draw.uniform(0, LENGTH_S)
            protocol = draw.choice(("imap", "imap", "submission"))
            account = f"user{index}@example.org"
            while draw.random() < (1 / 40 if t < LENGTH_S else 0):
                for _ in range(draw.randint(1, 4)):
                    yield _auth(t, ip, account, protocol)
                    t += draw.uniform(3, 40)
            yield _auth(t, ip, account, protocol, valid=True)


def _sprayers(draw: random.Random) -> Iterator[Event]:
    """One password over all accounts: from few addresses steadily, from many once or twice."""
    for index in range(6):
        t = draw.uniform(0, DAY_S)
        for account in range(150):
            yield _auth(t, f"16.0.{index}.1", f"user{account}@example.org", "imap")
            t += draw.expovariate(1 / 45)
    for index in range(600):
        for _ in range(draw.randint(1, 3)):
            t = draw.uniform(0, LENGTH_S)
            yield _auth(t, f"17.{index // 250}.{index % 250}.1", "info@example.org", "submission")


def _harvesters(draw: random.Random) -> Iterator[Event]:
    """Unknown recipients on port 25, and mail that arrives."""
    for index, gap in enumerate(_HARVEST_GAPS_S):
        t = draw.uniform(0, DAY_S)
        for count in range(120):
            yield _rcpt(t, f"18.0.{index}.1", f"name{count}@example.org", exists=count % 9 == 0)
            t += gap * draw.uniform(0.9, 1.1)
    for _ in range(1500):
        t = draw.uniform(0, LENGTH_S)
        exists = draw.random() < 0.97
        yield _rcpt(t, f"19.0.0.{draw.randrange(60)}", "info@example.org", exists=exists)


def _rcpt(t: float, ip: str, recipient: str, *, exists: bool) -> Event:
    event = {"t": round(t, 3), "kind": "rcpt", "ip": ip, "account": None}
    return event | {"recipient": recipient, "exists": exists}


def _silent() -> Iterator[Event]:
    """Monitoring: a connection in five minutes that says nothing."""
    for count in range(int(LENGTH_S / 300)):
        yield {"t": count * 300.0, "kind": "connect", "ip": "20.0.0.1"}


def _outage() -> Iterator[Event]:
    """The backend cannot answer; programs of people with the right password try again."""
    start, end = 130_000.0, 131_800.0
    yield {"t": start, "kind": "outage", "on": True}
    yield {"t": end, "kind": "outage", "on": False}
    for index, gap in enumerate((1.3, 5.7, 9.7, 60.1, 119.3, 180.7)):
        for protocol in ("imap", "submission"):
            t = start + gap
            while t < end:
                yield _auth(
                    t, f"22.0.{index}.{len(protocol)}", "late@example.org", protocol, valid=True
                )
                t += gap
