"""Places of attackers that are never at one address for long."""

from collections.abc import Sequence
from random import Random

from bench.detection.addresses import DAY_S, Place


class Botnet:
    """Addresses each of which is used one to three times a day, in an order of chance."""

    def __init__(
        self, rng: Random, places: Sequence[Place], per_day: tuple[int, int] = (1, 3)
    ) -> None:
        self._rng = rng
        self._places = places
        self._per_day = per_day
        self._day = -1
        self._turns: list[Place] = []

    def address(self, now: float, device: int) -> str:
        """The next address; where all have had their turns today they begin anew."""
        day = int(now // DAY_S)
        if day != self._day or not self._turns:
            self._day = day
            self._turns = [
                place for place in self._places for _ in range(self._rng.randint(*self._per_day))
            ]
            self._rng.shuffle(self._turns)
        return self._turns.pop().address(now, 0)


class Hopper:
    """An IPv6 network in which each guess has another net: a /64 of one /48, or a /48 of a /32."""

    def __init__(self, rng: Random, hoster: str, one_site: bool) -> None:
        self._rng = rng
        self._hoster = hoster
        self._site = rng.getrandbits(16) if one_site else None

    def address(self, now: float, device: int) -> str:
        """One that was hardly used before."""
        bits = self._rng.getrandbits(96)
        site = bits >> 80 if self._site is None else self._site
        groups = (site, *(bits >> shift & 0xFFFF for shift in (64, 48, 32, 16, 0)))
        return ":".join((self._hoster, *(f"{group:x}" for group in groups)))
