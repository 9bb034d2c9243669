"""The numbers of all runs on disk, one file each, and what can be asked of them."""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.detection.intervals import Estimate, estimate
from bench.detection.policies import GUARD, PIPED
from bench.detection.run import Numbers, Task, run
from bench.detection.worlds import REPORTING_SEEDS

_HERE: Final = Path(__file__).parent
_ROOT: Final = _HERE.parent.parent
OUT: Final = _HERE.parent / "out" / "detection"
# Files of this package that change no number.
_DRAWING: Final = frozenset(
    {"__main__.py", "goals.py", "intervals.py", "plots.py", "report.py", "results.py"}
)
_GUARD_PARTS: Final = (
    *("policy", "guard.py", "ledger.py", "simulation.py", "settings.py", "verdict.py"),
    *("events.py", "ban.py", "prefix.py", "secret.py"),
)


def fingerprint(policy: str) -> str:
    """Sixteen hexadecimal digits of the sources that a run's numbers come from."""
    files = [path for path in _HERE.glob("*.py") if path.name not in _DRAWING]
    files = [path for path in files if not path.name.startswith("real")]
    if policy in {GUARD, PIPED}:
        for part in _GUARD_PARTS:
            path = _ROOT / "gatekeeper" / part
            files += path.rglob("*.py") if path.is_dir() else [path]
    else:
        files += (_HERE / "baselines").glob("*.py")
    digest = hashlib.sha256()
    for path in sorted(path for path in files if path.exists()):
        digest.update(str(path.relative_to(_ROOT)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def played(task: Task) -> Numbers:
    """Play it, in a process that reads the sources as they are now."""
    mark = fingerprint(task.policy)
    return {**run(task), "fingerprint": mark}


def path_of(task: Task) -> Path:
    """Where the numbers of this run are."""
    return OUT / f"{task.name}.json"


def write(task: Task, numbers: Numbers) -> None:
    """Whole or not at all: a run that is cut off is played again."""
    OUT.mkdir(parents=True, exist_ok=True)
    path = path_of(task)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(numbers, indent=1))
    part.replace(path)


def is_current(task: Task, mark: str) -> bool:
    """Whether this run was played by the sources as they are."""
    path = path_of(task)
    return path.exists() and json.loads(path.read_text())["fingerprint"] == mark


@dataclass(frozen=True, slots=True)
class Results:
    """Runs on the seeds for reporting (or, of a quick run, on all)."""

    runs: tuple[Numbers, ...]

    @classmethod
    def read(cls, *, quick: bool = False, seeds: Iterable[int] = REPORTING_SEEDS) -> "Results":
        """All there are."""
        runs = (json.loads(path.read_text()) for path in sorted(OUT.glob("*.json")))
        wanted = frozenset(seeds)
        return cls(tuple(one for one in runs if one["quick"] == quick and one["seed"] in wanted))

    def of(self, world: str, policy: str) -> list[Numbers]:
        """One a seed."""
        return [one for one in self.runs if one["world"] == world and one["policy"] == policy]

    def estimate(
        self, world: str, policy: str, figure: Callable[[Numbers], float | None]
    ) -> Estimate | None:
        """The mean of a figure over the seeds of this world and policy."""
        found = (figure(one) for one in self.of(world, policy))
        return estimate([value for value in found if value is not None])

    def worst(self, world: str, policy: str, figure: Callable[[Numbers], float]) -> float | None:
        """The largest over the seeds."""
        return max((figure(one) for one in self.of(world, policy)), default=None)

    def versions(self, policy: str) -> set[str]:
        """The sources that played this policy; more than one is a mixture."""
        return {one["fingerprint"] for one in self.runs if one["policy"] == policy}


# ---- figures of one run ----


def forwarded(run: Numbers) -> float | None:
    """Share of the guesses that reached the backend."""
    total = run["total"]
    return float(total["forwarded"] / total["guesses"]) if total["guesses"] else None


def attack_forwarded(attack: str) -> Callable[[Numbers], float | None]:
    """The same for one kind of attack."""

    def figure(run: Numbers) -> float | None:
        tally = run["attacks"].get(attack)
        if not tally or not tally["guesses"]:
            return None
        return float(tally["forwarded"] / tally["guesses"])

    return figure


def attack_lost(attack: str) -> Callable[[Numbers], float | None]:
    """Accounts whose password one kind of attack found."""

    def figure(run: Numbers) -> float | None:
        tally = run["attacks"].get(attack)
        return float(tally["lost"]) if tally else None

    return figure


def lost(run: Numbers) -> float:
    """Accounts whose password an attacker has heard to be right."""
    return float(run["total"]["lost"])


def refused(*kinds: str) -> Callable[[Numbers], float]:
    """Good logins refused, per one: `deferred`, `told_wrong`, `banned`."""

    def figure(run: Numbers) -> float:
        total = run["total"]
        return float(sum(total[kind] for kind in kinds) / max(1, total["good"]))

    return figure


def ban_hits(run: Numbers) -> float:
    """Bans that dropped a good login, per good login."""
    return float(run["ban_hits"] / max(1, run["total"]["good"]))


def total(key: str) -> Callable[[Numbers], float]:
    """A count or a time of the whole run's people."""

    def figure(run: Numbers) -> float:
        return float(run["total"][key])

    return figure


def plain(key: str) -> Callable[[Numbers], float]:
    """A count of the whole run."""

    def figure(run: Numbers) -> float:
        return float(run[key])

    return figure


def label_refused(label: str) -> Callable[[Numbers], float | None]:
    """Good logins of one kind of people that were refused in any way, per one."""

    def figure(run: Numbers) -> float | None:
        tally = run["people"].get(label)
        if not tally or not tally["good"]:
            return None
        refused = tally["deferred"] + tally["told_wrong"] + tally["banned"]
        return float(refused / tally["good"])

    return figure


def label_keep_out(label: str) -> Callable[[Numbers], float]:
    """The longest that one of them was kept out, in seconds."""

    def figure(run: Numbers) -> float:
        tally = run["people"].get(label)
        return float(tally["keep_out_max_s"]) if tally else 0.0

    return figure
