"""One world, one seed, one policy: played and put into numbers."""

import statistics
from dataclasses import dataclass
from typing import Any, Final

from bench.detection.actors import Actor
from bench.detection.addresses import DAY_S
from bench.detection.attacks import PAIRS, Assault
from bench.detection.engine import Played, Stage, Switch, play
from bench.detection.policies import POLICIES
from bench.detection.population import Population
from bench.detection.scoring import AttackTally, PeopleTally, Score
from bench.detection.seam import Event
from bench.detection.worlds import OUTAGE_S, World

Numbers = dict[str, Any]
_GUESSED: Final = frozenset(kind.value for kind in PAIRS)


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be played; its name is that of the file of its numbers."""

    world: World
    seed: int
    policy: str
    quick: bool = False

    @property
    def name(self) -> str:
        """World, seed, policy."""
        return f"{'quick-' if self.quick else ''}{self.world.name}.{self.seed}.{self.policy}"


def run(task: Task) -> Numbers:
    """Play it and count. The numbers are plain JSON."""
    world = task.world.quick() if task.quick else task.world
    seed = f"{world.name}/{task.seed}"
    score = Score(measured_from=world.warm_up_days * DAY_S)
    population = Population(world.people, seed, world.days, score.person)
    stage = Stage(POLICIES[task.policy])
    actors = population.actors + _attackers(world, population, score, seed)
    actors += _disturbances(world, population, score, stage)
    try:
        played = play(actors, stage, score, world.days * DAY_S)
    finally:
        stage.close()
    return {
        "world": world.name,
        "seed": task.seed,
        "policy": task.policy,
        "quick": task.quick,
        **numbers(score, played),
    }


def _attackers(
    world: World, population: Population, score: Score, seed: str
) -> list[tuple[float, Actor]]:
    start, end = world.warm_up_days * DAY_S, world.days * DAY_S
    assault = Assault(population, score, world.adaptation, seed, start, end)
    return [one for attack in world.attacks for one in assault.actors(attack)]


def _disturbances(
    world: World, population: Population, score: Score, stage: Stage
) -> list[tuple[float, Actor]]:
    def outage(on: bool, *, lying: bool) -> Switch:
        def deed(now: float) -> Event | None:
            score.outage = on
            if lying:
                population.backend.lies = on
                return None
            return {"t": now, "kind": "outage", "on": on}

        return Switch(deed)

    def restart(now: float) -> None:
        stage.restart(cold=world.restarts_cold)

    switches: list[tuple[float, Actor]] = []
    for at, lying in ((world.unavailable_at, False), (world.lying_at, True)):
        if at is not None:
            switches.append((at, outage(True, lying=lying)))
            switches.append((at + OUTAGE_S, outage(False, lying=lying)))
    if world.restart_at is not None:
        switches.append((world.restart_at, Switch(restart)))
    return switches


def numbers(score: Score, played: Played) -> Numbers:
    """What is kept of a run: counts, not shares, so that runs can be added up."""
    return {
        "people": {label: _people(tally) for label, tally in sorted(score.people.items())},
        "attacks": {name: _attack(tally) for name, tally in sorted(score.attacks.items())},
        "total": _total(score),
        "bans": score.bans.made,
        "bans_in_outage": score.bans.made_in_outage,
        "ban_hits": score.bans.hits,
        "kept_out_long": len(score.kept_out_long),
        "who_was_kept_out_long": score.kept_out_long,
        "backend_auths": sum(score.backend_auths.values()),
        "backend_peak_a_minute": max(score.backend_auths.values(), default=0),
        "events": played.events,
        "elapsed_s": round(played.elapsed_s, 1),
        "policy_s": round(played.policy_s, 1),
    }


def _total(score: Score) -> Numbers:
    guessers = [tally for name, tally in score.attacks.items() if name in _GUESSED]
    keep_outs = [s for tally in score.people.values() for s in tally.keep_outs_s]
    return {
        "guesses": sum(tally.guesses for tally in guessers),
        "forwarded": sum(tally.forwarded for tally in guessers),
        "lost": len({name for tally in guessers for name in tally.lost}),
        "good": sum(tally.good for tally in score.people.values()),
        **_refused([*score.people.values()]),
        "recipients": sum(tally.recipients for tally in score.people.values()),
        "recipients_refused": sum(tally.recipients_refused for tally in score.people.values()),
        "keep_out_max_s": round(max(keep_outs, default=0.0)),
        "keep_out_sum_s": round(sum(keep_outs)),
    }


def _refused(tallies: list[PeopleTally]) -> Numbers:
    def of(*actions: str) -> int:
        return sum(tally.refused[action] for tally in tallies for action in actions)

    return {"deferred": of("defer"), "told_wrong": of("reject", "decoy"), "banned": of("drop")}


def _people(tally: PeopleTally) -> Numbers:
    return {
        "good": tally.good,
        "wrong": tally.wrong,
        "wrong_forwarded": tally.wrong_forwarded,
        **_refused([tally]),
        "reasons": dict(tally.reasons),
        "keep_outs": len(tally.keep_outs_s),
        "keep_out_max_s": round(max(tally.keep_outs_s, default=0.0)),
        "keep_out_sum_s": round(sum(tally.keep_outs_s)),
    }


def _attack(tally: AttackTally) -> Numbers:
    first = [tally.before_refusal[source] for source in tally.refused_sources]
    return {
        "guesses": tally.guesses,
        "attempts": tally.attempts,
        "forwarded": tally.forwarded,
        "actions": dict(tally.actions),
        "lost": len(tally.lost),
        "who_was_lost": tally.lost,
        "sources": len(tally.before_refusal),
        "refused_sources": len(first),
        "median_before_refusal": statistics.median(first) if first else None,
        "max_before_refusal": max(first, default=None),
    }
