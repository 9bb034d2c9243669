"""Scores of addresses and of the networks around them, in one scope."""

from typing import Final

from gatekeeper.policy.counters import ScoreTable
from gatekeeper.policy.keys import Place

MAX_PARENTS: Final = 32_768  # about 5 MB full
_V6_56: Final = 1 << 56  # `Place.parents` of IPv6: the /56 is above 2**56, the /48 below


class SourceScores:
    """How badly the addresses of one scope behave, and their networks."""

    __slots__ = ("networks", "sources")

    def __init__(self, half_life_s: float) -> None:
        self.sources: ScoreTable[int] = ScoreTable(half_life_s)
        self.networks: ScoreTable[int] = ScoreTable(half_life_s, MAX_PARENTS)

    def add_to_networks(self, place: Place, weight: float, now: float) -> list[tuple[int, float]]:
        """Hold `weight` (above 0) against all networks around `place`; each with its new score."""
        return [(parent, self.networks.add(parent, weight, now)) for parent in place.parents]

    @staticmethod
    def threshold(parent: int, suspect_score: float) -> float:
        """`suspect_score` is for a /24 or a /48; a /56 is one customer's and has half of it."""
        return suspect_score / 2 if parent >= _V6_56 else suspect_score
