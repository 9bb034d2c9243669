"""`python -m demo [--once]`: build the scene, take the tour, and without --once stay up.

Exit codes: 0 where each step truly happened, else 1.
"""

import argparse
import os
import signal
import sys
import time
from typing import Final, NoReturn

from demo import namespaces, paste
from demo.guard import GuardError
from demo.namespaces import Namespaces, NoNamespaceError
from demo.narrator import Narrator
from demo.scene import Scene, scene
from demo.tour import Tour

_LOG_LINES: Final = 15  # of the guard's, shown where a step failed


def main() -> int:
    """Run the demo; the exit code."""
    options = _options()
    signal.signal(signal.SIGTERM, _stopped)
    os.environ["PATH"] = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"  # nft and ip live there
    say = Narrator()
    if not namespaces.in_user_namespace():  # else it was said before
        say.title("gatekeeper demo")
    try:
        spaces = _namespaces(say, memory=options.memory)
        with scene(spaces, observe=options.observe) as built:
            return _play(built, say, once=options.once)
    except (GuardError, NoNamespaceError) as error:
        say.bad(str(error))
    except KeyboardInterrupt:
        say.line("stopped before the end of the tour")
    return 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="demo", description="The guard at work.")
    parser.add_argument("--once", action="store_true", help="take the tour, then end")
    parser.add_argument(
        "--memory", action="store_true", help="no namespaces: let the guard alone hold the bans"
    )
    parser.add_argument(
        "--observe", action="store_true", help="judge and ban nobody: the tour must fail"
    )
    return parser.parse_args()


def _stopped(*_: object) -> NoReturn:
    sys.exit(128 + signal.SIGTERM)


def _namespaces(say: Narrator, *, memory: bool) -> Namespaces | None:
    """Both namespaces where they can be had; what that means is told."""
    why_not = "asked for by --memory" if memory else namespaces.why_not()
    if why_not:
        say.notice("no network namespace: bans are held by the guard alone (memory enforcer)")
        say.notice(f"  why: {why_not}")
        say.notice("everybody calls from loopback and names his address in a PROXY header")
        return None
    namespaces.enter_user_namespace(sys.argv[1:])
    spaces = namespaces.make()
    say.line("in network namespaces of its own: this machine's ruleset stays untouched")
    say.line(f"guard    {namespaces.GUARD}  {namespaces.GUARD_V6 if spaces.ipv6 else '(no IPv6)'}")
    say.line(f"person   {namespaces.PERSON}")
    say.line(f"attacker {namespaces.ATTACKER}")
    return spaces


def _play(built: Scene, say: Narrator, *, once: bool) -> int:
    say.line(f"the real guard runs: `gatekeeper run`, process {built.guard.process.pid}")
    begun = time.monotonic()
    tour = Tour(built.cast, say)
    if not tour.run():
        say.title("the tour failed; the guard's log ends with")
        lines = built.guard.log.read_text(errors="replace").splitlines()
        say.shown("\n".join(lines[-_LOG_LINES:]))
        return 1
    count = len(tour.steps)
    say.title(f"{count} of {count} steps happened, in {time.monotonic() - begun:.0f} s")
    if built.cast.nft is None:
        say.notice("steps 3 to 7 were the guard's doing alone: no nftables, no dropped packets")
    return 0 if once else _stay(built, say)


def _stay(built: Scene, say: Narrator) -> int:
    """Stay up until Ctrl-C or the end of the guard; the exit code."""
    beside_guard = built.backend.pid if built.cast.nft else None
    say.title("It stays up until Ctrl-C. In another terminal, as the same user:")
    for what, command in paste.lines(built, beside_guard):
        say.line(f"# {what}")
        say.line(command)
    try:
        status = built.guard.process.wait()
    except KeyboardInterrupt:
        say.title("cleaning up")
        return 0
    say.bad(f"the guard ended by itself with {status}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
