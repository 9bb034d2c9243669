"""`python -m bench.systemd [bookworm|trixie]`: the units under a real systemd, step by step.

By hand and as root: it takes some three minutes, and a mirror for the first tree. What it prints is
in `docs/systemd.md`. Needs mmdebstrap and systemd-container.
"""

import argparse
import sys
from pathlib import Path

from bench import workshop
from bench.systemd.dress import dress
from bench.systemd.machine import Machine, booted, install, make_tree
from bench.systemd.steps import STEPS, Failed


def main() -> int:
    """0 where all steps went well."""
    parser = argparse.ArgumentParser(prog="python -m bench.systemd", description=__doc__)
    parser.add_argument("suite", nargs="?", default="bookworm")
    parser.add_argument("--only", metavar="STEP", help="after the boot this one alone")
    options = parser.parse_args()
    home = workshop.OUT / "systemd"
    home.mkdir(parents=True, exist_ok=True)
    tree = home / options.suite
    if not tree.exists():
        make_tree(tree, options.suite)
    install(tree)
    dress(tree)
    with booted(tree, home / "console.log") as machine:
        return _walk(machine, options.only, home)


def _walk(machine: Machine, only: str | None, home: Path) -> int:
    for step in STEPS:
        if only not in {None, step.__name__} and step is not STEPS[0]:
            continue
        try:
            print(f"{step.__name__}: {step(machine)}", flush=True)
        except (Failed, RuntimeError) as error:
            print(f"{step.__name__}: FAILED: {error}\nsee {home}/console.log", flush=True)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
