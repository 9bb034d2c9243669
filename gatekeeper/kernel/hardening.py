"""All that is given up, in its order: `confine` before the first child, `settle` in each.

What a kernel does not have is said once and done without; capabilities alone are a condition.
"""

import os
import sys
from pathlib import Path
from typing import Final

from gatekeeper.kernel import landlock, ownership, rights, seccomp
from gatekeeper.kernel.filtering import Needs, Stage
from gatekeeper.kernel.options import Options
from gatekeeper.kernel.xdp_pins import PINS, present

_PACKAGE: Final = Path(__file__).resolve().parents[1]


def needs(options: Options, pins: Path = PINS) -> Needs:
    """What the command line, and what an earlier start left pinned, ask for."""
    return Needs(xdp=bool(options.xdp), dial=bool(options.dial), removes_pins=present(pins))


def confine(wanted: Needs) -> None:
    """For the parent, and all it forks. Raises `PermissionError` without CAP_NET_ADMIN."""
    if os.geteuid() == 0 and (path := ownership.changeable(_PACKAGE)):
        _say(f"others than root can change {path}, and with it what runs here as root")
    pins = wanted.xdp or wanted.removes_pins
    rights.limit()
    rights.keep({rights.NET_ADMIN, *(rights.BPF, rights.PERFMON) * pins})
    for missing in (
        landlock.restrict(landlock.paths(_PACKAGE, pins=pins)),
        seccomp.install(Stage.STARTING, wanted),
    ):
        if missing:
            _say(missing)


def settle(wanted: Needs) -> None:
    """For a child that has loaded its table and all its libraries."""
    rights.narrow({rights.NET_ADMIN, *(rights.BPF,) * wanted.xdp})
    seccomp.install(Stage.SERVING, wanted)  # where there is none, the parent has said so


def _say(text: str) -> None:
    sys.stderr.write(f"gatekeeper.kernel: {text}\n")
