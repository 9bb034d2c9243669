"""Credentials seen lately: what the backend refused, and who was asked to come again.

Both tables hold 64-bit keys mixed of account, password and place, never these themselves.
"""

from collections import OrderedDict
from typing import Final

from gatekeeper.policy.allowances import Doubt
from gatekeeper.policy.keys import Place, mixed

MAX_BAD_PAIRS: Final = 65_536  # forwarded failures of a day, about 9 MB; guesses rarely get so far
MAX_COMEBACKS: Final = 32_768  # per generation, about 4 MB
COMEBACK_S: Final = 12 * 3600.0


class BadPairs:
    """Which (account, password) the backend refused within `window_s`, and when it last did.

    Overflow: the pair longest unseen goes first, so a device that repeats itself stays.
    """

    __slots__ = ("_capacity", "_refused_at", "_window_s")

    def __init__(self, window_s: float, capacity: int = MAX_BAD_PAIRS) -> None:
        self._window_s = window_s
        self._capacity = capacity
        self._refused_at: OrderedDict[int, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._refused_at)

    def ago_s(self, pair: int, now: float) -> float | None:
        """Seconds since the backend last refused `pair`; None where it did not in this window.

        Asking is a sighting: it keeps the pair from being the longest unseen.
        """
        at = self._refused_at.get(pair)
        if at is None or now - at > self._window_s:
            return None
        self._refused_at.move_to_end(pair)
        return max(0.0, now - at)

    def add(self, pair: int, now: float) -> None:
        """The backend has refused `pair`."""
        self._refused_at[pair] = now
        self._refused_at.move_to_end(pair)
        for _ in range(2):
            oldest = next(iter(self._refused_at.values()))
            if now - oldest <= self._window_s and len(self._refused_at) <= self._capacity:
                return
            self._refused_at.popitem(last=False)

    def discard(self, pair: int) -> None:
        """It was right after all; unknown pairs are no error."""
        self._refused_at.pop(pair, None)

    def clear(self) -> None:
        """The backend's refusals were an outage's: none of them is known any more."""
        self._refused_at.clear()


class Comebacks:
    """When each (account, password, net) was first asked to come again.

    Two generations: the older one goes when the younger is `half_life_s` old or full, so an entry
    lives between one and two of them, less in a flood of new keys, and no call walks a table.
    """

    __slots__ = ("_before", "_capacity", "_current", "_half_life_s", "_turned_at")

    def __init__(self, half_life_s: float, capacity: int = MAX_COMEBACKS) -> None:
        self._half_life_s = half_life_s
        self._capacity = capacity
        self._current: dict[int, float] = {}
        self._before: dict[int, float] = {}
        self._turned_at = 0.0

    def __len__(self) -> int:
        return len(self._current) + len(self._before)

    def ago_s(self, key: int, now: float) -> float | None:
        """Seconds since `key` was first asked; None where it never was, or too long ago."""
        at = self._current.get(key)
        if at is None:
            at = self._before.get(key)
        if at is None or now - at > 2 * self._half_life_s:
            return None
        return max(0.0, now - at)

    def ask(self, key: int, now: float) -> None:
        """`key` is asked to come again now, if it was not asked before."""
        if self.ago_s(key, now) is not None:
            return
        if now - self._turned_at > self._half_life_s or len(self._current) >= self._capacity:
            self._before, self._current = self._current, {}
            self._turned_at = now
        self._current[key] = now


class Askings:
    """Who was asked to come again: right passwords, and others, apart, so that guesses do not push
    people out.

    A right password is known again wherever it comes from, for a phone changes its net on the way;
    but where much speaks against it, in its net only, as any other password: guessers share lists.
    """

    __slots__ = ("_others", "_right")

    def __init__(self, capacity: int = MAX_COMEBACKS) -> None:
        self._right = Comebacks(COMEBACK_S, 2 * capacity)
        self._others = Comebacks(COMEBACK_S, capacity)

    def __len__(self) -> int:
        return len(self._right) + len(self._others)

    def right_ago_s(self, pair: int, place: Place, doubt: Doubt, now: float) -> float | None:
        """Seconds since a right password was asked to come again; None where it never was."""
        return self._right.ago_s(mixed(pair, place.net) if doubt is Doubt.CLEAR else pair, now)

    def ago_s(self, pair: int, place: Place, now: float) -> float | None:
        """The same of another password."""
        return self._others.ago_s(mixed(pair, place.net), now)

    def ask_right(self, pair: int, place: Place, now: float) -> None:
        """A right password is asked now, if it was not before."""
        self._right.ask(pair, now)
        self._right.ask(mixed(pair, place.net), now)

    def ask(self, pair: int, place: Place, now: float) -> None:
        """Another password is asked now."""
        self._others.ask(mixed(pair, place.net), now)
