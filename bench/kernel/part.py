"""One round of one part, in a process of its own; the figures go to a file as JSON.

`python -m bench.kernel.part NAME ROUND FILE [quick]`, as root.
"""

import importlib
import json
import os
import sys
from pathlib import Path

from bench.kernel.results import Figures
from bench.kernel.rows import PARTS, ROWS


def main() -> int:
    """Exit code 0 when it was measured."""
    name, turn, answer, *rest = sys.argv[1:]
    if name not in PARTS:
        raise SystemExit(f"unknown part {name}")
    if os.geteuid() != 0:
        raise SystemExit("network namespaces, nftables and XDP need root")
    module = importlib.import_module(f"bench.kernel.{name}")
    figures: Figures = module.measure(int(turn), quick="quick" in rest)
    if unknown := set(figures) - set(ROWS):
        raise SystemExit(f"figures without a row: {unknown}")
    Path(answer).write_text(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
