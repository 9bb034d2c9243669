"""What goes on as a whole: is there an attack, is familiarity learnt, has the backend failed?"""

from collections import OrderedDict
from typing import Final

HALF_LIFE_S: Final = 6 * 3600.0
LEVEL_FLOOR: Final = 12.0  # guesses by strangers within about a half-life: no peace has as many
LEVEL_PER_LOGIN: Final = 0.15  # strangers' logins bring mistypes, a few in a hundred; this is many
LEVEL_MOST_LOGINS: Final = 240.0  # so that no number of them puts the level out of reach
LEVEL_CEILING: Final = 96.0  # so that the level falls within a day after the last guess
STEP: Final = 1 / 256  # of the share: about the last 256 good logins are remembered
FAMILIARITY: Final = (0.02, 0.08)  # shares at which it is learnt, and is no longer
NEWCOMERS: Final = (0.005, 0.02)
OUTAGE_WINDOW_S: Final = 300.0
OUTAGE_ACCOUNTS: Final = 4  # whose password was right a moment ago and now is not
OUTAGE_SHARE: Final = 0.5
OUTAGE_MEMORY: Final = 64
FRESH_VOTE_S: Final = 60.0  # a good vote this young is as good as a new one


class Decayed:
    """One sum that halves every `half_life_s`, at most `most`."""

    __slots__ = ("_at", "_half_life_s", "_most", "_value")

    def __init__(self, half_life_s: float, most: float) -> None:
        self._half_life_s = half_life_s
        self._most = most
        self._value = 0.0
        self._at = 0.0

    def add(self, weight: float, now: float) -> None:
        """Add `weight`, which may be below 0; the sum never is."""
        self._value = min(self._most, max(0.0, self.value(now) + weight))
        self._at = now

    def value(self, now: float) -> float:
        """The sum as it is now."""
        return float(self._value * 2.0 ** ((self._at - now) / self._half_life_s))


class AttackLevel:
    """Whether strangers guess everywhere: their guesses against their logins."""

    __slots__ = ("_guesses", "_high", "_logins")

    def __init__(self) -> None:
        self._guesses = Decayed(HALF_LIFE_S, LEVEL_CEILING)
        self._logins = Decayed(HALF_LIFE_S, LEVEL_MOST_LOGINS)
        self._high = False

    def guessed(self, weight: float, now: float) -> None:
        """A stranger's guess; a credential that may be right after all weighs less than 1."""
        self._guesses.add(weight, now)

    def logged_in(self, now: float) -> None:
        """A stranger's success."""
        self._logins.add(1.0, now)

    def high(self, now: float) -> bool:
        """Whether it is one; once it is, until the guesses have fallen to half the threshold."""
        threshold = LEVEL_FLOOR + LEVEL_PER_LOGIN * self._logins.value(now)
        self._high = self._guesses.value(now) >= threshold * (0.5 if self._high else 1.0)
        return self._high

    def figures(self, now: float) -> tuple[float, float]:
        """(guesses, logins) as they decay, for `status` and `explain`."""
        return self._guesses.value(now), self._logins.value(now)


class Learning:
    """Whether something about good logins is so rare that it may be held against one.

    A share smoothed over the last good logins, not over time: a busy server has learnt its people
    within hours, a small one within days. Where the share is high, being unfamiliar says nothing.
    """

    __slots__ = ("_shares", "learned", "share")

    def __init__(self, shares: tuple[float, float], share: float = 1.0) -> None:
        """Learnt from below the first of `shares` until above the second."""
        self._shares = shares
        self.share = share
        self.learned = share < shares[0]

    def note(self, rare: bool) -> None:
        """One more good login, with or without that something."""
        self.share += STEP * ((1.0 if rare else 0.0) - self.share)
        self.learned = self.share < self._shares[self.learned]


class OutageWatch:
    """Tells a backend that refuses everybody from people who are wrong.

    It looks at credentials that ought to be right: a password this account logged in with before,
    or, where the mechanism shows none, a familiar account and net. Each account has one vote, its
    last, so one stale phone is no outage however often it calls.
    """

    __slots__ = ("_failed", "_unavailable_at", "_votes")

    def __init__(self) -> None:
        self._votes: OrderedDict[int, tuple[float, bool]] = OrderedDict()  # oldest vote first
        self._failed = 0
        self._unavailable_at: float | None = None

    def unavailable(self, now: float) -> None:
        """The backend could not tell; until it can, nobody is held to what he sends."""
        self._unavailable_at = now

    def answered(self) -> None:
        """The backend has told yes or no."""
        self._unavailable_at = None

    def note(self, account: int, success: bool, now: float) -> None:
        """The backend's word on a credential of `account` that ought to be right."""
        before = self._votes.get(account)
        if before is not None:
            if success and before[1] and now - before[0] < FRESH_VOTE_S:
                return
            del self._votes[account]
        self._failed += (not success) - (before is not None and not before[1])
        self._votes[account] = (now, success)
        if len(self._votes) > OUTAGE_MEMORY:
            self._drop_oldest()

    def outage(self, now: float) -> bool:
        """Whether the backend's last word was that it cannot tell, or at least `OUTAGE_SHARE` of
        the votes fail, of `OUTAGE_ACCOUNTS` accounts or more."""
        if self._unavailable_at is not None and now - self._unavailable_at <= OUTAGE_WINDOW_S:
            return True
        while self._votes and now - next(iter(self._votes.values()))[0] > OUTAGE_WINDOW_S:
            self._drop_oldest()
        return self._failed >= max(OUTAGE_ACCOUNTS, OUTAGE_SHARE * len(self._votes))

    def _drop_oldest(self) -> None:
        _, (_, success) = self._votes.popitem(last=False)
        self._failed -= not success
