"""How many accounts belong to a place: those that logged in from there with success.

Thresholds grow with it, because what one address does is an office's doing or one man's. Only
successes make entries, and an account makes no more than `lessons.PLACES_A_DAY` of them a day, so
that a botnet with one valid mailbox neither fills the table nor makes its addresses look inhabited.
"""

from typing import Final, NamedTuple

MAX_PLACES: Final = 50_000  # about 8 MB
WINDOW_S: Final = 30 * 86_400.0
ORDERED_S: Final = 600.0  # how exactly places are in order of their last login
MOST_ACCOUNTS: Final = 60  # a crowd; more accounts make no more difference


class _Crowd(NamedTuple):
    accounts: int  # 64 bits, one or more for each account
    last_at: float


class Places:
    """Accounts by place, for one role of keys (sources, or nets).

    Overflow: the place without a login for the longest goes first.
    """

    __slots__ = ("_capacity", "_crowds")

    def __init__(self, capacity: int = MAX_PLACES) -> None:
        self._capacity = capacity
        self._crowds: dict[int, _Crowd] = {}

    def __len__(self) -> int:
        return len(self._crowds)

    def knows(self, place: int) -> bool:
        """Whether anybody ever logged in there."""
        return place in self._crowds

    def add(self, place: int, account: int, now: float) -> None:
        """`account` has logged in from `place`."""
        crowd = self._crowds.get(place)
        if (
            crowd is not None
            and now - crowd.last_at < ORDERED_S
            and crowd.accounts >> account % 64 & 1
        ):
            return
        self._crowds.pop(place, None)
        bits = 0 if crowd is None or now - crowd.last_at > WINDOW_S else crowd.accounts
        last_at = now if crowd is None else max(now, crowd.last_at)  # logins of the past come late
        self._crowds[place] = _Crowd(bits | 1 << (account % 64), last_at)
        if len(self._crowds) > self._capacity:
            del self._crowds[next(iter(self._crowds))]

    def accounts(self, place: int, now: float) -> int:
        """How many accounts, at most `MOST_ACCOUNTS`."""
        crowd = self._crowds.get(place)
        if crowd is None or now - crowd.last_at > WINDOW_S:
            return 0
        return min(MOST_ACCOUNTS, crowd.accounts.bit_count())

    def lately(self, place: int, within_s: float, now: float) -> int:
        """The accounts there, as a set of 64 bits; 0 where the last login is longer ago."""
        crowd = self._crowds.get(place)
        return 0 if crowd is None or now - crowd.last_at > within_s else crowd.accounts

    def last_s(self, place: int, now: float) -> float | None:
        """Seconds since the last login there; None where none is known."""
        crowd = self._crowds.get(place)
        return None if crowd is None else max(0.0, now - crowd.last_at)
