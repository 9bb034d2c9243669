"""`python -m bench.detection.real`: are the baselines what the real programs are?

The same events go to Debian's fail2ban and CrowdSec, as the lines that Dovecot and Postfix would
log, and to the baselines that stand in for them; a table says how far they agree. Exit code 1
when an address is banned by one of the two only. Needs root (CrowdSec runs in a network namespace)
and Debian's archive the first time.
"""

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from bench.detection import real_world
from bench.detection.baselines.crowdsec import CrowdSec
from bench.detection.baselines.fail2ban import Fail2ban
from bench.detection.real_compare import HEADER, Agreement, Ban, Seen, agreement
from bench.detection.real_crowdsec import Ban as Decided
from bench.detection.real_crowdsec import Logged, RealCrowdSec
from bench.detection.real_fail2ban import RealFail2ban
from bench.detection.real_log import lines
from bench.detection.real_programs import HOME, program
from bench.detection.seam import Event, Policy


def main() -> int:
    """Print the table; see the module."""
    options = _options()
    events = _ordered(_read(options.events) if options.events else real_world.events(options.seed))
    print(f"{len(events):,} events, {_addresses(events):,} addresses\n{HEADER}", flush=True)
    results = []
    for name in options.only or COMPARED:
        began = time.monotonic()
        results.append(COMPARED[name](events, rude=options.rude))
        print(results[-1].row(), flush=True)
        _explain(results[-1], time.monotonic() - began)
    return int(any(one.real != one.baseline for one in results))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.detection.real", description=__doc__)
    parser.add_argument("--events", type=Path, help="JSON lines of events (a world of its own)")
    parser.add_argument("--seed", type=int, default=1, help="of that world")
    parser.add_argument("--rude", action="store_true", help="clients hang up without a goodbye")
    parser.add_argument("--only", action="append", choices=COMPARED)
    return parser.parse_args()


def _read(file: Path) -> list[Event]:
    with file.open() as rows:
        return [json.loads(row) for row in rows]


def _ordered(events: Iterable[Event]) -> list[Event]:
    """With addresses written as everybody writes them."""
    return [
        event | {"ip": str(ip_address(event["ip"]))} if "ip" in event else event
        for event in sorted(events, key=lambda event: float(event["t"]))
    ]


def _addresses(events: Iterable[Event]) -> int:
    return len({event["ip"] for event in events if "ip" in event})


def _explain(result: Agreement, took_s: float) -> None:
    print(f"  {result.name}: {took_s:.0f} s", file=sys.stderr)
    for who, only in (
        ("real", result.real - result.baseline),
        ("baseline", result.baseline - result.real),
    ):
        if only:
            print(
                f"  banned by the {who} one only: {', '.join(sorted(only)[:20])}", file=sys.stderr
            )


def _fail2ban(events: Sequence[Event], *, rude: bool, increment: bool = False) -> Agreement:
    found = program("fail2ban")
    with TemporaryDirectory(dir=HOME) as home:
        real = RealFail2ban(found.tree, Path(home), increment=increment, rude=rude)
        try:
            seen = _played(real, events)
        finally:
            real.close()
    name = f"fail2ban {found.version}" + (" with increment and recidive" if increment else "")
    return agreement(name, len(events), seen, _played(Fail2ban(increment=increment), events))


def _recidive(events: Sequence[Event], *, rude: bool) -> Agreement:
    return _fail2ban(events, rude=rude, increment=True)


def _crowdsec(events: Sequence[Event], *, rude: bool) -> Agreement:
    found = program("crowdsec")
    with TemporaryDirectory(dir=HOME) as home:
        real = RealCrowdSec(found.tree, Path(home)).bans(list(_logged(events, rude)))
    bans = {
        ip: [Ban(one.start, round(one.end - one.start, 3)) for one in of] for ip, of in real.items()
    }
    bans = {
        ip: [Ban(one.start, round(one.end - one.start, 3)) for one in of] for ip, of in real.items()
    }
    seen = Seen(bans, frozenset(_dropped(events, real)))
    return agreement(f"CrowdSec {found.version}", len(events), seen, _played(CrowdSec(), events))


COMPARED: Final[Mapping[str, Callable[..., Agreement]]] = {
    "fail2ban": _fail2ban,
    "fail2ban-recidive": _recidive,
    "crowdsec": _crowdsec,
}


def _played(policy: Policy, events: Iterable[Event]) -> Seen:
    bans: dict[str, list[Ban]] = defaultdict(list)
    dropped = set()
    for index, event in enumerate(events):
        decision = policy.feed(event)
        if decision["action"] == "drop":
            dropped.add(index)
        if decision["ban"]:
            bans[event["ip"]].append(Ban(event["t"], decision["ban"]["seconds"]))
    return Seen(bans, frozenset(dropped))


def _logged(events: Iterable[Event], rude: bool) -> Iterator[Logged]:
    """All that the servers would log if nobody were banned."""
    outage = False
    for event in events:
        match event["kind"]:
            case "outage":
                outage = event["on"]
                continue
            case "connect":
                outcome = None
            case _ if outage:
                outcome = "unavailable"
            case _:
                outcome = "ok" if event.get("valid", event.get("exists")) else "fail"
        yield Logged(event["t"], event["ip"], lines(event, outcome, rude=rude))


def _dropped(events: Iterable[Event], bans: Mapping[str, Sequence[Decided]]) -> Iterator[int]:
    for index, event in enumerate(events):
        if any(ban.stops(event["t"]) for ban in bans.get(event.get("ip", ""), ())):
            yield index


if __name__ == "__main__":
    sys.exit(main())
