"""What the guard has to reach, and whether it did."""

from collections.abc import Iterator
from dataclasses import dataclass

from bench.detection import results as figures
from bench.detection.attacks import Kind
from bench.detection.intervals import Estimate, estimate, words
from bench.detection.policies import GUARD, NO_GUARD, POLICIES
from bench.detection.results import Results

_MILLION = 1e6
_HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure and the most it may be, both in `unit`; it counts by its mean."""

    words: str
    limit: float
    unit: str
    found: Estimate | None

    def row(self) -> list[str]:
        """Cells of a table."""
        if self.found is None:
            verdict = "not measured"
        else:
            verdict = "reached" if self.found.mean <= self.limit else "**missed**"
        return [self.words, f"≤ {self.limit:g} {self.unit}".strip(), words(self.found), verdict]


def goals(results: Results) -> Iterator[Goal]:
    """All of them, in the order of their weight."""
    share, ppm = "%", "per million"
    alone = figures.attack_forwarded
    yield Goal("guesses at the backend, mixed attack", 2, share, _of(results, "mixed", "share"))
    for world, kind, limit in (
        ("botnet", Kind.BOTNET, 15),
        ("hop-64", Kind.HOP_64, 2),
        ("hop-48", Kind.HOP_48, 2),
    ):
        found = results.estimate(world, GUARD, alone(kind.value))
        yield Goal(f"{kind.value} alone", limit, share, _scaled(found, 100))
    yield Goal(
        "accounts lost, of the best other's, mixed attack", 0.1, "", lost_of_the_best(results)
    )
    for world in ("mixed", "peace"):
        hits = _of(results, world, "hits")
        yield Goal(f"bans that hit, of good logins, {world}", 1, ppm, hits)
    for world, limit in (("mixed", 1000), ("peace", 20)):
        yield Goal(f"good logins deferred, {world}", limit, ppm, _of(results, world, "deferred"))
    for world in ("mixed", "peace"):
        longest = results.worst(world, GUARD, figures.total("keep_out_max_s"))
        found = None if longest is None else Estimate(longest / _HOUR_S, None, 1)
        yield Goal(f"longest that anybody was kept out, {world}", 1, "h", found)
    for world in ("outage", "outage-lying"):
        bans = results.estimate(world, GUARD, figures.plain("bans_in_outage"))
        yield Goal(f"bans in an outage, `{world}`", 0, "", bans)


def lost_of_the_best(results: Results) -> Estimate | None:
    """For each seed of the mixed attack the guard's lost accounts over those of the other program
    that lost the fewest."""
    others = [name for name in POLICIES if not name.startswith(GUARD) and name != NO_GUARD]
    ratios = []
    for run in results.of("mixed", GUARD):
        lost = [
            figures.lost(other)
            for name in others
            for other in results.of("mixed", name)
            if other["seed"] == run["seed"]
        ]
        if lost:
            ratios.append(figures.lost(run) / max(1.0, min(lost)))
    return estimate(ratios)


def _of(results: Results, world: str, what: str) -> Estimate | None:
    match what:
        case "share":
            return _scaled(results.estimate(world, GUARD, figures.forwarded), 100)
        case "hits":
            return _scaled(results.estimate(world, GUARD, figures.ban_hits), _MILLION)
        case _:
            found = results.estimate(world, GUARD, figures.refused(what))
            return _scaled(found, _MILLION)


def _scaled(one: Estimate | None, scale: float) -> Estimate | None:
    if one is None:
        return None
    return Estimate(one.mean * scale, None if one.half is None else one.half * scale, one.seeds)
