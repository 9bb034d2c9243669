"""What recipients teach: who harvests addresses, who sends beyond measure, which account is stolen.

Two parts. `Harvest` looks at port 25: how many different recipients an address asked for in vain,
and what share of all. `Sending` counts every recipient by address and, after a login, by account.
"""

from math import log
from typing import Final, NamedTuple

from gatekeeper.policy.accounts import Account
from gatekeeper.policy.distinct import BITS, Distinct
from gatekeeper.policy.levels import Decayed
from gatekeeper.policy.rates import Rate, RateTable
from gatekeeper.settings import AccountSettings, PolicySettings

MAX_HARVESTERS: Final = 20_000  # about 14 MB; addresses that asked in vain for somebody
MAX_SENDERS: Final = 50_000  # about 8 MB
WINDOW_S: Final = 86_400.0
HALF_LIFE_S: Final = 12 * 3600.0
PROBE_S: Final = 300.0  # how often an address that is put off may ask the backend all the same
NEW_NET_S: Final = 600.0
NEW_NET_RECIPIENTS: Final = 50  # an account's first from a new net, within `NEW_NET_S`
MIN_ACCEPTED: Final = 0.5  # of a recipient, decayed: none was accepted within half a day
_MOST: Final = 1e6
_OVERRIDES: Final = AccountSettings()


class _Harvester:
    __slots__ = ("names", "probe_at", "unknown")

    def __init__(self) -> None:
        self.names = Distinct()
        self.unknown = Decayed(HALF_LIFE_S, _MOST)
        self.probe_at = 0.0


class Harvested(NamedTuple):
    """What is known of an address on port 25."""

    unknown: int  # different ones, within a day
    mostly_unknown: bool
    none_accepted: bool


_NOTHING: Final = Harvested(0, False, False)


class Harvest:
    """Recipients by address: those asked for in vain, and how many were accepted.

    Overflow: the address that asked in vain least recently goes first; of those with accepted
    recipients, which are in a table of their own, the one without one for the longest.
    """

    __slots__ = ("_accepted", "_capacity", "_harvesters")

    def __init__(self, capacity: int = MAX_HARVESTERS) -> None:
        self._capacity = capacity
        self._harvesters: dict[int, _Harvester] = {}
        self._accepted: dict[int, Decayed] = {}

    def __len__(self) -> int:
        return len(self._harvesters)

    def known(self, source: int, now: float) -> Harvested:
        """What is known of `source`."""
        harvester = self._harvesters.get(source)
        if harvester is None:
            return _NOTHING
        good = self._accepted.get(source)
        accepted = 0.0 if good is None else good.value(now)
        unknown = harvester.unknown.value(now)
        count = harvester.names.count(now, WINDOW_S)
        return Harvested(_estimate(count), unknown > accepted, accepted < MIN_ACCEPTED)

    def unknown(self, source: int, recipient: int, share: float, now: float) -> Harvested:
        """`source` asked for one more that does not exist; or, with a `share` of 0, was put off
        unheard. `recipient` is a key of the forward-path."""
        harvester = self._harvesters.pop(source, None) or _Harvester()
        self._harvesters[source] = harvester
        _bound(self._harvesters, self._capacity)
        harvester.names.add(recipient, now, WINDOW_S)
        harvester.unknown.add(share, now)
        return self.known(source, now)

    def accepted(self, source: int, now: float) -> None:
        """One of its recipients was accepted."""
        good = self._accepted.pop(source, None) or Decayed(HALF_LIFE_S, _MOST)
        self._accepted[source] = good
        _bound(self._accepted, self._capacity)
        good.add(1.0, now)

    def forget(self, source: int) -> None:
        """What `source` asked for in vain is paid for, or forgiven."""
        self._harvesters.pop(source, None)

    def take_probe(self, source: int, now: float) -> bool:
        """Whether an address that is put off may ask once more, to see if it has mended."""
        harvester = self._harvesters.get(source)
        if harvester is None or now < harvester.probe_at:
            return False
        harvester.probe_at = now + PROBE_S
        return True


def _bound(table: dict[int, _Harvester] | dict[int, Decayed], capacity: int) -> None:
    if len(table) > capacity:
        del table[next(iter(table))]


class Sending:
    """Recipients by address and by account."""

    __slots__ = ("_addresses", "overrides", "settings")

    def __init__(self, settings: PolicySettings) -> None:
        self.settings = settings
        self.overrides: dict[int, AccountSettings] = {}  # by account key
        per_day = settings.recipients_per_address_day
        self._addresses: RateTable[int] = RateTable(Rate(per_day, 86_400 / per_day), MAX_SENDERS)

    def address_over(self, source: int, now: float) -> bool:
        """Whether this address has had its recipients for the day."""
        return not self._addresses.allows(source, now)

    def account_over(self, account: Account, now: float) -> bool:
        """Whether this account has had its recipients, at once or for the day."""
        burst, day = self._rates(account)
        return not (burst.allows(account.rcpt_at[0], now) and day.allows(account.rcpt_at[1], now))

    def use(self, source: int, account: Account | None, now: float) -> None:
        """One more recipient went on to the backend."""
        self._addresses.use(source, now)
        if account is not None:
            burst, day = self._rates(account)
            at = account.rcpt_at
            account.rcpt_at = (burst.used(at[0], now), day.used(at[1], now))

    def _rates(self, account: Account) -> tuple[Rate, Rate]:
        own, settings = self.overrides.get(account.key, _OVERRIDES), self.settings
        per_10m = own.recipients_10m or settings.recipients_10m
        per_day = own.recipients_day or settings.recipients_day
        burst = own.recipients_burst or settings.recipients_burst
        return Rate(burst, 600 / per_10m), Rate(per_day, 86_400 / per_day)


def _estimate(bits: int) -> int:
    """How many different ones set so many of `BITS` bits (linear counting)."""
    return round(-BITS * log(1 - min(bits, BITS - 1) / BITS))
