"""`python -m bench.detection`: play worlds against policies; with `--write` report in docs/.

A run whose numbers are on disk and whose sources have not changed is not played again.
"""

import argparse
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Final

from bench.detection import plots, report, results
from bench.detection.policies import GUARD, PIPED, POLICIES
from bench.detection.run import Numbers, Task
from bench.detection.worlds import HELD_OUT, REPORTING_SEEDS, TUNING_SEEDS, WORLDS

_DOCS: Final = Path(__file__).parent.parent.parent / "docs"
_TEN_SEEDS: Final = (
    *("peace", "peace-tidy", "mixed", "adaptive-retry", "adaptive"),
    *(world.name for world in HELD_OUT),
)
_FEW: Final = 3  # seeds of the other worlds in a report


def main() -> int:
    """Exit code 0 when every run was played to its end."""
    options = _options()
    if options.quick and (options.write or options.render):
        print("a quick run is not reported", file=sys.stderr)
        return 2
    failed = 0 if options.render else _play(list(_tasks(options)), options.jobs)
    found = results.Results.read(quick=options.quick, seeds=_seeds(options))
    print(report.summary(found, _worlds(options)))
    if options.write or options.render:
        _report(results.Results.read())
    return 1 if failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./run bench detection", description=__doc__)
    parser.add_argument("--worlds", help="names with commas between; all by default")
    parser.add_argument("--seeds", help="1-3 or 101,102; those of --set by default")
    parser.add_argument("--policies", help="names with commas between; all by default")
    parser.add_argument(
        "--set",
        choices=("tune", "report"),
        default="tune",
        help="tune: seeds 1-3, no held-out world; report: ten other seeds for the main and "
        "held-out worlds, three for the others",
    )
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--quick", action="store_true", help="small worlds of four days")
    parser.add_argument("--write", action="store_true", help="then write docs/detection.{md,png}")
    parser.add_argument("--render", action="store_true", help="write them and play nothing")
    return parser.parse_args()


def _worlds(options: argparse.Namespace) -> list[str]:
    if options.worlds:
        return _known(options.worlds, list(WORLDS))
    held_out = {world.name for world in HELD_OUT}
    return [name for name in WORLDS if options.set == "report" or name not in held_out]


def _seeds(options: argparse.Namespace) -> list[int]:
    if not options.seeds:
        return list(REPORTING_SEEDS if options.set == "report" else TUNING_SEEDS)
    seeds: list[int] = []
    for part in options.seeds.split(","):
        first, _, last = part.partition("-")
        seeds += range(int(first), int(last or first) + 1)
    return seeds


def _tasks(options: argparse.Namespace) -> Iterator[Task]:
    everything = [name for name in POLICIES if name != PIPED]
    policies = _known(options.policies, list(POLICIES)) if options.policies else everything
    for world in _worlds(options):
        seeds = _seeds(options)
        if options.set == "report" and not options.seeds and world not in _TEN_SEEDS:
            seeds = seeds[:_FEW]
        for seed in seeds:
            for policy in policies:
                yield Task(WORLDS[world], seed, policy, options.quick)


def _known(words: str, names: list[str]) -> list[str]:
    chosen: list[str] = words.split(",")
    for name in chosen:
        if name not in names:
            raise SystemExit(f"{name!r} is none of {', '.join(names)}")
    return chosen


def _play(tasks: list[Task], jobs: int) -> int:
    """How many failed."""
    marks = {task.policy: results.fingerprint(task.policy) for task in tasks}
    left = [task for task in tasks if not results.is_current(task, marks[task.policy])]
    left.sort(key=lambda task: task.policy != GUARD)  # the slowest first
    print(f"{len(tasks)} runs, {len(tasks) - len(left)} of them at hand", file=sys.stderr)
    failed = 0
    with ProcessPoolExecutor(jobs, max_tasks_per_child=1) as pool:
        running = {pool.submit(results.played, task): task for task in left}
        for count, done in enumerate(as_completed(running), 1):
            task = running[done]
            error = done.exception()
            if error is None:
                numbers = done.result()
                results.write(task, numbers)
                words = _line(numbers)
            else:
                failed += 1
                words = f"failed: {error!r}"
            print(f"{count}/{len(left)} {task.name}: {words}", file=sys.stderr, flush=True)
    return failed


def _line(numbers: Numbers) -> str:
    total = numbers["total"]
    return (
        f"{total['forwarded']}/{total['guesses']} guesses, {total['lost']} lost, "
        f"{total['good']} good: {total['deferred']} deferred, {total['told_wrong']} told wrong, "
        f"{total['banned']} banned; {numbers['elapsed_s']:.0f} s"
    )


def _report(found: results.Results) -> None:
    document = _DOCS / "detection.md"
    document.write_text(report.rendered(document.read_text(), found))
    if found.of("mixed", GUARD):
        plots.trade_off(found, _DOCS / "detection.png")
    if any(found.of(world, GUARD) for world in report.ALONE):
        plots.attacks_alone(found, _DOCS / "detection-attacks.png")


if __name__ == "__main__":
    sys.exit(main())
