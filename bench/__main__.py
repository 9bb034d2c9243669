"""`python -m bench`: measure, print, and with `--write` put the table and the plot into docs/."""

import argparse
import fcntl
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from bench import ban, endurance, report, workshop
from bench.machine import describe
from bench.measure import Wrong, idle_memory, interleave
from bench.proxies import CONTENDERS, Contender, GuardProcess, Running, backend, running
from bench.results import Line, Results
from bench.scenarios import IDLE, IDLE_ROUNDS_MAX, SCENARIOS, Scenario

_QUICK_ROUNDS: Final = 2
_QUICK_DIVISOR: Final = 6  # of the sessions in a round
_LAST_RUN: Final = workshop.OUT / "results.json"
_LAST_PART: Final = workshop.OUT / "part.json"  # of the scenarios or contenders


def main() -> int:
    """Exit code 0 when every session of every contender was right, 1 otherwise."""
    options = _options()
    if options.render:
        return _finish(Results.from_json(_LAST_RUN.read_text()), write=True)
    workshop.OUT.mkdir(parents=True, exist_ok=True)
    with _alone():
        workshop.build()
        results = Results(
            machine=describe(options.python), rounds=options.rounds, quick=options.quick
        )
        _run(options, results)
        (_LAST_RUN if options.whole else _LAST_PART).write_text(results.to_json())
        return _finish(results, write=options.write)


@contextmanager
def _alone() -> Iterator[None]:
    """Wait for another run of this checkout to end: two would share ports and files."""
    with (workshop.OUT / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("waiting for another run to end ...", file=sys.stderr, flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _options() -> argparse.Namespace:
    names = [scenario.name for scenario in SCENARIOS] + [IDLE.name, ban.NAME, *endurance.NAMES]
    parser = argparse.ArgumentParser(prog="./run bench", description=__doc__)
    parser.add_argument("--rounds", type=int, help="rounds of each scenario (5; quick: 2)")
    parser.add_argument("--quick", action="store_true", help="fewer rounds and sessions")
    parser.add_argument("--only", action="append", choices=names, help="this scenario")
    parser.add_argument(
        "--contender",
        action="append",
        choices=[one.name for one in CONTENDERS],
        help="this contender",
    )
    parser.add_argument("--write", action="store_true", help="write docs/performance.{md,png}")
    parser.add_argument("--render", action="store_true", help="write them from the last whole run")
    parser.add_argument(
        "--profile", action="store_true", help="run the guard under cProfile; no figures then"
    )
    parser.add_argument(
        "--python", default=sys.executable, help="the interpreter of the guard, 3.11 or newer"
    )
    options = parser.parse_args()
    options.whole = not (options.only or options.contender or options.profile)
    options.rounds = options.rounds or (_QUICK_ROUNDS if options.quick else 5)
    options.only = options.only or (names if not options.quick else names[: -len(endurance.NAMES)])
    return options


def _run(options: argparse.Namespace, results: Results) -> None:
    chosen = [one for one in CONTENDERS if not options.contender or one.name in options.contender]
    how = GuardProcess(options.python, options.profile)
    bench = _Bench(results, chosen, options.quick, how)
    for scenario in SCENARIOS:
        if scenario.name in options.only:
            bench.cpu(scenario)
    if IDLE.name in options.only:
        bench.memory(IDLE)
    guards = [one for one in chosen if one.is_guard]
    if ban.NAME in options.only and guards:
        bench.bans()
    for name in endurance.NAMES:
        if name in options.only and guards:
            bench.endure(name, guards[0])


class _Bench:
    """One run: the backend lives as long as a scenario, contenders start fresh for each."""

    def __init__(
        self, results: Results, contenders: Sequence[Contender], quick: bool, how: GuardProcess
    ) -> None:
        self._results = results
        self._contenders = contenders
        self._divisor = _QUICK_DIVISOR if quick else 1
        self._how = how
        self._tls = workshop.certificates()

    def cpu(self, scenario: Scenario) -> None:
        able = [one for one in self._contenders if one.family not in scenario.without]
        count = max(4, scenario.count // self._divisor)
        line = self._line(scenario, scenario.unit)
        with self._running(able) as listening:
            self._problems(interleave(scenario, listening, self._results.rounds, count, line))
        print(report.summary(line), flush=True)

    def memory(self, scenario: Scenario) -> None:
        """Alone and fresh, each: a heap that has worked says little about a session."""
        count = scenario.count // self._divisor
        line = self._line(scenario, "KiB")
        for _ in range(min(self._results.rounds, IDLE_ROUNDS_MAX)):
            for contender in self._contenders:
                with self._running([contender]) as listening:
                    for one in listening:
                        try:
                            line.add(contender.name, idle_memory(scenario, one, count))
                        except Wrong as error:
                            self._problems([str(error)])
        print(report.summary(line), flush=True)

    def bans(self) -> None:
        """The guard starts by itself: in a network namespace, with rights and a database."""
        print("from the failed login to the kernel ...", file=sys.stderr, flush=True)
        count = ban.COUNT if self._divisor == 1 else ban.QUICK_COUNT
        try:
            self._results.bans = ban.measure(count, self._tls, self._how)
        except ban.NotMeasured as error:
            self._results.no_bans = str(error)
        except Wrong as error:
            self._problems([str(error)])

    def endure(self, name: str, guard: Contender) -> None:
        words = "failed"
        with self._running([guard]) as listening:
            for one in listening:
                try:
                    words = endurance.RUN[name](one, self._divisor)
                except Wrong as error:
                    self._problems([str(error)])
        self._results.endurance[name] = words
        print(f"{name}: {words}", flush=True)

    @contextmanager
    def _running(self, contenders: Sequence[Contender]) -> Iterator[list[Running]]:
        """A fresh backend and those contenders that start; the others are problems."""
        missing: list[str] = []
        with (
            backend() as behind,
            running(contenders, behind, self._tls, missing, self._how) as listening,
        ):
            self._problems(missing)
            yield listening

    def _line(self, scenario: Scenario, unit: str) -> Line:
        print(f"{scenario.title} ...", file=sys.stderr, flush=True)
        line = Line(scenario.name, scenario.title, unit, scenario.target)
        self._results.lines.append(line)
        return line

    def _problems(self, problems: list[str]) -> None:
        for problem in problems:
            print(f"PROBLEM: {problem}", file=sys.stderr, flush=True)
            if problem not in self._results.problems:
                self._results.problems.append(problem)


def _finish(results: Results, *, write: bool) -> int:
    print()
    for words in (report.table(results), report.bans(results)):
        if words:
            print(words, end="\n\n")
    for problem in results.problems:
        print(f"PROBLEM: {problem}")
    if write:
        report.write(results)
    return 1 if results.problems else 0


if __name__ == "__main__":
    sys.exit(main())
