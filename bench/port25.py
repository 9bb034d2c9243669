"""`python -m bench.port25`: what blocklists cost on port 25, and what a dead resolver does.

Three questions, each to guards in processes of their own before the bench's backend:

* `cpu`: CPU of the guard for a new client whose answers are in the cache, beside the same without
  lists; rounds of the two in turn, the median of each.
* `listed`: how long a listed client waits for its refusal when each answer takes a round trip of a
  known time, and how often the backend is called for it.
* `dead`: what clients wait for their greeting when the resolver is silent, refuses, fails or is not
  there; each delivers a message, and all of them must arrive.
"""

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench import proxies, workshop
from bench.dns_answers import Manner, dns_answers
from bench.mailbox import Mailbox
from bench.port25_clients import Crowd, in_a_process

DEADLINE_S: Final = 2.0
ROUND_TRIP_S: Final = 0.05
LISTED_PER_S: Final = 10.0  # so few that no client waits for another
COLDER: Final = 8  # times slower than afterwards, for a core is to be enough for guard and resolver
FEW, FEW_PER_S = 6, 0.4  # each comes when the one before has gone
FRIENDS, LISTED = 18, 19  # the two halves of 198.18.0.0/15
_READY_S: Final = 20.0
_TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")

# The example of docs/dnsbl.md: three lists, one of them asked once for two entries.
LISTS: Final = """\
[[dnsbl]]
zone = "zen.spamhaus.org"
codes = ["127.0.0.2-7", "127.0.0.9"]

[[dnsbl]]
zone = "zen.spamhaus.org"
codes = ["127.0.0.10-11"]
weight = 0.5

[[dnsbl]]
zone = "bl.spamcop.net"
weight = 0.5

[[dnsbl]]
zone = "list.dnswl.org"
kind = "allow"
codes = ["127.0.*.1-3"]
weight = 10
"""


# Reverse DNS is work that is the same with lists and without: without it they weigh more.
NO_NAMES: Final = """\
[rules]
reverse-dns = "ignore"

"""


@dataclass(frozen=True, slots=True)
class Guard:
    """A guard that listens on port 25's behalf."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def asks_all_lists(self) -> bool:
        """Whether none was switched off, for then it would cost nothing."""
        return b"zone-off" not in self.log.read_bytes()

    def cpu_s(self) -> float:
        """User and system seconds of its process so far, in steps of a clock tick."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * _TICK_S


def configuration(directory: Path, port: int, backend: int, resolver: int, lists: str) -> str:
    """A guard that believes PROXY headers of loopback, and makes nobody wait before its greeting:
    that test is no work, and the same with lists and without."""
    return f"""\
hostname = "mx.bench.test"
state_dir = "{directory}"
run_dir = "{directory}"
user = "root"

[enforce]
nft = false

[store]
url = "memory:"

[limits]
sessions = 8000

[policy]
greet_wait = 0
mx_connections_per_network = 8000

[dns]
servers = ["127.0.0.1:{resolver}"]
deadline = {DEADLINE_S}

{lists}
[[listener]]
name = "mx"
protocol = "smtp"
bind = ["127.0.0.1:{port}"]
tls = "none"
backend = "mx"
proxy_protocol_from = ["127.0.0.1"]

[backend.mx]
address = "127.0.0.1:{backend}"
announce = "proxy-v1"
"""


@contextmanager
def guard(base: Path, name: str, backend: int, resolver: int, lists: str) -> Iterator[Guard]:
    """Run one below `base` for the block. Raises `NotReady`."""
    directory = base / name
    directory.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as probe:  # the kernel's choice is seldom another's
        port = int(probe.getsockname()[1])
    file = directory / "gatekeeper.toml"
    file.write_text(configuration(directory, port, backend, resolver, lists))
    log = directory / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*proxies.guard_command(proxies.GuardProcess()), str(file)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=proxies.guard_environment(),
        )
    try:
        deadline = time.monotonic() + _READY_S
        while b" started " not in log.read_bytes():
            if process.poll() is not None or time.monotonic() > deadline:
                raise proxies.NotReady(f"the guard does not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.05)
        yield Guard(process, port, log)
    finally:
        proxies.stop(process)


def cpu(base: Path, rounds: int, clients: int, per_s: float) -> None:
    """Print CPU for each connection, with lists and without."""
    with ExitStack() as stack:
        behind = stack.enter_context(proxies.backend())
        resolver = stack.enter_context(dns_answers(Manner.SOUND))
        kinds = {"without": NO_NAMES, "with": NO_NAMES + LISTS}
        guards = {
            name: stack.enter_context(guard(base, f"cpu-{name}", behind.smtp, resolver.port, lists))
            for name, lists in kinds.items()
        }
        for name, one in guards.items():  # what is asked is known from here on
            before_s, asked = one.cpu_s(), resolver.asked
            _all_served(in_a_process(one.port, FRIENDS, 0, clients, per_s / COLDER), clients)
            asking_us, asked = (one.cpu_s() - before_s) / clients * 1e6, resolver.asked - asked
            print(f"cpu {name:8} {asking_us:6.0f} µs a connection, the first time: {asked} asked")
        asked = resolver.asked
        figures: dict[str, list[float]] = {name: [] for name in kinds}
        reached: dict[str, list[float]] = {name: [] for name in kinds}
        for turn in range(rounds):
            for name in sorted(kinds, reverse=bool(turn % 2)):
                before_s = guards[name].cpu_s()
                crowd = in_a_process(guards[name].port, FRIENDS, 0, clients, per_s)
                figures[name].append((guards[name].cpu_s() - before_s) / clients)
                reached[name].append(clients / crowd.wall_s)
                _all_served(crowd, clients)
        if not guards["with"].asks_all_lists():
            raise SystemExit("a list was switched off: what was measured means nothing")
        print(f"asked later: {resolver.asked - asked}")
    for name, values in figures.items():
        print(
            f"cpu {name:8} {statistics.median(values) * 1e6:6.0f} µs a connection"
            f" ({min(values) * 1e6:.0f} to {max(values) * 1e6:.0f}), {rounds} rounds of {clients},"
            f" {statistics.median(reached[name]):.0f} a second"
        )
    ratio = statistics.median(figures["with"]) / statistics.median(figures["without"])
    print(f"cpu ratio    {ratio:.3f}")


def listed(base: Path, clients: int) -> None:
    """Print what listed clients wait, in round trips, and what they cost the backend."""
    with ExitStack() as stack:
        backend = stack.enter_context(Mailbox.running())
        resolver = stack.enter_context(dns_answers(Manner.SOUND, ROUND_TRIP_S))
        one = stack.enter_context(guard(base, "listed", backend.port, resolver.port, LISTS))
        _all_served(in_a_process(one.port, FRIENDS, 0, 10, 50), 10)
        before = backend.connections
        crowd = in_a_process(one.port, LISTED, 0, clients, LISTED_PER_S)
        calls = backend.connections - before
        again = in_a_process(one.port, LISTED, 0, clients, LISTED_PER_S)
    assert crowd.refused == again.refused == clients, crowd
    print(
        f"listed       refused after {_spread(crowd.greeted_s)},"
        f" a round trip being {ROUND_TRIP_S * 1e3:g} ms; known already {_spread(again.greeted_s)};"
        f" backend connections {calls} for {clients} clients"
    )


def dead(base: Path, clients: int, per_s: float) -> None:
    """Print what clients wait for their greeting with resolvers of every bad kind."""
    for manner in Manner:
        _dead(base, manner, clients, per_s)
    _dead(base, Manner.SILENT, FEW, FEW_PER_S)


def _dead(base: Path, manner: Manner, clients: int, per_s: float) -> None:
    with ExitStack() as stack:
        backend = stack.enter_context(Mailbox.running())
        resolver = stack.enter_context(dns_answers(manner))
        name = f"dead-{manner.value}-{clients}"
        one = stack.enter_context(guard(base, name, backend.port, resolver.port, LISTS))
        crowd = in_a_process(one.port, FRIENDS, 0, clients, per_s, message=True)
        arrived = backend.messages
    print(
        f"{manner.value:12} greeted after {_spread(crowd.greeted_s)};"
        f" whole sessions {_spread(crowd.held_s)};"
        f" messages sent {crowd.served}, arrived {arrived} of {clients}"
    )


def _all_served(crowd: Crowd, clients: int) -> None:
    if crowd.served != clients:
        raise SystemExit(f"of {clients} clients only {crowd.served} were served: {crowd.failed=}")


def _spread(seconds: Sequence[float]) -> str:
    """Median, 99th percentile and longest, in milliseconds."""
    ordered = sorted(seconds)
    shares = (ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)], ordered[-1])
    return "median {:.1f}, p99 {:.1f}, longest {:.1f} ms".format(*(one * 1e3 for one in shares))


def main() -> int:
    """Exit code 0 when everybody was served or refused as they should be."""
    parser = argparse.ArgumentParser(prog="python -m bench.port25", description=__doc__)
    parser.add_argument("what", nargs="*", default=["cpu", "listed", "dead"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--clients", type=int, default=3000, help="of a round")
    parser.add_argument("--per-second", type=float, default=1000.0)
    options = parser.parse_args()
    workshop.build()
    print(f"load averages {' '.join(f'{one:.2f}' for one in os.getloadavg())}")
    with tempfile.TemporaryDirectory(prefix="port25-") as place:
        base = Path(place)
        if "cpu" in options.what:
            cpu(base, options.rounds, options.clients, options.per_second)
        if "listed" in options.what:
            listed(base, min(options.clients, 300))
        if "dead" in options.what:
            dead(base, min(options.clients, 200), 20.0)
    print(f"load averages {' '.join(f'{one:.2f}' for one in os.getloadavg())}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
