"""`./run bench kernel`: measure what the kernel's half costs, print, and write `docs/kernel.md`.

Each part of each round is a process of its own (`bench.kernel.part`), which leaves for network
namespaces of its own: nothing of the machine is touched, and no part finds another's memory. The
parts of a round follow each other, then comes the next round.
"""

import argparse
import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from bench import workshop
from bench.kernel import report
from bench.kernel.plot import plot
from bench.kernel.results import Results
from bench.kernel.rows import PARTS, ROWS
from bench.machine import describe

OUT: Final = workshop.OUT / "kernel"
_LAST: Final = OUT / "results.json"
_ROUNDS: Final = 5
_QUICK_ROUNDS: Final = 1
_PART_S: Final = 600.0  # the longest takes a fifth of it


def main() -> int:
    """Exit code 0 when every part of every round could be measured, 1 otherwise."""
    options = _options()
    OUT.mkdir(parents=True, exist_ok=True)
    if options.render:
        results = Results.from_json(_LAST.read_text())
    else:
        with (OUT / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            results = _measure(options)
    print(report.tables(results))
    if options.write or options.render:
        report.write(results)
        plot(results, report.PICTURE)
    return 1 if results.problems else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./run bench kernel", description=__doc__)
    parser.add_argument("--rounds", type=int, help=f"rounds ({_ROUNDS}; quick: {_QUICK_ROUNDS})")
    parser.add_argument("--quick", action="store_true", help="one round, fewer repetitions in it")
    parser.add_argument(
        "--only", type=_parts, default=PARTS, help=f"of {','.join(PARTS)}; the rest stays as it was"
    )
    parser.add_argument("--write", action="store_true", help="write docs/kernel.{md,png}")
    parser.add_argument("--render", action="store_true", help="write them from the last run")
    options = parser.parse_args()
    options.rounds = options.rounds or (_QUICK_ROUNDS if options.quick else _ROUNDS)
    return options


def _parts(text: str) -> tuple[str, ...]:
    parts = tuple(text.split(","))
    if unknown := set(parts) - set(PARTS):
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}")
    return parts


def _measure(options: argparse.Namespace) -> Results:
    machine = describe(sys.executable)
    words = {name: machine[name] for name in ("kernel", "Python")} | {"CPU": machine["CPU"]}
    results = Results({**words, "CPUs": str(os.cpu_count())}, options.quick)
    for turn in range(options.rounds):
        for part in options.only:
            _one(part, turn, options.quick, results)
            _keep(results, options)
    return Results.from_json(_LAST.read_text())


def _one(part: str, turn: int, quick: bool, results: Results) -> None:
    """One round of one part; a failure is a problem of the run."""
    load = os.getloadavg()[0]
    print(f"round {turn + 1}: {part} (load {load:.1f}) ...", file=sys.stderr, flush=True)
    answer = OUT / "answer.json"
    answer.unlink(missing_ok=True)
    command = [sys.executable, "-m", "bench.kernel.part", part, str(turn), str(answer)]
    try:
        subprocess.run(command + ["quick"] * quick, check=True, timeout=_PART_S)
        figures = json.loads(answer.read_text())
    except (subprocess.SubprocessError, OSError, ValueError) as error:
        results.problems.append(f"{part}, round {turn + 1}: {error}")
        return
    results.add(part, load, figures)
    for name, value in figures.items():
        print(f"  {ROWS[name].title}: {report.number(value)} {ROWS[name].unit}", file=sys.stderr)


def _keep(results: Results, options: argparse.Namespace) -> None:
    """Write what is known: with `--only`, into what the last run of the same kind left."""
    kept = results
    last = Path(_LAST)
    if options.only != PARTS and last.exists():
        kept = Results.from_json(last.read_text())
        if kept.quick == results.quick:
            names = [name for name, row in ROWS.items() if row.part in options.only]
            kept.replace(results, options.only, names)
        else:
            kept = results
    last.write_text(kept.to_json())


if __name__ == "__main__":
    sys.exit(main())
