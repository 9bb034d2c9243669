"""A process that keeps what transparent mode needs in the kernel, and takes it away at the end.

    python -I -m gatekeeper.enforce.keeper --dial=…

Theory of operation. The guard is to end without rights, and may be killed; so this one is started
beside it, while there are rights, and waits for the end of its standard input, which the guard
holds open. It has CAP_NET_ADMIN and nothing else, reads nothing, and looks every few seconds
whether all is there: `nft flush ruleset`, or a network manager that removes routing rules it does
not know, would else cut the mail off. At the end table, rules and routes go, unless another guard
in this network namespace has begun meanwhile: each keeper holds a shared lock on the namespace, and
only who gets it alone cleans up.

To its standard output it writes a line for each doubt, then `ready`, or why it ends. Exit codes:
0, 1 failed, 2 usage, 77 no permission.
"""

import argparse
import contextlib
import fcntl
import os
import select
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from io import FileIO
from pathlib import Path
from typing import Final

from gatekeeper.enforce import routing
from gatekeeper.enforce.returning import astray, not_returned, obstacles, versions
from gatekeeper.enforce.transparent import READY, endpoint
from gatekeeper.errors import EnforcerError, PermissionMissing
from gatekeeper.kernel import rights, transparent
from gatekeeper.kernel.dial import is_own
from gatekeeper.kernel.options import Target, add_to, read

MEND_S: Final = 5.0
NAMESPACE: Final = "/proc/thread-self/ns/net"  # one file for all processes of a network namespace
_LOCK_S: Final = 3.0  # another keeper's cleaning up takes milliseconds
_STDIN: Final = 0
_EX_NOPERM: Final = 77


def main(argv: list[str] | None = None) -> int:
    """Keep until standard input ends; the exit code."""
    parser = argparse.ArgumentParser(prog="gatekeeper.enforce.keeper", allow_abbrev=False)
    add_to(parser)
    targets = read(parser.parse_args(argv)).dial
    for ignored in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):  # the guard drains after them
        signal.signal(ignored, signal.SIG_IGN)
    with FileIO(NAMESPACE) as namespace:
        try:
            rights.keep({rights.NET_ADMIN})
            lock(namespace, fcntl.LOCK_SH)
            keeper = Keeper(targets)
            doubts = keeper.set_up()
        except PermissionError as error:
            return _said([f"CAP_NET_ADMIN is needed: {error}"], _EX_NOPERM)
        except (EnforcerError, transparent.NftError, OSError) as error:
            return _said([str(error).replace("\n", " ")], 1)
        _said([*doubts, READY.decode()], 0)
        keeper.keep()
        if lock(namespace, fcntl.LOCK_EX, within_s=0):
            keeper.take_down()
    return 0


class Keeper:
    """What is kept for these targets."""

    def __init__(self, targets: Sequence[Target]) -> None:
        self._targets = targets
        self._changed: list[Path] = []  # settings of the host, to be undone
        self._told = ""

    def set_up(self) -> list[str]:
        """Put all in and try it; what is doubtful. Raises `EnforcerError`, `NftError` and
        `PermissionError`; then nothing is left behind."""
        found = obstacles(self._targets)
        if found:
            raise EnforcerError("; ".join(found))
        try:
            transparent.load(self._targets)
            self._put_in()
            return [astray(endpoint(each)) for each in not_returned(self._targets)]
        except BaseException:
            with contextlib.suppress(EnforcerError, transparent.NftError):
                self.take_down()
            raise

    def keep(self) -> None:
        """Mend what others break, until standard input ends."""
        while not select.select([_STDIN], [], [], MEND_S)[0] or os.read(_STDIN, 1):
            try:
                self.mend()
                self._told = ""
            except (EnforcerError, transparent.NftError, OSError) as error:
                self._tell(str(error))

    def mend(self) -> None:
        """Put in again what is missing. Raises `EnforcerError`, `NftError` and `OSError`."""
        if not transparent.loaded():
            transparent.load(self._targets)
            self._tell(f"table inet {transparent.NAME} was gone and is back")
        gone = routing.missing(versions(self._targets))
        if gone:
            self._put_in()
            self._tell(f"was gone and is back: {', '.join(gone)}")

    def take_down(self) -> None:
        """Take all away. Raises `EnforcerError` and `NftError`."""
        try:
            transparent.remove()
        finally:
            routing.take_down()
            routing.restore(self._changed)

    def _put_in(self) -> None:
        routing.set_up(versions(self._targets))
        if any(is_own(each.packed) for each in self._targets):
            self._changed += routing.answer_marks()

    def _tell(self, text: str) -> None:
        """Say a thing once, however often it happens in a row."""
        if text != self._told:
            self._told = text
            sys.stderr.write(f"gatekeeper.keeper: {text}\n")
            sys.stderr.flush()


def clear() -> bool:
    """Take away what a keeper that was killed has left; whether there was anything.

    Raises `EnforcerError`, also where a keeper is at work, and `PermissionMissing`.
    """
    with FileIO(NAMESPACE) as namespace:
        if not lock(namespace, fcntl.LOCK_EX, within_s=0):
            raise EnforcerError("a guard is using them: stop it first")
        try:
            found = transparent.loaded()
            transparent.remove()
        except PermissionError as error:
            raise PermissionMissing("CAP_NET_ADMIN is needed: be root") from error
        except transparent.NftError as error:
            raise EnforcerError(f"nft: {error}") from error
        return routing.take_down() or found


def lock(namespace: FileIO, kind: int, within_s: float = _LOCK_S) -> bool:
    """Get a lock of `kind` on the namespace, in place of one held; whether it was to be had in
    time. Whoever holds one for longer is no keeper, and is not waited for."""
    deadline = time.monotonic() + within_s
    while True:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(namespace, kind | fcntl.LOCK_NB)
            return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.01)


def _said(lines: Iterable[str], code: int) -> int:
    with contextlib.suppress(BrokenPipeError):  # the guard did not wait: it will close our input
        sys.stdout.write("".join(f"{line}\n" for line in lines))
        sys.stdout.flush()
    return code


if __name__ == "__main__":
    sys.exit(main())
