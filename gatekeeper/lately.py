"""Who attacks, and who is attacked, of late: what the Journal's refusals come to.

The scores of `policy/` know every source of the last days, but a walk through a million of them
takes the loop seconds. The Journal keeps the last refusals in a ring of fixed length, which is what
somebody who looks now wants to see, and a walk through its end costs some milliseconds.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from heapq import nlargest
from itertools import islice, takewhile
from typing import Final, TypeVar

from gatekeeper.journal import Entry
from gatekeeper.policy.keys import source_prefix
from gatekeeper.prefix import Prefix
from gatekeeper.verdict import Reason

Key = TypeVar("Key")

WITHIN_S: Final = 900.0  # what "of late" is
MOST_ENTRIES: Final = 4_000  # looked at: a few milliseconds
_NETWORK_BITS: Final = {4: 24, 6: 48}


@dataclass(frozen=True, slots=True)
class BusyNetwork:
    """A /24 or /48 from which much was refused."""

    network: Prefix
    refusals: int
    sources: int  # different addresses, or /64
    accounts: int  # different ones that were tried
    reason: str  # the one most often given


@dataclass(frozen=True, slots=True)
class AttackedAccount:
    """An account that others guess at. `account` as the latest of them wrote it."""

    account: str
    refusals: int
    networks: int


@dataclass(frozen=True, slots=True)
class Lately:
    """The worst first."""

    networks: tuple[BusyNetwork, ...]
    accounts: tuple[AttackedAccount, ...]
    refusals: int  # that were looked at
    since: float  # Unix time of the oldest of them; where there is none, of the look


def lately(newest_first: Iterable[Entry], now: float, most: int) -> Lately:
    """The `most` busiest networks and accounts of the refusals within `WITHIN_S` before `now`, of
    the latest `MOST_ENTRIES`."""
    recent = takewhile(lambda entry: entry.at >= now - WITHIN_S, newest_first)
    entries = list(islice(recent, MOST_ENTRIES))
    networks: dict[Prefix, list[Entry]] = {}
    accounts: dict[int, list[Entry]] = {}
    for entry in entries:
        networks.setdefault(network_of(entry.source), []).append(entry)
        if entry.account:
            accounts.setdefault(entry.account, []).append(entry)
    return Lately(
        tuple(_network(one, networks[one]) for one in _busiest(networks, most)),
        tuple(_account(accounts[one]) for one in _busiest(accounts, most)),
        len(entries),
        entries[-1].at if entries else now,
    )


def network_of(source: int) -> Prefix:
    """The /24 or /48 around a `Place.source`."""
    prefix = source_prefix(source)
    return prefix.widen(_NETWORK_BITS[prefix.version])


def _busiest(groups: Mapping[Key, list[Entry]], most: int) -> list[Key]:
    return nlargest(most, groups, key=lambda one: len(groups[one]))


def _network(network: Prefix, entries: list[Entry]) -> BusyNetwork:
    reasons = Counter(_reason(entry) for entry in entries)
    return BusyNetwork(
        network,
        len(entries),
        len({entry.source for entry in entries}),
        len({entry.account for entry in entries if entry.account}),
        reasons.most_common(1)[0][0],
    )


def _account(entries: list[Entry]) -> AttackedAccount:
    networks = {network_of(entry.source) for entry in entries}
    return AttackedAccount(entries[0].name, len(entries), len(networks))


def _reason(entry: Entry) -> str:
    """Why it was refused; a wrong password that only the backend refused has no Reason."""
    return entry.what if entry.verdict.reason is Reason.NONE else entry.verdict.reason.value
